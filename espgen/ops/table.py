"""Unary functions through tables made at compile time.

Attributes: table, mode, low, high.
int8   256 entries of the output type, entry x + 128
int16  257 entries, entry i is the function at x = 256 i - 32768; they may lie beyond the output's range, within 2^22, so
       that interpolation towards a saturated value is right. Both modes exist in versions of ESP-DL:
       interpolate  y = sat(rne((t[i] * (256 - f) + t[i + 1] * f) / 256)),  x + 32768 = 256 i + f
       nearest      y = sat(t[rne((x + 32768) / 256)])
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from espgen import arith
from espgen.errors import EspgenError
from espgen.ir import DType, Graph, Node, QuantParams, Value
from espgen.ops.add import emit_sum
from espgen.ops.base import Array, Case, GraphBuilder, KernelCall, OpSpec, StorageOf, bounds, output_array, rows_of
from espgen.ops.broadcast import reach, rowwise_call
from espgen.ops.expression import Array as FloatArray
from espgen.ops.expression import Expression, evaluate
from espgen.ops.lowering import LoweringContext, clip_bounds
from espgen.ops.operands import ACTIVATIONS, activation, fetch_all
from espgen.ops.strides import IntArray

INTERPOLATE, NEAREST = "interpolate", "nearest"

ENTRY_LIMIT = 2**22
"""Entries for int16 inputs lie within: 256 times as much fits 32 bits."""


def reference(node: Node, inputs: Sequence[Array], graph: Graph) -> list[Array]:
    x, entries = inputs[0].astype(np.int64), np.asarray(node.attrs["table"]).astype(np.int64)
    if graph.value(node.inputs[0]).dtype is DType.INT8:
        return [output_array(entries[x + 128], node, graph)]
    low, high = bounds(node, graph)
    if node.attrs["mode"] == NEAREST:
        return [output_array(arith.saturate(entries[arith.rne_shift(x + 32768, 8)], low, high), node, graph)]
    index, fraction = (x + 32768) >> 8, (x + 32768) & 255
    mixed = arith.rne_shift(entries[index] * (256 - fraction) + entries[index + 1] * fraction, 8)
    return [output_array(arith.saturate(mixed, low, high), node, graph)]


def kernel(node: Node, graph: Graph, storage: StorageOf) -> tuple[KernelCall, ...]:
    source, result = graph.value(node.inputs[0]), graph.value(node.outputs[0])
    _, pixels, channels = rows_of(result.shape)
    low, high = bounds(node, graph)
    shape = {
        "pixels": pixels,
        "channels": channels,
        "in_pitch": storage(source.name).pixel_pitch,
        "out_pitch": storage(result.name).pixel_pitch,
        "interpolate": int(node.attrs.get("mode") == INTERPOLATE),
        "low": low,
        "high": high,
    }
    entries = np.asarray(node.attrs["table"])
    entries = entries.astype(result.dtype.numpy if source.dtype is DType.INT8 else np.int32)
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
    beyond = table_graph(np.negative, dtype=i16, out_dtype=i16)
    steep = np.where(np.arange(257) % 2, 2**22, -(2**22)).astype(np.int32)
    beyond = beyond.updated(nodes=[beyond.nodes[0].with_attrs(table=steep, low=-32000, high=31000)])
    table = [
        ("tanh", table_graph(lambda x: np.tanh(3 * x))),
        ("not_monotonic", table_graph(lambda x: np.sin(20 * x))),
        ("rank_1", table_graph(np.exp2, (17,))),
        ("rank_0", table_graph(np.negative, ())),
        ("rank_5", table_graph(np.negative, (2, 1, 2, 3, 4))),
        ("int8_to_int16", table_graph(np.tanh, out_dtype=i16)),
        ("interpolate", table_graph(lambda x: np.sin(9 * x), dtype=i16, out_dtype=i16)),
        ("nearest", table_graph(lambda x: np.sin(9 * x), dtype=i16, out_dtype=i16, mode=NEAREST)),
        ("entries_beyond_the_output", beyond),
        ("interpolate_ends", table_graph(lambda x: np.sign(np.sin(70 * x)), dtype=i16, out_dtype=i16)),
        ("int16_to_int8", table_graph(np.tanh, (2, 700), dtype=i16, out_dtype=i8)),
    ]
    return [Case(name, graph) for name, graph in table]


def table_of(source: Value, result: Value, expression: Expression, low: int, high: int) -> IntArray:
    """The function's entries for integers of `source` as integers of `result`, in float64 and rounded to even.

    Within [low, high] for int8; for int16 only within ENTRY_LIMIT.
    """
    real = (arguments(source.dtype) - source.zero_point) * source.scale
    scaled = evaluate(expression, real) / result.scale
    rounded = np.rint(np.clip(scaled, -1e9, 1e9)).astype(np.int64)
    if source.dtype is DType.INT16:
        low, high = -ENTRY_LIMIT, ENTRY_LIMIT
    return arith.saturate(rounded + result.zero_point, low, high)


def linear_ratio(source: Value, result: Value, expression: Expression) -> tuple[float, int, int] | None:
    """(ratio, low, high) where the function is sat(z + x ratio) within bounds on the whole type, else None."""
    largest = source.dtype.maximum if source.dtype is not DType.INT32 else 2**20
    x = np.unique(np.rint(np.linspace(-largest - 1, largest, 4097))).astype(np.int64) - source.zero_point
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


def _emit_leaky(context: LoweringContext, node: Node, source: Value, result: Value, operand: str, output: str) -> bool:
    """A function with one slope above 0 and another below, as `prelu`, whose bend lies at the zero point; False if it is none."""
    x = np.linspace(-1.0, 1.0, 257)[np.arange(257) != 128] * 32768.0 * source.scale
    slope = evaluate(node.attrs["expression"], x) / x
    below, above = float(slope[0]), float(slope[-1])
    straight = np.allclose(slope[x < 0], below, rtol=1e-9) and np.allclose(slope[x > 0], above, rtol=1e-9)
    if not straight or above <= 0.0 or below == 0.0:
        return False
    ratio, bits = source.scale / result.scale, 8 * result.dtype.size
    sign = context.add_constant(f"{node.name}_slope", np.full(1, np.sign(below), np.int8), QuantParams.tensor(abs(below)))
    positive = arith.choose_requant([ratio * above], [reach(source)], bits, node=node.name)
    limit = reach(source) * reach(context.values[sign])
    negative = arith.choose_requant([ratio * abs(below)], [limit], bits, node=node.name)
    attrs = clip_bounds(context, node, node.outputs[0])
    context.emit(node.name, "prelu", (operand, sign), (output,), positive=positive, negative=negative, **attrs)
    return True


def _lower_unary(context: LoweringContext, node: Node) -> None:
    """Unary: a table; for 16 and 32 bits a change of scale where the function is linear between bounds."""
    result = activation(context, node, node.outputs[0])
    source = activation(context, node, node.inputs[0], (*ACTIVATIONS, DType.INT32))
    (operand,), layout = fetch_all(context, node, node.inputs)
    output = context.define(node.outputs[0], layout)
    bounds_of_output = clip_bounds(context, node, node.outputs[0])
    expression: Expression = node.attrs["expression"]
    linear = linear_ratio(source, result, expression) if source.dtype is not DType.INT8 else None
    if linear is not None:
        ratio, low, high = linear
        limits = {"low": max(low, bounds_of_output["low"]), "high": min(high, bounds_of_output["high"])}
        emit_sum(context, node, (operand,), (source,), (ratio,), output, limits)
        return
    if source.dtype is DType.INT16 and _emit_leaky(context, node, source, result, operand, output):
        return
    if source.dtype is DType.INT32:
        raise EspgenError(f"{expression[0]} of int32 integers", node=node.name, hint="quantize the tensor before the function")
    entries = table_of(source, result, expression, bounds_of_output["low"], bounds_of_output["high"])
    mode = node.attrs.get("mode", INTERPOLATE)
    held = entries.astype(result.dtype.numpy if source.dtype is DType.INT8 else np.int32)
    context.emit(node.name, "table", (operand,), (output,), table=held, mode=mode, **bounds_of_output)


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
