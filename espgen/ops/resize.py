"""Resizing of rows and columns by weighted taps (linear: 2, cubic: 4), channels last; nearest resizing is `take`.

Attributes: rows, columns: arrays [count, taps] of source indices; row_weights, column_weights: the integers of 2^-11
that belong to them; weights (arith.Weights, one multiplier: the ratio of the scales), low, high.
y = sat(z + rne(multiplier * sum wy wx (x - zx) / 2^(shift + 22)))
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from espgen import arith
from espgen.errors import EspgenError
from espgen.ir import DType, Graph, Node
from espgen.ops.base import (
    Array,
    Case,
    GraphBuilder,
    KernelCall,
    OpSpec,
    RowTable,
    StorageOf,
    bounds,
    output_array,
)
from espgen.ops.broadcast import needs_64_bits, reach
from espgen.ops.lowering import CHANNELS_LAST, PLAIN, LoweringContext, clip_bounds
from espgen.ops.operands import activation, to_held
from espgen.ops.resize_coordinates import ROUNDINGS, TRANSFORMATIONS, WEIGHT_BITS, Axis, cubic, linear, nearest
from espgen.ops.take import emit_take


def reference(node: Node, inputs: Sequence[Array], graph: Graph) -> list[Array]:
    source, result = graph.value(node.inputs[0]), graph.value(node.outputs[0])
    x = inputs[0].astype(np.int64) - source.zero_point
    down = (x[:, node.attrs["rows"]] * node.attrs["row_weights"][None, :, :, None, None]).sum(axis=2)
    total = (down[:, :, node.attrs["columns"]] * node.attrs["column_weights"][None, None, :, :, None]).sum(axis=3)
    weights: arith.Weights = node.attrs["weights"]
    scaled = arith.Weights(weights.multiplier, weights.shift + 2 * WEIGHT_BITS)
    return [output_array(arith.apply_weights([total], scaled, result.zero_point, *bounds(node, graph)), node, graph)]


def sum_bound(node: Node, graph: Graph) -> int:
    """Largest |sum| times the multiplier, in any order of summation."""
    widest = [int(np.abs(node.attrs[key]).sum(axis=1).max()) for key in ("row_weights", "column_weights")]
    return widest[0] * widest[1] * reach(graph.value(node.inputs[0])) * abs(int(node.attrs["weights"].multiplier[0]))


def rescaling(ratio: float, output_bits: int, name: str) -> arith.Weights:
    """s_x / s_y as a multiplier of at most 20 bits: sums of 16-bit elements under cubic weights need 41 of the 62."""
    weights = arith.choose_weights([ratio], output_bits, node=name)
    multiplier, shift = weights.multiplier[0], weights.shift
    while multiplier and shift > 0 and (multiplier >= 1 << 20 or shift > 62 - 2 * WEIGHT_BITS):
        multiplier, shift = multiplier >> 1, shift - 1
    if multiplier >= 1 << 20:
        raise EspgenError(f"scale ratio {ratio:.6g} is too large", node=name, hint="re-quantize the output of the Resize")
    return arith.Weights((multiplier,), shift)


def kernel(node: Node, graph: Graph, storage: StorageOf) -> tuple[KernelCall, ...]:
    source, result = graph.value(node.inputs[0]), graph.value(node.outputs[0])
    batch, height, _, channels = source.shape
    _, out_h, out_w, _ = result.shape
    weights: arith.Weights = node.attrs["weights"]
    low, high = bounds(node, graph)
    rows, columns = node.attrs["rows"], node.attrs["columns"]
    shape = {
        "out_width": out_w,
        "channels": channels,
        "row_taps": rows.shape[1],
        "column_taps": columns.shape[1],
        "in_pitch": storage(source.name).pixel_pitch,
        "out_pitch": storage(result.name).pixel_pitch,
        "in_zero_point": source.zero_point,
        "out_zero_point": result.zero_point,
        "low": low,
        "high": high,
        "multiplier": weights.multiplier[0],
        "shift": weights.shift + 2 * WEIGHT_BITS,
        "wide": needs_64_bits(sum_bound(node, graph), weights.shift + 2 * WEIGHT_BITS),
    }
    tables: tuple[tuple[str, Array], ...] = (
        ("row_weight", node.attrs["row_weights"].astype(np.int16).reshape(-1)),
        ("column_offset", (columns * storage(source.name).pixel_pitch).astype(np.int32).reshape(-1)),
        ("column_weight", node.attrs["column_weights"].astype(np.int16).reshape(-1)),
    )
    return tuple(
        KernelCall(
            header="resize.h",
            function="resize",
            shape_type="ResizeShape",
            shape=shape,
            types={"input": source.dtype, "output": result.dtype},
            output=RowTable(result.name, tuple(range(image * out_h, (image + 1) * out_h))),
            inputs=(RowTable(source.name, tuple(int(row) + image * height for row in rows.reshape(-1))),),
            tables=tables,
            rows=out_h,
            row_begin=image * out_h,
            row_end=(image + 1) * out_h,
            advance=(rows.shape[1],),
            table_advance={"row_weight": rows.shape[1]},
        )
        for image in range(batch)
    )


def resize_graph(
    shape: tuple[int, int, int, int],
    size: tuple[int, int],
    transformation: str = "half_pixel",
    mode: str = "linear",
    dtype: DType = DType.INT8,
    ratio: float = 1.0,
    points: tuple[int, int] = (4, 4),
    **attrs: Any,
) -> Graph:
    """A one-node graph; `ratio` is s_x / s_y."""
    builder = GraphBuilder("resize")
    builder.input("x", shape, dtype, 1.0, points[0])
    taps = []
    for extent, count in zip(shape[1:3], size, strict=True):
        axis = Axis(extent, count, count / extent)
        taps += [linear(axis, transformation) if mode == "linear" else cubic(axis, transformation, -0.75, False)]
    attrs |= {"rows": taps[0][0], "row_weights": taps[0][1], "columns": taps[1][0], "column_weights": taps[1][1]}
    weights = rescaling(ratio, 8 * dtype.size, "y")
    out = (shape[0], *size, shape[3])
    builder.node("resize", ("x",), out, dtype, 1.0, points[1], "y", weights=weights, **attrs)
    return builder.build(["y"])


def cases() -> list[Case]:
    image, i16 = (1, 4, 5, 7), DType.INT16
    table = [
        ("twice", resize_graph(image, (8, 10))),
        ("half", resize_graph((1, 8, 6, 3), (4, 3))),
        ("align_corners", resize_graph(image, (7, 9), "align_corners")),
        ("asymmetric", resize_graph(image, (9, 11), "asymmetric")),
        ("to_one_pixel", resize_graph(image, (1, 1), "pytorch_half_pixel")),
        ("from_one_pixel", resize_graph((1, 1, 1, 5), (3, 4))),
        ("batch_2", resize_graph((2, 3, 3, 4), (5, 5))),
        ("rescaled", resize_graph(image, (8, 10), ratio=1.37, points=(-128, 127))),
        ("cubic", resize_graph(image, (9, 13), mode="cubic")),
        ("cubic_down", resize_graph((1, 9, 9, 3), (4, 5), "asymmetric", "cubic")),
        ("clipped", resize_graph(image, (8, 10), low=0, high=50)),
        ("int16", resize_graph(image, (8, 10), dtype=i16, points=(0, 0))),
        ("int16_cubic_rescaled", resize_graph(image, (9, 10), "half_pixel", "cubic", i16, 0.77, (-32768, 9))),
    ]
    return [Case(name, graph) for name, graph in table]


def _lower_resize(context: LoweringContext, node: Node) -> None:
    """Resize: nearest along any axes, linear and cubic along the last two."""
    source, result = context.value(node.inputs[0]), context.value(node.outputs[0])
    attrs = node.attrs
    transformation = attrs.get("coordinate_transformation_mode", "half_pixel")
    rounding = attrs.get("nearest_mode", "round_prefer_floor")
    _check_modes(node, transformation, rounding)
    scales = attrs["scales"]
    axes = [Axis(extent, count, scale) for extent, count, scale in zip(source.shape, result.shape, scales, strict=True)]
    still = [axis.extent == axis.count and axis.scale == 1.0 for axis in axes]
    if attrs["mode"] == "nearest":
        indices = [
            range(axis.extent) if fixed else nearest(axis, transformation, rounding).tolist()
            for axis, fixed in zip(axes, still, strict=True)
        ]
        emit_take(context, node, indices)
        return
    activation(context, node, node.inputs[0])
    activation(context, node, node.outputs[0])
    held, layout = _held_axes(context, node, axes, still)
    taps = [_taps(axis, transformation, node) for axis in held]
    operand = context.fetch(node.inputs[0], layout)
    output = context.define(node.outputs[0], layout)
    if layout == PLAIN:
        operand, output = _as_image(context, node, operand, output, held)
    weights = rescaling(source.scale / result.scale, 8 * result.dtype.size, node.name)
    limits = clip_bounds(context, node, node.outputs[0])
    context.emit(
        node.name, "resize", (operand,), (output,), weights=weights, rows=taps[0][0], row_weights=taps[0][1],
        columns=taps[1][0], column_weights=taps[1][1], **limits,
    )  # fmt: skip
    if layout == PLAIN:
        context.emit(f"{node.name}_reshape", "reshape", (output,), (context.forms[node.outputs[0]][PLAIN],))


def _check_modes(node: Node, transformation: str, rounding: str) -> None:
    if transformation not in TRANSFORMATIONS:
        raise EspgenError(
            f"Resize with coordinate_transformation_mode {transformation!r}",
            node=node.name,
            hint=f"use one of {', '.join(TRANSFORMATIONS)}",
        )
    if rounding not in ROUNDINGS:
        raise EspgenError(f"Resize with nearest_mode {rounding!r}", node=node.name, hint=f"use one of {', '.join(ROUNDINGS)}")
    if int(node.attrs.get("antialias", 0)):
        raise EspgenError("Resize with antialias", node=node.name, hint="use AveragePool, or antialias = 0")


def _held_axes(context: LoweringContext, node: Node, axes: list[Axis], still: list[bool]) -> tuple[list[Axis], str]:
    """The two axes that change as rows and columns, and the layout in which the others are whole."""
    rank = len(axes)
    if rank in (3, 4) and all(still[:2]):
        held = to_held(range(rank), CHANNELS_LAST, -1)[1:3]
        one = Axis(1, 1, 1.0)
        return [axes[index] if index >= 0 else one for index in held], CHANNELS_LAST
    if all(still[:-2]) and rank >= 2:
        return axes[-2:], PLAIN
    raise EspgenError(
        f"{node.attrs['mode']} Resize of axes other than the last two", node=node.name, hint="resize height and width only"
    )


def _as_image(context: LoweringContext, node: Node, operand: str, output: str, held: list[Axis]) -> tuple[str, str]:
    """Operand and output as images of one channel, one per leading index."""
    leading = context.values[operand].elements // (held[0].extent * held[1].extent)
    before = context.add_temporary(f"{operand}_image", (leading, held[0].extent, held[1].extent, 1), operand)
    after = context.add_temporary(f"{output}_image", (leading, held[0].count, held[1].count, 1), output)
    context.emit(f"{node.name}_image", "reshape", (operand,), (before,))
    return before, after


def _taps(axis: Axis, transformation: str, node: Node) -> tuple[Array, Array]:
    if axis.extent == axis.count and axis.scale == 1.0:
        return np.arange(axis.count)[:, None], np.full((axis.count, 1), 2**WEIGHT_BITS)
    if node.attrs["mode"] == "linear":
        return linear(axis, transformation)
    return cubic(axis, transformation, float(node.attrs.get("cubic_coeff_a", -0.75)), bool(node.attrs.get("exclude_outside", 0)))


LOWER = {"Resize": _lower_resize}


SPECS = (
    OpSpec(
        name="resize",
        onnx=("Resize",),
        summary="linear and cubic resizing of rows and columns, 11-bit weights, one rounding",
        reference=reference,
        kernel=kernel,
        macs=lambda node, graph: (
            graph.value(node.outputs[0]).elements * (node.attrs["rows"].shape[1] * (node.attrs["columns"].shape[1] + 1))
        ),
        cases=cases,
        dtypes=("int8", "int16"),
    ),
)
