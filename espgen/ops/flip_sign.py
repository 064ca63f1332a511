"""Unsigned to signed of the same width and back: x with its top bit inverted; the zero point moves by half the range."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from espgen.ir import DType, Graph, Node
from espgen.ops.base import Array, Case, GraphBuilder, KernelCall, OpSpec, StorageOf, output_array, rows_of
from espgen.ops.broadcast import rowwise_call


def reference(node: Node, inputs: Sequence[Array], graph: Graph) -> list[Array]:
    source = graph.value(node.inputs[0]).dtype
    half = 1 << (8 * source.size - 1)
    moved = inputs[0].astype(np.int64) + (half if source.minimum < 0 else -half)
    return [output_array(moved, node, graph)]


def kernel(node: Node, graph: Graph, storage: StorageOf) -> tuple[KernelCall, ...]:
    source, result = graph.value(node.inputs[0]), graph.value(node.outputs[0])
    _, pixels, channels = rows_of(result.shape)
    shape = {
        "pixels": pixels,
        "channels": channels,
        "in_pitch": storage(source.name).pixel_pitch,
        "out_pitch": storage(result.name).pixel_pitch,
    }
    return rowwise_call(node, graph, "flip_sign.h", "FlipSignShape", shape, node.inputs, storage)


def flip_graph(dtype: DType, out_dtype: DType, shape: tuple[int, ...]) -> Graph:
    """A one-node graph from `dtype` to `out_dtype`."""
    builder = GraphBuilder("flip")
    builder.input("x", shape, dtype, 1.0, dtype.maximum // 3)
    half = 1 << (8 * dtype.size - 1)
    zero_point = dtype.maximum // 3 + (half if dtype.minimum < 0 else -half)
    builder.node("flip_sign", ("x",), shape, out_dtype, 1.0, zero_point, "y")
    return builder.build(["y"])


def cases() -> list[Case]:
    table = [
        ("uint8_to_int8", flip_graph(DType.UINT8, DType.INT8, (1, 4, 5, 3))),
        ("int8_to_uint8", flip_graph(DType.INT8, DType.UINT8, (2, 17))),
        ("uint16_to_int16", flip_graph(DType.UINT16, DType.INT16, (1, 4, 5, 7))),
        ("int16_to_uint16", flip_graph(DType.INT16, DType.UINT16, (5,))),
        ("scalar", flip_graph(DType.UINT8, DType.INT8, ())),
    ]
    return [Case(name, graph) for name, graph in table]


SPECS = (
    OpSpec(
        name="flip_sign",
        onnx=("Cast",),
        summary="unsigned to signed integers of the same width and back",
        reference=reference,
        kernel=kernel,
        cases=cases,
        dtypes=("uint8", "int8", "uint16", "int16"),
        in_place=True,
    ),
)
