"""Models of opsets below the oldest that is read: onnx's own version converter rewrites them first."""

from __future__ import annotations

from pathlib import Path

import onnx
from onnx import ModelProto

from espgen.errors import EspgenError
from espgen.frontend.limits import MIN_OPSET
from espgen.frontend.tensors import with_data

_OLDEST = 7
"""Older ones have Add, Gemm and others broadcast by attributes of their own, which the converter does not know in all cases."""


def raised_to_minimum(model: ModelProto, version: int, place: str, folder: Path | None) -> ModelProto:
    """The model in opset MIN_OPSET. External data (below `folder`) is read into it: the converter would lose it.

    Raises EspgenError where the model is malformed, or older than anything that the converter takes.
    """
    if version < _OLDEST:
        raise _refused(version, "which is too old to be converted", place)
    whole = with_data(model, folder)
    try:
        _check(whole)
        return onnx.version_converter.convert_version(whole, MIN_OPSET)
    except Exception as error:  # the checker's and the converter's own types, and what their C++ throws
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise _refused(version, f"and onnx can't convert it: {lines[0][:200]}", place) from None


def _check(model: ModelProto) -> None:
    """The converter is C++ that takes a sound model for granted. Inputs and outputs without a shape are sound here."""
    shaped = ModelProto()
    shaped.CopyFrom(model)
    for item in (*shaped.graph.input, *shaped.graph.output, *shaped.graph.value_info):
        if item.type.HasField("tensor_type") and not item.type.tensor_type.HasField("shape"):
            item.type.tensor_type.shape.SetInParent()
    onnx.checker.check_model(shaped)


def _refused(version: int, problem: str, place: str) -> EspgenError:
    hint = f"export the model with opset {MIN_OPSET} or later"
    return EspgenError(f"the model uses opset {version}, {problem}", place=place, hint=hint)
