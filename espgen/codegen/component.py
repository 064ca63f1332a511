"""From an integer graph to the view of a component: kernels chosen, storage and memory planned, constants packed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from espgen.codegen import layout
from espgen.codegen.calls import NodePlan, c_type
from espgen.codegen.naming import camel, identifier, model_identifier, port_identifiers
from espgen.codegen.rows import ConstantRows, RowTables
from espgen.codegen.views import (
    ArenaView,
    BufferView,
    ComponentView,
    FieldView,
    LayerEntryView,
    LayersView,
    LayerView,
    PortView,
    ShapeView,
    SizeView,
    StepView,
    TensorView,
)
from espgen.codegen.weights import WeightsBuilder
from espgen.interpret.store import digest
from espgen.ir import Graph, Node, Value
from espgen.ops.base import PADDING_ROW, KernelCall, RowTable
from espgen.ops.registry import spec_of
from espgen.schedule.memory import Arena, MemoryMap
from espgen.schedule.steps import Step
from espgen.schedule.storage import StoragePlan
from espgen.target.chips import DEFAULT, Chip

_ENUMS = {
    "int8": "kInt8",
    "uint8": "kUint8",
    "int16": "kInt16",
    "uint16": "kUint16",
    "int32": "kInt32",
    "int64": "kInt64",
    "float32": "kFloat32",
}


@dataclass(frozen=True)
class Planned:
    """An integer graph with every decision made."""

    graph: Graph
    nodes: tuple[NodePlan, ...]
    storage: StoragePlan
    steps: tuple[Step, ...]
    memory: MemoryMap


@dataclass(frozen=True)
class Layers:
    """One file of layers and its constants."""

    view: LayersView
    weights: bytes
    assembly_symbols: tuple[str, ...]


@dataclass(frozen=True)
class Component:
    """What the project writer needs.

    chip  the layers that run on the chip; host: their portable twins, None where the chip's layers are portable themselves
    assembly  functions (symbol, text)
    """

    view: ComponentView
    chip: Layers
    host: Layers | None
    assembly: tuple[tuple[str, str], ...]


class _Builder:
    """Gathers the parts of one file of layers."""

    def __init__(self, planned: Planned, model: str, twins: bool) -> None:
        self.planned = planned
        self.graph = planned.graph
        self.twins = twins
        self.weights = WeightsBuilder()
        constants = ConstantRows(self.weights)
        self.rows = RowTables(planned.graph, planned.storage, planned.memory, constants)
        self.headers: dict[str, None] = {"espgen/row_table.h": None}
        self.bands: dict[str, list[tuple[int, int]]] = {}
        for step in planned.steps:
            self.bands.setdefault(step.node, []).append((step.begin, step.end))
        self.symbols: dict[str, None] = {}

    def layer(self, index: int, plan: NodePlan, symbol: str) -> LayerView:
        """The function of a layer: makes the rows that it is told, preceded by what has to be done once."""
        shapes: dict[tuple[tuple[str, Any], ...], ShapeView] = {}
        scratch = self.planned.memory.scratch.get(plan.node.name)
        calls = plan.twin if self.twins and plan.twin else plan.calls
        self.rows.declare([table for call in calls for table in (call.output, *call.inputs)], scratch)
        parted = len(self.bands[plan.node.name]) > 1
        lines = self._once(self._prologue(plan, calls), parted)
        for call in calls:
            within = parted and len(calls) > 1
            statement = self._statement(plan, call, shapes, index, parted)
            lines += _guarded(f"begin >= {call.row_begin} && begin < {call.row_end}", statement) if within else statement
        parameters = "uint32_t begin, uint32_t end" if parted else "uint32_t, uint32_t"
        function = f"layer_{index:03d}_{symbol}"
        return LayerView(
            _comments(index, plan, self.graph),
            tuple(shapes.values()),
            function,
            layout.function(f"void {function}({parameters})", lines),
        )

    def _once(self, lines: Sequence[str], parted: bool) -> list[str]:
        """What a layer does before its first rows only."""
        return list(_guarded("begin == 0", lines) if parted and lines else lines)

    def _prologue(self, plan: NodePlan, calls: Sequence[KernelCall]) -> list[str]:
        """Fill the halos and the padding row before a node's first call."""
        lines = self._halos(plan)
        scratch = self.planned.memory.scratch.get(plan.node.name)
        padded = dict.fromkeys(table.value for call in calls for table in call.inputs if PADDING_ROW in table.rows)
        if scratch is not None:
            for value in padded:
                lines += self._fill_padding(value, self.rows.address(scratch))
        return lines

    def _statement(
        self,
        plan: NodePlan,
        call: KernelCall,
        shapes: dict[tuple[tuple[str, Any], ...], ShapeView],
        index: int,
        parted: bool,
    ) -> tuple[str, ...]:
        """The call, for rows [begin, end) where the layer is `parted` into several steps, else for all of them."""
        advance = call.advance if parted else None
        output = self._rows(plan, call.output, call, 1 if advance else 0)
        steps = advance or (0,) * len(call.inputs)
        inputs = [self._rows(plan, table, call, step) for table, step in zip(call.inputs, steps, strict=True)]
        tables = [self._table(name, data, call, parted) for name, data in call.tables]
        rows = "static_cast<int32_t>(end - begin)" if advance else str(call.rows)
        if call.header is None:
            self.symbols[call.function] = None
            second = inputs[1] if len(inputs) > 1 else "nullptr"
            arguments = (output, inputs[0], tables[0] if tables else "nullptr", rows, second)
            return layout.call(call.function, arguments)
        key = tuple(call.shape.items())
        if key not in shapes:
            name = f"kShape{index}" + ("" if not shapes else f"_{len(shapes)}")
            shapes[key] = ShapeView(name, call.shape_type, tuple(_field(*item) for item in call.shape.items()))
        self.headers[f"espgen/kernels/{call.header}"] = None
        types = (c_type(dtype.numpy) for dtype in call.types.values())
        template = ", ".join((shapes[key].symbol, *types))
        return layout.call(f"espgen::{call.function}<{template}>", (output, *inputs, *tables, rows))

    def _rows(self, plan: NodePlan, table: RowTable, call: KernelCall, advance: int) -> str:
        """A row table from where the rows that are to be made begin."""
        symbol = self.rows.symbol(table, self.planned.memory.scratch.get(plan.node.name))
        return f"{symbol}{_moved(call, advance)}"

    def _table(self, name: str, data: Any, call: KernelCall, parted: bool) -> str:
        element = "void" if isinstance(data, bytes) else c_type(data.dtype)
        moved = _moved(call, call.table_advance.get(name, 0)) if parted else ""
        return f"constants<{element}>({self.weights.add(data)}){moved}"

    def _fill_padding(self, name: str, address: str) -> tuple[str, ...]:
        value, storage = self.graph.value(name), self.planned.storage.storages[name]
        count = (storage.row_pitch + 16) // storage.item
        return layout.call(f"espgen::fill<{value.dtype.value}_t>", (address, str(value.zero_point), str(count)))

    def _halos(self, plan: NodePlan) -> list[str]:
        """Fill the halos of the values this node writes, and of graph inputs it reads first."""
        written = [name for name in plan.node.outputs if name]
        for name in plan.node.inputs:
            if name in self.graph.inputs and self._first_reader(name) == plan.node.name:
                written.append(name)
        lines: list[str] = []
        for name in written:
            storage = self.planned.storage.storages[name]
            if not storage.pad_left and not storage.pad_right:
                continue
            value = self.graph.value(name)
            base = self.rows.address(self.planned.memory.values[name])
            per_pixel = storage.pixel_pitch // storage.item
            right = (storage.pad_left + storage.pixels) * storage.pixel_pitch
            right_count = (storage.row_pitch - right) // storage.item
            counts = (storage.held_rows, storage.row_pitch, storage.pad_left * per_pixel, right, right_count)
            arguments = (base, str(value.zero_point), *map(str, counts))
            lines += layout.call(f"espgen::fill_halo<{value.dtype.value}_t>", arguments)
        return lines

    def _first_reader(self, name: str) -> str:
        return next((node.name for node in self.graph.nodes if name in node.inputs), "")


