"""Unary functions through tables made at compile time.

Attributes: table (int8: 256 entries of the output type, entry x + 128; int16: 257 entries, entry i is the function at
x = 256 i - 32768), mode (int16 only: "interpolate" or "nearest", both as versions of ESP-DL do).
interpolate  y = rne((t[i] * (256 - f) + t[i + 1] * f) / 256),  x + 32768 = 256 i + f
nearest      y = t[rne((x + 32768) / 256)]
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from espgen import arith
from espgen.errors import EspgenError
from espgen.ir import DType, Graph, Node, Value
from espgen.ops.add import emit_sum
from espgen.ops.base import Array, Case, GraphBuilder, KernelCall, OpSpec, StorageOf, output_array, rows_of
from espgen.ops.broadcast import rowwise_call
from espgen.ops.expression import Array as FloatArray
from espgen.ops.expression import Expression, evaluate
from espgen.ops.lowering import LoweringContext, clip_bounds
from espgen.ops.operands import ACTIVATIONS, activation, fetch_all
from espgen.ops.strides import IntArray

INTERPOLATE, NEAREST = "interpolate", "nearest"


def reference(node: Node, inputs: Sequence[Array], graph: Graph) -> list[Array]:
    x, entries = inputs[0].astype(np.int64), np.asarray(node.attrs["table"]).astype(np.int64)
    if graph.value(node.inputs[0]).dtype is DType.INT8:
        return [output_array(entries[x + 128], node, graph)]
    if node.attrs["mode"] == NEAREST:
        return [output_array(entries[arith.rne_shift(x + 32768, 8)], node, graph)]
    index, fraction = (x + 32768) >> 8, (x + 32768) & 255
    mixed = arith.rne_shift(entries[index] * (256 - fraction) + entries[index + 1] * fraction, 8)
    return [output_array(mixed, node, graph)]


def kernel(node: Node, graph: Graph, storage: StorageOf) -> tuple[KernelCall, ...]:
    source, result = graph.value(node.inputs[0]), graph.value(node.outputs[0])
    _, pixels, channels = rows_of(result.shape)
    shape = {
        "pixels": pixels,
        "channels": channels,
        "in_pitch": storage(source.name).pixel_pitch,
        "out_pitch": storage(result.name).pixel_pitch,
        "interpolate": int(node.attrs.get("mode") == INTERPOLATE),
    }
    entries = np.asarray(node.attrs["table"]).astype(result.dtype.numpy)
    return rowwise_call(node, graph, "table.h", "TableShape", shape, node.inputs, storage, (("entries", entries),))


def arguments(dtype: DType) -> IntArray:
    """The inputs at which a table of inputs of `dtype` is evaluated."""
    return np.arange(-128, 128) if dtype is DType.INT8 else np.arange(-32768, 32769, 256)


def table_graph(
    function: Callable[[FloatArray], FloatArray],
    shape: tuple[int, ...] = (1, 3, 5, 13),
    dtype: DType = DType.INT8,
    out_dtype: DType = DType.INT8,
    mode: str = INTERPOLATE,
) -> Graph:
    """A one-table graph of a function from the unit interval (as inputs see it) to [-1, 1]."""
    builder = GraphBuilder("table")
    builder.input("x", shape, dtype, 1.0, 4)
    points = arguments(dtype) / -dtype.minimum
    entries = arith.saturate(np.rint(function(points) * out_dtype.maximum), out_dtype.minimum, out_dtype.maximum)
    table = entries.astype(out_dtype.numpy)
    builder.node("table", ("x",), shape, out_dtype, 1.0, 9, "y", table=table, mode=mode)
    return builder.build(["y"])


def cases() -> list[Case]:
    i8, i16 = DType.INT8, DType.INT16
    table = [
        ("tanh", table_graph(lambda x: np.tanh(3 * x))),
        ("not_monotonic", table_graph(lambda x: np.sin(20 * x))),
        ("rank_1", table_graph(np.exp2, (17,))),
        ("rank_0", table_graph(np.negative, ())),
        ("rank_5", table_graph(np.negative, (2, 1, 2, 3, 4))),
        ("int8_to_int16", table_graph(np.tanh, out_dtype=i16)),
        ("interpolate", table_graph(lambda x: np.sin(9 * x), dtype=i16, out_dtype=i16)),
        ("nearest", table_graph(lambda x: np.sin(9 * x), dtype=i16, out_dtype=i16, mode=NEAREST)),
        ("interpolate_ends", table_graph(lambda x: np.sign(np.sin(70 * x)), dtype=i16, out_dtype=i16)),
        ("int16_to_int8", table_graph(np.tanh, (2, 700), dtype=i16, out_dtype=i8)),
    ]
    return [Case(name, graph) for name, graph in table]


def table_of(source: Value, result: Value, expression: Expression, low: int, high: int) -> IntArray:
    """The function's entries for integers of `source` as integers of `result`, in float64 and rounded to even."""
    real = (arguments(source.dtype) - source.zero_point) * source.scale
    scaled = evaluate(expression, real) / result.scale
    rounded = np.rint(np.clip(scaled, -1e9, 1e9)).astype(np.int64)
    return arith.saturate(rounded + result.zero_point, low, high)


