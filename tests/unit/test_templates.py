"""Templates carry layout, not logic: what they may contain, and that every name they print is a field of their view."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import jinja2
import pytest
from jinja2 import meta, nodes

from espgen.codegen import example_project, views
from espgen.codegen.render import environment
from espgen.resources import templates_dir

TEMPLATES = sorted(path.relative_to(templates_dir()) for path in templates_dir().rglob("*.j2"))
FORBIDDEN = (nodes.BinExpr, nodes.Call, nodes.Compare, nodes.Macro, nodes.Assign)


def source_of(template: Path) -> str:
    return (templates_dir() / template).read_text(encoding="utf-8")


@pytest.mark.parametrize("template", TEMPLATES, ids=str)
def test_a_template_has_no_logic(template: Path) -> None:
    tree = environment().parse(source_of(template))
    for kind in FORBIDDEN:
        assert not list(tree.find_all(kind)), f"{template} contains {kind.__name__}"
    assert len(source_of(template).splitlines()) <= 130


@pytest.mark.parametrize("template", TEMPLATES, ids=str)
def test_a_template_prints_fields_of_its_view(template: Path) -> None:
    named = re.match(r"\{# view: (\w+) #\}", source_of(template))
    assert named, f"the first line of {template} names its view"
    view = getattr(views, named.group(1), None) or getattr(example_project, named.group(1))
    fields = {field.name for field in dataclasses.fields(view)}
    assert meta.find_undeclared_variables(environment().parse(source_of(template))) <= fields


def test_an_undefined_name_is_an_error() -> None:
    with pytest.raises(jinja2.UndefinedError):
        environment().from_string("{{ nothing }}").render()
