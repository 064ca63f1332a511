"""Mixed precision by cycles and fallback by latency: what is measured, what the search makes of it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

import numpy as np
import pytest

from espgen.errors import EspgenError, environment_error
from espgen.frontend import load_onnx
from espgen.ir import Graph
from espgen.passes.pipeline import lower_to_integer
from espgen.quantize.cheapest import fewest_cycles, filled, marginal_order
from espgen.quantize.exporter import qdq_bytes
from espgen.quantize.fallback import Ranking, TopOne
from espgen.quantize.imports import strip_qdq
from espgen.quantize.latency import Border, Cycles, changed, find_borders, latency_fallback, measured_costs, not_faster
from espgen.quantize.mixed import Target, fewest, mac_costs
from espgen.quantize.model import Scheme
from espgen.quantize.pipeline import run_float, run_quantized
from espgen.quantize.recipes import MINMAX
from espgen.quantize.settings import Settings
from tests.unit.quantize_nets import HARD, images

CALIBRATION = {"input": images(64, seed=1)}
TEST = {"input": images(96, seed=2)}
POOR = Settings(**{**MINMAX, "scheme": Scheme.ESP_DL})
UP, DOWN = 3.0, 7.0


def _labels(graph: Graph) -> np.ndarray:
    scores = run_float(graph, TEST)[graph.outputs[0]]
    return np.asarray(scores.reshape(len(scores), -1).argmax(axis=1))


def _widths(model: bytes) -> dict[str, int]:
    """Bits of each layer's output, by node name."""
    stripped = strip_qdq(load_onnx(model))
    bits = {}
    for node in stripped.graph.nodes:
        name = node.outputs[0]
        readers = stripped.graph.consumers().get(name, [])
        if name not in stripped.grids and len(readers) == 1:
            name = readers[0].outputs[0]
        if name in stripped.grids:
            bits[node.name] = stripped.grids[name].bits
    return bits


def _machine(price: Callable[[str, int], float]) -> Callable[[bytes], Mapping[str, float]]:
    """A measurement of an imagined machine: `price` of a layer by name and bits; changes of width cost UP and DOWN each."""

    def measure(model: bytes) -> dict[str, float]:
        graph = lower_to_integer(load_onnx(model))
        cycles = {}
        for node in graph.nodes:
            if node.name.endswith(".quantized.q"):
                wide = graph.value(node.outputs[0]).dtype.value == "int16"
                cycles[node.name] = float(graph.value(node.outputs[0]).elements) * (UP if wide else DOWN)
            elif node.op != "reshape":
                cycles[node.name] = price(node.name, 16 if graph.value(node.outputs[0]).dtype.value == "int16" else 8)
        return cycles

    return measure


def test_cycles_are_measured_in_both_widths_and_at_the_borders() -> None:
    graph = HARD["loud_logits"]()
    costs = measured_costs(graph, CALIBRATION, Settings(), _machine(lambda name, bits: 1000.0 * bits))
    assert costs("Conv_0") == (8000.0, 16000.0)
    assert costs("nowhere") == (0.0, 0.0)
    assert costs.total(()) == costs.total_narrow
    assert (costs.up, costs.down) == (pytest.approx(UP), pytest.approx(DOWN))
    # One layer alone changes its input up and its output down.
    borders = {border.maker: border.elements for border in costs.borders}
    expected = costs.total_narrow + 8000.0 + UP * borders["Conv_0"] + DOWN * borders["Conv_2"]
    assert costs.total({"Conv_2"}) == pytest.approx(expected)


def test_borders_look_through_movements() -> None:
    borders = find_borders(HARD["loud_logits"]())
    assert {(border.maker, border.readers) for border in borders} >= {("GlobalAveragePool_4", ("Gemm_6",)), (None, ("Conv_0",))}
    assert not any("Reshape" in reader for border in borders for reader in border.readers)


def test_widths_change_once_per_tensor_and_direction() -> None:
    borders = (Border(None, ("a",), 10), Border("a", ("b", "c", "d"), 100), Border("b", ("d",), 1000))
    assert changed(borders, frozenset()) == (0, 0)
    assert changed(borders, frozenset({"a"})) == (0, 100)
    assert changed(borders, frozenset({"b", "c"})) == (100, 1000)
    assert changed(borders, frozenset("abcd")) == (0, 0)


def test_layers_that_measure_no_gain() -> None:
    table = {"a": (2.0, 1.0), "b": (1.0, 2.0), "c": (1.0, 1.0), "fused": (0.0, 0.0)}
    assert not_faster(list(table), lambda name: table[name]) == ("a", "c")


def test_order_counts_what_a_layer_adds_to_the_ones_before() -> None:
    def total(wide: Collection[str]) -> float:
        """b alone needs two expensive changes of width; behind a it needs none."""
        return 100.0 * ("a" in wide) + 10.0 * ("b" in wide) + (500.0 if "b" in wide and "a" not in wide else 0.0)

    ranking = [Ranking("a", 0.9, 0.5), Ranking("b", 0.9, 0.4), Ranking("c", 0.9, 0.3)]
    assert marginal_order(ranking, total) == ["c", "a", "b"]
    assert filled(["a"], ["a", "b", "c"], lambda wide: total(wide) - 20.0 * ("b" in wide)) == {"a", "b", "c"}
    assert filled([], ["a", "b", "c"], total) == frozenset()


