"""The .tflite reader against the maker's interpreter: operator by operator, and layer by layer in others' networks."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from tflite_cases import CASES, LARGEST_SHARE, OPTIMIZED_ONLY, SHARES, dilated
from tflite_layers import interpreted, layers, random_inputs
from tflite_writer import Network

from espgen import api, frontend
from espgen.frontend.flatbuffer import File
from espgen.frontend.tflite import schema
from espgen.frontend.tflite.model import read
from espgen.interpret import run_integer
from espgen.ir import DType
from espgen.ir.layout import from_layout
from espgen.passes.pipeline import lower_to_integer
from espgen.quantize.exporter import float_model
from espgen.quantize.runtime import Session

pytest.importorskip("ai_edge_litert")

ZOO = os.environ.get("ESPGEN_ZOO")

NETWORKS = {
    "mlperf_kws": 0.005,
    "mlperf_resnet8": 0.005,
    "mcunet_vww": 0.005,
    "tfm_person": 0.02,
    "tfm_hello": 0.0,
    "tfm_micro_speech": 0.0,
    "coral_mobilenet_v1_0.25_128_quant": 0.02,
    "coral_tf2_mobilenet_v2_1.0_224_ptq": 0.02,
}
"""Network -> largest share of all layers' elements that may differ from the interpreter's, each by one step."""


@pytest.mark.parametrize("name", sorted(CASES))
def test_an_operator_is_within_one_step(name: str) -> None:
    found = list(layers(CASES[name], optimized=name in OPTIMIZED_ONLY))
    assert found
    for layer in found:
        assert layer.largest <= 1
        assert layer.share <= SHARES.get(name, LARGEST_SHARE)


@pytest.mark.skipif(not ZOO, reason="ESPGEN_ZOO names no folder of networks")
@pytest.mark.parametrize("name", sorted(NETWORKS))
def test_every_layer_of_a_network_is_within_one_step(name: str) -> None:
    content = (Path(str(ZOO)) / "tflite" / f"{name}.tflite").read_bytes()
    found = list(layers(content if name != "tfm_person" else _with_axes_in_range(content)))
    assert max(layer.largest for layer in found) <= 1
    assert sum(layer.different for layer in found) <= NETWORKS[name] * sum(layer.elements for layer in found)


def _with_axes_in_range(content: bytes) -> bytes:
    """The file without the axes beyond a bias' rank, which the interpreter refuses and espgen reads as 0."""
    changed = bytearray(content)
    for tensor in File(content, schema.TABLES, "model").root("Model").list("subgraphs")[0].list("tensors"):
        grid = tensor.table("quantization")
        place = grid._place("axis") if grid is not None else None
        if grid is not None and place is not None and grid.integer("axis") >= tensor.numbers("shape").size:
            changed[place : place + 4] = bytes(4)
    return bytes(changed)


@pytest.mark.skipif(not ZOO, reason="ESPGEN_ZOO names no folder of networks")
def test_a_network_of_16_bit_weights_is_a_float_network() -> None:
    content = (Path(str(ZOO)) / "tflite" / "mp_face_detection_front.tflite").read_bytes()
    _compare_as_float(content)


def _compare_as_float(content: bytes) -> None:
    graph, model = frontend.load(content), read(content, "model")
    inputs = random_inputs(model, 0)
    assert all(graph.value(name).dtype is DType.FLOAT32 for name in (*graph.inputs, *graph.outputs))
    feeds = {name: data[None] for name, data in zip(graph.inputs, inputs, strict=True)}
    found = Session(float_model(graph), graph.outputs, 1, 1).run(feeds)
    _, wanted = interpreted(content, inputs)
    for name, data in zip(graph.outputs, wanted, strict=True):
        np.testing.assert_allclose(found[name][0].reshape(data.shape), data, rtol=1e-3, atol=1e-3 * float(np.abs(data).max()))


def test_weights_of_16_bits_are_widened() -> None:
    net, generator = Network(), np.random.default_rng(5)
    x = net.tensor("x", (1, 5, 4, 3), "float32")
    half = net.constant("half", generator.normal(size=(2, 3, 3, 3)).astype(np.float16))
    weights = net.tensor("w", (2, 3, 3, 3), "float32")
    bias = net.constant("b", np.float32([0.5, -0.25]))
    y = net.tensor("y", (1, 5, 4, 2), "float32")
    net.operator("DEQUANTIZE", [half], [weights])
    net.operator("CONV_2D", [x, weights, bias], [y], padding=0, stride_w=1, stride_h=1, activation=1)
    _compare_as_float(net.content([x], [y]))


def test_a_component_computes_what_the_file_says(tmp_path: Path) -> None:
    path = tmp_path / "small.tflite"
    path.write_bytes(CASES["conv_strided_relu"])
    api.compile(path, tmp_path / "component")
    verdict = api.verify(tmp_path / "component", target="host")
    assert verdict["equal"]
    assert (tmp_path / "component" / "include" / "small.h").is_file()


@pytest.mark.parametrize(("crop", "op"), [(0, "CONV_2D"), (1, "CONV_2D"), (0, "DEPTHWISE_CONV_2D")])
def test_a_convolution_between_space_and_batch_is_a_dilated_one(crop: int, op: str) -> None:
    content = dilated(op, crop)
    inputs = random_inputs(read(content, "model"), 0)
    _, (wanted,) = interpreted(content, inputs)
    graph = lower_to_integer(frontend.load(content))
    found = from_layout(run_integer(graph, {"x": inputs[0]})["y"], graph.value("y").layout)
    assert [node.op for node in graph.nodes if node.op != "reshape"] == ["conv2d"]
    assert int(np.abs(found.astype(int) - wanted).max()) <= 1
    assert np.mean(found != wanted) < LARGEST_SHARE
