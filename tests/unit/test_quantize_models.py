"""Whole networks: what recipes gain, what the exported model looks like, bit widths, analysis, fallback."""

from __future__ import annotations

from functools import cache

import numpy as np
import onnx
import pytest

from espgen.errors import EspgenError
from espgen.frontend import load_onnx
from espgen.ir import Graph
from espgen.passes.pipeline import lower_to_integer
from espgen.quantize.analysis import analyse
from espgen.quantize.analysis_html import page
from espgen.quantize.analysis_text import tables
from espgen.quantize.exporter import qdq_bytes, qdq_model
from espgen.quantize.fallback import TopOne, accuracy_fallback, binary_search, greedy
from espgen.quantize.fold import fold
from espgen.quantize.model import QuantizedModel, Scheme
from espgen.quantize.pipeline import Fidelity, fidelity, quantize, run_float, run_quantized
from espgen.quantize.recipes import MINMAX, run_recipe
from espgen.quantize.record import record
from espgen.quantize.selection import select
from espgen.quantize.settings import Settings
from tests.unit.quantize_nets import HARD, Net, images

CALIBRATION = {"input": images(64, seed=1)}
TEST = {"input": images(96, seed=2)}


@cache
def _quantized(net: str, scheme: Scheme, plain: bool) -> tuple[Graph, QuantizedModel, Fidelity]:
    graph = HARD[net]()
    settings = Settings(scheme=scheme)
    model = quantize(graph, CALIBRATION, settings.but(**MINMAX) if plain else settings)
    return graph, model, fidelity(model.reference, model, TEST)


@pytest.mark.parametrize("scheme", list(Scheme))
@pytest.mark.parametrize("net", sorted(HARD))
def test_default_recipe_beats_min_max(net: str, scheme: Scheme) -> None:
    plain, best = _quantized(net, scheme, True)[2], _quantized(net, scheme, False)[2]
    assert best.judged < LIMITS[net, scheme]
    assert best.judged < GAINS[net] * plain.judged


# Largest error at the logits, and the share of the min-max error that may remain.
LIMITS = {
    ("spread_variances", Scheme.SHIFT): 0.015,
    ("spread_variances", Scheme.AFFINE): 0.015,
    ("spread_variances", Scheme.ESP_DL): 0.03,
    ("outlier_channels", Scheme.SHIFT): 0.08,
    ("outlier_channels", Scheme.AFFINE): 0.08,
    ("outlier_channels", Scheme.ESP_DL): 0.08,
    ("uneven_channels", Scheme.SHIFT): 0.015,
    ("uneven_channels", Scheme.AFFINE): 0.015,
    ("uneven_channels", Scheme.ESP_DL): 0.03,
    ("loud_logits", Scheme.SHIFT): 0.002, ("loud_logits", Scheme.AFFINE): 0.002, ("loud_logits", Scheme.ESP_DL): 0.005,
}  # fmt: skip
GAINS = {"spread_variances": 0.7, "outlier_channels": 0.2, "loud_logits": 0.6, "uneven_channels": 0.05}


@pytest.mark.parametrize("scheme", list(Scheme))
@pytest.mark.parametrize("net", sorted(HARD))
def test_schemes_keep_their_word(net: str, scheme: Scheme) -> None:
    model = _quantized(net, scheme, False)[1]
    entry = record(model)
    for quant in model.activations.values():
        assert quant.zero_point % 2 == 0
        if scheme is Scheme.ESP_DL:
            assert quant.zero_point == 0
            assert float(np.log2(quant.scale)).is_integer()
    for name, layer in model.layers.items():
        assert layer.bias is not None
        assert np.abs(layer.bias.astype(np.int64)).max() < 2**30
        shifts = entry["layers"][name].get("shift")
        if scheme is Scheme.AFFINE:
            continue
        assert shifts is not None
        assert min(shifts) >= 0
        assert max(shifts) <= 24
        if scheme is Scheme.ESP_DL:
            assert np.array_equal(np.exp2(np.rint(np.log2(layer.scale))), layer.scale)


