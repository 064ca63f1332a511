"""The same elements in the same order under another shape: Reshape, Flatten, Squeeze, Unsqueeze.

Where both values are stored without gaps this is an alias; the kernel copies where they are not.
"""

from __future__ import annotations

from collections.abc import Sequence

from espgen.ir import DType, Graph, Node, Value
from espgen.ops.base import Array, Case, GraphBuilder, KernelCall, OpSpec, RowTable, StorageOf, output_array, rows_of
from espgen.ops.lowering import CHANNELS_LAST, PLAIN, LoweringContext
from espgen.ops.operands import activation, rescaled, same_meaning
from espgen.ops.product_lowering import FLAT


def reference(node: Node, inputs: Sequence[Array], graph: Graph) -> list[Array]:
    return [output_array(inputs[0], node, graph)]


def kernel(node: Node, graph: Graph, storage: StorageOf) -> tuple[KernelCall, ...]:
    source, result = graph.value(node.inputs[0]), graph.value(node.outputs[0])
    in_rows, in_pixels, in_channels = rows_of(source.shape)
    rows, pixels, channels = rows_of(result.shape)
    shape = {
        "in_pixels": in_pixels,
        "in_channels": in_channels,
        "in_pitch": storage(source.name).pixel_pitch,
        "pixels": pixels,
        "channels": channels,
        "out_pitch": storage(result.name).pixel_pitch,
    }
    return (
        KernelCall(
            header="reshape.h",
            function="reshape",
            shape_type="ReshapeShape",
            shape=shape,
            types={"element": result.dtype},
            output=RowTable(result.name, tuple(range(rows))),
            inputs=(RowTable(source.name, tuple(range(in_rows))),),
            tables=(),
            rows=rows,
            row_begin=0,
            row_end=rows,
        ),
    )


def reshape_graph(before: tuple[int, ...], after: tuple[int, ...], dtype: DType = DType.INT8) -> Graph:
    """A one-node graph."""
    builder = GraphBuilder("reshape")
    builder.input("x", before, dtype, 1.0, 6)
    builder.node("reshape", ("x",), after, dtype, 1.0, 6, "y")
    return builder.build(["y"])


def cases() -> list[Case]:
    table = [
        ("flatten", reshape_graph((1, 3, 4, 5), (1, 60))),
        ("unflatten", reshape_graph((60,), (1, 3, 4, 5))),
        ("squeeze", reshape_graph((1, 1, 1, 17), (17,))),
        ("shifted_boundaries", reshape_graph((2, 3, 5, 7), (6, 7, 5))),
        ("no_common_boundary", reshape_graph((2, 3), (3, 2))),
        ("scalar", reshape_graph((1, 1), ())),
        ("rank_6", reshape_graph((1, 4, 6, 5), (1, 2, 2, 3, 2, 5))),
        ("int16", reshape_graph((1, 3, 4, 5), (5, 12), DType.INT16)),
    ]
    return [Case(name, graph) for name, graph in table]


def _lower_reshape(context: LoweringContext, node: Node) -> None:
    """Reshape: of a channels-last value in place where no element moves, else in ONNX's order."""
    source, output = node.inputs[0], node.outputs[0]
    before, after = context.value(source), context.value(output)
    if not same_meaning(before, after):
        activation(context, node, source)
    if context.layout_of([source]) == CHANNELS_LAST and _reshape_last(context, node, before, after):
        return
    operand = rescaled(context, node, context.fetch(source, PLAIN), before, after)
    context.emit(node.name, "reshape", (operand,), (context.define(output, PLAIN),))


def _reshape_last(context: LoweringContext, node: Node, before: Value, after: Value) -> bool:
    """Lower from the channels-last form; False where that would move elements."""
    source, output = node.inputs[0], node.outputs[0]
    images = {3, 4}
    if {len(before.shape), len(after.shape)} <= images and before.shape[:2] == after.shape[:2]:
        operand = rescaled(context, node, context.fetch(source, CHANNELS_LAST), before, after)
        context.emit(node.name, "reshape", (operand,), (context.define(output, CHANNELS_LAST),))
        return True
    batch, channels, *spatial = before.shape
    flat = after.shape == (batch, before.elements // max(batch, 1))
    if not flat or context.form(source, PLAIN) is not None or not _feeds_products(context, output):
        return False
    operand = rescaled(context, node, context.fetch(source, CHANNELS_LAST), before, after)
    height, width = (1, *spatial)[-2:]
    key = f"{FLAT}:{channels}:{height}:{width}"
    held = Value(output, after.shape, after.dtype, after.quant)
    context.emit(node.name, "reshape", (operand,), (context.new_value(output, held, key),))
    return True


def _feeds_products(context: LoweringContext, name: str) -> bool:
    """Whether all readers multiply by a constant matrix, whose columns can move instead of the elements."""
    readers = context.source.consumers()[name]
    products = all(
        reader.op in ("Gemm", "MatMul")
        and reader.inputs[0] == name
        and name not in reader.inputs[1:]
        and (matrix := context.constant(reader.inputs[1])) is not None
        and matrix.ndim == 2
        for reader in readers
    )
    return bool(readers) and products and name not in context.source.outputs


LOWER = {"Reshape": _lower_reshape}


SPECS = (
    OpSpec(
        name="reshape",
        onnx=("Reshape", "Flatten", "Squeeze", "Unsqueeze"),
        summary="another shape for the same elements: an alias where the storage allows it, else a copy",
        reference=reference,
        kernel=kernel,
        cases=cases,
        dtypes=("int8", "int16"),
        notes="alias where both storages are dense",
    ),
)
