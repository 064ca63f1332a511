"""Real models: compiled, equal on the host byte for byte, close to onnxruntime layer by layer, as accurate as it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from espgen import api, arith
from espgen.interpret import run_layers
from espgen.ir import Graph
from espgen.ir.layout import to_layout
from espgen.target.chips import CHIPS, Chip
from espgen.verify.data import Dataset
from tests.e2e.reference_models import MODELS, Array, ReferenceModel, integer_graph, samples

PROVE = pytest.mark.prove


def dataset(model: ReferenceModel, graph: Graph, count: int | None) -> Dataset:
    """The model's real inputs as integers in the graph's layout."""
    images, labels = samples(model)
    value = graph.value(graph.inputs[0])
    integers = arith.quantize(images[:count], value.scale, value.zero_point, value.dtype.minimum, value.dtype.maximum)
    arranged = np.stack([to_layout(image[None], value.layout) for image in integers.astype(value.dtype.numpy)])
    return Dataset({value.name: arranged}, labels[:count])


def _ids(model: ReferenceModel) -> str:
    return model.name


@pytest.mark.parametrize("model", MODELS, ids=_ids)
def test_layers_agree_with_onnxruntime(model: ReferenceModel) -> None:
    pytest.importorskip("onnxruntime", reason="the outside oracle")
    from tests.e2e.layer_oracle import LayerOracle

    graph = integer_graph(model)
    oracle = LayerOracle(str(model.path), graph)
    different: dict[str, list[float]] = {}
    for sample in dataset(model, graph, 2):
        values = run_layers(graph, sample)
        for tensor, (largest, share) in oracle.compare(values).items():
            assert largest <= (0 if model.exact else 1), (tensor, largest, share)
            different.setdefault(tensor, []).append(share)
    assert len(different) >= len([node for node in graph.nodes if node.op == "conv2d"]) - 1
    assert all(np.mean(shares) < 0.005 for shares in different.values()), different


@pytest.mark.parametrize("model", MODELS, ids=_ids)
def test_host_component_equals_the_interpreter(model: ReferenceModel, tmp_path: Path) -> None:
    graph = integer_graph(model)
    component = Path(api.compile(model.path, tmp_path / "component")["component"])
    loaded = api.Component.load(component)
    verdict = api._verify_host(loaded, graph, dataset(model, graph, 2), None)
    assert verdict["equal"], [layer for layer in verdict["layers"] if not layer["equal"]]
    assert verdict["samples"] == 2


@pytest.mark.parametrize(("model", "agreement"), [(MODELS[0], 0.98), (MODELS[1], 0.90)], ids=["kws", "resnet8"])
def test_top1_agrees_with_onnxruntime_on_part_of_the_data(model: ReferenceModel, agreement: float) -> None:
    """TFLite and onnxruntime themselves agree on 99.4 % (KWS) and 95.4 % (ResNet-8) of the whole data."""
    graph = integer_graph(model)
    data = dataset(model, graph, 60)
    reference = np.load(str(model.path.parent / ("kws01_500.npz" if model.name == "kws" else "cifar10_500.npz")))
    theirs = reference["ort_qdq_out_int8"][:60].argmax(1)
    assert np.mean(_top1(graph, data) == theirs) >= agreement


def _top1(graph: Graph, data: Dataset) -> Array:
    return np.array([run_layers(graph, sample)[graph.outputs[0]].reshape(-1).argmax() for sample in data])


@PROVE
@pytest.mark.parametrize("model", MODELS, ids=_ids)
def test_means_equal_onnxruntimes(model: ReferenceModel) -> None:
    """Exact ties included, which float32 breaks by the noise of its own sum: the order of its operations is ours.

    On all data; on 10 inputs where scales are powers of two and there is no noise.
    """
    pytest.importorskip("onnxruntime", reason="the outside oracle")
    from tests.e2e.layer_oracle import LayerOracle

    graph = integer_graph(model)
    oracle = LayerOracle(str(model.path), graph)
    (mean,) = (node for node in graph.nodes if node.op == "reduce_mean")
    for sample in dataset(model, graph, 10 if model.exact else None):
        values = run_layers(graph, sample)
        result = oracle.compare({name: values[name] for name in (mean.inputs[0], mean.outputs[0])})
        assert list(result.values()) == [(0, 0.0)], result


@PROVE
@pytest.mark.parametrize("model", MODELS, ids=_ids)
def test_accuracy_on_all_data(model: ReferenceModel) -> None:
    graph = integer_graph(model)
    data = dataset(model, graph, None)
    ours = _top1(graph, data)
    assert data.labels is not None
    accuracy = 100 * float(np.mean(ours == data.labels))
    assert accuracy >= model.top1 - 0.4, accuracy


QUICK_CHIPS = {"kws": "esp32p4", "resnet8": "esp32p4-v1", "mobilenet_v1": "esp32p4-v1", "mobilenet_v2": "esp32p4-v3"}
"""Both chips at once on the smallest model, one of them on the others: the many inputs below are for both."""


@pytest.mark.parametrize("model", MODELS, ids=_ids)
def test_simulator_equals_the_interpreter(model: ReferenceModel, tmp_path: Path) -> None:
    chip = CHIPS[QUICK_CHIPS[model.name]]
    _verify_in_simulator(model, tmp_path, 1, chip)


@PROVE
@pytest.mark.parametrize("model", MODELS, ids=_ids)
def test_simulator_equals_the_interpreter_on_many_inputs(model: ReferenceModel, tmp_path: Path) -> None:
    _verify_in_simulator(model, tmp_path, 500 if model.name == "kws" else 20, CHIPS["esp32p4"])


def _verify_in_simulator(model: ReferenceModel, folder: Path, count: int, chip: Chip) -> None:
    """Every layer of the component for both chips, on each chip that `chip` stands for."""
    graph = integer_graph(model)
    component = api.Component.load(api.compile(model.path, folder / "component")["component"])
    verdict = api._verify_simulated(component, graph, dataset(model, graph, count), chip)
    assert [one["chip"]["name"] for one in verdict["chips"]] == list(chip.runs_on)
    for one in verdict["chips"]:
        assert one["samples"] == count
        assert one["equal"], [layer for layer in one["layers"] if not layer["equal"]]


@PROVE
@pytest.mark.parametrize("model", MODELS, ids=_ids)
def test_host_equals_the_interpreter_on_all_data(model: ReferenceModel, tmp_path: Path) -> None:
    graph = integer_graph(model)
    component = api.Component.load(api.compile(model.path, tmp_path / "component")["component"])
    verdict = api._verify_host(component, graph, dataset(model, graph, None), None)
    assert verdict["equal"], [layer for layer in verdict["layers"] if not layer["equal"]]