def build_component(planned: Planned, model_name: str, chip: Chip = DEFAULT) -> Component:
    """The view of a component with every text a template prints, its constants and its assembly."""
    graph = planned.graph
    model = model_identifier(model_name)
    run = [plan for plan in planned.nodes if plan.calls]
    layers = _layers(planned, model, run, twins=False)
    host = _layers(planned, model, run, twins=True) if any(plan.twin for plan in run) else None
    names = list(dict.fromkeys([*graph.inputs, *(n for plan in run for n in plan.node.outputs if n), *graph.outputs]))
    numbers = {name: number for number, name in enumerate(names)}
    outputs: list[int] = []
    entries = []
    for plan in run:
        node_outputs = [numbers[name] for name in plan.node.outputs if name]
        macs = spec_of(plan.node.op).macs(plan.node, graph)
        entries.append(LayerEntryView(plan.node.name, plan.node.op, macs, len(outputs), len(node_outputs)))
        outputs += node_outputs
    text = digest(graph)
    memory = planned.memory
    rows = RowTables(graph, planned.storage, memory)
    view = ComponentView(
        model=model,
        title=graph.name,
        digest=text,
        hash_bytes=layout.filled([f"0x{text[i : i + 2]}" for i in range(0, 64, 2)], 8, columns=74),
        arenas=tuple(_arena(arena, model) for arena in memory.arenas),
        arena_sizes=_arena_sizes(memory),
        internal_bytes=memory.bytes_of("internal"),
        psram_bytes=memory.bytes_of("psram"),
        arena_bytes=_arena_bytes(memory, f"{model}_arena"),
        weight_bytes=len(layers.weights),
        planner=memory.plan.status,
        layers=layers.view.layers,
        tensors=tuple(_tensor(graph.value(name), planned, rows) for name in names),
        layer_entries=tuple(entries),
        layer_outputs=layout.filled([str(number) for number in outputs] or ["0"], 4),
        steps=_steps(planned, layers.view.layers, [entry.name for entry in entries]),
        buffers=_buffers(memory),
        inputs=_ports(graph, graph.inputs, numbers, "kInput"),
        outputs=_ports(graph, graph.outputs, numbers, "kOutput"),
        assembly_symbols=layers.assembly_symbols,
        sources=(),
        guard=f"ESPGEN_MODEL_{model.upper()}_",
        chip=chip.label(),
        targets=("esp32p4",) if chip.has_vectors else (),
        idf=chip.idf,
        license="",
        url="",
    )
    assembly = tuple(sorted({function for plan in planned.nodes for function in plan.assembly}))
    return Component(view, layers, host, assembly)


