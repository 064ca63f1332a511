"""Random networks: onnxruntime = interpreter (within one unit) = host component = simulator (every byte of every layer).

Several networks make one component, because building costs more than running.
"""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("onnxruntime", reason="scales the networks, and is the outside oracle of their layers")

from network_check import different_layers, disagreements, lowered, merged
from random_networks import random_network

from espgen.codegen.build import BANDS, Options

SEEDS = range(48)
"""Of the normal run; the few that are built for the host and for the simulator are the first of them."""

AMPLE, SCARCE = Options(internal_bytes=64 * 1024), Options(internal_bytes=8 * 1024)
"""Most activations in internal memory (beside the code of so many layers there is not more); few of them."""
IN_BANDS = Options(internal_bytes=8 * 1024, schedule=BANDS)


@pytest.mark.parametrize("first", SEEDS[::12])
def test_layers_agree_with_onnxruntime(first: int, tmp_path: Path) -> None:
    for seed in range(first, first + 12):
        assert not disagreements(lowered(random_network(seed), tmp_path)), seed


@pytest.mark.parametrize(
    ("seeds", "target", "options"),
    [(range(6), "host", SCARCE), (range(6, 14), "esp32p4-v3", SCARCE), (range(14, 22), "esp32p4-v1", IN_BANDS)],
    ids=["host", "v3", "v1 in bands"],
)
def test_components_equal_the_interpreter(seeds: range, target: str, options: Options, tmp_path: Path) -> None:
    graph = merged([lowered(random_network(seed), tmp_path) for seed in seeds])
    assert not different_layers(graph, tmp_path / "component", target, options)


@pytest.mark.prove
@pytest.mark.parametrize("first", range(1000, 2000, 100))
def test_many_layers_agree_with_onnxruntime(first: int, tmp_path: Path) -> None:
    for seed in range(first, first + 100):
        assert not disagreements(lowered(random_network(seed), tmp_path)), seed


@pytest.mark.prove
@pytest.mark.parametrize("target", ["host", "sim"])
@pytest.mark.parametrize("first", range(1000, 1600, 40))
def test_many_components_equal_the_interpreter(first: int, target: str, tmp_path: Path) -> None:
    graph = merged([lowered(random_network(seed), tmp_path) for seed in range(first, first + 40)])
    options = (AMPLE, SCARCE, IN_BANDS)[first // 40 % 3]
    assert not different_layers(graph, tmp_path / "component", target, options)


@pytest.mark.prove
@pytest.mark.parametrize("sanitize", [("undefined",), ("address", "undefined")], ids=["ubsan", "asan"])
def test_sanitizers_have_nothing_to_say(sanitize: tuple[str, ...], tmp_path: Path) -> None:
    graph = merged([lowered(random_network(seed), tmp_path) for seed in range(2000, 2020)])
    assert not different_layers(graph, tmp_path / "component", "host", SCARCE, sanitize)
