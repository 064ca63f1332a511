"""Saved graphs come back as they were, whatever attributes the operators have."""

from __future__ import annotations

import pytest

from espgen.errors import EspgenError
from espgen.interpret import store
from espgen.ir import dump
from espgen.ops.registry import specs


@pytest.mark.parametrize("op", sorted(specs()))
def test_every_operators_graphs_come_back(op: str) -> None:
    for case in specs()[op].cases():
        data = store.save(case.graph)
        again = store.load(data)
        assert dump(again) == dump(case.graph), case.name
        assert store.save(again) == data, case.name


def test_damage_is_refused() -> None:
    data = store.save(specs()["reduce_mean"].cases()[0].graph)
    for damaged in (b"", data[: len(data) // 2], data.replace(b'"Ratio"', b'"Rat"')):
        with pytest.raises(EspgenError, match="the component's graph is damaged"):
            store.load(damaged)