def test_logits_are_not_cut() -> None:
    graph, model, _ = _quantized("loud_logits", Scheme.ESP_DL, False)
    logits = graph.nodes[-1].inputs[0]
    real = run_float(graph.updated(nodes=graph.nodes[:-1], outputs=(logits,)), CALIBRATION)[logits]
    assert real.max() > 16.0
    assert model.activations[logits].real_high >= real.max()


def test_exported_model_is_standard_qdq() -> None:
    model = _quantized("spread_variances", Scheme.SHIFT, False)[1]
    proto = qdq_model(model)
    onnx.checker.check_model(proto, full_check=True)
    assert [item.version for item in proto.opset_import] == [17]
    nodes = list(proto.graph.node)
    assert nodes[0].op_type == "QuantizeLinear"
    assert nodes[0].input[0] == "input"
    assert nodes[-1].op_type == "DequantizeLinear"
    assert nodes[-1].output[0] == model.graph.outputs[0]
    producers = {name: node for node in nodes for name in node.output}
    stored = {item.name: item for item in proto.graph.initializer}
    for node in nodes:
        if node.op_type in ("Conv", "Gemm"):
            weights, bias = producers[node.input[1]], producers[node.input[2]]
            assert stored[weights.input[0]].data_type == onnx.TensorProto.INT8
            assert stored[bias.input[0]].data_type == onnx.TensorProto.INT32
        if node.op_type in ("Relu", "Clip"):
            assert producers[node.input[0]].op_type == "Conv"
    assert qdq_bytes(model) == qdq_bytes(model)


def test_same_input_same_bytes() -> None:
    graph = HARD["loud_logits"]()
    data = {"input": images(16)}
    first, second = (qdq_bytes(quantize(graph, data, Settings())) for _ in range(2))
    assert first == second


@pytest.mark.parametrize("scheme", list(Scheme))
def test_sixteen_bits_on_one_layer(scheme: Scheme) -> None:
    graph = HARD["spread_variances"]()
    name = next(node.name for node in graph.nodes if node.op == "Conv" and node.attrs["group"] > 1)
    model = quantize(graph, CALIBRATION, Settings(scheme=scheme, bits={name: 16}, correction="float"))
    assert model.layers[name].bits == 16
    assert model.layers[name].weights.dtype == np.int16
    assert model.requantized
    results = run_quantized(model, TEST)
    assert np.isfinite(results[model.graph.outputs[0]]).all()
    assert fidelity(model.reference, model, TEST).judged < LIMITS["spread_variances", scheme]


def test_sixteen_bits_everywhere_is_nearly_float() -> None:
    graph = HARD["outlier_channels"]()
    bits = {node.name: 16 for node in graph.nodes if node.op not in ("Relu", "Reshape")}
    model = quantize(graph, CALIBRATION, Settings(bits=bits, correction="none", equalize=None))
    assert fidelity(model.reference, model, CALIBRATION).judged < 2e-4


def test_float_layers_stay_float() -> None:
    graph = HARD["spread_variances"]()
    convolutions = [node.name for node in graph.nodes if node.op == "Conv"]
    model = quantize(graph, CALIBRATION, Settings(float_nodes=frozenset(convolutions[2:4]), correction="float"))
    assert set(model.layers).isdisjoint(convolutions[2:4])
    everything = quantize(graph, CALIBRATION, Settings(float_nodes=frozenset(node.name for node in fold(graph).nodes)))
    assert not everything.layers
    assert fidelity(everything.reference, everything, TEST).judged < 1e-9


def test_unknown_node_is_refused() -> None:
    with pytest.raises(EspgenError, match="no such node"):
        quantize(HARD["loud_logits"](), CALIBRATION, Settings(bits={"nowhere": 16}))


def test_quantized_model_is_refused() -> None:
    net = Net((1, 3, 16, 16))
    net.conv(4)
    net.add("QuantizeLinear", (net.last,), net.shape)
    with pytest.raises(EspgenError, match="quantized already"):
        quantize(net.graph(), CALIBRATION, Settings())