def _arena(arena: Arena, model: str) -> ArenaView:
    """`internal_2` is `net_arena_internal_2`, `kInternal2Bytes`, ESPGEN_IN_INTERNAL_2 and ESPGEN_SHARED_INTERNAL_2."""
    return ArenaView(
        symbol=f"{model}_arena_{arena.name}",
        nbytes=arena.nbytes,
        memory=arena.memory,
        constant=_size_constant(arena.name),
        place=f"ESPGEN_IN_{arena.name.upper()}",
        shared=f"ESPGEN_SHARED_{arena.name.upper()}",
    )


def _arena_sizes(memory: MemoryMap) -> tuple[SizeView, ...]:
    """kInternalBytes and kPsramBytes in every header, and one constant per further piece that holds something."""
    sizes = {"internal": 0, "psram": 0} | {arena.name: arena.nbytes for arena in memory.arenas}
    return tuple(SizeView(_size_constant(name), nbytes) for name, nbytes in sorted(sizes.items()))


def _size_constant(arena: str) -> str:
    return "k" + "".join(part.capitalize() for part in arena.split("_")) + "Bytes"


def _layers(planned: Planned, model: str, run: Sequence[NodePlan], *, twins: bool) -> Layers:
    builder = _Builder(planned, model, twins)
    layers = tuple(builder.layer(index, plan, identifier(plan.node.name)) for index, plan in enumerate(run))
    suffix = "_host" if twins else ""
    view = LayersView(
        model=model,
        title=planned.graph.name,
        note="portable twins of the chip's layers, for a PC" if twins else "its layers",
        headers=_headers(model, builder.headers, twins),
        row_tables=builder.rows.views(),
        layers=layers,
        weights_file=f"{model}_weights{suffix}.bin",
        has_constant_rows=any("constant(" in line for table in builder.rows.views() for line in table.lines),
        weight_bytes=len(builder.weights.binary()),
    )
    return Layers(view, builder.weights.binary(), tuple(builder.symbols))


