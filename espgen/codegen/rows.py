"""Row pointer tables: from rows of values to C++ address expressions, each table printed once."""

from __future__ import annotations

from espgen.codegen.views import RowTableView
from espgen.ir import Graph
from espgen.ops.base import PADDING_ROW, RowTable
from espgen.schedule.memory import Address, MemoryMap
from espgen.schedule.storage import StoragePlan

_PER_LINE = 4


class RowTables:
    """Collects the tables of all calls; equal ones share a symbol."""

    def __init__(self, graph: Graph, storage: StoragePlan, memory: MemoryMap, arena: str) -> None:
        self._graph = graph
        self._storage = storage
        self._memory = memory
        self._arena = arena
        self._symbols: dict[tuple[str, ...], str] = {}
        self._views: list[RowTableView] = []

    def address(self, place: Address, extra: int = 0) -> str:
        """C++ expression for a byte of an arena."""
        return f"ESPGEN_AT({self._arena}_{place.tier}, {place.offset + extra})"

    def base(self, name: str) -> str:
        """C++ expression for pixel 0 of row 0 of a value."""
        storage = self._storage.storages[name]
        return self.address(self._memory.values[name], storage.pad_left * storage.pixel_pitch)

    def symbol(self, table: RowTable, padding: Address | None) -> str:
        """Symbol of `table`; its PADDING_ROWs point to `padding`."""
        storage = self._storage.storages[table.value]
        place = self._memory.values[table.value]
        start = (storage.pad_left + table.first_pixel) * storage.pixel_pitch + table.byte_offset
        entries = []
        for row in table.rows:
            if row == PADDING_ROW:
                assert padding is not None
                entries.append(self.address(padding))
            else:
                entries.append(self.address(place, start + row * storage.row_pitch))
        return self._intern(table, tuple(entries))

    def views(self) -> tuple[RowTableView, ...]:
        return tuple(self._views)

    def _intern(self, table: RowTable, entries: tuple[str, ...]) -> str:
        if entries not in self._symbols:
            symbol = f"kRows{len(self._views)}"
            value = self._graph.value(table.value)
            shape = "x".join(str(extent) for extent in value.shape)
            lines = tuple(
                ", ".join(entries[start : start + _PER_LINE]) + "," for start in range(0, len(entries), _PER_LINE)
            )
            padded = sum(row == PADDING_ROW for row in table.rows)
            note = f"{value.name} [{shape}]: {len(entries)} rows" + (f", {padded} of them padding" if padded else "")
            self._symbols[entries] = symbol
            self._views.append(RowTableView(symbol, note, len(entries), lines))
        return self._symbols[entries]
