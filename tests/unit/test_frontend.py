"""Reading ONNX: canonical form, static shapes, folding, QOperator forms."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from onnx_models import model, node, qdq, serialized

from espgen.errors import EspgenError
from espgen.frontend import load_onnx
from espgen.ir import DType, Graph

DATA = os.environ.get("ESPGEN_DATA")


def ops(graph: Graph) -> list[str]:
    return [item.op for item in graph.nodes]


def test_parameter_inputs_become_attributes() -> None:
    nodes = [
        node("Slice", "x starts ends axes steps", "a"),
        node("Pad", "a pads value", "b"),
        node("Clip", "b - high", "c"),
        node("Reshape", "c shape", "y"),
    ]
    constants = {
        "starts": np.int64([-2, 100]), "ends": np.int64([-1000, -1000]), "axes": np.int64([2, -1]), "steps": np.int64([-1, -2]),
        "pads": np.int64([0, 0, 1, 2, 0, 0, 3, 4]), "value": np.float32(0.5), "high": np.float32(6), "shape": np.int64([0, -1]),
    }  # fmt: skip
    graph = load_onnx(serialized(nodes, {"x": [1, 3, 4, 5]}, ["y"], constants))
    cut, padded, clipped, shaped = graph.nodes
    assert cut.attrs == {"starts": (0, 0, 2, 4), "ends": (1, 3, -1, -1), "axes": (0, 1, 2, 3), "steps": (1, 1, -1, -2)}
    assert padded.attrs == {"pads": (0, 0, 1, 2, 0, 0, 3, 4), "mode": "constant", "value": 0.5}
    assert clipped.attrs == {"min": None, "max": 6.0}
    assert (shaped.op, shaped.inputs, shaped.attrs) == ("Reshape", (clipped.outputs[0],), {})
    assert graph.value("y").shape == (1, 3 * 7 * 9)
    assert graph.constants == {}


@pytest.mark.parametrize(("op", "extra"), [("Flatten", {}), ("Squeeze", {"axes": [0]}), ("Unsqueeze", {"axes": [0]})])
def test_reshaping_operators_have_one_form(op: str, extra: dict[str, list[int]]) -> None:
    graph = load_onnx(serialized([node(op, "x", "y", **extra)], {"x": [1, 3, 4]}, ["y"], opset=11))
    assert ops(graph) == ["Reshape"]


def test_nodes_that_do_nothing_vanish() -> None:
    nodes = [
        node("Identity", "x", "a"), node("Dropout", "a", "b mask"), node("Cast", "b", "c", to=TensorProto.FLOAT),
        node("Transpose", "c", "d", perm=[0, 1]), node("Reshape", "d same", "e"), node("Relu", "e", "f"),
        node("Identity", "f", "y"),
    ]  # fmt: skip
    graph = load_onnx(serialized(nodes, {"x": [2, 3]}, ["y"], {"same": np.int64([2, 3])}))
    assert [(item.op, item.inputs, item.outputs) for item in graph.nodes] == [("Relu", ("x",), ("y",))]


def test_outputs_that_are_inputs_or_used_twice_keep_their_names() -> None:
    nodes = [node("Relu", "x", "a"), node("Identity", "a", "y"), node("Identity", "a", "z"), node("Identity", "x", "w")]
    graph = load_onnx(serialized(nodes, {"x": [2, 3]}, ["y", "z", "w"]))
    assert graph.outputs == ("y", "z", "w")
    assert ops(graph) == ["Relu", "Identity", "Identity"]


def test_shape_chains_fold() -> None:
    nodes = [
        node("Shape", "x", "s"), node("Gather", "s zero", "n"), node("Unsqueeze", "n axes", "n1"),
        node("Cast", "minus", "m", to=TensorProto.INT64), node("Concat", "n1 m", "target", axis=0),
        node("Reshape", "x target", "y"),
    ]  # fmt: skip
    constants = {"zero": np.int64(0), "axes": np.int64([0]), "minus": np.float32([-1])}
    graph = load_onnx(serialized(nodes, {"x": ["batch", 3, 4, 5]}, ["y"], constants))
    assert ops(graph) == ["Reshape"]
    assert graph.value("y").shape == (1, 60)


def test_dequantize_linear_of_weights_is_kept() -> None:
    nodes = [node("DequantizeLinear", "w s", "wd"), node("MatMul", "x wd", "y")]
    graph = load_onnx(serialized(nodes, {"x": [2, 3]}, ["y"], {"w": np.int8([[1], [2], [3]]), "s": np.float32(0.5)}))
    assert ops(graph) == ["DequantizeLinear", "MatMul"]
    assert graph.constants["w"].dtype == np.int8


def test_quantized_float_weights_fold_to_integers() -> None:
    weights, constants = qdq("w", 0.5, np.int8(0))
    constants["w"] = np.float32([[0.24, 0.25, 0.75], [100.0, -100.0, 1.25]])
    graph = load_onnx(serialized([*weights, node("MatMul", "x w_dq", "y")], {"x": [1, 2]}, ["y"], constants))
    assert ops(graph) == ["DequantizeLinear", "MatMul"]
    np.testing.assert_array_equal(graph.constants["w_q"], [[0, 0, 2], [127, -128, 2]])


@pytest.mark.parametrize(
    ("auto_pad", "pads", "extent"), [("SAME_UPPER", (0, 1), 4), ("SAME_LOWER", (1, 0), 4), ("VALID", (0, 0), 3)]
)
def test_auto_pad_is_resolved(auto_pad: str, pads: tuple[int, int], extent: int) -> None:
    convolution = node("Conv", "x w", "y", strides=[2], auto_pad=auto_pad)
    graph = load_onnx(serialized([convolution], {"x": [1, 1, 8]}, ["y"], {"w": np.ones((2, 1, 3), np.float32)}))
    assert graph.nodes[0].attrs == {"kernel_shape": (3,), "strides": (2,), "dilations": (1,), "pads": pads, "group": 1}
    assert graph.value("y").shape == (1, 2, extent)


def test_transposed_convolution_output_shape_becomes_pads() -> None:
    convolution = node("ConvTranspose", "x w", "y", strides=[2, 2], output_shape=[9, 9])
    graph = load_onnx(serialized([convolution], {"x": [1, 1, 4, 4]}, ["y"], {"w": np.ones((1, 2, 3, 3), np.float32)}))
    assert graph.nodes[0].attrs["pads"] == (0, 0, 0, 0)
    assert graph.nodes[0].attrs["output_padding"] == (0, 0)
    assert graph.value("y").shape == (1, 2, 9, 9)


def test_old_softmax_flattens() -> None:
    graph = load_onnx(serialized([node("Softmax", "x", "y")], {"x": [2, 3, 4]}, ["y"], opset=11))
    assert ops(graph) == ["Reshape", "Softmax", "Reshape"]
    assert graph.value(graph.nodes[1].outputs[0]).shape == (2, 12)


def test_initializers_among_the_inputs_are_constants() -> None:
    graph = load_onnx(serialized([node("Add", "x w", "y")], {"x": [2], "w": [2]}, ["y"], {"w": np.float32([1, 2])}))
    assert graph.inputs == ("x",)
    assert graph.is_constant("w")


def test_unused_outputs_are_empty() -> None:
    nodes = [node("Split", "x", "a b c", axis=0), node("Relu", "b", "y")]
    graph = load_onnx(serialized(nodes, {"x": [6]}, ["y"], opset=11))
    assert graph.nodes[0].outputs == ("a", "b"), "a node is known by its first output"
    graph = load_onnx(serialized(nodes[:1], {"x": [6]}, ["c"], opset=11))
    assert graph.nodes[0].outputs == ("a", "", "c")
    assert graph.nodes[0].attrs == {"axis": 0, "sizes": (2, 2, 2)}


def test_constant_condition_picks_its_branch() -> None:
    branches = {
        f"{name}_branch": helper.make_graph(
            [node(op, "x", name)], name, [], [helper.make_tensor_value_info(name, TensorProto.FLOAT, [2])]
        )
        for name, op in (("then", "Relu"), ("else", "Neg"))
    }
    graph = load_onnx(serialized([node("If", "c", "y", **branches)], {"x": [2]}, ["y"], {"c": np.array(False)}))
    assert [(item.op, item.inputs, item.outputs) for item in graph.nodes] == [("Neg", ("x",), ("y",))]


def test_local_functions_are_inlined() -> None:
    base = model([node("Twice", "x", "y", domain="local")], {"x": [2]}, ["y"])
    function = helper.make_function("local", "Twice", ["a"], ["b"], [node("Add", "a a", "b")], [helper.make_opsetid("", 17)])
    base.functions.append(function)
    base.opset_import.append(helper.make_opsetid("local", 1))
    graph = load_onnx(base.SerializeToString())
    assert ops(graph) == ["Add"]


def test_shapes_of_symbolic_dimensions() -> None:
    data = serialized([node("Relu", "x", "y")], {"x": ["batch", 3, "height", None]}, ["y"])
    with pytest.raises(EspgenError, match="height") as error:
        load_onnx(data)
    assert error.value.hint == "--shape height=N"
    assert load_onnx(data, shapes={"x": (2, 3, 8, 9)}).value("y").shape == (2, 3, 8, 9)
    with pytest.raises(EspgenError, match="dimension '3'"):
        load_onnx(data, shapes={"height": 8})
    with pytest.raises(EspgenError, match="no input or dimension is called 'depth'"):
        load_onnx(data, shapes={"x": (2, 3, 8, 9), "depth": 4})
    with pytest.raises(EspgenError, match="fixed at 3"):
        load_onnx(data, shapes={"x": (2, 4, 8, 9)})


QOPERATORS = [
    ("QLinearConv", "", "x xs xz w ws wz ys yz b", ["DequantizeLinear"] * 3 + ["Conv", "QuantizeLinear"], {}),
    ("QLinearMatMul", "", "x xs xz m ws wz ys yz", ["DequantizeLinear"] * 2 + ["MatMul", "QuantizeLinear"], {}),
    ("QGemm", "com.microsoft", "x xs xz m ws wz b ys yz", ["DequantizeLinear"] * 3 + ["Gemm", "QuantizeLinear"], {}),
    ("QGemm", "com.microsoft", "x xs xz m ws wz b", ["DequantizeLinear"] * 3 + ["Gemm"], {}),
    ("QLinearAdd", "com.microsoft", "x xs xz x xs xz ys yz", ["DequantizeLinear"] * 2 + ["Add", "QuantizeLinear"], {}),
    ("QLinearMul", "com.microsoft", "x xs xz x xs - ys", ["DequantizeLinear"] * 2 + ["Mul", "QuantizeLinear"], {}),
    ("QLinearAveragePool", "com.microsoft", "x xs xz ys yz", ["DequantizeLinear", "AveragePool", "QuantizeLinear"],
     {"kernel_shape": [2, 2]}),
    ("QLinearAveragePool", "com.microsoft", "x xs xz ys yz",
     ["DequantizeLinear", "Transpose", "AveragePool", "Transpose", "QuantizeLinear"],
     {"kernel_shape": [2, 2], "channels_last": 1}),
    ("QLinearAveragePool", "com.microsoft", "x xs xz ys yz", ["DequantizeLinear", "ReduceMean", "QuantizeLinear"],
     {"kernel_shape": [4, 4]}),
    ("QLinearGlobalAveragePool", "com.microsoft", "x xs xz ys yz", ["DequantizeLinear", "ReduceMean", "QuantizeLinear"], {}),
    ("QLinearGlobalAveragePool", "com.microsoft", "x xs xz ys yz", ["DequantizeLinear", "ReduceMean", "QuantizeLinear"],
     {"channels_last": 1}),
    ("QLinearConcat", "com.microsoft", "ys yz x xs xz x ys yz", ["DequantizeLinear"] * 2 + ["Concat", "QuantizeLinear"],
     {"axis": 1}),
    ("QLinearSigmoid", "com.microsoft", "x xs xz ys yz", ["DequantizeLinear", "Sigmoid", "QuantizeLinear"], {}),
    ("QLinearLeakyRelu", "com.microsoft", "x xs xz ys yz", ["DequantizeLinear", "LeakyRelu", "QuantizeLinear"],
     {"alpha": 0.2}),
    ("QLinearSoftmax", "com.microsoft", "x xs xz ys yz", ["DequantizeLinear", "Softmax", "QuantizeLinear"],
     {"axis": 3, "opset": 13}),
    ("QLinearSoftmax", "com.microsoft", "x xs xz ys yz",
     ["DequantizeLinear", "Reshape", "Softmax", "Reshape", "QuantizeLinear"], {"axis": 1, "opset": 11}),
]  # fmt: skip


@pytest.mark.parametrize(("op", "domain", "inputs", "expected", "attrs"), QOPERATORS)
def test_qoperators_become_qdq(op: str, domain: str, inputs: str, expected: list[str], attrs: dict[str, object]) -> None:
    shape = [2, 3] if op == "QGemm" else [1, 3, 4, 4]
    constants = {
        "xs": np.float32(0.5), "xz": np.uint8(3), "ws": np.float32(0.25), "wz": np.int8(0), "ys": np.float32(0.75),
        "yz": np.uint8(9), "w": np.ones((2, 3, 1, 1), np.int8), "b": np.int32([1, 2]), "m": np.ones((3, 2), np.int8),
    }  # fmt: skip
    if op == "QLinearMatMul":
        shape = [2, 3]
    made = node(op, inputs, "y", domain=domain, **attrs)
    data = serialized([made], {"x": shape}, ["y"], constants, types={"x": "uint8", "y": "uint8"}, contrib=bool(domain))
    graph = load_onnx(data)
    assert ops(graph) == expected
    first = graph.nodes[0].attrs["quant"]
    assert (first.scale, first.zero_point, first.axis) == ((0.5,), (3,), None)
    if expected[-1] == "QuantizeLinear":
        assert graph.value("y").dtype is DType.UINT8
        assert graph.value("y").quant == graph.nodes[-1].attrs["quant"]
    bias = next((item for item in graph.nodes if "bias" in item.outputs[0]), None)
    if bias is not None:
        assert bias.attrs["quant"].scale == (0.125,)


def test_sixteen_bit_quantization_of_onnxruntime() -> None:
    nodes = [
        node("QuantizeLinear", "x s z", "q", domain="com.microsoft"),
        node("DequantizeLinear", "q s z", "y", domain="com.microsoft"),
    ]
    constants = {"s": np.float32(2**-10), "z": np.int16(0)}
    graph = load_onnx(serialized(nodes, {"x": [4]}, ["y"], constants, contrib=True))
    assert graph.value("q").dtype is DType.INT16


@pytest.mark.skipif(DATA is None, reason="ESPGEN_DATA is not set")
@pytest.mark.parametrize(
    ("path", "count"),
    [("kws/kws_dscnn_int8_qdq.onnx", 70), ("ic/resnet8_float_bn.onnx", 30), ("mobilenet/espdl_mobilenetv2_p4_qdq.onnx", 344)],
)
def test_real_models_are_read(path: str, count: int) -> None:
    file = Path(DATA or "") / path
    graph = load_onnx(file)
    assert len(graph.nodes) == count
    inferred = onnx.shape_inference.infer_shapes(onnx.load(file), data_prop=True)
    known = {item.name: tuple(dim.dim_value for dim in item.type.tensor_type.shape.dim) for item in inferred.graph.value_info}
    compared = [name for name in graph.values if name in known]
    assert len(compared) > count // 2
    for name in compared:
        assert graph.value(name).shape == known[name]


@pytest.mark.parametrize("opset", [13, 21, 22])
@pytest.mark.parametrize(("extent", "kernel", "stride", "pad", "wanted"), [(6, 1, 3, 0, 2), (4, 2, 2, 1, 3), (5, 2, 3, 1, 2)])
def test_ceil_mode_has_no_window_behind_the_input(
    opset: int, extent: int, kernel: int, stride: int, pad: int, wanted: int
) -> None:
    """onnx infers one window more below opset 22 than onnxruntime computes."""
    for op in ("MaxPool", "AveragePool"):
        pool = node(op, "x", "y", kernel_shape=[kernel], strides=[stride], pads=[pad, pad], ceil_mode=1)
        graph = load_onnx(serialized([pool], {"x": [1, 2, extent]}, ["y"], opset=opset))
        assert graph.value("y").shape == (1, 2, wanted)