def _guarded(condition: str, lines: Sequence[str]) -> tuple[str, ...]:
    """The lines in a block of their own; one that fits stands behind its condition."""
    if len(lines) == 1 and len(f"  if ({condition}) {lines[0]}") <= layout.COLUMNS:
        return (f"if ({condition}) {lines[0]}",)
    return (f"if ({condition}) {{", *(f"  {line}" for line in lines), "}")


def _moved(call: KernelCall, advance: int) -> str:
    """How far behind a table's start the rows from `begin` on start, `advance` entries per row of the call."""
    if not advance:
        return ""
    first = f"(begin - {call.row_begin})" if call.row_begin else "begin"
    return f" + {first}" if advance == 1 else f" + {advance} * {first}"


def _steps(planned: Planned, layers: Sequence[LayerView], names: Sequence[str]) -> tuple[StepView, ...]:
    numbers = {name: number for number, name in enumerate(names)}
    return tuple(
        StepView(layers[numbers[step.node]].function, numbers[step.node], step.begin, step.end) for step in planned.steps
    )


def _buffers(memory: MemoryMap) -> tuple[BufferView, ...]:
    """The planned buffers by arena and offset, without the bytes behind each that may only be read."""
    arenas = {arena.name: number for number, arena in enumerate(memory.arenas)}
    views = []
    for buffer in memory.buffers:
        place = memory.places[buffer.name]
        views.append(BufferView(buffer.name, arenas[place.arena], place.offset, buffer.size, buffer.first, buffer.last))
    return tuple(sorted(views, key=lambda view: (view.arena, view.offset)))


def _arena_bytes(memory: MemoryMap, arena: str) -> tuple[str, ...]:
    """The functions that give a byte of each arena, as lines."""
    functions = [
        layout.function(f"constexpr uint8_t* {held.name}(uint32_t offset)", (f"return ESPGEN_AT({arena}_{held.name}, offset);",))
        for held in memory.arenas
    ]
    return tuple(line for lines in functions for line in lines)


def _headers(model: str, kernels: Mapping[str, None], twins: bool) -> tuple[str, ...]:
    """What a file of layers includes, in clang-format's order: its own header first, with an empty line after it."""
    own, others = f"{model}_layers.h", ["espgen/fill.h", *kernels]
    return tuple(sorted([own, *others])) if twins else (own, "", *sorted(others))


def _field(name: str, value: Any) -> FieldView:
    if isinstance(value, bool | np.bool_):
        return FieldView(name, "true" if value else "false")
    if isinstance(value, Sequence) and not isinstance(value, str):
        return FieldView(name, "{" + ", ".join(_field("", item).text for item in value) + "}")
    if isinstance(value, str):
        return FieldView(name, value if value.startswith("{") else f"espgen::{value}")
    number = int(value)
    text = str(number)
    if number == -(2**31):
        text = "-2147483647 - 1"
    elif not -(2**31) <= number < 2**31:
        text = f"INT64_C({number})"
    return FieldView(name, text)