@pytest.mark.parametrize("observer", ["minmax", "percentile", "hist", "kl", "mse", "weighted", "search"])
def test_every_observer_works_in_every_scheme(observer: str) -> None:
    graph = HARD["outlier_channels"]()
    for scheme in Scheme:
        model = quantize(
            graph, {"input": images(16)}, Settings(scheme=scheme, observer=observer, correction="float", rounding="nearest")
        )
        assert fidelity(model.reference, model, TEST).judged < (0.3 if observer in ("search", "weighted") else 4.0)


def test_auto_recipe_says_what_it_chose() -> None:
    graph = HARD["outlier_channels"]()
    outcome = run_recipe("auto", graph, {"input": images(32)}, Settings(observer="minmax", equalize=None), budget=120.0)
    assert len(outcome.trials) == 11
    assert len(outcome.reasons) == 4
    assert outcome.settings.observer != "minmax" or outcome.settings.equalize is not None
    best = min(trial.error for trial in outcome.trials)
    assert best < outcome.trials[0].error


def test_auto_recipe_keeps_to_its_budget() -> None:
    outcome = run_recipe("auto", HARD["loud_logits"](), {"input": images(16)}, Settings(), budget=0.0)
    assert len(outcome.trials) == 2
    assert sum("not tried" in reason for reason in outcome.reasons) == 3


def test_jobs_do_not_change_the_result() -> None:
    graph = HARD["loud_logits"]()
    data = {"input": images(16)}
    alone, together = (run_recipe("auto", graph, data, Settings(), budget=600.0, jobs=jobs) for jobs in (1, 2))
    assert qdq_bytes(alone.model) == qdq_bytes(together.model)
    assert [trial.error for trial in alone.trials] == [trial.error for trial in together.trials]


def test_dask_does_not_change_the_result() -> None:
    distributed = pytest.importorskip("distributed", reason="needs the extra dask")
    graph = HARD["loud_logits"]()
    data = {"input": images(16)}
    alone = run_recipe("auto", graph, data, Settings(), budget=600.0)
    with distributed.LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=None) as cluster:
        remote = run_recipe("auto", graph, data, Settings(), budget=600.0, dask=cluster.scheduler_address)
    assert qdq_bytes(alone.model) == qdq_bytes(remote.model)


def test_dask_judges_the_same() -> None:
    distributed = pytest.importorskip("distributed", reason="needs the extra dask")
    graph = HARD["outlier_channels"]()
    evaluator = TopOne(_labels(graph), 0.25)
    alone = accuracy_fallback(graph, CALIBRATION, TEST, evaluator, POOR)
    with distributed.LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=None) as cluster:
        address = cluster.scheduler_address
        remote = accuracy_fallback(graph, CALIBRATION, TEST, evaluator, POOR, dask=address)
    assert remote.history == alone.history
    assert qdq_bytes(remote.deploy) == qdq_bytes(alone.deploy)


def test_processes_judge_the_same() -> None:
    graph = HARD["outlier_channels"]()
    evaluator = TopOne(_labels(graph), 0.25)
    alone, together = (accuracy_fallback(graph, CALIBRATION, TEST, evaluator, POOR, jobs=jobs) for jobs in (1, 2))
    assert together.history == alone.history
    assert qdq_bytes(together.deploy) == qdq_bytes(alone.deploy)


def test_analysis_reports_every_layer() -> None:
    model = _quantized("outlier_channels", Scheme.SHIFT, True)[1]
    analysis = analyse(model, {"input": TEST["input"][:16]})
    assert {layer.name for layer in analysis.layers} == set(model.layers)
    assert analysis.output_error > 0.1
    assert any("above 10 %" in line for line in analysis.advice)
    text = tables(analysis)
    assert "NOISE:SIGNAL POWER RATIO" in text
    shown = [float(line.rsplit("|", 1)[1].strip(" %")) for line in text.split("\n\n")[0].splitlines()[2:]]
    assert shown == sorted(shown, reverse=True)
    html = page(analysis, "<model>")
    assert "&lt;model&gt;" in html
    chip = "cycles (simulator, esp32p4-v3 (revision 3.1 and later, 400 MHz))"
    assert f"chosen by {chip}." in page(analysis, "model", chip) and "chosen by" not in html
    assert "http" not in html.replace("http://www.w3.org", "")
    for layer in analysis.layers:
        assert -1.0001 <= layer.cosine <= 1.0001
        assert sum(layer.histogram[0]) == TEST["input"][:16].shape[0] * model.reference.value(layer.output).elements


