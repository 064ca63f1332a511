"""All operator specs, found by looking into this package: a new operator is a new file, nothing to register."""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache
from types import MappingProxyType
from typing import TYPE_CHECKING

import espgen.ops
from espgen.errors import EspgenError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from espgen.ops.base import OpSpec


@cache
def specs() -> Mapping[str, OpSpec]:
    """Specs by integer operator name, sorted."""
    found: dict[str, OpSpec] = {}
    for module in sorted(info.name for info in pkgutil.iter_modules(espgen.ops.__path__)):
        for spec in getattr(importlib.import_module(f"espgen.ops.{module}"), "SPECS", ()):
            found[spec.name] = spec
    return MappingProxyType(dict(sorted(found.items())))


def spec_of(op: str) -> OpSpec:
    """The spec of an integer operator; EspgenError where there is none."""
    spec = specs().get(op)
    if spec is None:
        hint = "see the table of operators in the README"
        raise EspgenError(f"operator {op!r} is not an integer operator of espgen", hint=hint)
    return spec
