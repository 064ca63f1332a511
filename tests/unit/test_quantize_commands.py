"""quantize and evaluate over files: data sources, outputs, and what is refused with nothing half-written."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest

from espgen.data.images import Preprocess
from espgen.data.samples import load
from espgen.errors import EspgenError
from espgen.frontend import load_onnx
from espgen.ir import Node
from espgen.quantize import amct_record
from espgen.quantize.amct_flow import settings_of_configuration
from espgen.quantize.commands import (
    QuantizeOptions,
    accuracy_fallback,
    convert,
    evaluate_models,
    latency_fallback,
    make_settings,
    quantize,
)
from espgen.quantize.evaluate import accuracy
from espgen.quantize.exporter import float_model
from espgen.quantize.imports import strip_qdq
from espgen.quantize.model import TensorQuant
from espgen.quantize.pipeline import run_float
from espgen.quantize.settings import Settings
from espgen.report import text
from tests.unit.quantize_nets import HARD, images

FAST = QuantizeOptions(correction="float", threads=1, layerwise=False)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "net.onnx"
    path.write_bytes(float_model(HARD["loud_logits"]()))
    return path


@pytest.fixture
def data(tmp_path: Path) -> Path:
    graph = HARD["loud_logits"]()
    x = images(32)
    labels = run_float(graph, {"input": x})[graph.outputs[0]].argmax(axis=1)
    path = tmp_path / "data.npz"
    np.savez(path, x=x, y=labels)
    return path


def test_quantize_writes_model_record_and_report(model: Path, data: Path, tmp_path: Path) -> None:
    output = tmp_path / "out" / "net_int8.onnx"
    steps = []
    result = quantize(
        model, str(data), output, FAST, report=tmp_path / "out" / "net.html", progress=lambda *step: steps.append(step)
    )
    assert output.is_file()
    entry = json.loads((tmp_path / "out" / "net_int8.json").read_text())
    assert entry["scheme"] == "shift"
    assert set(entry["activations"]) >= {"input"}
    assert (tmp_path / "out" / "net.html").read_text().startswith("<!doctype html>")
    assert result["fidelity"]["agreement"] > 0.8
    assert "NOISE:SIGNAL POWER RATIO" in result["tables"]
    assert {step[0] for step in steps} >= {"calibrating", "choosing ranges", "quantizing layers"}
    assert sorted(item.name for item in (tmp_path / "out").iterdir()) == ["net.html", "net_int8.json", "net_int8.onnx"]
    json.dumps(result)


def test_float_fake_quant_and_integer_in_one_table(model: Path, data: Path, tmp_path: Path) -> None:
    output = tmp_path / "net_int8.onnx"
    quantize(model, str(data), output, FAST)
    rows = evaluate_models(model, output, str(data), threads=1, limit=16)["rows"]
    assert [(row["model"], row["place"]) for row in rows] == [
        ("float", "onnxruntime"),
        ("fake-quant", "onnxruntime"),
        ("integer", "numpy"),
    ]
    assert rows[0]["top1"] == 1.0
    assert rows[1]["error"] < 0.02
    assert abs(rows[1]["top1"] - rows[2]["top1"]) <= 1 / 16


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"x": np.zeros((4, 3, 16, 15), np.float32)}, "shape"),
        ({"x": np.full((4, 3, 16, 16), np.nan, np.float32)}, "NaN"),
        ({"x": np.zeros((0, 3, 16, 16), np.float32)}, "no samples"),
        ({"x": np.ones((4, 3, 16, 16), np.float32)}, "every value"),
        ({"x": np.array([["a"]])}, "type"),
        ({"a": images(2), "b": images(2)}, "no array for input"),
        ({"x": images(4), "y": np.zeros(3)}, "labels"),
    ],
)  # fmt: skip
def test_bad_data_is_refused_and_nothing_written(
    model: Path, tmp_path: Path, arrays: dict[str, np.ndarray], message: str
) -> None:
    path = tmp_path / "bad.npz"
    np.savez(path, **arrays)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(EspgenError, match=message):
        quantize(model, str(path), tmp_path / "out.onnx", FAST)
    assert sorted(tmp_path.rglob("*")) == before


def test_unreadable_data_is_refused(model: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.npz").write_bytes(b"PK\x03\x04 nothing")
    for source in (str(tmp_path / "bad.npz"), str(tmp_path / "missing.npz"), "no.such.module:function"):
        with pytest.raises(EspgenError):
            quantize(model, source, tmp_path / "out.onnx", FAST)
    assert not (tmp_path / "out.onnx").exists()


@pytest.mark.parametrize(
    "options",
    [
        QuantizeOptions(scheme="none"), QuantizeOptions(observer="none"), QuantizeOptions(recipe="none"),
        QuantizeOptions(equalize="2"),
        QuantizeOptions(int16=("nowhere",)), QuantizeOptions(skip=("nowhere",)), QuantizeOptions(skip_as="int4"),
        QuantizeOptions(correction="x"), QuantizeOptions(max_drop=-100.0, recipe="minmax", threads=1),
    ],
)  # fmt: skip
def test_bad_options_are_refused_and_nothing_written(model: Path, data: Path, tmp_path: Path, options: QuantizeOptions) -> None:
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(EspgenError):
        quantize(model, str(data), tmp_path / "out.onnx", options)
    assert sorted(tmp_path.rglob("*")) == before


def test_max_drop_needs_labels(model: Path, tmp_path: Path) -> None:
    np.savez(tmp_path / "data.npz", x=images(8))
    with pytest.raises(EspgenError, match="labels"):
        quantize(model, str(tmp_path / "data.npz"), tmp_path / "out.onnx", QuantizeOptions(max_drop=1.0, threads=1))


def test_folder_with_val_list(tmp_path: Path) -> None:
    image = pytest.importorskip("PIL.Image", reason="needs the extra quantize")
    random = np.random.default_rng(0)
    lines = []
    for index in range(3):
        image.fromarray(random.integers(0, 255, (24, 20, 3), dtype=np.uint8)).save(tmp_path / f"img {index}.png")
        lines.append(f"img {index}.png {index + 4}")
    (tmp_path / "val_list.txt").write_text("\n".join(lines) + "\n")
    graph = HARD["loud_logits"]()
    samples = load(str(tmp_path), graph, Preprocess((0.5,), (0.5,), 255.0, resize=18))
    assert samples.arrays["input"].shape == (3, 3, 16, 16)
    assert samples.labels is not None
    assert samples.labels.tolist() == [4, 5, 6]
    assert -1.0 <= samples.arrays["input"].min() < samples.arrays["input"].max() <= 1.0
    (tmp_path / "val_list.txt").write_text("no label here\n")
    with pytest.raises(EspgenError, match="path label"):
        load(str(tmp_path), graph)


def test_function_as_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my_images.py").write_text(
        "import numpy as np\ndef load():\n    return np.random.rand(5, 16, 16, 3), [0, 1, 2, 3, 4]\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "my_images", raising=False)
    samples = load("my_images:load", HARD["loud_logits"](), limit=4)
    assert samples.arrays["input"].shape == (4, 3, 16, 16)
    assert samples.labels is not None
    assert samples.labels.tolist() == [0, 1, 2, 3]


def test_options_become_settings() -> None:
    graph = HARD["spread_variances"]()
    settings = make_settings(graph, QuantizeOptions(int16=("first",), skip=("last",), equalize="0.25", threads=3))
    assert set(settings.bits.values()) == {16}
    assert len(settings.bits) == 2
    assert settings.equalize == 0.25
    assert settings.threads == 3
    assert len(make_settings(graph, QuantizeOptions(skip=("last",), skip_as="float")).float_nodes) == 1


def test_accuracy_counts_top1_and_top5() -> None:
    scores = np.tile(np.arange(10.0), (4, 1))
    assert accuracy(scores, np.array([9, 8, 5, 0])) == (0.25, 0.75)
    assert accuracy(scores, None) == (None, None)


def _outlier_model(tmp_path: Path) -> tuple[Path, Path]:
    graph = HARD["outlier_channels"]()
    x = images(48)
    model, data = tmp_path / "outliers.onnx", tmp_path / "outliers.npz"
    model.write_bytes(float_model(graph))
    np.savez(data, x=x, y=run_float(graph, {"input": x})[graph.outputs[0]].argmax(axis=1))
    return model, data


POOR = QuantizeOptions(scheme="esp-dl", observer="minmax", equalize="off", correction="none", rounding="nearest", threads=1)


def test_accuracy_fallback_writes_amct_s_files(tmp_path: Path) -> None:
    model, data = _outlier_model(tmp_path)
    result = accuracy_fallback(model, str(data), tmp_path / "amct", POOR, max_drop=25.0)
    assert result["global_quantized"] < 0.75 <= result["saved"]
    found = {str(path.relative_to(tmp_path / "amct")) for path in (tmp_path / "amct").rglob("*") if path.is_file()}
    assert found == {
        "amct_log/amct_espgen.log", "amct_log/accuracy_based_auto_calibration_record.json",
        "results/outliers_fake_quant_model.onnx", "results/outliers_deploy_model.onnx",
        "results/accuracy_based_auto_calibration_final_config.json", "results/accuracy_based_auto_calibration_ranking_info.json",
        "tmp/config.json", "tmp/scale_offset_record.txt",
    }  # fmt: skip
    config = json.loads((tmp_path / "amct" / "results" / "accuracy_based_auto_calibration_final_config.json").read_text())
    disabled = {name for name, entry in config.items() if isinstance(entry, dict) and not entry["quant_enable"]}
    assert disabled == set(result["rolled_back"]) & set(config)
    graph = HARD["outlier_channels"]()
    names = {node.name for node in graph.nodes}
    assert settings_of_configuration(config, make_settings(graph, POOR), names).float_nodes == disabled
    path = tmp_path / "amct" / "results" / "accuracy_based_auto_calibration_final_config.json"
    again = make_settings(graph, replace(POOR, config=path))
    assert {name for name, bits in again.bits.items() if bits == 16} == disabled
    config["Conv_0"]["weight_quant_params"]["num_bits"] = 16
    assert settings_of_configuration(config, Settings(), names).bits == {"Conv_0": 16}
    for broken, message in (("[]", "no configuration"), ('{"Conv_99": {}}', "no layer 'Conv_99'"), ("{", "no configuration")):
        path.write_text(broken)
        with pytest.raises(EspgenError, match=message):
            make_settings(graph, replace(POOR, config=path))
    recorded = amct_record.read((tmp_path / "amct" / "tmp" / "scale_offset_record.txt").read_text())
    assert disabled.isdisjoint(recorded)
    assert f"Accuracy of deploy model is {result['deployed']:.6f}" in result["log"]
    assert "Accuracy of original model is 1.0" in (tmp_path / "amct" / "amct_log" / "amct_espgen.log").read_text()


def test_unreachable_target_writes_nothing(tmp_path: Path) -> None:
    model, data = _outlier_model(tmp_path)
    with pytest.raises(EspgenError, match="only the unquantized model"):
        accuracy_fallback(model, str(data), tmp_path / "amct", POOR, max_drop=-200.0)
    assert not (tmp_path / "amct").exists()


def test_latency_fallback_writes_amct_s_files(model: Path, data: Path, tmp_path: Path) -> None:
    def measure(stored: bytes) -> dict[str, float]:
        wide = {node.name: grid.bits == 16 for node, grid in _outputs(stored)}
        return {name: (1.0 if wide[name] else 1e5) if name == "Gemm_6" else 1e6 * (1 + wide[name]) for name in wide}

    result = latency_fallback(model, str(data), tmp_path / "amct", FAST, measure=measure, place="a machine")
    assert result["rolled_back"] == ["Gemm_6"]
    assert result["cycles"]["saved"] < result["cycles"]["int8"] < result["cycles"]["int16"]
    folder = tmp_path / "amct"
    assert {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()} == {
        "amct_log/amct_espgen.log", "amct_log/perf_based_auto_calibration_record.json",
        "results/net_fake_quant_model.onnx", "results/net_deploy_model.onnx",
        "results/perf_based_auto_calibration_final_config.json", "results/perf_based_auto_calibration_ranking_info.json",
        "tmp/config.json", "tmp/scale_offset_record.txt",
    }  # fmt: skip
    config = json.loads((folder / "results" / "perf_based_auto_calibration_final_config.json").read_text())
    assert [name for name, entry in config.items() if isinstance(entry, dict) and not entry["quant_enable"]] == ["Gemm_6"]
    ranking = json.loads((folder / "results" / "perf_based_auto_calibration_ranking_info.json").read_text())
    assert next(iter(ranking)) != "Gemm_6"
    assert ranking["Gemm_6"] == {"name": "Gemm_6", "int8": 1e5, "int16": 1.0, "rolled_back": True}
    assert "Cycles of saved model are " in (folder / "amct_log" / "amct_espgen.log").read_text()
    assert "rolled back: Gemm_6" in text.latency_fallback(result)


def _outputs(stored: bytes) -> list[tuple[Node, TensorQuant]]:
    """Nodes of a QDQ model with the grid of what they compute."""
    stripped = strip_qdq(load_onnx(stored))
    consumers = stripped.graph.consumers()
    found = []
    for node in stripped.graph.nodes:
        names = (node.outputs[0], *(reader.outputs[0] for reader in consumers.get(node.outputs[0], [])))
        grid = next((stripped.grids[name] for name in names if name in stripped.grids), None)
        if grid is not None:
            found.append((node, grid))
    return found


def test_convert_affine_to_shift_and_amct_record(model: Path, data: Path, tmp_path: Path) -> None:
    affine = tmp_path / "affine.onnx"
    options = QuantizeOptions(scheme="affine", correction="float", equalize="off", threads=1, layerwise=False)
    quantize(model, str(data), affine, options)
    result = convert(affine, str(data), tmp_path / "shift.onnx", QuantizeOptions(scheme="shift", threads=1))
    assert result["scheme"] == "shift"
    assert result["fidelity"]["error"] < 0.02
    assert 0.0 <= result["probability_gap"] <= 1.0
    record_text = 'record { key: "Conv_0" value { scale_d: 0.0078 offset_d: 0 scale_w: 0.01 } }'
    (tmp_path / "record.txt").write_text(record_text)
    result = convert(model, None, tmp_path / "amct.onnx", QuantizeOptions(), amct=tmp_path / "record.txt")
    assert result["layers"] == 1
    with pytest.raises(EspgenError, match="needs calibration data"):
        convert(affine, None, tmp_path / "none.onnx", QuantizeOptions())
    assert not (tmp_path / "none.onnx").exists()


def test_evaluation_in_several_processes_is_the_same(model: Path, data: Path, tmp_path: Path) -> None:
    output = tmp_path / "net_int8.onnx"
    quantize(model, str(data), output, FAST)
    alone, shared = (evaluate_models(model, output, str(data), threads=1, limit=8, jobs=jobs) for jobs in (1, 2))
    assert alone == shared


def test_evaluation_on_a_dask_cluster_is_the_same(model: Path, data: Path, tmp_path: Path) -> None:
    distributed = pytest.importorskip("distributed", reason="needs the extra dask")
    output = tmp_path / "net_int8.onnx"
    quantize(model, str(data), output, FAST)
    alone = evaluate_models(model, output, str(data), threads=1, limit=8)
    with distributed.LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=None) as cluster:
        shared = evaluate_models(model, output, str(data), threads=1, limit=8, dask=cluster.scheduler_address)
    assert alone == shared


def test_evaluation_fixes_symbolic_dimensions(tmp_path: Path) -> None:
    proto = onnx.load_from_string(float_model(HARD["loud_logits"]()))
    proto.graph.input[0].type.tensor_type.shape.dim[2].dim_param = "H"
    (tmp_path / "net.onnx").write_bytes(proto.SerializeToString())
    np.savez(tmp_path / "data.npz", x=images(4))
    with pytest.raises(EspgenError, match="symbolic"):
        evaluate_models(tmp_path / "net.onnx", None, str(tmp_path / "data.npz"))
    result = evaluate_models(tmp_path / "net.onnx", None, str(tmp_path / "data.npz"), shapes={"H": 16})
    assert result["samples"] == 4
