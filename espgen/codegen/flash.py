"""What a component stores in flash besides its constants and its code: tables of row pointers, and its description."""

from __future__ import annotations

from espgen.codegen.views import ComponentView, LayersView

POINTER = 4
RECORDS = {"Tensor": 68, "Layer": 24, "Step": 16, "LiveBuffer": 20, "Arena": 12, "Model": 124}
"""sizeof on the chip of the structures in espgen/model.h and espgen/arena.h, which assert them."""


def table_bytes(view: ComponentView, layers: LayersView) -> int:
    """Bytes of the component's read-only tables and of the names in them, equal names once."""
    pointers = sum(table.count for table in layers.row_tables)
    names = {view.title, view.planner, *(tensor.name for tensor in view.tensors)}
    names |= {name for entry in view.layer_entries for name in (entry.name, entry.op)}
    names |= {arena.symbol for arena in view.arenas}
    counts = {
        "Tensor": len(view.tensors),
        "Layer": len(view.layer_entries),
        "Step": len(view.steps),
        "LiveBuffer": len(view.buffers),
        "Arena": len(view.arenas),
        "Model": 1,
    }
    indices = len(view.inputs) + len(view.outputs) + sum(entry.outputs for entry in view.layer_entries)
    records = sum(RECORDS[name] * count for name, count in counts.items())
    return POINTER * pointers + records + 2 * indices + sum(len(name.encode()) + 1 for name in names)
