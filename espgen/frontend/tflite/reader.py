"""Reading a .tflite file: bytes -> checked records -> ONNX form -> source graph."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from onnx import ModelProto

from espgen.errors import EspgenError
from espgen.frontend.inputs import Numbers
from espgen.frontend.reader import read_proto
from espgen.frontend.tflite.convert import to_onnx
from espgen.frontend.tflite.emitter import FIRST, TO_FIRST
from espgen.frontend.tflite.model import Model, read
from espgen.ir import Extents, Graph


def tflite_to_onnx(data: bytes, place: str) -> ModelProto:
    """The ONNX form of a .tflite file (see docs/tflite.md). Raises EspgenError for damaged files and what is not read."""
    return to_onnx(read(data, place), place)


def read_tflite(data: bytes, place: str, shapes: Mapping[str, Extents], constants: Mapping[str, Numbers]) -> Graph:
    """The source graph of a .tflite file, its inputs and outputs in the file's axis order.

    shapes, constants: as load_onnx takes them, though shapes can only say what the file says. Raises EspgenError.
    """
    model = replace(read(data, place), name=Path(place).stem)  # converters call every graph "main"
    for name, extents in shapes.items():
        _check_shape_option(model, name, extents)
    graph = read_proto(to_onnx(model, place), place, constants=constants)
    _check_shapes(model, graph, place)
    return graph


def _check_shape_option(model: Model, name: str, extents: Extents) -> None:
    found = {model.tensors[index].name: model.tensors[index].shape for index in model.inputs}
    if isinstance(extents, int) or found.get(name) != tuple(extents):
        told = ", ".join(f"{known}={','.join(map(str, shape))}" for known, shape in found.items())
        raise EspgenError(
            f"--shape {name}: a .tflite file has fixed shapes ({told})", place="--shape",
            hint="leave the option out, or convert the model with the shape you want",
        )  # fmt: skip


def _check_shapes(model: Model, graph: Graph, place: str) -> None:
    """Every tensor has the shape that the file tells: espgen computes it from the operators alone."""
    for tensor in model.tensors:
        told = {"": tensor.shape}
        if len(tensor.shape) == 4:
            told[FIRST] = tuple(tensor.shape[axis] for axis in TO_FIRST)
        for suffix, shape in told.items():
            value = graph.values.get(tensor.name + suffix)
            if value is not None and value.shape != shape:
                raise EspgenError(
                    f"tensor {tensor.name!r} is said to have shape {list(shape)} and comes out as {list(value.shape)}",
                    place=place,
                    hint="the file is damaged, or its shapes are not fixed: convert the model again with fixed input shapes",
                )