def test_equalized_layers_are_compared_in_float_units() -> None:
    model = _quantized("spread_variances", Scheme.SHIFT, False)[1]
    assert model.factors
    analysis = analyse(model, {"input": TEST["input"][:16]}, layerwise=False)
    assert max(layer.graphwise for layer in analysis.layers) < 0.1


def _labels(graph: Graph) -> np.ndarray:
    scores = run_float(graph, TEST)[graph.outputs[0]]
    return np.asarray(scores.reshape(len(scores), -1).argmax(axis=1))


POOR = Settings(**{**MINMAX, "scheme": Scheme.ESP_DL})


@pytest.mark.parametrize("strategy", ["binary", "greedy"])
def test_accuracy_fallback_rolls_back_until_satisfied(strategy: str) -> None:
    graph = HARD["outlier_channels"]()
    result = accuracy_fallback(graph, CALIBRATION, TEST, TopOne(_labels(graph), 0.25), POOR, strategy)
    assert result.global_quantized < 0.75 <= result.saved
    assert 0 < len(result.rolled_back) < len(result.ranking)
    assert set(result.rolled_back) == {layer.name for layer in result.ranking[: len(result.rolled_back)]}
    assert set(result.fake_quant.layers).isdisjoint(result.rolled_back)
    assert all(layer.bits == 16 for name, layer in result.deploy.layers.items() if name in result.rolled_back)
    assert lower_to_integer(load_onnx(qdq_bytes(result.deploy))).nodes
    scores = run_quantized(result.deploy, TEST)[graph.outputs[0]]
    assert result.deployed == TopOne(_labels(graph), 0.25).evaluate({"scores": scores})


def test_accuracy_fallback_makes_no_model_where_only_float_will_do() -> None:
    graph = HARD["outlier_channels"]()
    with pytest.raises(EspgenError, match="only the unquantized model"):
        accuracy_fallback(graph, CALIBRATION, TEST, TopOne(_labels(graph), -1.0), POOR)


def test_searches() -> None:
    order = list("abcdefgh")
    assert binary_search(order, lambda names: len(names) >= 5) == order[:5]
    assert greedy(order, lambda names: "c" in names) == order[:3]
    assert binary_search(order, lambda names: False) is None


def test_selection_by_name_pattern_and_block() -> None:
    net = Net((1, 4, 8, 8))
    net.conv(8)
    net.relu()
    data = net.last
    net.add("GlobalAveragePool", (data,), (1, 8, 1, 1))
    net.conv(2)
    net.relu()
    net.conv(8)
    gate = net.add("Sigmoid", (net.last,), net.shape)
    net.add("Mul", (data, gate), net.values[data].shape)
    net.conv(8, 3, depthwise=True)
    graph = net.graph()
    assert select(graph, ["se"]) == {"GlobalAveragePool_2", "Conv_3", "Conv_5", "Sigmoid_6"}
    assert select(graph, ["Relu_1"]) == {"Conv_0"}
    assert select(graph, ["Conv_*"]) == {"Conv_0", "Conv_3", "Conv_5", "Conv_8"}
    assert select(graph, ["re:Conv_[35]"]) == {"Conv_3", "Conv_5"}
    assert select(graph, ["first", "last"]) == {"Conv_0", "Conv_8"}
    assert select(graph, ["depthwise"]) == {"Conv_8"}
    with pytest.raises(EspgenError, match="no layer is called"):
        select(graph, ["Conf_1"])
    model = quantize(graph, {"input": images(8, (4, 8, 8))}, Settings(float_nodes=select(graph, ["se"])))
    assert set(model.layers) == {"Conv_0", "Conv_8"}
