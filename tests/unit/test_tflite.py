"""What of .tflite files is refused, and how it is said; where graphs end; what the files' numbers become."""

from __future__ import annotations

import logging
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

sys.path.append(str(Path(__file__).parent.parent / "oracles"))
from tflite_cases import CASES, composite
from tflite_writer import Network

from espgen import api, evaluation, frontend
from espgen.cli import main
from espgen.errors import BAD_INPUT, EspgenError
from espgen.interpret import run_integer
from espgen.ir import DType
from espgen.passes.pipeline import lower_to_integer
from espgen.quantize import commands

_CONV = {"padding": 0, "stride_w": 1, "stride_h": 1, "dilation_w": 1, "dilation_h": 1}


def _weights(*shape: int) -> Any:
    return np.random.default_rng(2).integers(-127, 128, shape).astype(np.int8)


def _refused(content: bytes) -> EspgenError:
    with pytest.raises(EspgenError) as caught:
        frontend.load(content)
    assert caught.value.exit_code == BAD_INPUT
    assert caught.value.hint
    return caught.value


def test_dynamic_range_models_are_refused() -> None:
    net = Network()
    x, y = net.tensor("x", (1, 4), "float32"), net.tensor("y", (1, 3), "float32")
    net.operator("FULLY_CONNECTED", [x, net.constant("w", _weights(3, 4), 0.1)], [y])
    error = _refused(net.content([x], [y]))
    assert "dynamic-range" in error.message
    assert "representative_dataset" in (error.hint or "")
    assert error.node == "fully_connected_0"


def test_weight_only_models_are_refused() -> None:
    net = Network()
    x, y, wide = net.tensor("x", (1, 4), "float32"), net.tensor("y", (1, 3), "float32"), net.tensor("w", (3, 4), "float32")
    net.operator("DEQUANTIZE", [net.constant("codes", _weights(3, 4), 0.1)], [wide])
    net.operator("FULLY_CONNECTED", [x, wide], [y])
    error = _refused(net.content([x], [y]))
    assert "weight-only" in error.message
    assert "TFLITE_BUILTINS_INT8" in (error.hint or "")


def test_weights_in_blocks_are_refused() -> None:
    net = Network()
    x, y, w = net.tensor("x", (1, 4), "float32"), net.tensor("y", (1, 3), "float32"), net.constant("w", _weights(3, 4), 0.1)
    net.tensors[w]["quantization"] |= {"details_kind": 2, "details": ("Sparsity", {})}
    net.operator("FULLY_CONNECTED", [x, w], [y])
    assert "blocks" in _refused(net.content([x], [y])).message


def test_sparse_weights_are_refused() -> None:
    net = Network()
    x, y, w = net.tensor("x", (1, 4), scale=0.1), net.tensor("y", (1, 3), scale=0.1), net.constant("w", _weights(3, 4), 0.1)
    net.tensors[w]["sparsity"] = {"traversal_order": [0, 1]}
    net.operator("FULLY_CONNECTED", [x, w], [y])
    assert "sparse" in _refused(net.content([x], [y])).message


@pytest.mark.parametrize(
    ("op", "said"),
    [("VAR_HANDLE", "state"), ("SVDF", "state"), ("WHILE", "loop"), ("CUSTOM:Mine", "CUSTOM:Mine"), ("TOPK_V2", "TOPK_V2")],
)
def test_operators_that_are_not_read_are_named(op: str, said: str) -> None:
    net = Network()
    x, y = net.tensor("x", (1, 4), scale=0.1), net.tensor("y", (1, 4), scale=0.1)
    net.operator(op, [x], [y])
    error = _refused(net.content([x], [y]))
    assert said in error.message
    assert (error.node or "").endswith("_0")


@pytest.mark.parametrize("op", ["ARG_MAX", "CUSTOM:TFLite_Detection_PostProcess"])
def test_what_only_follows_the_network_is_left_to_the_application(op: str, caplog: pytest.LogCaptureFixture) -> None:
    net = Network()
    x, scores = net.tensor("x", (1, 4), scale=0.1), net.tensor("scores", (1, 4), scale=1 / 256, zero_point=-128)
    best, other = net.tensor("best", (1,), "int32"), net.tensor("other", (1,), "float32")
    net.operator("LOGISTIC", [x], [scores])
    ends = [best] if op == "ARG_MAX" else [best, other]
    net.operator(op, [scores, net.constant("anchors", np.int32([1]))], ends)
    with caplog.at_level(logging.WARNING):
        graph = frontend.load(net.content([x], ends))
    assert graph.outputs == ("scores",)
    assert "'scores'" in caplog.text
    assert op in caplog.text