def linear_ratio(source: Value, result: Value, expression: Expression) -> tuple[float, int, int] | None:
    """(ratio, low, high) where the function is sat(z + x ratio) within bounds on the whole type, else None."""
    reach = source.dtype.maximum if source.dtype is not DType.INT32 else 2**20
    x = np.unique(np.rint(np.linspace(-reach - 1, reach, 4097))).astype(np.int64) - source.zero_point
    y = evaluate(expression, x * source.scale) / result.scale
    low, high = float(y.min()), float(y.max())
    inside = (y > low) & (y < high) & (x != 0)
    if not inside.any():
        return None
    slope = float(np.median(y[inside] / x[inside]))
    if slope == 0.0 or np.abs(np.clip(x * slope, low, high) - y).max() > 1e-9 * max(1.0, abs(low), abs(high)):
        return None
    first, last = result.dtype.minimum, result.dtype.maximum
    linear_low, linear_high = float((x * slope).min()), float((x * slope).max())
    point = result.zero_point
    lower = first if low <= linear_low else int(np.clip(np.rint(low) + point, first, last))
    upper = last if high >= linear_high else int(np.clip(np.rint(high) + point, first, last))
    return slope, lower, upper


def _lower_unary(context: LoweringContext, node: Node) -> None:
    """Unary: a table; for 16 and 32 bits a change of scale where the function is linear between bounds."""
    result = activation(context, node, node.outputs[0])
    source = activation(context, node, node.inputs[0], (*ACTIVATIONS, DType.INT32))
    (operand,), layout = fetch_all(context, node, node.inputs)
    output = context.define(node.outputs[0], layout)
    bounds = clip_bounds(context, node, node.outputs[0])
    expression: Expression = node.attrs["expression"]
    linear = linear_ratio(source, result, expression) if source.dtype is not DType.INT8 else None
    if linear is not None:
        ratio, low, high = linear
        limits = {"low": max(low, bounds["low"]), "high": min(high, bounds["high"])}
        emit_sum(context, node, (operand,), (source,), (ratio,), output, limits)
        return
    if source.dtype is DType.INT32:
        raise EspgenError(f"{expression[0]} of int32 integers", node=node.name, hint="quantize the tensor before the function")
    entries = table_of(source, result, expression, bounds["low"], bounds["high"])
    mode = node.attrs.get("mode", INTERPOLATE)
    context.emit(node.name, "table", (operand,), (output,), table=entries.astype(result.dtype.numpy), mode=mode)


LOWER = {"Unary": _lower_unary}


SPECS = (
    OpSpec(
        name="table",
        onnx=("Unary", "Relu", "LeakyRelu", "Sigmoid", "Tanh", "HardSigmoid", "HardSwish", "Gelu", "Elu", "Exp", "Sqrt"),
        summary="every unary function: 256 entries for int8, 257 interpolated or nearest entries for int16",
        reference=reference,
        kernel=kernel,
        cases=cases,
        dtypes=("int8", "int16"),
        in_place=True,
    ),
)
