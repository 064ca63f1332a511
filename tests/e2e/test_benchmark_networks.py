"""The networks of benchmarks/ in the simulator: equal to the interpreter byte for byte, and within their limits."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

from make_models import MODELS
from networks import NETWORKS, measure, table, write_models

pytest.importorskip("ziglang")


@pytest.mark.parametrize("name", sorted(MODELS))
def test_made_networks_keep_their_limits(name: str, tmp_path: Path) -> None:
    (network,) = (network for network in NETWORKS if network.source == name)
    row = measure(network, write_models(tmp_path)[name], tmp_path, samples=1)
    assert row.exact
    assert row.within, (row.warm, row.cold, row.limits)
    assert row.layers_cycles == row.warm_cycles
    assert row.portable_layers == ("softmax/Softmax",)
    assert row.title in table([row])