@pytest.mark.parametrize("expensive", [False, True], ids=["free_borders", "expensive_borders"])
def test_the_search_finds_fewer_cycles_than_int16_everywhere(expensive: bool) -> None:
    graph = HARD["outlier_channels"]()
    machine = _machine(lambda name, bits: 50_000.0 * bits / 8.0)
    costs = measured_costs(graph, CALIBRATION, POOR, machine)
    if not expensive:
        costs = Cycles(costs.narrow, costs.wide, costs.borders)
    result = fewest_cycles(graph, CALIBRATION, TEST, TopOne(_labels(graph), 0.2), POOR, costs.total)
    assert result.global_quantized < 0.8 <= result.saved
    assert 0 < len(result.rolled_back) <= len(result.ranking)
    assert costs.total(result.rolled_back) <= costs.total_wide
    # Nothing that was tried and would do is cheaper.
    enough = [step.rolled_back for step in result.history if step.satisfied]
    assert costs.total(result.rolled_back) == min(costs.total(names) for names in enough)
    assert lower_to_integer(load_onnx(qdq_bytes(result.deploy))).nodes


def _target(graph: Graph, **more: object) -> Target:
    return Target(TEST, _labels(graph), 0.2, **more)  # type: ignore[arg-type]


def test_the_report_says_what_was_weighed() -> None:
    graph = HARD["outlier_channels"]()
    measured = _machine(lambda name, bits: 50_000.0 * bits)
    mixed = fewest(graph, CALIBRATION, POOR, "default", _target(graph, measure=measured, place="a machine"))
    assert mixed.report["weighed_by"] == "cycles (a machine)"
    cycles = mixed.report["cycles"]
    assert cycles["int8"] < cycles["saved"]
    assert cycles["saved"] == sum(measured(qdq_bytes(mixed.outcome.model)).values())
    assert any("cycles:" in reason for reason in mixed.outcome.reasons)


def test_without_a_simulator_layers_weigh_by_their_size() -> None:
    graph = HARD["outlier_channels"]()

    def broken(model: bytes) -> dict[str, float]:
        raise environment_error("no compiler")

    mixed = fewest(graph, CALIBRATION, POOR, "default", _target(graph, measure=broken))
    assert mixed.report["weighed_by"] == "multiply-accumulates (no cycles: no compiler)"
    assert mixed.report["cycles"] is None
    assert mixed.found.saved >= 0.8
    with pytest.raises(EspgenError, match="no compiler"):
        fewest(graph, CALIBRATION, POOR, "default", _target(graph, measure=broken, insist=True))


def test_layers_that_gain_nothing_stay_wide() -> None:
    graph = HARD["loud_logits"]()
    measure = _machine(lambda name, bits: 1e6 * (bits / 8.0 if name.startswith("Conv") else 8.0 / bits))
    result = latency_fallback(graph, CALIBRATION, Settings(correction="float"), measure)
    assert result.rolled_back == ("Gemm_6",)
    assert {name for name, layer in result.deploy.layers.items() if layer.bits == 16} == {"Gemm_6"}
    assert "Gemm_6" not in result.fake_quant.layers
    assert result.saved < result.cycles.total_narrow
    assert len(result.tried) == 2
    assert run_quantized(result.fake_quant, TEST)[graph.outputs[0]].shape == (96, 8)


def test_layers_whose_borders_cost_more_than_they_gain_become_int8() -> None:
    graph = HARD["loud_logits"]()
    # Conv_2 is a little faster in int16; its large input and output would have to change width.
    measure = _machine(lambda name, bits: 1000.0 - 10.0 * (bits == 16 and name == "Conv_2"))
    result = latency_fallback(graph, CALIBRATION, Settings(correction="float"), measure)
    assert not_faster(["Conv_2"], result.cycles) == ("Conv_2",)
    assert "Conv_2" not in result.rolled_back
    assert result.saved <= result.cycles.total_narrow


def test_widths_are_read_back() -> None:
    graph = HARD["loud_logits"]()
    result = latency_fallback(graph, CALIBRATION, Settings(correction="float"), _machine(lambda name, bits: 1e6 / bits))
    assert result.rolled_back
    bits = _widths(qdq_bytes(result.deploy))
    assert {name for name in bits if bits[name] == 16} >= set(result.rolled_back)


def test_sizes_count_changes_of_width_too() -> None:
    costs = mac_costs(HARD["loud_logits"](), Settings())
    narrow, wide = costs("Conv_2")
    assert wide == 2.0 * narrow
    assert costs.total({"Conv_2"}) > costs.total(()) + narrow
    everything = [border.maker for border in costs.borders if border.maker]
    assert costs.total(everything) < costs.total(everything[::2]) + sum(costs(name)[0] for name in everything)
