"""Row pointer tables: from rows of values to C++ address expressions, each table printed once.

Calls that work on neighbouring tiles of the same value share one table and start at different entries of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from espgen.codegen.layout import filled
from espgen.codegen.views import RowTableView
from espgen.codegen.weights import WeightsBuilder
from espgen.ir import Graph
from espgen.ops.base import PADDING_ROW, RowTable
from espgen.schedule.memory import Address, MemoryMap
from espgen.schedule.storage import StoragePlan

_Key = tuple[str, int, int]
_Rows = tuple[int, ...]


@dataclass(frozen=True)
class ConstantRows:
    """Where rows of constant operands lie: the array `symbol` that holds `weights`."""

    symbol: str
    weights: WeightsBuilder


class RowTables:
    """Collects the tables of all calls."""

    def __init__(
        self, graph: Graph, storage: StoragePlan, memory: MemoryMap, arena: str, constants: ConstantRows | None = None
    ) -> None:
        self._graph = graph
        self._constants = constants
        self._storage = storage
        self._memory = memory
        self._arena = arena
        self._tables: dict[_Key, list[tuple[str, _Rows, Address | None]]] = {}
        self._views: list[RowTableView] = []

    def address(self, place: Address, extra: int = 0) -> str:
        """C++ expression for a byte of an arena."""
        return f"ESPGEN_AT({self._arena}_{place.tier}, {place.offset + extra})"

    def base(self, name: str) -> str:
        """C++ expression for pixel 0 of row 0 of a value."""
        storage = self._storage.storages[name]
        return self.address(self._memory.values[name], storage.pad_left * storage.pixel_pitch)

    def _row(self, name: str, offset: int) -> str:
        """C++ expression for byte `offset` of a value, which may be a constant among the weights."""
        data = self._graph.constant(name)
        if data is None:
            return self.address(self._memory.values[name], offset)
        assert self._constants is not None
        return f"const_cast<uint8_t*>({self._constants.symbol} + {self._constants.weights.add(data) + offset})"

    def declare(self, tables: Sequence[RowTable], padding: Address | None) -> None:
        """Print tables that hold all of `tables`, the calls of one node in order, joining those that continue each other."""
        whole: dict[_Key, list[_Rows]] = {}
        for table in tables:
            runs = whole.setdefault(_key(table), [])
            joined = _joined(runs[-1], table.rows) if runs else None
            if joined is None:
                runs.append(table.rows)
            else:
                runs[-1] = joined
        for key, runs in whole.items():
            for rows in runs:
                if self._find(key, rows, padding) is None:
                    self._print(key, rows, padding)

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
        storage = self._storage.of(self._graph, name)
        start = (storage.pad_left + first_pixel) * storage.pixel_pitch + byte_offset
        entries = []
        for row in rows:
            if row == PADDING_ROW:
                assert padding is not None
                entries.append(self.address(padding))
            else:
                entries.append(self._row(name, start + row * storage.row_pitch))
        lines = filled(entries, 4)
        value = self._graph.value(name)
        shape = "x".join(str(extent) for extent in value.shape)
        padded = rows.count(PADDING_ROW)
        note = f"{name} [{shape}]: {len(rows)} rows" + (f", {padded} of them padding" if padded else "")
        symbol = f"kRows{len(self._views)}"
        self._views.append(RowTableView(symbol, note, len(entries), lines))
        self._tables.setdefault(key, []).append((symbol, rows, padding if padded else None))


def _key(table: RowTable) -> _Key:
    return (table.value, table.first_pixel, table.byte_offset)


def _joined(first: _Rows, second: _Rows) -> _Rows | None:
    """`first` continued by `second` where the end of one is the beginning of the other, or the next row follows."""
    for overlap in range(min(len(first), len(second)), 0, -1):
        if first[-overlap:] == second[:overlap]:
            return first + second[overlap:]
    follows = first[-1] != PADDING_ROW and second[0] == first[-1] + 1
    return first + second if follows else None