def test_a_bias_has_the_scale_of_its_product_whatever_the_file_says() -> None:
    net = Network()
    x, y = net.tensor("x", (1, 5, 5, 2), scale=0.5), net.tensor("y", (1, 5, 5, 3), scale=0.25)
    weights = net.constant("w", _weights(3, 3, 3, 2), [0.5, 0.25, 0.125])
    bias = net.constant("b", np.int32([4, 8, -16]), 1.0)
    net.operator("CONV_2D", [x, weights, bias], [y], **_CONV)
    graph = frontend.load(net.content([x], [y]))
    scales = [node.attrs["quant"].scale for node in graph.nodes if node.inputs[0].endswith("/bias")]
    assert scales == [(0.25, 0.125, 0.0625)]


def test_inputs_and_outputs_keep_order_and_type() -> None:
    graph = frontend.load(CASES["conv_per_tensor_uint8"])
    assert [(graph.value(name).shape, graph.value(name).dtype) for name in ("x", "y")] == [
        ((1, 7, 6, 8), DType.UINT8),
        ((1, 7, 6, 4), DType.UINT8),
    ]


def test_a_chain_of_layers_turns_its_data_only_at_the_ends() -> None:
    net = Network()
    values = [net.tensor(f"v{index}", (1, 6, 6, 4), scale=0.1) for index in range(5)]
    for source, target in pairwise(values):
        net.operator("CONV_2D", [source, net.constant("w", _weights(4, 3, 3, 4), 0.01)], [target], **_CONV)
    graph = frontend.load(net.content(values[:1], values[-1:]))
    assert sum(node.op == "Transpose" for node in graph.nodes) == 2


def test_weights_of_four_bits_are_unpacked() -> None:
    net = Network()
    x, y = net.tensor("x", (1, 3), scale=0.1), net.tensor("y", (1, 1), scale=0.1)
    weights = net.tensor("w", (1, 3), "int4", 0.1, data=np.uint8([0x8F, 0x07]))
    net.operator("FULLY_CONNECTED", [x, weights], [y])
    graph = frontend.load(net.content([x], [y]))
    assert [data.tolist() for data in graph.constants.values() if data.dtype == np.int8] == [[[-1, -8, 7]]]


def test_names_need_not_be_unique() -> None:
    net = Network()
    x, middle, y = (net.tensor("same", (1, 4), scale=0.1) for _ in range(3))
    net.operator("LOGISTIC", [x], [middle])
    net.operator("TANH", [middle], [y])
    graph = frontend.load(net.content([x], [y]))
    assert (graph.inputs, graph.outputs) == (("same",), ("same_3",))


def test_a_shape_that_the_operators_contradict_is_refused() -> None:
    net = Network()
    x, y = net.tensor("x", (1, 6, 6, 4), scale=0.1), net.tensor("y", (1, 6, 7, 4), scale=0.1)
    net.operator("CONV_2D", [x, net.constant("w", _weights(4, 3, 3, 4), 0.01)], [y], **_CONV)
    assert _refused(net.content([x], [y])).message.endswith("said to have shape [1, 6, 7, 4] and comes out as [1, 6, 6, 4]")


def test_shapes_are_the_files_own() -> None:
    frontend.load(CASES["relu"], shapes={"x0": (1, 7, 6, 8)})
    with pytest.raises(EspgenError, match="fixed shapes"):
        frontend.load(CASES["relu"], shapes={"x0": (2, 7, 6, 8)})


def test_a_float_model_says_that_it_wants_quantizing(tmp_path: Path) -> None:
    net = Network()
    x, y = net.tensor("x", (1, 4), "float32"), net.tensor("y", (1, 3), "float32")
    net.operator("FULLY_CONNECTED", [x, net.constant("w", np.ones((3, 4), np.float32))], [y])
    path = tmp_path / "float.tflite"
    path.write_bytes(net.content([x], [y]))
    with pytest.raises(EspgenError, match="espgen quantize"):
        api.compile(path, tmp_path / "out")
    assert api.inspect(path)["operators"][0]["op"] == "Gemm"


