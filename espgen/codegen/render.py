"""The one Jinja2 environment. Templates carry layout; everything they print is a field of their view."""

from __future__ import annotations

import dataclasses
from functools import cache
from typing import Any

import jinja2

from espgen.codegen.layout import call, comment_lines, declaration, include
from espgen.codegen.naming import c_string, comment
from espgen.resources import templates_dir


@cache
def environment() -> jinja2.Environment:
    """Strict: an undefined name is an error; only the safe-text filters are added."""
    env = jinja2.Environment(
        loader=jinja2.FileSystemLoader(templates_dir()),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,
    )
    env.filters["c_string"] = c_string
    env.filters["comment"] = comment
    env.filters["comment_lines"] = comment_lines
    env.filters["call"] = call
    env.filters["declaration"] = declaration
    env.filters["include"] = include
    return env


def render(template: str, view: Any) -> str:
    """`template` (a path below templates/) with the fields of the dataclass `view` as its variables."""
    fields = {field.name: getattr(view, field.name) for field in dataclasses.fields(view)}
    return environment().get_template(template).render(**fields)
