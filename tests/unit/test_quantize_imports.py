"""Scales and models from elsewhere: AMCT's record, ESP-PPQ's .json, QDQ and QAT models."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper, numpy_helper

from espgen.errors import EspgenError
from espgen.frontend import load_onnx
from espgen.ir import DType, Node, QuantParams, Value, constant_value
from espgen.quantize import amct_record
from espgen.quantize.amct_record import LayerRecord
from espgen.quantize.commands import QuantizeOptions, convert
from espgen.quantize.exporter import float_model, qdq_bytes
from espgen.quantize.fold import fold
from espgen.quantize.imports import convert_qdq, from_amct, from_esp_ppq, probability_gap, strip_qdq
from espgen.quantize.model import QuantizedModel, Scheme
from espgen.quantize.pipeline import fidelity, quantize, run_float, run_quantized
from espgen.quantize.runtime import Session
from espgen.quantize.scales import tensor_quant
from espgen.quantize.settings import Settings
from tests.unit.onnx_models import node as operator
from tests.unit.onnx_models import qdq, serialized
from tests.unit.quantize_nets import HARD, images

CALIBRATION = {"input": images(48, seed=1)}
TEST = {"input": images(32, seed=2)}


@cache
def _affine() -> QuantizedModel:
    return quantize(HARD["loud_logits"](), CALIBRATION, Settings(scheme=Scheme.AFFINE, correction="float"))


SCALE = st.floats(1e-6, 1e3).map(lambda value: float(np.float32(value)))


@settings(max_examples=60, deadline=None)
@given(
    st.dictionaries(
        st.text("abcXYZ019_./", min_size=1, max_size=12),
        st.builds(
            LayerRecord, scale_d=st.none() | SCALE, offset_d=st.just(0), scale_w=st.lists(SCALE, max_size=4).map(tuple),
            offset_w=st.lists(st.integers(-128, 127), max_size=4).map(tuple),
            shift_bit=st.lists(st.integers(0, 16), max_size=3).map(tuple),
            skip_fusion=st.booleans(), dst_type=st.sampled_from(["INT8", "INT4"]),
            tensor_balance_factor=st.lists(SCALE, max_size=3).map(tuple),
            kv_cache=st.tuples(
                st.lists(SCALE, max_size=2).map(tuple), st.lists(st.integers(-128, 127), max_size=2).map(tuple)
            ),
        ),
        max_size=4,
    )
)  # fmt: skip
def test_amct_record_round_trip(records: dict[str, LayerRecord]) -> None:
    assert amct_record.read(amct_record.write(records)) == records


def test_amct_record_as_the_field_writes_it() -> None:
    text = """
    # a comment
    record { key: "conv1" value { scale_d: 0.5 scale_d: 0.25 offset_d: -3 scale_w: 0.1 scale_w: 0.2
             offset_w: 0 offset_w: 0, skip_fusion: true } }
    record < key: 'fc' value < scale_d: 1.0 scale_w: 2e-3 > >
    prune_record { producer { name: "conv1" } consumer { name: "fc" } }
    """
    records = amct_record.read(text)
    assert records["conv1"] == LayerRecord(0.25, -3, (0.1, 0.2), (0, 0), skip_fusion=True)
    assert records["fc"].scale_w == (0.002,)


@pytest.mark.parametrize(
    "text",
    [
        'record { key: "a" value { scale_d: x } }',
        "record {",
        "record { value { } }",
        "\x00{",
        'record { key: "a" value { scale_d: -1 } }',
    ],
)
def test_bad_records_are_refused(text: str) -> None:
    with pytest.raises(EspgenError):
        amct_record.read(text)


def test_amct_record_gives_back_the_same_layers() -> None:
    model = _affine()
    graph = HARD["loud_logits"]()
    if model.factors:
        graph = model.graph
    rebuilt = from_amct(graph, amct_record.write(amct_record.of_model(model)))
    assert set(rebuilt.layers) == set(model.layers)
    for name, layer in rebuilt.layers.items():
        assert np.array_equal(layer.scale, model.layers[name].scale)
    assert fidelity(fold(graph), rebuilt, TEST).judged < 0.01
    with pytest.raises(EspgenError, match="no layer"):
        from_amct(graph, 'record { key: "nowhere" value { scale_d: 1 scale_w: 1 } }')


def test_esp_ppq_configuration(tmp_path: Path) -> None:
    model = quantize(
        HARD["loud_logits"](), CALIBRATION, Settings(scheme=Scheme.ESP_DL, equalize=None, correction="none", rounding="nearest")
    )
    graph = model.reference
    configs: dict[str, dict[str, object]] = {}
    values: dict[str, object] = {}
    for node in graph.nodes:
        entry: dict[str, object] = {}
        for name in (node.inputs[0], *node.outputs):
            if name in model.activations:
                values[f"a{name}"] = {"scale": model.activations[name].scale, "zero_point": 0}
                entry[name] = {"bit_width": 8, "hash": f"h{name}", "dominator": f"a{name}"}
        if node.name in model.layers:
            values[f"w{node.name}"] = {"scale": model.layers[node.name].scale.tolist(), "zero_point": [0]}
            entry[node.inputs[1]] = {"bit_width": 8, "hash": f"w{node.name}", "dominator": f"w{node.name}"}
        configs[node.name] = entry
    path = tmp_path / "model.json"
    path.write_text(json.dumps({"configs": configs, "dispatchings": {}, "values": values}))
    rebuilt = from_esp_ppq(graph, path)
    assert rebuilt.scheme is Scheme.ESP_DL
    assert dict(rebuilt.activations) == dict(model.activations)
    for name, layer in model.layers.items():
        assert np.array_equal(rebuilt.layers[name].weights, layer.weights)
        assert np.array_equal(rebuilt.layers[name].bias, layer.bias)
    path.write_text("[]")
    with pytest.raises(EspgenError, match="not ESP-PPQ"):
        from_esp_ppq(graph, path)


def test_stripping_gives_the_dequantized_network() -> None:
    model = _affine()
    stripped = strip_qdq(load_onnx(qdq_bytes(model)))
    assert not any(node.op in ("QuantizeLinear", "DequantizeLinear") for node in stripped.graph.nodes)
    assert stripped.graph.inputs == model.graph.inputs
    assert stripped.graph.outputs == model.graph.outputs
    assert dict(stripped.grids) == dict(model.activations)
    found, wanted = run_float(stripped.graph, TEST), run_float(model.graph, TEST)
    assert np.abs(found["".join(model.graph.outputs)] - wanted["".join(model.graph.outputs)]).max() < 0.2
    with pytest.raises(EspgenError, match="no QuantizeLinear"):
        strip_qdq(HARD["loud_logits"]())


def test_affine_conversion_keeps_every_integer() -> None:
    model = _affine()
    original = run_quantized(model, TEST)
    converted = convert_qdq(load_onnx(qdq_bytes(model)), original, TEST, Settings(scheme=Scheme.AFFINE))
    for name, layer in model.layers.items():
        assert np.array_equal(converted.model.layers[name].weights, layer.weights)
    assert converted.fidelity.judged < 1e-6
    assert converted.gap < 1e-3


@pytest.mark.parametrize("scheme", [Scheme.SHIFT, Scheme.ESP_DL])
def test_conversion_to_shifts_reports_its_loss(scheme: Scheme) -> None:
    model = _affine()
    original = run_quantized(model, CALIBRATION)
    converted = convert_qdq(load_onnx(qdq_bytes(model)), original, CALIBRATION, Settings(scheme=scheme))
    assert converted.model.scheme is scheme
    assert 0.0 < converted.fidelity.error < 0.02
    assert converted.fidelity.agreement > 0.9
    assert any("error" in note for note in converted.notes)
    entry = converted.model
    for name, layer in entry.layers.items():
        node = next(node for node in entry.graph.nodes if node.name == name)
        output = (
            node.outputs[0]
            if node.outputs[0] in entry.activations
            else next(reader.outputs[0] for reader in entry.graph.consumers()[node.outputs[0]])
        )
        shift = -np.log2(layer.input_scale * layer.scale.astype(np.float64) / entry.activations[output].scale)
        assert np.abs(shift - np.rint(shift)).max() < 2.0**-20
        assert shift.min() > -0.5


def test_probability_gap() -> None:
    assert probability_gap(np.array([[0.9, 0.1]]), np.array([[0.4, 0.6]])) == pytest.approx(0.5)
    assert probability_gap(np.array([[0.9, 0.0, 0.0]]), np.array([[0.6, 0.3, 0.3]])) == pytest.approx(0.3)
    assert probability_gap(np.array([[5.0, 1.0]]), np.array([[5.0, 1.0]])) == 0.0


def test_weights_with_a_zero_point_are_rounded_anew() -> None:
    """uint8 weights with zero point 20 reach 235 steps: symmetric int8 must take another scale, not cut them off."""
    graph = HARD["loud_logits"]()
    random = np.random.default_rng(0)
    name = next(node.inputs[1] for node in graph.nodes if node.op == "Conv")
    integers = random.integers(0, 256, graph.constants[name].shape).astype(np.uint8)
    quant = QuantParams((0.003,), (20,))
    ranges = {"input": (-1.0, 1.0)}
    nodes = [Node("dq", "DequantizeLinear", (f"{name}.q",), (f"{name}.dq",), {"quant": quant})]
    grid = tensor_quant(*ranges["input"], Scheme.AFFINE)
    params = QuantParams((grid.scale,), (grid.zero_point,))
    nodes += [
        Node("q_in", "QuantizeLinear", ("input",), ("input.q",), {"quant": params}),
        Node("dq_in", "DequantizeLinear", ("input.q",), ("input.dq",), {"quant": params}),
    ]
    renamed = {name: f"{name}.dq", "input": "input.dq"}
    nodes += [replace(node, inputs=tuple(renamed.get(item, item) for item in node.inputs)) for node in graph.nodes]
    shape = graph.value("input").shape
    values = [
        constant_value(f"{name}.q", integers), replace(graph.value(name), name=f"{name}.dq"),
        Value("input.q", shape, DType.INT8), Value("input.dq", shape, DType.FLOAT32),
    ]  # fmt: skip
    quantized = graph.updated(nodes=nodes, values=values, constants={f"{name}.q": integers})
    stripped = strip_qdq(quantized)
    original = run_float(stripped.graph, CALIBRATION)
    converted = convert_qdq(quantized, original, CALIBRATION, Settings(scheme=Scheme.AFFINE))
    # Its activations had no grids: theirs are from the data now.
    assert converted.fidelity.judged < 0.03


def _trained(style: str, folder: Path) -> Path:
    """A quantization-aware trained network as its tool exports it: float weights behind Q/DQ, some tensors without any.

    torch: per-channel weights, uint8 activations; tf: per-tensor weights, nothing behind the pool; brevitas: a Clip of
    integers between Q and DQ (here 6 bits behind the Relu), no grid on the logits.
    """
    random = np.random.default_rng(0)
    nodes: list[onnx.NodeProto] = []
    constants: dict[str, np.ndarray] = {}

    def pair(source: str, name: str, scale: np.ndarray, zero: np.ndarray, axis: int | None, codes: tuple[int, int] | None) -> str:
        constants.update({f"{name}.s": np.asarray(scale, np.float32), f"{name}.z": zero})
        more = {} if axis is None else {"axis": axis}
        middle = f"{name}.q"
        nodes.append(helper.make_node("QuantizeLinear", [source, f"{name}.s", f"{name}.z"], [middle], **more))
        if codes is not None:
            constants.update({f"{name}.low": np.asarray(codes[0], zero.dtype), f"{name}.high": np.asarray(codes[1], zero.dtype)})
            nodes.append(helper.make_node("Clip", [middle, f"{name}.low", f"{name}.high"], [f"{name}.c"]))
            middle = f"{name}.c"
        nodes.append(helper.make_node("DequantizeLinear", [middle, f"{name}.s", f"{name}.z"], [f"{name}.d"], **more))
        return f"{name}.d"

    def weights(name: str, shape: tuple[int, ...]) -> str:
        data = random.normal(0, 0.4, shape).astype(np.float32)
        constants[name] = data
        largest = np.abs(data).reshape(shape[0], -1).max(axis=1) / 127
        if style == "tf":
            return pair(name, f"{name}.w", largest.max(), np.asarray(0, np.int8), None, None)
        codes = (-127, 127) if style == "brevitas" else None
        return pair(name, f"{name}.w", largest, np.zeros(shape[0], np.int8), 0, codes)

    def activation(source: str, name: str, top: float, zero: int, codes: tuple[int, int] | None = None) -> str:
        return pair(source, name, np.asarray(top / 255), np.asarray(zero, np.uint8), None, codes)

    clips = style == "brevitas"
    x = activation("x", "in", 2.0, 128, (0, 255) if clips else None)
    nodes.append(helper.make_node("Conv", [x, weights("w1", (8, 3, 3, 3)), "b1"], ["c"], name="conv", pads=[1, 1, 1, 1]))
    nodes.append(helper.make_node("Relu", ["c"], ["r"], name="relu"))
    # The low 6 bits only: the codes above 63 are cut.
    a = activation("r", "act", 16.0 if clips else 4.0, 0, (0, 63) if clips else None)
    nodes.append(helper.make_node("GlobalAveragePool", [a], ["g"], name="pool"))
    nodes.append(helper.make_node("Flatten", [activation("g", "gq", 3.0, 0) if style == "torch" else "g"], ["f"], name="flat"))
    f = activation("f", "fq", 3.0, 0, (0, 255)) if clips else "f"
    nodes.append(helper.make_node("Gemm", [f, weights("w2", (5, 8)), "b2"], ["o"], name="fc", transB=1))
    y = "o" if clips else activation("o", "oq", 8.0, 128)
    nodes.append(helper.make_node("Identity", [y], ["y"]))
    constants |= {"b1": random.normal(0, 0.1, 8).astype(np.float32), "b2": random.normal(0, 0.1, 5).astype(np.float32)}
    values = [helper.make_tensor_value_info(name, 1, shape) for name, shape in (("x", [1, 3, 16, 16]), ("y", [1, 5]))]
    tensors = [numpy_helper.from_array(data, name) for name, data in constants.items()]
    graph = helper.make_graph(nodes, "trained", values[:1], values[1:], tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    path = folder / f"{style}.onnx"
    onnx.save(model, path)
    return path


@pytest.mark.parametrize("scheme", [scheme.value for scheme in Scheme])
@pytest.mark.parametrize("style", ["torch", "tf", "brevitas"])
def test_trained_models_become_models_for_the_chip(style: str, scheme: str, tmp_path: Path) -> None:
    model = _trained(style, tmp_path)
    np.savez(tmp_path / "data.npz", x=CALIBRATION["input"])
    result = convert(model, str(tmp_path / "data.npz"), tmp_path / "deploy.onnx", QuantizeOptions(scheme=scheme, threads=1))
    assert result["refused"] is None
    assert result["layers"] == 2
    assert result["fidelity"]["error"] < 0.02
    assert result["probability_gap"] < 0.05
    assert any("had no grid" in note for note in result["notes"]) == (style != "torch")
    assert result["prediction"]["original"]["class"] == result["prediction"]["quantized"]["class"]
    stripped = strip_qdq(load_onnx(model))
    clips = [node for node in stripped.graph.nodes if node.op == "Clip"]
    assert [round(node.attrs["max"], 3) for node in clips] == ([round(63 * 16 / 255, 3)] if style == "brevitas" else [])


def test_values_cut_on_purpose_are_not_corrected_away(tmp_path: Path) -> None:
    model = _trained("torch", tmp_path)
    np.savez(tmp_path / "data.npz", x=3.0 * CALIBRATION["input"])
    result = convert(model, str(tmp_path / "data.npz"), tmp_path / "deploy.onnx", QuantizeOptions(threads=1))
    assert result["fidelity"]["error"] < 0.02


def test_a_record_and_data_make_a_model_for_the_chip(tmp_path: Path) -> None:
    graph = HARD["loud_logits"]()
    reference = quantize(graph, CALIBRATION, Settings(scheme=Scheme.AFFINE, equalize=None, correction="float"))
    (tmp_path / "net.onnx").write_bytes(float_model(graph))
    (tmp_path / "record.txt").write_text(amct_record.write(amct_record.of_model(reference)))
    np.savez(tmp_path / "data.npz", input=CALIBRATION["input"])
    record, output = tmp_path / "record.txt", tmp_path / "out.onnx"
    bare = convert(tmp_path / "net.onnx", None, output, QuantizeOptions(threads=1), amct=record)
    assert "fidelity" not in bare
    named = set(strip_qdq(load_onnx(output)).grids)
    full = convert(tmp_path / "net.onnx", str(tmp_path / "data.npz"), output, QuantizeOptions(threads=1), amct=record)
    assert full["refused"] is None
    assert full["fidelity"]["agreement"] > 0.85
    assert named < set(strip_qdq(load_onnx(output)).grids)
    assert any("had no grid" in note for note in full["notes"])


def test_records_that_mean_something_else_are_refused_or_obeyed() -> None:
    graph = HARD["spread_variances"]()
    convolution = next(node.name for node in graph.nodes if node.op == "Conv")
    plain = LayerRecord(0.02, 0, (0.01,))
    for record, message in (
        (replace(plain, dst_type="INT4"), "INT4"),
        (replace(plain, tensor_balance_factor=(2.0,)), "tensor_balance_factor"),
        (LayerRecord(kv_cache=((0.1,), (3,))), "no layer"),
    ):
        text = amct_record.write({convolution: record})
        assert amct_record.read(text) == {convolution: record}
        with pytest.raises(EspgenError, match=message):
            from_amct(graph, text)
    folded = from_amct(graph, amct_record.write({convolution: plain})).graph
    apart = from_amct(graph, amct_record.write({convolution: replace(plain, skip_fusion=True)})).graph
    # The BatchNormalization behind the layer that is not to be fused becomes a layer of its own.
    assert len(apart.nodes) == len(folded.nodes) + 1


def test_integers_that_only_move_become_reals() -> None:
    """QOperator models pool, pad and resize integers without a DequantizeLinear in between."""
    x, made = qdq("input", 0.02, np.int8(10))
    y, also = qdq("y", 0.05, np.int8(-3), "c")
    nodes = [
        x[0],
        operator("Pad", "input_q pads least", "padded"),
        operator("MaxPool", "padded", "pooled", kernel_shape=[2, 2], strides=[2, 2]),
        operator("Resize", "pooled - twice", "resized", mode="nearest"),
        operator("DequantizeLinear", "resized input_s input_z", "resized_dq"),
        operator("DequantizeLinear", "w w_s w_z", "w_dq", axis=0),
        operator("Conv", "resized_dq w_dq", "c"),
        *y,
    ]
    random = np.random.default_rng(5)
    constants = {
        "pads": np.int64([0, 0, 1, 1, 0, 0, 1, 1]), "least": np.int8(-128), "twice": np.float32([1, 1, 2, 2]),
        "w": random.integers(-127, 128, (4, 3, 1, 1)).astype(np.int8), "w_s": np.float32([0.01] * 4), "w_z": np.int8([0] * 4),
    }  # fmt: skip
    graph = load_onnx(serialized(nodes, {"input": (1, 3, 16, 16)}, ["y_dq"], {**made, **also, **constants}))
    stripped = strip_qdq(graph)
    integers = [name for name, value in stripped.graph.values.items() if value.dtype is DType.INT8]
    assert not set(integers) & {name for item in stripped.graph.nodes for name in (*item.inputs, *item.outputs)}
    assert stripped.grids["resized"] == stripped.grids["input"]
    data = {"input": images(8, seed=4)}
    original = Session(serialized(nodes, {"input": (1, 3, 16, 16)}, ["y_dq"], {**made, **also, **constants}), ["y_dq"], 1, 1)
    expected = original.run(data)["y_dq"]
    found = run_float(stripped.graph, data)[stripped.graph.outputs[0]]
    assert np.abs(found - expected).max() < 0.05 + 0.02 * 3 * 1.27
    assert np.mean(np.abs(found - expected)) < 0.03
