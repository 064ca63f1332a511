"""Lowered operators against onnxruntime: one-operator QDQ models, within one unit in the last place."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from espgen.frontend import load_onnx
from espgen.interpret import run_integer
from espgen.ir.layout import from_layout, to_layout
from espgen.passes.pipeline import lower_to_integer

ort = pytest.importorskip("onnxruntime")

Quant = tuple[float, int]
INT8: Quant = (0.04, 3)
"""Scale and zero point of most inputs."""


@dataclass(frozen=True)
class Model:
    """One operator between QuantizeLinear/DequantizeLinear pairs.

    `inputs` are shapes of run-time inputs; `constants` float initializers that follow them; `plain` int64 initializers
    (axes, shapes); `moved` says that the operator only moves data, so that the output keeps the input's scale.
    """

    op: str
    inputs: tuple[tuple[int, ...], ...]
    output: Quant = (0.05, -4)
    attrs: dict[str, Any] = field(default_factory=dict)
    constants: tuple[np.ndarray, ...] = ()
    plain: tuple[Any, ...] = ()
    dtype: str = "int8"
    input: Quant = INT8
    moved: bool = False
    share: float = 0.01
    outputs: int = 1


RNG = np.random.default_rng(11)
IMAGE = (1, 6, 7, 5)


def real(*shape: int, scale: float = 1.0) -> np.ndarray:
    return (RNG.standard_normal(shape) * scale).astype(np.float32)


def integers(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


def floats(*values: float) -> np.ndarray:
    return np.array(values, np.float32)


MODELS: dict[str, Model] = {
    "add": Model("Add", (IMAGE, IMAGE)),
    "add_broadcast": Model("Add", (IMAGE, (6, 1, 1))),
    "add_lower_rank": Model("Add", ((2, 6), (6,))),
    "add_constant": Model("Add", (IMAGE,), constants=(real(6, 1, 1, scale=3),)),
    "sub": Model("Sub", (IMAGE, IMAGE)),
    "mul": Model("Mul", (IMAGE, IMAGE), (0.11, 5)),
    "mul_excite": Model("Mul", (IMAGE, (1, 6, 1, 1)), (0.11, 5)),
    "mul_constant": Model("Mul", (IMAGE,), (0.11, 5), constants=(real(6, 1, 1),)),
    "div_constant": Model("Div", (IMAGE,), (0.11, 5), constants=(np.abs(real(6, 1, 1)) + 0.5,), share=0.03),
    "relu": Model("Relu", (IMAGE,), (0.05, -128)),
    "leaky_relu": Model("LeakyRelu", (IMAGE,), attrs={"alpha": 0.1}),
    "sigmoid": Model("Sigmoid", (IMAGE,), (1 / 256, -128)),
    "tanh": Model("Tanh", (IMAGE,), (1 / 128, 0)),
    "hard_swish": Model("HardSwish", (IMAGE,)),
    "exp": Model("Exp", (IMAGE,), (0.3, -128)),
    "sqrt": Model("Sqrt", (IMAGE,), (0.01, -128), input=(0.04, -128)),
    "prelu": Model("PRelu", (IMAGE,), constants=(real(6, 1, 1, scale=0.2),)),
    "max_pool": Model("MaxPool", (IMAGE,), INT8, {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1]}),
    "max_pool_ceil": Model("MaxPool", (IMAGE,), INT8, {"kernel_shape": [2, 2], "strides": [2, 2], "ceil_mode": 1}),
    "max_pool_1d": Model("MaxPool", ((1, 6, 9),), INT8, {"kernel_shape": [3], "strides": [2]}),
    "average_pool": Model("AveragePool", (IMAGE,), attrs={"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]}),
    "average_pool_counted": Model(
        "AveragePool", (IMAGE,), attrs={"kernel_shape": [3, 2], "pads": [1, 0, 1, 1], "count_include_pad": 1}
    ),
    "average_pool_ceil": Model("AveragePool", (IMAGE,), attrs={"kernel_shape": [2, 2], "strides": [2, 2], "ceil_mode": 1}),
    "average_pool_1d": Model("AveragePool", ((1, 6, 9),), attrs={"kernel_shape": [2], "strides": [2]}),
    "global_average_pool": Model("GlobalAveragePool", (IMAGE,), (0.02, 0)),
    "global_max_pool": Model("GlobalMaxPool", (IMAGE,), INT8),
    "reduce_mean_spatial": Model("ReduceMean", (IMAGE,), (0.02, 0), {"keepdims": 0}, plain=(integers(2, 3),)),
    "reduce_mean_channels": Model("ReduceMean", (IMAGE,), (0.02, 0), {"keepdims": 1}, plain=(integers(1),)),
    "reduce_mean_width": Model("ReduceMean", (IMAGE,), (0.02, 0), {"keepdims": 0}, plain=(integers(3),)),
    "reduce_sum": Model("ReduceSum", (IMAGE,), (0.2, 0), {"keepdims": 0}, plain=(integers(1, 2),)),
    "reduce_max": Model("ReduceMax", (IMAGE,), INT8, {"keepdims": 0}, plain=(integers(1),)),
    "softmax": Model("Softmax", ((3, 10),), (1 / 256, -128)),
    "softmax_channels": Model("Softmax", (IMAGE,), (1 / 256, -128), {"axis": 1}),
    "concat": Model("Concat", (IMAGE, (1, 2, 7, 5)), attrs={"axis": 1}),
    "slice": Model("Slice", (IMAGE,), plain=(integers(1, 0), integers(6, 9), integers(1, 2), integers(2, 3)), moved=True),
    "slice_reversed": Model("Slice", (IMAGE,), plain=(integers(-1), integers(-9), integers(3), integers(-2)), moved=True),
    "split": Model("Split", (IMAGE,), attrs={"axis": 1}, plain=(integers(2, 4),), moved=True, outputs=2),
    "pad": Model("Pad", (IMAGE,), plain=(integers(0, 0, 1, 2, 0, 0, 2, 1), floats(0.5)), moved=True),
    "pad_reflect": Model("Pad", (IMAGE,), attrs={"mode": "reflect"}, plain=(integers(0, 1, 1, 2, 0, 0, 2, 1),), moved=True),
    "reshape": Model("Reshape", (IMAGE,), plain=(integers(1, 21, 10),), moved=True),
    "flatten": Model("Flatten", (IMAGE,), moved=True),
    "squeeze": Model("Squeeze", ((1, 6, 1, 5),), plain=(integers(2),), moved=True),
    "transpose": Model("Transpose", (IMAGE,), attrs={"perm": [0, 2, 3, 1]}, moved=True),
    "transpose_rank_3": Model("Transpose", ((2, 3, 4),), attrs={"perm": [2, 0, 1]}, moved=True),
    "depth_to_space": Model("DepthToSpace", ((1, 8, 3, 4),), attrs={"blocksize": 2}, moved=True),
    "depth_to_space_crd": Model("DepthToSpace", ((1, 8, 3, 4),), attrs={"blocksize": 2, "mode": "CRD"}, moved=True),
    "space_to_depth": Model("SpaceToDepth", ((1, 3, 4, 6),), attrs={"blocksize": 2}, moved=True),
    "resize_nearest": Model("Resize", (IMAGE,), INT8, {"mode": "nearest"}, plain=("", floats(1, 1, 2, 3)), moved=True),
    "resize_nearest_odd": Model(
        "Resize",
        (IMAGE,),
        INT8,
        {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"},
        plain=("", "", integers(1, 6, 10, 3)),
        moved=True,
    ),
    "resize_linear": Model("Resize", (IMAGE,), INT8, {"mode": "linear"}, plain=("", floats(1, 1, 2, 2)), share=0.03),
    "resize_linear_corners": Model(
        "Resize",
        (IMAGE,),
        INT8,
        {"mode": "linear", "coordinate_transformation_mode": "align_corners"},
        plain=("", "", integers(1, 6, 9, 11)),
        share=0.03,
    ),
    "resize_cubic": Model("Resize", (IMAGE,), INT8, {"mode": "cubic"}, plain=("", floats(1, 1, 2, 2)), share=0.03),
    "tile": Model("Tile", (IMAGE,), plain=(integers(1, 1, 2, 1),), moved=True),
    "expand": Model("Expand", ((1, 6, 1, 5),), plain=(integers(1, 6, 4, 5),), moved=True),
    "gather": Model("Gather", (IMAGE,), attrs={"axis": 1}, plain=(integers(4, 0, 3),), moved=True),
    "matmul": Model("MatMul", ((5, 9), (9, 4)), (0.11, 5)),
    "matmul_batched": Model("MatMul", ((2, 3, 5, 9), (3, 9, 4)), (0.11, 5)),
    "matmul_constant": Model("MatMul", ((2, 5, 9),), (0.11, 5), constants=(real(9, 4),)),
    "matmul_constant_rank_3": Model("MatMul", ((2, 5, 9),), (0.11, 5), constants=(real(2, 9, 4),)),
    "conv_transpose": Model("ConvTranspose", (IMAGE,), (0.2, 5), {"strides": [2, 2], "pads": [1, 1, 1, 1]}, (real(6, 4, 3, 3),)),
    "conv_transpose_grouped": Model(
        "ConvTranspose", (IMAGE,), (0.2, 5), {"strides": [2, 1], "group": 2, "output_padding": [1, 0]}, (real(6, 2, 3, 3),)
    ),
    "conv_transpose_1d": Model("ConvTranspose", ((1, 6, 9),), (0.2, 5), {"strides": [2]}, (real(6, 4, 4),)),
    "add_int16": Model("Add", (IMAGE, IMAGE), (0.0005, 0), dtype="int16", input=(0.0004, 0)),
    "mul_int16": Model("Mul", (IMAGE, IMAGE), (0.003, 0), dtype="int16", input=(0.0004, 0)),
    "leaky_relu_int16_zero_point": Model(
        "LeakyRelu", (IMAGE,), (0.0004, 5), {"alpha": 0.137}, dtype="int16", input=(0.0004, 100)
    ),
    "leaky_relu_int16": Model("LeakyRelu", (IMAGE,), (0.0004, 0), {"alpha": 0.125}, dtype="int16", input=(0.0004, 0)),
    "average_pool_int16": Model("AveragePool", (IMAGE,), (0.0005, 0), {"kernel_shape": [2, 2]}, dtype="int16", input=(0.0004, 0)),
    "softmax_int16": Model("Softmax", ((3, 10),), (2.0**-15, 0), dtype="int16", input=(0.0004, 0)),
    "resize_linear_int16": Model(
        "Resize", (IMAGE,), (0.00047, 0), {"mode": "linear"}, plain=("", floats(1, 1, 2, 2)), dtype="int16", input=(0.0004, 0)
    ),
    "add_uint8": Model("Add", (IMAGE, IMAGE), (0.05, 120), dtype="uint8", input=(0.04, 131)),
    "mul_uint8": Model("Mul", (IMAGE, IMAGE), (0.11, 120), dtype="uint8", input=(0.04, 131)),
    "sigmoid_uint8": Model("Sigmoid", (IMAGE,), (1 / 256, 0), dtype="uint8", input=(0.04, 131)),
    "pad_uint8": Model("Pad", (IMAGE,), plain=(integers(0, 0, 1, 2, 0, 0, 2, 1),), dtype="uint8", input=(0.04, 131), moved=True),
    "softmax_uint8": Model("Softmax", ((3, 10),), (1 / 256, 0), dtype="uint8", input=(0.04, 131)),
}


def build(model: Model, path: Path) -> None:
    """Write the model in QDQ form, graph inputs and outputs of integer type."""
    dtype = np.dtype(model.dtype)
    nodes, initializers, names, graph_inputs = [], [], [], []

    def initializer(name: str, data: np.ndarray) -> str:
        initializers.append(numpy_helper.from_array(np.asarray(data), name))
        return name

    def dequantized(name: str, quant: Quant, kind: np.dtype) -> str:
        scale = initializer(f"{name}_scale", np.float32(quant[0]))
        point = initializer(f"{name}_zero", np.asarray(quant[1], kind))
        nodes.append(helper.make_node("DequantizeLinear", [name, scale, point], [f"{name}_real"], f"{name}_dq"))
        return f"{name}_real"

    tensor_type = helper.np_dtype_to_tensor_dtype(dtype)
    for index, shape in enumerate(model.inputs):
        graph_inputs.append(helper.make_tensor_value_info(f"x{index}", tensor_type, shape))
        names.append(dequantized(f"x{index}", (model.input[0] * (1 + 0.3 * index), model.input[1]), dtype))
    signed = np.dtype("int16") if dtype.itemsize == 2 else np.dtype("int8")
    for index, data in enumerate(model.constants):
        scale = float(np.abs(data).max()) / np.iinfo(signed).max
        quantized = np.rint(data / np.float32(scale)).astype(signed)
        names.append(dequantized(initializer(f"c{index}", quantized), (scale, 0), signed))
    names += [initializer(f"p{index}", data) if not isinstance(data, str) else "" for index, data in enumerate(model.plain)]
    results = [f"r{index}" for index in range(model.outputs)]
    nodes.append(helper.make_node(model.op, names, results, "op", **model.attrs))
    quant = model.input if model.moved else model.output
    outputs = []
    for result in results:
        scale = initializer(f"{result}_scale", np.float32(quant[0]))
        point = initializer(f"{result}_zero", np.asarray(quant[1], dtype))
        nodes.append(helper.make_node("QuantizeLinear", [result, scale, point], [f"{result}_q"], f"{result}_quantize"))
        outputs.append(helper.make_tensor_value_info(f"{result}_q", tensor_type, None))
    graph = helper.make_graph(nodes, "one_operator", graph_inputs, outputs, initializers)
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    onnx.save(onnx.shape_inference.infer_shapes(proto), path)


@pytest.mark.parametrize("name", MODELS)
def test_lowering_matches_onnxruntime(name: str, tmp_path: Path) -> None:
    model, path = MODELS[name], tmp_path / "model.onnx"
    build(model, path)
    graph = lower_to_integer(load_onnx(path))
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(path, options)
    rng = np.random.default_rng(3)
    limits = np.iinfo(model.dtype)
    spread = 40 if np.dtype(model.dtype).itemsize == 1 else 9000
    different, elements = 0, 0
    for _ in range(3):
        feeds = {
            f"x{index}": np.clip(np.rint(rng.standard_normal(shape) * spread) + model.input[1], limits.min, limits.max).astype(
                model.dtype
            )
            for index, shape in enumerate(model.inputs)
        }
        wanted = session.run(None, feeds)
        held = {key: to_layout(data, graph.value(key).layout) for key, data in feeds.items()}
        got = run_integer(graph, held)
        for output, expected in zip(graph.outputs, wanted, strict=True):
            data = from_layout(got[output], graph.value(output).layout)
            assert data.shape == expected.shape and data.dtype == expected.dtype
            difference = np.abs(data.astype(np.int64) - expected.astype(np.int64))
            assert difference.max(initial=0) <= 1
            different += int((difference > 0).sum())
            elements += difference.size
    assert different <= (0 if model.moved else model.share * elements)


def test_every_lowering_is_compared() -> None:
    """Every ONNX operator that has a lowering occurs among the models (or in tests of their own, some in the .espdl reader's)."""
    from espgen.passes.lower import lowerings

    unary = {"Relu", "LeakyRelu", "Sigmoid", "Tanh", "HardSwish", "Exp", "Sqrt"}
    compared = {"Unary" if model.op in unary else model.op for model in MODELS.values()}
    reshapes = {"Flatten", "Squeeze"}
    elsewhere = {"Conv", "ConvInteger", "Gemm", "MatMulInteger", "Requantize", "Sum", "ReduceMin", "Reshape", "Table"}
    assert set(lowerings()) <= (compared - reshapes) | elsewhere