def _describe(value: Value) -> str:
    shape = "x".join(str(extent) for extent in value.shape) or "scalar"
    text = f"{value.dtype.value} [{shape}]"
    if value.quant is not None and value.quant.per_tensor:
        text += f" scale {value.scale:.7g} zero point {value.zero_point}"
    return text


def _comments(index: int, plan: NodePlan, graph: Graph) -> tuple[str, ...]:
    node = plan.node
    lines = [f"Layer {index}: {node.op} {node.name}{_geometry(node, graph)}, kernel {plan.kernel}"]
    for name in node.inputs:
        if name and not graph.is_constant(name):
            lines.append(f"  in  {name}: {_describe(graph.value(name))}")
    lines += [f"  out {name}: {_describe(graph.value(name))}" for name in node.outputs if name]
    return tuple(lines)


def _geometry(node: Node, graph: Graph) -> str:
    if node.op != "conv2d":
        return ""
    _, height, width, _ = graph.value(node.inputs[1]).shape
    attrs = node.attrs
    kind = f" {height}x{width} stride {attrs['strides'][0]}x{attrs['strides'][1]} pads {list(attrs['pads'])}"
    return kind + (f" groups {attrs['groups']}" if attrs["groups"] != 1 else "")


def _tensor(value: Value, planned: Planned, rows: RowTables) -> TensorView:
    storage = planned.storage.storages[value.name]
    quantized = value.quant is not None and value.quant.per_tensor
    return TensorView(
        name=value.name,
        dtype=_ENUMS[value.dtype.value],
        rank=len(value.shape),
        shape="{" + ", ".join(str(extent) for extent in (*value.shape, *(0,) * (6 - len(value.shape)))) + "}",
        scale=c_float(value.scale if quantized else 1.0),
        zero_point=value.zero_point if quantized else 0,
        base=rows.base(value.name),
        rows=storage.rows,
        pixels=storage.pixels,
        pixel_bytes=storage.channels * storage.item,
        pixel_pitch=storage.pixel_pitch,
        row_pitch=storage.row_pitch,
        ring_rows=storage.held_rows,
    )


def _ports(graph: Graph, names: Sequence[str], numbers: Mapping[str, int], prefix: str) -> tuple[PortView, ...]:
    verbs = ("write_{0}", "write_{0}_real", "write_{0}_image", "make_{0}_table", "read_{0}", "read_{0}_real", "best_of_{0}")
    symbols = port_identifiers(names, lambda symbol: (prefix + camel(symbol), *(verb.format(symbol) for verb in verbs)))
    ports = []
    for name in names:
        value = graph.value(name)
        quantized = value.quant is not None and value.quant.per_tensor
        ports.append(
            PortView(
                symbol=symbols[name],
                name=name,
                ctype=f"{value.dtype.value}_t",
                constant=prefix + camel(symbols[name]),
                shape="{" + ", ".join(str(extent) for extent in value.shape) + "}",
                shape_text="x".join(str(extent) for extent in value.shape) or "scalar",
                layout=value.layout or "as in the model",
                elements=value.elements,
                scale=c_float(value.scale if quantized else 1.0),
                zero_point=value.zero_point if quantized else 0,
                low=max(value.dtype.minimum, -(2**31) + 1),
                high=min(value.dtype.maximum, 2**31 - 1),
                tensor=numbers[name],
                is_image=value.layout == "NHWC" and value.shape[0] == 1 and value.shape[3] in (1, 3),
                channels=value.shape[-1] if value.shape else 1,
            )
        )
    return tuple(ports)


def c_float(value: float) -> str:
    """A float literal that reads back as the same float32."""
    text = f"{np.float32(value):.9g}"
    if not any(mark in text for mark in ".e"):
        text += ".0"
    return text + "f"
