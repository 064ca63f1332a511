"""espgen: quantized neural networks to ESP32-P4 firmware, verified byte for byte.

The command line's verbs are functions of this package: `espgen.compile(model, output)`, `espgen.verify(component, data=..)`
and so on; see espgen.api for their arguments. `import espgen` alone imports nothing else.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

if sys.argv[:1] == ["-m"]:  # `python -m espgen` is being found
    from espgen.interrupts import leave_at_once

    leave_at_once()

VERBS = ("inspect", "compile", "verify", "profile", "calibrate", "doctor")

__all__ = ["calibrate", "compile", "doctor", "inspect", "profile", "verify"]


def _verb(name: str) -> Any:
    from espgen import api

    return getattr(api, name)


class _VerbPackage(ModuleType):
    """A subpackage whose name is a verb too (espgen.verify): called, it is the verb."""

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        return _verb(self.__name__.rpartition(".")[2])(*arguments, **options)


class _Library(ModuleType):
    """This package: verbs are looked up in espgen.api when first used."""

    def __getattr__(self, name: str) -> Any:
        if name in VERBS:
            return _verb(name)
        raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")

    def __setattr__(self, name: str, value: object) -> None:
        if name in VERBS and isinstance(value, ModuleType):
            value.__class__ = _VerbPackage
        super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Library
