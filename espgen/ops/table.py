"""Unary functions through tables made at compile time.

Attributes: table, low, high; for int16 inputs mode, bits and (mode `segments`) segments.
int8   256 entries of the output type, entry x + 128
int16  one of the forms of table_forms.py: interpolated or nearest entries at equal distances, or segments of their own steps
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from espgen import arith
from espgen.errors import EspgenError
from espgen.ir import DType, Graph, Node, QuantParams, Value
from espgen.ops.add import emit_sum
from espgen.ops.base import Array, Case, GraphBuilder, KernelCall, OpSpec, StorageOf, bounds, output_array, rows_of
from espgen.ops.broadcast import reach, rowwise_call
from espgen.ops.expression import Array as FloatArray
from espgen.ops.expression import Expression, evaluate, evaluate_single, has_steps_only
from espgen.ops.lowering import LoweringContext, clip_bounds
from espgen.ops.operands import ACTIVATIONS, activation, fetch_all
from espgen.ops.requantize import EVERY_INT8
from espgen.ops.strides import IntArray
from espgen.ops.table_forms import (
    ENTRY_LIMIT,
    EVERY_INT16,
    INTERPOLATE,
    LARGEST_ERROR,
    NEAREST,
    SEGMENTS,
    TableForm,
    choose_form,
)


def form_of(node: Node) -> TableForm:
    """The form of a table of int16 inputs."""
    segments = node.attrs.get("segments")
    held = None if segments is None else np.asarray(segments).astype(np.int64)
    return TableForm(node.attrs["mode"], node.attrs["bits"], np.asarray(node.attrs["table"]).astype(np.int64), held)


def reference(node: Node, inputs: Sequence[Array], graph: Graph) -> list[Array]:
    if graph.value(node.inputs[0]).dtype is DType.INT8:
        entries = np.asarray(node.attrs["table"]).astype(np.int64)
        return [output_array(entries[inputs[0].astype(np.int64) + 128], node, graph)]
    return [output_array(form_of(node).looked_up(inputs[0], *bounds(node, graph)), node, graph)]


def kernel(node: Node, graph: Graph, storage: StorageOf) -> tuple[KernelCall, ...]:
    source, result = graph.value(node.inputs[0]), graph.value(node.outputs[0])
    _, pixels, channels = rows_of(result.shape)
    low, high = bounds(node, graph)
    shape = {
        "pixels": pixels,
        "channels": channels,
        "in_pitch": storage(source.name).pixel_pitch,
        "out_pitch": storage(result.name).pixel_pitch,
        "form": f"TableForm::{_FORMS[node.attrs.get('mode', NEAREST)]}",
        "bits": node.attrs.get("bits", 0),
        "low": low,
        "high": high,
    }
    tables: list[tuple[str, Array]] = [("entries", np.asarray(node.attrs["table"]))]
    if "segments" in node.attrs:
        tables.append(("segments", np.asarray(node.attrs["segments"])))
    return rowwise_call(node, graph, "table.h", "TableShape", shape, node.inputs, storage, tuple(tables))


_FORMS = {INTERPOLATE: "kInterpolate", NEAREST: "kNearest", SEGMENTS: "kSegments"}


def table_graph(
    function: Callable[[FloatArray], FloatArray],
    shape: tuple[int, ...] = (1, 3, 5, 13),
    dtype: DType = DType.INT8,
    out_dtype: DType = DType.INT8,
    form: TableForm | None = None,
    **limits: int,
) -> Graph:
    """A one-table graph of a function from the unit interval (as inputs see it) to [-1, 1]; of int16 in `form` or the chosen."""
    builder = GraphBuilder("table")
    builder.input("x", shape, dtype, 1.0, 4)
    low, high = limits.get("low", out_dtype.minimum), limits.get("high", out_dtype.maximum)
    points = (EVERY_INT8 if dtype is DType.INT8 else EVERY_INT16) / -dtype.minimum
    exact = np.rint(function(points) * out_dtype.maximum).astype(np.int64)
    if dtype is DType.INT8:
        attrs: dict[str, Any] = {"table": arith.saturate(exact, low, high).astype(out_dtype.numpy)}
    else:
        error = LARGEST_ERROR if out_dtype is DType.INT16 else 0
        attrs = form_attrs(form or choose_form(exact, out_dtype, low, high, error), out_dtype)
    builder.node("table", ("x",), shape, out_dtype, 1.0, 9, "y", **attrs, **limits)
    return builder.build(["y"])


def cases() -> list[Case]:
    i8, i16 = DType.INT8, DType.INT16
    steep = np.where(np.arange(257) % 2, ENTRY_LIMIT, -ENTRY_LIMIT)
    coarse = np.rint(32767 * np.sin(np.arange(257) / 9)).astype(np.int64)

    def wide(function: Callable[[FloatArray], FloatArray], out_dtype: DType = i16, **limits: int) -> Graph:
        return table_graph(function, (2, 3, 700), i16, out_dtype, None, **limits)

    def pole(x: FloatArray) -> FloatArray:
        return np.clip(0.003 / np.where(x == 0.0, 1e-9, x), -9.0, 9.0)

    table = [
        ("tanh", table_graph(lambda x: np.tanh(3 * x))),
        ("not_monotonic", table_graph(lambda x: np.sin(20 * x))),
        ("rank_1", table_graph(np.exp2, (17,))),
        ("rank_0", table_graph(np.negative, ())),
        ("rank_5", table_graph(np.negative, (2, 1, 2, 3, 4))),
        ("int8_to_int16", table_graph(np.tanh, out_dtype=i16)),
        ("interpolate", wide(lambda x: np.sin(3 * x))),
        ("interpolate_finer", wide(lambda x: np.sin(11 * x) * 0.9)),
        ("nearest", table_graph(np.sin, dtype=i16, out_dtype=i16, form=TableForm(NEAREST, 8, coarse))),
        ("every_input", wide(lambda x: np.floor(900 * x) / 900)),
        ("every_input_to_int8", wide(lambda x: np.floor(9000 * x) % 2, i8)),
        ("segments", wide(lambda x: np.sqrt(np.maximum(x, 0.0)))),
        ("segments_clipped", wide(pole, low=-31000, high=30000)),
        ("segments_of_steps", wide(lambda x: np.floor(8 * x) / 8, i8)),
        (
            "entries_beyond_the_output",
            table_graph(np.sin, (2, 700), i16, i16, TableForm(INTERPOLATE, 8, steep), low=-32000, high=31000),
        ),
        ("interpolate_ends", wide(lambda x: np.sign(np.sin(70 * x)))),
        ("int16_to_int8", table_graph(np.tanh, (2, 700), dtype=i16, out_dtype=i8)),
    ]
    return [Case(name, graph) for name, graph in table]


def form_attrs(form: TableForm, result: DType) -> dict[str, Any]:
    """The attributes of a `table` node of int16 inputs, its arrays in the types that flash holds."""
    entries = form.entries.astype(np.int32 if form.mode == INTERPOLATE else result.numpy)
    attrs: dict[str, Any] = {"table": entries, "mode": form.mode, "bits": form.bits}
    return attrs if form.segments is None else {**attrs, "segments": form.segments.astype(np.int32)}


def outputs(x: IntArray, source: Value, result: Value, expression: Expression) -> IntArray:
    """The function of integers of `source` as integers of `result`, not saturated: float32 as in ONNX, ties to even."""
    scaled = evaluate_single(expression, arith.dequantize(x, source.scale, source.zero_point)).astype(np.float32)
    with np.errstate(over="ignore"):
        quotient = (scaled / np.float32(result.scale)).astype(np.float64)
    return np.rint(np.clip(quotient, -1e9, 1e9)).astype(np.int64) + result.zero_point


_SOME_INT32 = np.unique(np.concatenate([EVERY_INT16, np.random.default_rng(0).integers(-(2**20), 2**20, 2**14)]))
"""32-bit integers, without a pattern that a function with steps could repeat."""


def linear_ratio(source: Value, result: Value, expression: Expression) -> tuple[float, int, int] | None:
    """(ratio, low, high) where the function is sat(z + x ratio) within bounds on the whole type, else None."""
    x = (EVERY_INT16[:-1] if source.dtype is DType.INT16 else _SOME_INT32) - source.zero_point
    with np.errstate(over="ignore"):
        y = evaluate(expression, x * source.scale) / result.scale
    low, high = float(y.min()), float(y.max())
    if not math.isfinite(low) or not math.isfinite(high):
        return None
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
    x = EVERY_INT16[EVERY_INT16 != 0] * source.scale
    slope = evaluate(node.attrs["expression"], x) / x
    below, above = float(slope[0]), float(slope[-1])
    if not np.isfinite(slope).all() or evaluate(node.attrs["expression"], np.zeros(1))[0] != 0.0:
        return False
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
    low, high = bounds_of_output["low"], bounds_of_output["high"]
    if source.dtype is DType.INT8:
        entries = arith.saturate(outputs(EVERY_INT8, source, result, expression), low, high)
        attrs = {"table": entries.astype(result.dtype.numpy)}
    else:
        # Integer results stay exact; 8-bit results have no step to spare either.
        error = 0 if has_steps_only(expression) or result.dtype is DType.INT8 else LARGEST_ERROR
        form = choose_form(outputs(EVERY_INT16, source, result, expression), result.dtype, low, high, error)
        attrs = form_attrs(form, result.dtype)
    context.emit(node.name, "table", (operand,), (output,), **attrs, **bounds_of_output)


def _lower_given(context: LoweringContext, node: Node) -> None:
    """Table: entries that the model itself gives, in the form that it names."""
    result = activation(context, node, node.outputs[0])
    source = activation(context, node, node.inputs[0])
    (operand,), layout = fetch_all(context, node, node.inputs)
    output = context.define(node.outputs[0], layout)
    limits = clip_bounds(context, node, node.outputs[0])
    entries = np.asarray(node.attrs["table"]).astype(np.int64)
    if source.dtype is DType.INT8:
        attrs: dict[str, Any] = {"table": entries.astype(result.dtype.numpy)}
    else:
        attrs = form_attrs(TableForm(node.attrs["mode"], node.attrs["bits"], entries), result.dtype)
    context.emit(node.name, "table", (operand,), (output,), **attrs, **limits)


LOWER = {"Table": _lower_given, "Unary": _lower_unary}


SPECS = (
    OpSpec(
        name="table",
        onnx=("Unary", "Relu", "LeakyRelu", "Sigmoid", "Tanh", "HardSigmoid", "HardSwish", "Gelu", "Elu", "Exp", "Sqrt"),
        summary="every unary function: 256 entries for int8; for int16 the cheapest form within a bound over all inputs",
        reference=reference,
        kernel=kernel,
        cases=cases,
        dtypes=("int8", "int16"),
        in_place=True,
    ),
)
