"""Python functions `module:name` of the user's as a source of data."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Mapping
from typing import Any

import numpy as np

from espgen.data.npz import Arrays
from espgen.errors import EspgenError


def imported(source: str, option: str) -> Any:
    """What `module:name` names; modules are also looked for in the working directory. Raises EspgenError."""
    module_name, _, name = source.partition(":")
    hint = "`module:name`, the module in this folder or on PYTHONPATH"
    here = os.getcwd()
    added = here not in sys.path
    if added:
        sys.path.append(here)
    try:
        return getattr(importlib.import_module(module_name), name)
    except (Exception, SystemExit) as error:  # the module is the user's: whatever it raises is about it
        raise EspgenError(f"can't import {source!r}: {type(error).__name__}: {error}", place=option, hint=hint) from error
    finally:
        if added and here in sys.path:
            sys.path.remove(here)


def of_function(source: str) -> Arrays:
    """What the function returns: an array (under the name ""), a mapping of arrays, or (either of them, labels)."""
    function = imported(source, "--data")
    if not callable(function):
        raise EspgenError(f"{source!r} is no function", place="--data", hint="it returns arrays, or (arrays, labels)")
    try:
        result: Any = function()
        labels = None
        if isinstance(result, tuple) and len(result) == 2:
            result, labels = result
        given = dict(result) if isinstance(result, Mapping) else {"": result}
        arrays = {str(name): np.asarray(data) for name, data in given.items()}
        checked = None if labels is None else np.asarray(labels)
    except EspgenError:
        raise
    except (Exception, SystemExit) as error:
        raise EspgenError(f"{source} fails: {type(error).__name__}: {error}", place="--data", hint="correct it") from error
    return Arrays(source, {name: data.shape for name, data in arrays.items()}, arrays.__getitem__, checked)
