"""ESP-DL's own networks: its embedded vectors, and MobileNetV2 against the same network in ONNX, byte for byte."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from espgen import api
from espgen.frontend import load
from espgen.frontend.espdl import load_espdl
from espgen.interpret import run_integer
from espgen.ir.layout import to_layout
from espgen.passes.pipeline import lower_to_integer

ZOO, DATA = os.environ.get("ESPGEN_ZOO", ""), os.environ.get("ESPGEN_DATA", "")
FILES = {
    "coco_detect_yolo11n_320_s8_v1", "espdet_pico_224_224_face", "human_face_detect_mnp_s8_v1", "human_face_detect_msr_s8_v1",
    "human_face_feat_mfn_s8_v1", "person_reid_feat_osn_s8_v1", "pp_ocr_v6_det_s8", "pp_ocr_v6_rec_s16", "pp_ocr_v6_rec_s8",
    "sv_tdnn_tiny_3s", "tcn_model",
}  # fmt: skip
MOBILENET = "imagenet_cls_mobilenetv2_s8_v1.espdl"

needs_zoo = pytest.mark.skipif(not ZOO, reason="ESPGEN_ZOO names no folder of networks")
needs_data = pytest.mark.skipif(not DATA, reason="ESPGEN_DATA names no folder of reference models")


@needs_zoo
@pytest.mark.parametrize("name", sorted(FILES))
def test_every_network_becomes_integers(name: str) -> None:
    graph = lower_to_integer(load(Path(ZOO) / "espdl" / f"{name}.espdl"))
    assert not {node.op for node in graph.nodes} & {"Transpose", "Unary"}
    assert graph.nodes


@needs_zoo
def test_embedded_vectors_are_met_exactly() -> None:
    loaded = load_espdl((Path(ZOO) / "espdl" / "tcn_model.espdl").read_bytes(), "tcn_model")
    graph = lower_to_integer(loaded.graph)
    sample = {name: to_layout(data, graph.value(name).layout) for name, data in loaded.inputs.items()}
    found = run_integer(graph, sample)
    assert set(loaded.outputs) == set(graph.outputs)
    for name, expected in loaded.outputs.items():
        np.testing.assert_array_equal(found[name], to_layout(expected, graph.value(name).layout))


@needs_zoo
def test_verify_uses_the_vectors_in_the_file(tmp_path: Path) -> None:
    api.compile(Path(ZOO) / "espdl" / "tcn_model.espdl", tmp_path / "tcn")
    result = api.verify(tmp_path / "tcn", target="host")
    assert result["equal"] and result["samples"] == 1
    assert result["data"][1:] == ["output '164' is the one in the file, every byte"]


@needs_data
@pytest.mark.parametrize("chosen", [
    pytest.param((0, 57), id="some"),
    pytest.param(tuple(range(100)), id="all", marks=pytest.mark.prove),
])  # fmt: skip
def test_mobilenet_equals_onnxruntime_with_its_onnx_model(chosen: tuple[int, ...]) -> None:
    """The reference is what onnxruntime (optimizations off) computes with espdl_mobilenetv2_p4_qdq.onnx."""
    image = pytest.importorskip("PIL.Image")
    folder = Path(DATA) / "mobilenet"
    graph = lower_to_integer(load(folder / MOBILENET))
    reference = np.load(folder / "reference_outputs_100.npz")["espdl_mobilenetv2_p4_ort_qdq_int8"]
    mean, deviation = np.float32([0.485, 0.456, 0.406]), np.float32([0.229, 0.224, 0.225])
    paths = sorted((Path(DATA) / "imagenet" / "jpeg").glob("*.jpg"))
    for index in chosen:
        pixels = np.asarray(image.open(paths[index]).convert("RGB"), np.float32)
        codes = np.clip(np.rint((pixels / 255 - mean) / deviation * 64), -128, 127).astype(np.int8)[None]
        found = run_integer(graph, {graph.inputs[0]: codes})[graph.outputs[0]]
        np.testing.assert_array_equal(found.reshape(-1), reference[index].reshape(-1))
