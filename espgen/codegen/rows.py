"""Row pointer tables: from rows of values to C++ expressions, each table printed once.

Calls that read or write the same rows of a value share one table, also where one needs only a run of the other's rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from espgen.codegen import layout
from espgen.codegen.naming import identifier
from espgen.codegen.views import RowTableView
from espgen.codegen.weights import WeightsBuilder
from espgen.ir import Graph, unused_name
from espgen.ops.base import PADDING_ROW, RowTable
from espgen.schedule.memory import Address, MemoryMap
from espgen.schedule.storage import StoragePlan

_Key = tuple[str, int, int]
_Rows = tuple[int, ...]


@dataclass(frozen=True)
class ConstantRows:
    """Where rows of constant operands lie: in the array that holds `weights`."""

    weights: WeightsBuilder


class RowTables:
    """Collects the tables of all calls."""

    def __init__(
        self, graph: Graph, storage: StoragePlan, memory: MemoryMap, constants: ConstantRows | None = None
    ) -> None:
        self._graph = graph
        self._constants = constants
        self._storage = storage
        self._memory = memory
        self._tables: dict[_Key, list[tuple[str, _Rows, Address | None]]] = {}
        self._views: list[RowTableView] = []
        self._symbols: set[str] = set()

    def address(self, place: Address, extra: int = 0) -> str:
        """C++ expression for a byte of an arena: the function of the arena that the files of a component define."""
        return f"{place.arena}({place.offset + extra})"

    def base(self, name: str) -> str:
        """C++ expression for pixel 0 of row 0 of a value."""
        storage = self._storage.storages[name]
        return self.address(self._memory.values[name], storage.pad_left * storage.pixel_pitch)

    def declare(self, tables: Sequence[RowTable], padding: Address | None) -> None:
        """Print what `tables` need: the tables of one node's calls, whose padding rows lie at `padding`."""
        for table in sorted(tables, key=lambda table: -len(table.rows)):
            if self._find(_key(table), table.rows, padding) is None:
                self._print(_key(table), table.rows, padding)

    def symbol(self, table: RowTable, padding: Address | None) -> str:
        """C++ expression for a declared table; its PADDING_ROWs point to `padding`."""
        found = self._find(_key(table), table.rows, padding)
        assert found is not None
        return found

    def views(self) -> tuple[RowTableView, ...]:
        """All tables, in the order they were declared."""
        return tuple(self._views)

    def _find(self, key: _Key, rows: _Rows, padding: Address | None) -> str | None:
        for symbol, held, used in self._tables.get(key, ()):
            if used not in (None, padding):
                continue
            for start in range(len(held) - len(rows) + 1):
                if held[start : start + len(rows)] == rows:
                    return symbol if start == 0 else f"{symbol} + {start}"
        return None

    def _print(self, key: _Key, rows: _Rows, padding: Address | None) -> None:
        name, first_pixel, byte_offset = key
        value, storage = self._graph.value(name), self._storage.of(self._graph, name)
        start = (storage.pad_left + first_pixel) * storage.pixel_pitch + byte_offset
        padded = rows.count(PADDING_ROW)
        pad = self.address(padding) if padded and padding is not None else ""
        offsets = [None if row == PADDING_ROW else start + storage.row_offset(row) for row in rows]
        shape = "x".join(str(extent) for extent in value.shape)
        symbol = unused_name(f"k{''.join(part.capitalize() for part in identifier(name).split('_'))}", self._symbols)
        self._symbols.add(symbol)
        note = f"{name} [{shape}]: {len(rows)} rows" + (f", {padded} of them padding" if padded else "")
        lines = self._regular(symbol, name, rows, start, pad) or self._listed(symbol, name, offsets, pad)
        self._views.append(RowTableView(symbol, note, len(rows), lines))
        self._tables.setdefault(key, []).append((symbol, rows, padding if padded else None))

    def _byte(self, name: str, offset: int) -> str:
        """C++ expression for byte `offset` of a value, which may be a constant among the weights."""
        data = self._graph.constant(name)
        if data is None:
            return self.address(self._memory.values[name], offset)
        assert self._constants is not None
        return f"constant({self._constants.weights.add(data) + offset})"

    def _regular(self, symbol: str, name: str, rows: _Rows, start: int, pad: str) -> tuple[str, ...] | None:
        """Rows at one distance, with or without padding before and behind; None where they lie otherwise."""
        inside = [row for row in rows if row != PADDING_ROW]
        if not inside:
            return None
        above = next(number for number, row in enumerate(rows) if row != PADDING_ROW)
        below = len(rows) - above - len(inside)
        step = inside[1] - inside[0] if len(inside) > 1 else 0
        if list(rows[above : above + len(inside)]) != [inside[0] + step * number for number in range(len(inside))]:
            return None
        storage = self._storage.of(self._graph, name)
        ring = storage.ring_rows
        if ring and (inside[0] % ring or step > 1):
            return None
        head = f"constexpr auto {symbol} = espgen::"
        first = self._byte(name, start + storage.row_offset(inside[0]))
        pitch, held = str(step * storage.row_pitch), (str(ring),) if ring else ()
        if not pad:
            return layout.declaration(f"{head}rows<{len(rows)}>", (first, pitch, *held), ");")
        arguments = (str(above), first, pitch, str(below), pad, *held)
        return layout.declaration(f"{head}padded_rows<{len(rows)}>", arguments, ");")

    def _listed(self, symbol: str, name: str, offsets: Sequence[int | None], pad: str) -> tuple[str, ...]:
        entries = [pad if offset is None else self._byte(name, offset) for offset in offsets]
        lines = layout.filled(entries, 4, "}};")
        return (f"constexpr espgen::RowTable<{len(offsets)}> {symbol} = {{{{", *(f"    {line}" for line in lines))


def _key(table: RowTable) -> _Key:
    return (table.value, table.first_pixel, table.byte_offset)