def test_a_damaged_file_is_bad_input(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "damaged.tflite"
    path.write_bytes(CASES["conv_same"][:600])
    with pytest.raises(SystemExit) as stopped:
        main(["inspect", str(path)])
    assert stopped.value.code == BAD_INPUT
    assert "damaged" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["conv_same", "fully_connected_per_channel"])
def test_evaluate_judges_integer_outputs_by_what_they_mean(name: str, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    path, data = tmp_path / "small.tflite", tmp_path / "data.npz"
    path.write_bytes(CASES[name])
    shape = frontend.load(path).value("x").shape
    np.savez(data, x=np.random.default_rng(3).integers(-128, 128, (6, *shape)).astype(np.int8))
    rows = evaluation.run(None, path, str(data))["rows"]
    assert [row["model"] for row in rows] == ["fake-quant", "integer"]
    assert rows[1]["error"] < 1e-4


def test_composites_are_what_they_consist_of() -> None:
    graph = frontend.load(composite(1))
    computing = [node.name for node in graph.nodes if not node.op.endswith("Linear")]
    assert computing == ["stablehlo_composite_0/hard_swish_0", "stablehlo_composite_0/logistic_1"]
    assert (graph.inputs, graph.outputs) == (("x",), ("y",))


@pytest.mark.parametrize("content", [composite(1, depth=2), composite(7), composite(0)])
def test_composites_without_end_or_graph_are_refused(content: bytes) -> None:
    assert "composite" in _refused(content).message


def test_a_real_input_may_be_selected_from_before_it_is_quantized() -> None:
    """The indices stay with the selection, which commutes with quantizing."""
    net = Network()
    x, chosen = net.tensor("x", (5, 6), "float32"), net.tensor("chosen", (3, 6), "float32")
    y = net.tensor("y", (3, 6), scale=0.5)
    net.operator("GATHER", [x, net.constant("indices", np.int32([4, 0, 2]))], [chosen])
    net.operator("QUANTIZE", [chosen], [y])
    graph = lower_to_integer(frontend.load(net.content([x], [y])))
    data = np.arange(-15, 15, dtype=np.int8).reshape(5, 6)
    np.testing.assert_array_equal(run_integer(graph, {"x": data})["y"], data[[4, 0, 2]])


def test_convert_wants_real_outputs(tmp_path: Path) -> None:
    path, data = tmp_path / "small.tflite", tmp_path / "data.npz"
    path.write_bytes(CASES["conv_same"])
    np.savez(data, x=np.zeros((2, 1, 7, 6, 8), np.int8))
    with pytest.raises(EspgenError, match="integers of a QuantizeLinear") as caught:
        commands.convert(path, str(data), tmp_path / "out.onnx", commands.QuantizeOptions())
    assert "inference_output_type" in (caught.value.hint or "")
    assert not (tmp_path / "out.onnx").exists()


def test_convert_takes_real_ends(tmp_path: Path) -> None:
    """The remedy, followed."""
    pytest.importorskip("onnxruntime")
    net = Network()
    x, inner = net.tensor("x", (1, 6, 6, 4), "float32"), net.tensor("inner", (1, 6, 6, 4), scale=0.02)
    result, y = net.tensor("result", (1, 6, 6, 4), scale=0.05), net.tensor("y", (1, 6, 6, 4), "float32")
    net.operator("QUANTIZE", [x], [inner])
    net.operator("CONV_2D", [inner, net.constant("w", _weights(4, 3, 3, 4), 0.004)], [result], **_CONV)
    net.operator("DEQUANTIZE", [result], [y])
    path, data = tmp_path / "small.tflite", tmp_path / "data.npz"
    path.write_bytes(net.content([x], [y]))
    np.savez(data, x=np.random.default_rng(0).normal(size=(4, 1, 6, 6, 4)).astype(np.float32))
    result_ = commands.convert(path, str(data), tmp_path / "out.onnx", commands.QuantizeOptions())
    assert result_["refused"] is None
    assert (tmp_path / "out.onnx").is_file()
