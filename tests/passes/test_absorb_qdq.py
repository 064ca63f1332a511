"""absorb_qdq (and fold_batch_norm): no float value is left, and the integers are those onnxruntime gives."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import ModelProto, NodeProto, TensorProto

sys.path.append(str(Path(__file__).parent.parent / "unit"))
from onnx_models import model, node, qdq
from quantized_oracle import simulate

from espgen.errors import EspgenError
from espgen.frontend import load_onnx
from espgen.ir import DType, Graph, verify
from espgen.passes import absorb_qdq, fold_batch_norm, fuse_pad, remove_identity

DATA = os.environ.get("ESPGEN_DATA")
RNG = np.random.default_rng(7)
Made = tuple[list[NodeProto], dict[str, Any]]


@pytest.fixture(autouse=True)
def _same_numbers() -> None:
    RNG.bit_generator.state = np.random.default_rng(7).bit_generator.state


class Net:
    """Collects nodes and constants of a QDQ model."""

    def __init__(self, opset: int = 17) -> None:
        self.nodes: list[NodeProto] = []
        self.constants: dict[str, Any] = {}
        self.opset = opset

    def pair(self, name: str, scale: float, zero_point: Any, real: str | None = None) -> Net:
        nodes, constants = qdq(name, scale, zero_point, real)
        self.nodes += nodes
        self.constants |= constants
        return self

    def op(self, kind: str, inputs: str, outputs: str, **attrs: Any) -> Net:
        self.nodes.append(node(kind, inputs, outputs, **attrs))
        return self

    def const(self, **data: Any) -> Net:
        self.constants |= data
        return self

    def weights(self, name: str, data: np.ndarray, scale: Any, zero_point: Any, axis: int = 0) -> Net:
        self.const(**{f"{name}_q": data, f"{name}_ws": np.float32(scale), f"{name}_wz": zero_point})
        return self.op("DequantizeLinear", f"{name}_q {name}_ws {name}_wz", name, axis=axis)

    def build(self, inputs: Mapping[str, Sequence[int]], outputs: str = "y_dq", **kwargs: Any) -> ModelProto:
        return model(self.nodes, inputs, outputs.split(), self.constants, self.opset, **kwargs)


def int8(*shape: int, low: int = -127) -> np.ndarray:
    return RNG.integers(low, 128, shape).astype(np.int8)


def start(opset: int = 17) -> Net:
    return Net(opset).pair("x", 0.04, np.int8(-5))


IMAGE = {"x": (1, 6, 7, 8)}
ROWS = {"x": (5, 6)}


def conv(net: Net, bias: str = "b", **attrs: Any) -> Net:
    """Conv of x_dq by per-channel weights into `c`."""
    net.weights("w", int8(4, 6, 3, 3), [0.01, 0.02, 0.015, 0.03], np.int8([0, 0, 0, 0]))
    net.const(b=np.float32([0.5, -1.0, 0.25, 2.0]))
    return net.op("Conv", f"x_dq w {bias}".strip(), "c", pads=[1, 1, 1, 1], **attrs)


def batch_norm(net: Net, source: str, result: str, channels: int = 4, opposite: bool = True) -> Net:
    gamma = np.linspace(-0.8 if opposite else 0.1, 1.5, channels).astype(np.float32)
    gamma[1] = 0.0
    return net.const(
        g=gamma, bt=np.linspace(-1, 1, channels).astype(np.float32),
        mu=np.linspace(-2, 3, channels).astype(np.float32), v=np.linspace(0.5, 4, channels).astype(np.float32),
    ).op("BatchNormalization", f"{source} g bt mu v", result)  # fmt: skip


def conv_relu() -> ModelProto:
    return conv(start()).op("Relu", "c", "r").pair("y", 0.1, np.int8(-128), "r").build(IMAGE)


def conv_two_clips() -> ModelProto:
    net = conv(start()).const(lo=np.float32(-1), hi=np.float32(6)).op("Clip", "c lo hi", "k").op("Relu", "k", "r")
    return net.pair("y", 0.1, np.int8(-128), "r").build(IMAGE)


def conv_batch_norm_clip() -> ModelProto:
    net = batch_norm(conv(start()), "c", "n").const(hi=np.float32(6)).op("Clip", "n - hi", "r")
    return net.pair("y", 0.1, np.int8(0), "r").build(IMAGE)


def conv_batch_norm_integer_bias() -> ModelProto:
    net = start().weights("b", np.int32([900, -800, 70, 6]), [0.003, 0.001, 0.002, 0.004], np.int32([0, 0, 0, 0]))
    net.weights("w", int8(4, 6, 3, 3, low=-128), 0.02, np.int8(0)).op("Conv", "x_dq w b", "c")
    return batch_norm(net, "c", "n").pair("y", 0.1, np.int8(0), "n").build(IMAGE)


def conv_uint8_weights() -> ModelProto:
    net = Net().pair("x", 0.04, np.uint8(120)).weights("w", (int8(4, 6, 3, 3).view(np.uint8)), 0.02, np.uint8(131))
    return net.op("Conv", "x_dq w", "c", strides=[2, 2]).pair("y", 0.2, np.uint8(99), "c").build(IMAGE)


def conv_uint8_batch_norm() -> ModelProto:
    net = Net().pair("x", 0.04, np.uint8(120)).weights("w", (int8(4, 6, 3, 3).view(np.uint8)), 0.02, np.uint8(131))
    net.op("Conv", "x_dq w", "c", strides=[2, 2])
    return batch_norm(net, "c", "n").pair("y", 0.2, np.uint8(99), "n").build(IMAGE)


def conv_transpose_batch_norm() -> ModelProto:
    net = start().weights("w", int8(6, 4, 2, 2), [0.01, 0.02, 0.015, 0.03], np.int8([0, 0, 0, 0]), axis=1)
    net.op("ConvTranspose", "x_dq w", "c", strides=[2, 2])
    return batch_norm(net, "c", "n").op("Relu", "n", "r").pair("y", 0.1, np.int8(-128), "r").build(IMAGE)


def gemm_batch_norm() -> ModelProto:
    net = start().weights("w", int8(4, 6), [0.01, 0.02, 0.015, 0.03], np.int8([0, 0, 0, 0]))
    net.const(b=np.float32([0.5, -1.0, 0.25, 2.0])).op("Gemm", "x_dq w b", "c", transB=1, beta=0.5)
    return batch_norm(net, "c", "n").pair("y", 0.1, np.int8(3), "n").build(ROWS)


def lone_batch_norm() -> ModelProto:
    return batch_norm(start(), "x_dq", "n", 6).pair("y", 0.03, np.int8(3), "n").build(IMAGE)


def batch_norm_of_a_quantizer() -> ModelProto:
    """As onnxruntime's quantizer leaves it: Q/DQ around it, and its statistics behind DequantizeLinear."""
    net = conv(start()).pair("m", 0.11, np.int8(4), "c")
    for name, scale in (("g", 0.01), ("bt", 0.02), ("mu", 0.03)):
        net.weights(name, int8(4), scale, np.int8(0))
    net.weights("v", np.uint8([9, 200, 77, 255]), 0.02, np.uint8(0)).op("BatchNormalization", "m_dq g bt mu v", "n")
    return net.op("Relu", "n", "r").pair("y", 0.1, np.int8(-128), "r").build(IMAGE)


def lone_batch_norm_rank_2() -> ModelProto:
    return batch_norm(start(), "x_dq", "n", 6).pair("y", 0.03, np.int8(3), "n").build(ROWS)


def gemm_factors() -> ModelProto:
    net = start().weights("w", int8(6, 4), 0.01, np.int8(0)).const(b=np.float32([[0.5, -1.0, 0.25, 2.0]]))
    net.op("Gemm", "x_dq w b", "c", alpha=-0.75, beta=2.0)
    return net.pair("y", 0.1, np.int8(3), "c").build(ROWS)


def gemm_transposed_input() -> ModelProto:
    net = start().weights("w", int8(5, 4), 0.01, np.int8(0)).op("Gemm", "x_dq w", "c", transA=1)
    return net.pair("y", 0.1, np.int8(3), "c").build(ROWS)


def matmul_bias() -> ModelProto:
    net = start().weights("w", int8(6, 4), [0.01, 0.02, 0.015, 0.03], np.int8([0, 0, 0, 0]), axis=1)
    net.const(b=np.float32([0.5, -1.0, 0.25, 2.0])).op("MatMul", "x_dq w", "m").op("Add", "b m", "c")
    return net.pair("y", 0.1, np.int8(3), "c").build(ROWS)


def matmul_bias_rank_3() -> ModelProto:
    net = start().weights("w", int8(6, 4), 0.01, np.int8(0)).weights("b", np.int32([50, -60, 70, 8]), 0.0004, np.int32(0))
    net.op("MatMul", "x_dq w", "m").op("Add", "m b", "c")
    return net.pair("y", 0.1, np.int8(3), "c").build({"x": (2, 5, 6)})


def matmul_transposed_weights() -> ModelProto:
    net = start().pair("w", 0.01, np.int8(0)).const(w=RNG.normal(size=(4, 6)).astype(np.float32) * 0.4)
    net.op("Transpose", "w_dq", "wt", perm=[1, 0]).op("MatMul", "x_dq wt", "c")
    return net.pair("y", 0.1, np.int8(3), "c").build(ROWS)


def matmul_two_tensors() -> ModelProto:
    net = start().pair("z", 0.02, np.int8(7)).op("MatMul", "x_dq z_dq", "c")
    return net.pair("y", 0.1, np.int8(3), "c").build({"x": (2, 5, 6), "z": (6, 3)})


def affine_behind_conv() -> ModelProto:
    net = conv(start(), "").const(f=np.float32([2.0, -0.5, 1.0, 3.0]).reshape(4, 1, 1), o=np.float32(0.75))
    net.op("Mul", "c f", "m").op("Sub", "o m", "s").op("Div", "s o", "d").op("Relu", "d", "r")
    return net.pair("y", 0.3, np.int8(-128), "r").build(IMAGE)


def bias_of_another_scale() -> ModelProto:
    net = start().weights("b", np.int32([900, -800, 70, 6]), 0.003, np.int32(0)).weights("w", int8(4, 6, 3, 3), 0.02, np.int8(0))
    return net.op("Conv", "x_dq w b", "c").pair("y", 0.1, np.int8(0), "c").build(IMAGE)


def swish() -> ModelProto:
    net = start().op("Sigmoid", "x_dq", "s").op("Mul", "x_dq s", "m")
    return net.pair("y", 0.03, np.int8(-110), "m").build(IMAGE)


def gelu_decomposed() -> ModelProto:
    net = start().const(r=np.float32(2**0.5), one=np.float32(1), half=np.float32(0.5))
    net.op("Div", "x_dq r", "d").op("Erf", "d", "e").op("Add", "e one", "a").op("Mul", "x_dq a", "m").op("Mul", "m half", "g")
    return net.pair("y", 0.03, np.int8(-110), "g").build(IMAGE)


def unary_chain() -> ModelProto:
    net = start().const(two=np.float32(2), k=np.float32([[[[3.0]]]]))
    net.op("Abs", "x_dq", "a").op("Sqrt", "a", "s").op("Pow", "s two", "p").op("Max", "p k", "m").op(
        "LeakyRelu", "m", "l", alpha=0.1
    )
    return net.pair("y", 0.03, np.int8(-110), "l").build(IMAGE)


def softplus_of_pytorch() -> ModelProto:
    net = start().const(far=np.float32(20)).op("Softplus", "x_dq", "s").op("Greater", "x_dq far", "g")
    net.op("Where", "g x_dq s", "w")
    return net.pair("y", 0.03, np.int8(-110), "w").build(IMAGE)


def hard_swish_pieces() -> ModelProto:
    net = start(14).op("HardSigmoid", "x_dq", "h", alpha=1 / 6, beta=0.5).op("Mul", "h x_dq", "m")
    return net.pair("y", 0.03, np.int8(-110), "m").build(IMAGE)


def add_scales() -> ModelProto:
    net = start().pair("z", 0.09, np.int8(33)).op("Add", "x_dq z_dq", "a").op("Relu", "a", "r")
    return net.pair("y", 0.11, np.int8(-128), "r").build({"x": (1, 6, 4, 4), "z": (1, 6, 1, 4)})


def sub_constant_tensor() -> ModelProto:
    net = start().const(k=RNG.normal(size=(1, 6, 1, 1)).astype(np.float32)).op("Sub", "k x_dq", "a")
    return net.pair("y", 0.05, np.int8(3), "a").build(IMAGE)


def div_constant_tensor() -> ModelProto:
    net = start().const(k=np.float32([1, 2, -3, 4, 5, 6]).reshape(6, 1, 1)).op("Div", "x_dq k", "a")
    return net.pair("y", 0.0433, np.int8(3), "a").build(IMAGE)


def mul_integer_constant() -> ModelProto:
    net = start().weights("k", int8(6, 1, 1), 0.01, np.int8(4)).op("Mul", "x_dq k", "a")
    return net.pair("y", 0.04, np.int8(3), "a").build(IMAGE)


def prelu_slopes() -> ModelProto:
    net = start().const(k=np.float32([0.1, 0.2, 0.3, -0.4, 0.5, 0.6]).reshape(6, 1, 1)).op("PRelu", "x_dq k", "a")
    return net.pair("y", 0.0433, np.int8(3), "a").build(IMAGE)


def prelu_one_slope() -> ModelProto:
    net = start().const(k=np.float32([0.13])).op("PRelu", "x_dq k", "a")
    return net.pair("y", 0.04, np.int8(3), "a").build(IMAGE)


def concat_open_convolutions() -> ModelProto:
    net = conv(start()).op("Relu", "c", "r").op("Concat", "r x_dq", "k", axis=1).op("Transpose", "k", "t", perm=[0, 2, 3, 1])
    return net.pair("y", 0.1, np.int8(-50), "t").build(IMAGE)


def concat_scales() -> ModelProto:
    net = start().pair("z", 0.09, np.int8(33)).op("Concat", "x_dq z_dq x_dq", "k", axis=1).op("Relu", "k", "r")
    return net.pair("y", 0.11, np.int8(-128), "r").build({"x": (1, 6, 4, 4), "z": (1, 2, 4, 4)})


def movements_without_their_own_scale() -> ModelProto:
    net = (
        start().const(shape=np.int64([1, 7, 8, 6])).op("Reshape", "x_dq shape", "a").op("Transpose", "a", "t", perm=[0, 3, 1, 2])
    )
    net.weights("w", int8(2, 6, 1, 1), 0.01, np.int8(0)).op("Conv", "t w", "c")
    return net.pair("y", 0.1, np.int8(0), "c").build(IMAGE)


def pool_behind_open_convolution() -> ModelProto:
    net = conv(start()).op("MaxPool", "c", "p", kernel_shape=[2, 2], strides=[2, 2]).op("Relu", "p", "r")
    return net.pair("y", 0.1, np.int8(-128), "r").build(IMAGE)


def split_of_open_convolution() -> ModelProto:
    net = conv(start()).const(sizes=np.int64([1, 3])).op("Split", "c sizes", "p1 p2", axis=1).pair("y", 0.1, np.int8(0), "p2")
    return net.pair("z", 0.2, np.int8(4), "p1").build(IMAGE, "y_dq z_dq")


def split_of_integers() -> ModelProto:
    net = start().const(sizes=np.int64([1, 5])).op("Split", "x_dq sizes", "p1 p2", axis=1).pair("y", 0.04, np.int8(-5), "p2")
    return net.pair("z", 0.2, np.int8(4), "p1").build(IMAGE, "y_dq z_dq")


def average_pools() -> ModelProto:
    net = start().op("AveragePool", "x_dq", "a", kernel_shape=[3, 3], pads=[1, 1, 1, 1]).pair("m", 0.05, np.int8(1), "a")
    return net.op("GlobalAveragePool", "m_dq", "g").pair("y", 0.02, np.int8(0), "g").build(IMAGE)


def resize_linear() -> ModelProto:
    net = start().const(sc=np.float32([1, 1, 2, 2])).op("Resize", "x_dq - sc", "a", mode="linear")
    return net.pair("y", 0.0433, np.int8(-5), "a").build(IMAGE)


def integers_resized() -> ModelProto:
    """As QOperator quantizers write it: Resize of integers whose meaning only a later DequantizeLinear repeats."""
    net = start().const(sc=np.float32([1, 1, 2, 2])).op("Resize", "x_q - sc", "a", mode="nearest")
    net.op("DequantizeLinear", "a x_s x_z", "d").op("Relu", "d", "r")
    return net.pair("y", 0.0433, np.int8(-100), "r").build(IMAGE)


def open_convolution_resized() -> ModelProto:
    net = conv(start()).const(sc=np.float32([1, 1, 2, 2])).op("Resize", "c - sc", "a", mode="nearest").op("Relu", "a", "r")
    return net.pair("y", 0.1, np.int8(-128), "r").build(IMAGE)


def integers_padded() -> ModelProto:
    """The constant of an integer Pad is an integer, whatever it means in steps of the tensor."""
    net = start().const(p=np.int64([0, 0, 1, 2, 0, 0, 0, 1]), v=np.int8(-128)).op("Pad", "x_q p v", "a")
    return net.op("DequantizeLinear", "a x_s x_z", "d").op("Relu", "d", "r").pair("y", 0.0433, np.int8(-100), "r").build(IMAGE)


def larger_integers() -> ModelProto:
    net = start().pair("z", 0.04, np.int8(-5)).op("Max", "x_q z_q", "a").op("DequantizeLinear", "a x_s x_z", "d")
    return net.pair("y", 0.0433, np.int8(-10), "d").build({"x": (1, 6, 4, 4), "z": (1, 6, 4, 4)})


def padded_convolution() -> ModelProto:
    net = start().const(p=np.int64([0, 0, 1, 2, 0, 0, 0, 1])).op("Pad", "x_dq p", "a")
    net.weights("w", int8(2, 6, 3, 3), 0.01, np.int8(0)).op("Conv", "a w", "c", pads=[0, 0, 1, 1])
    return net.pair("y", 0.1, np.int8(0), "c").build(IMAGE)


def requantize_chain() -> ModelProto:
    net = start().pair("a", 0.05, np.uint8(100), "x_dq").pair("y", 0.0231, np.int8(11), "a_dq")
    return net.build(IMAGE)


def fan_out_and_shared_weights() -> ModelProto:
    net = start().weights("w", int8(6, 6, 1, 1), 0.02, np.int8(0)).op("DequantizeLinear", "w_q w_ws2 w_wz", "w2", axis=0)
    net.const(w_ws2=np.float32(0.01), b=np.float32([1, 2, 3, 4, 5, 6]))
    net.op("Conv", "x_dq w b", "c").op("Conv", "x_dq w2 b", "d").pair("e", 0.1, np.int8(0), "c").pair("f", 0.1, np.int8(0), "d")
    net.op("Add", "e_dq f_dq", "g").pair("h", 0.1, np.int8(0), "g").op("Mul", "h_dq x_dq", "i")
    return net.pair("y", 0.5, np.int8(0), "i").pair("z", 0.3, np.int8(9), "g").build(IMAGE, "y_dq z_dq e_dq")


def narrow_integers() -> ModelProto:
    net = start().const(lo=np.int8(-7), hi=np.int8(7)).op("Clip", "x_q lo hi", "n").op("DequantizeLinear", "n x_s x_z", "d")
    net.weights("w", int8(2, 6, 1, 1), 0.02, np.int8(0)).op("Conv", "d w", "c")
    return net.pair("y", 0.1, np.int8(0), "c").build(IMAGE)


def movement_in_front_of_quantization() -> ModelProto:
    net = Net().op("Transpose", "x", "t", perm=[0, 3, 1, 2]).pair("a", 0.04, np.int8(3), "t")
    net.weights("w", int8(2, 8, 1, 1), 0.02, np.int8(0)).op("Conv", "a_dq w", "c")
    return net.pair("y", 0.1, np.int8(0), "c").build(IMAGE)


def integers_move() -> ModelProto:
    net = start().op("Transpose", "x_q", "t", perm=[0, 2, 3, 1]).op("DequantizeLinear", "t x_s x_z", "d")
    return net.op("Relu", "d", "r").pair("y", 0.04, np.int8(-100), "r").build(IMAGE)


def relu_shares_its_scale() -> ModelProto:
    net = start().op("Relu", "x_dq", "r").weights("w", int8(2, 6, 1, 1), 0.02, np.int8(0)).op("Conv", "r w", "c")
    return net.pair("y", 0.1, np.int8(0), "c").build(IMAGE)


def softmax_output_is_float() -> ModelProto:
    return start().op("Softmax", "x_dq", "y", axis=-1).build(ROWS, "y")


def sixteen_bits() -> ModelProto:
    net = Net(21).pair("x", 0.0004, np.int16(0)).weights("w", int8(4, 6, 3, 3), [0.01, 0.02, 0.015, 0.03], np.int8([0, 0, 0, 0]))
    net.const(b=np.float32([0.5, -1.0, 0.25, 2.0])).op("Conv", "x_dq w b", "c").op("Relu", "c", "r")
    return net.pair("y", 0.001, np.int16(0), "r").build(IMAGE)


def conv_sigmoid_without_scales() -> ModelProto:
    """As Brevitas leaves it: only the activation's result has a scale."""
    return conv(start()).op("Sigmoid", "c", "s").pair("y", 1 / 250, np.int8(-128), "s").build(IMAGE)


def conv_swish_without_scales() -> ModelProto:
    return conv(start()).op("Sigmoid", "c", "s").op("Mul", "c s", "m").pair("y", 0.1, np.int8(-100), "m").build(IMAGE)


def residual_without_scales() -> ModelProto:
    net = conv(start()).pair("z", 0.09, np.int8(33)).op("Add", "c z_dq", "a").op("Relu", "a", "r")
    return net.pair("y", 0.11, np.int8(-128), "r").build({"x": (1, 6, 7, 8), "z": (1, 4, 7, 8)})


def pooled_residual_without_scales() -> ModelProto:
    net = (
        conv(start()).pair("z", 0.09, np.int8(33)).op("Add", "c z_dq", "a").op("Relu", "a", "r").op("GlobalAveragePool", "r", "g")
    )
    return net.op("Flatten", "g", "f").pair("y", 0.06, np.int8(-128), "f").build({"x": (2, 6, 7, 8), "z": (2, 4, 7, 8)})


def functions_meet_without_scales() -> ModelProto:
    net = start().pair("z", 0.09, np.int8(33)).op("Sigmoid", "x_dq", "s").op("Tanh", "z_dq", "t").op("Mul", "s t", "m")
    return net.pair("y", 0.007, np.int8(3), "m").build({"x": (1, 6, 4, 4), "z": (1, 6, 4, 4)})


def relu6_of_maximum_and_minimum() -> ModelProto:
    net = conv(start()).const(zero=np.float32(0), six=np.float32([6]), half=np.float32(0.5), one=np.float32([[[[[1.5]]]]]))
    net.op("Max", "c zero", "a").op("Min", "six a", "q").op("Mul", "q half", "m").op("Add", "m one", "s")
    return net.pair("y", 0.02, np.int8(-128), "s").build(IMAGE)


def scalar_of_higher_rank() -> ModelProto:
    net = conv(start()).const(two=np.float32([[[[[2.0]]]]])).op("Mul", "c two", "m")
    return net.pair("y", 0.2, np.int8(0), "m").build(IMAGE)


def float_logits() -> ModelProto:
    net = start().weights("w", int8(6, 4), 0.01, np.int8(0)).const(b=np.float32([0.5, -1.0, 0.25, 2.0]))
    return net.op("Gemm", "x_dq w b", "y").build(ROWS, "y")


CASES: dict[Callable[[], ModelProto], list[str]] = {
    conv_relu: ["Conv"], conv_two_clips: ["Conv"], conv_batch_norm_clip: ["Conv"], conv_batch_norm_integer_bias: ["Conv"],
    conv_uint8_weights: ["Conv"], conv_uint8_batch_norm: ["Conv"], conv_transpose_batch_norm: ["ConvTranspose"],
    batch_norm_of_a_quantizer: ["Conv", "Conv"], gemm_batch_norm: ["Gemm"],
    lone_batch_norm: ["Conv"], lone_batch_norm_rank_2: ["Reshape", "Conv", "Reshape"],
    gemm_factors: ["Gemm"], gemm_transposed_input: ["Transpose", "Gemm"], matmul_bias: ["Gemm"],
    matmul_bias_rank_3: ["MatMul"], matmul_transposed_weights: ["MatMul"], matmul_two_tensors: ["MatMul"],
    affine_behind_conv: ["Conv"], bias_of_another_scale: ["Conv"], swish: ["Unary"], gelu_decomposed: ["Unary"],
    unary_chain: ["Unary"], softplus_of_pytorch: ["Unary"], hard_swish_pieces: ["Unary"], add_scales: ["Add"],
    sub_constant_tensor: ["Sub"],
    div_constant_tensor: ["Mul"], mul_integer_constant: ["Mul"], prelu_slopes: ["PRelu"], prelu_one_slope: ["Unary"],
    concat_open_convolutions: ["Conv", "Requantize", "Concat", "Transpose"], concat_scales: ["Concat"],
    movements_without_their_own_scale: ["Reshape", "Transpose", "Conv"], pool_behind_open_convolution: ["Conv", "MaxPool"],
    split_of_open_convolution: ["Conv", "Slice", "Conv", "Slice"], split_of_integers: ["Split", "Requantize"],
    average_pools: ["AveragePool", "GlobalAveragePool"], resize_linear: ["Resize"], integers_resized: ["Resize", "Requantize"],
    open_convolution_resized: ["Conv", "Resize"], integers_padded: ["Pad", "Requantize"], larger_integers: ["Max", "Requantize"],
    padded_convolution: ["Conv"],
    requantize_chain: ["Requantize", "Requantize"], fan_out_and_shared_weights: ["Conv", "Conv", "Add", "Mul", "Add"],
    narrow_integers: ["Requantize", "Conv"], movement_in_front_of_quantization: ["Transpose", "Conv"],
    integers_move: ["Transpose", "Requantize"], relu_shares_its_scale: ["Requantize", "Conv"],
    softmax_output_is_float: ["Softmax"], sixteen_bits: ["Conv"], conv_sigmoid_without_scales: ["Conv", "Unary", "Requantize"],
    conv_swish_without_scales: ["Conv", "Unary", "Requantize"], residual_without_scales: ["Conv", "Add"],
    pooled_residual_without_scales: ["Conv", "Add", "GlobalAveragePool", "Reshape"],
    relu6_of_maximum_and_minimum: ["Conv", "Reshape"], scalar_of_higher_rank: ["Conv", "Reshape"],
    functions_meet_without_scales: ["Unary", "Unary", "Mul"], float_logits: ["Gemm"],
}  # fmt: skip


def absorb(data: bytes) -> Graph:
    graph = load_onnx(data)
    for run in (fold_batch_norm.run, absorb_qdq.run, fuse_pad.run, remove_identity.run):
        graph = run(graph)
        verify(graph, run.__module__)
    return graph


@pytest.mark.parametrize("build", CASES, ids=lambda build: build.__name__)
def test_operators_and_integers(build: Callable[[], ModelProto]) -> None:
    """The expected nodes; no float; outputs within one step of onnxruntime's, hardly any different."""
    runtime = pytest.importorskip("onnxruntime")
    source = build()
    graph = absorb(source.SerializeToString())
    assert [item.op for item in graph.nodes] == CASES[build]
    assert not any(value.dtype.is_float for value in graph.values.values())
    options = runtime.SessionOptions()
    options.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    session = runtime.InferenceSession(source.SerializeToString(), options, providers=["CPUExecutionProvider"])
    integers, real = {}, {}
    for name in graph.inputs:
        value = graph.value(name)
        data = RNG.integers(value.dtype.minimum, value.dtype.maximum + 1, value.shape)
        integers[name] = data.astype(value.dtype.numpy)
        real[name] = ((data - value.zero_point) * np.float32(value.scale)).astype(np.float32)
    simulated = simulate(graph, integers)
    assert graph.outputs == tuple(item.name for item in source.graph.output)
    for name, wanted in zip(graph.outputs, session.run(None, real), strict=True):
        value = graph.value(name)
        steps = np.rint(wanted.astype(np.float64) / value.scale) + value.zero_point
        wanted_integers = np.clip(steps, value.dtype.minimum, value.dtype.maximum)
        difference = np.abs(simulated[name].astype(np.int64) - wanted_integers)
        coarse = build in _COARSE
        assert difference.max() <= (2 if coarse else 1), name
        assert np.mean(difference > 0) <= (0.2 if coarse else 0.02), name
        assert len(np.unique(simulated[name])) > 3, "a test that compares constants compares nothing"


# Concatenation with an open operand requantizes the others.
_COARSE = {concat_open_convolutions}


def test_integer_bias_keeps_its_integers() -> None:
    bias = np.int32([2**24 + 1, -(2**27) - 3, 70, 6])
    net = start().weights("w", int8(4, 6, 3, 3), [0.01, 0.02, 0.015, 0.03], np.int8([0, 0, 0, 0]))
    scales = np.float32(0.04) * np.float32([0.01, 0.02, 0.015, 0.03])
    net.weights("b", bias, scales, np.int32([0, 0, 0, 0])).op("Conv", "x_dq w b", "c").pair("y", 0.1, np.int8(0), "c")
    graph = absorb(net.build(IMAGE).SerializeToString())
    np.testing.assert_array_equal(graph.constants[graph.nodes[0].inputs[2]], bias)


def test_biases_of_dead_channels_fit() -> None:
    """A channel with next to no weights has a tiny scale; its bias must not overflow 32 bits."""
    net = start().weights("w", int8(2, 6, 1, 1), [1e-12, 0.02], np.int8([0, 0])).const(b=np.float32([1.5, 1.5]))
    net.op("Conv", "x_dq w b", "c").pair("y", 0.1, np.int8(0), "c")
    graph = absorb(net.build(IMAGE).SerializeToString())
    held = simulate(graph, {"x": np.zeros((1, 6, 7, 8), np.int8)})
    assert np.all(held["y_dq"][0, 0] == 15)


def test_biases_of_64_bits_are_read() -> None:
    """TensorFlow's 16-bit models have them, and tf2onnx writes a DequantizeLinear that ONNX does not define."""
    net = Net(21).pair("x", 0.0004, np.int16(0)).weights("w", int8(2, 6, 1, 1), [0.01, 0.02], np.int8([0, 0]))
    net.weights("b", np.int64([2**33, -(2**31)]), [4e-6, 8e-6], np.int64([0, 0]))
    net.op("Conv", "x_dq w b", "c").pair("y", 2.0, np.int16(0), "c")
    graph = absorb(net.build(IMAGE).SerializeToString())
    held = simulate(graph, {"x": np.zeros((1, 6, 7, 8), np.int16)})
    np.testing.assert_array_equal(held["y_dq"][0, :, 0, 0], [round(2**33 * 4e-6 / 2), round(-(2**31) * 8e-6 / 2)])


def test_integer_products_keep_their_accumulators() -> None:
    nodes = [node("MatMulInteger", "x w xz wz", "y")]
    constants = {"w": int8(6, 3), "xz": np.uint8(9), "wz": np.int8([1, 2, 3])}
    source = model(nodes, {"x": [4, 6]}, ["y"], constants, types={"x": "uint8"})
    graph = absorb(source.SerializeToString())
    x = RNG.integers(0, 256, (4, 6)).astype(np.uint8)
    expected = (x.astype(np.int64) - 9) @ (constants["w"].astype(np.int64) - [1, 2, 3])
    assert graph.value("y").dtype is DType.INT32
    np.testing.assert_array_equal(simulate(graph, {"x": x})["y"], expected)


@pytest.mark.parametrize("opset", range(11, onnx.defs.onnx_opset_version() + 1))
def test_every_opset(opset: int) -> None:
    """One network in every opset espgen reads: parameters as attributes or inputs, Softmax of either meaning."""
    net = Net(opset).pair("x", 0.04, np.int8(-5)).weights("w", int8(4, 6, 3, 3), 0.02, np.int8(0))
    if opset < 13:
        net.nodes[-1].ClearField("attribute")  # no axis before opset 13
    net.op("Conv", "x_dq w", "c").const(low=np.float32(0), high=np.float32(6), axes=np.int64([2, 3])).op(
        "Clip", "c low high", "k"
    )
    net.pair("m", 0.05, np.int8(-128), "k")
    if opset < 18:
        net.op("ReduceMean", "m_dq", "g", axes=[2, 3], keepdims=0)
    else:
        net.op("ReduceMean", "m_dq axes", "g", keepdims=0)
    net.pair("n", 0.03, np.int8(-100), "g")
    if opset < 13:
        net.op("Unsqueeze", "n_dq", "u", axes=[0])
    else:
        net.const(first=np.int64([0])).op("Unsqueeze", "n_dq first", "u")
    net.op("Flatten", "u", "f", axis=2).op("Softmax", "f", "s", axis=1).pair("y", 1 / 256, np.int8(-128), "s")
    graph = absorb(net.build({"x": (2, 6, 7, 8)}).SerializeToString())
    assert [item.op for item in graph.nodes] == ["Conv", "ReduceMean", "Reshape", "Reshape", "Softmax"]
    x = RNG.integers(-128, 128, (2, 6, 7, 8)).astype(np.int8)
    held = simulate(graph, {"x": x})
    assert held["y_dq"].shape == (2, 4)
    np.testing.assert_allclose((held["y_dq"].astype(np.int64) + 128).sum(axis=1), 256, atol=2)


FLOATS: list[tuple[str, Callable[[], ModelProto], str]] = [
    ("input", lambda: Net().op("Conv", "x w", "y").const(w=np.ones((1, 6, 1, 1), np.float32)).build(IMAGE, "y"),
     "weights of Conv"),
    ("activation", lambda: Net().weights("w", int8(1, 6, 1, 1), 0.1, np.int8(0)).op("Conv", "x w", "y").build(IMAGE, "y"),
     "graph input 'x' is float"),
    ("between", lambda: conv(start()).op("LogSoftmax", "c", "s").op("Sigmoid", "s", "d").pair("y", 0.1, np.int8(0), "d")
     .build(IMAGE), "operator LogSoftmax is not supported"),
    ("output", lambda: start().op("LogSoftmax", "x_dq", "y").build(ROWS, "y"), "operator LogSoftmax is not supported"),
    ("sum", lambda: conv(start()).op("ReduceLogSumExp", "c", "y").build(IMAGE, "y"), "ReduceLogSumExp is not supported"),
    ("weights", lambda: start().const(w=np.ones((1, 6, 1, 1), np.float32)).op("Conv", "x_dq w", "c")
     .pair("y", 1.0, np.int8(0), "c").build(IMAGE), "weights of Conv are not quantized"),
    ("per channel", lambda: Net().const(s=np.float32([1.0] * 6), z=np.int8([0] * 6)).op("QuantizeLinear", "x s z", "q")
     .op("DequantizeLinear", "q s z", "y").build(IMAGE, "y"), "per channel"),
    ("cast", lambda: start().op("Cast", "x_dq", "c", to=TensorProto.INT8).op("DequantizeLinear", "c x_s x_z", "y")
     .build(IMAGE, "y"),
     "Cast to int8"),
    ("integers of two scales", lambda: start().pair("z", 0.09, np.int8(33)).op("Max", "x_q z_q", "a")
     .op("DequantizeLinear", "a x_s x_z", "y").build({"x": (1, 6, 4, 4), "z": (1, 6, 4, 4)}, "y"), "Max of quantized integers"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "build", "message"), FLOATS, ids=[item[0] for item in FLOATS])
def test_float_values_at_run_time_are_refused(name: str, build: Callable[[], ModelProto], message: str) -> None:
    with pytest.raises(EspgenError, match=message) as error:
        absorb(build().SerializeToString())
    assert error.value.node and error.value.place and error.value.hint, name


@pytest.mark.skipif(DATA is None, reason="ESPGEN_DATA is not set")
@pytest.mark.parametrize(
    ("path", "count"),
    [
        ("kws/kws_dscnn_int8_qdq.onnx", 13),
        ("ic/resnet8_int8_qdq.onnx", 16),
        ("mobilenet/mobilenet_v1_0.25_128_uint8_qdq.onnx", 31),
        ("mobilenet/espdl_mobilenetv2_p4_qdq.onnx", 69),
    ],
)
def test_real_models_are_absorbed(path: str, count: int) -> None:
    graph = absorb((Path(DATA or "") / path).read_bytes())
    assert len(graph.nodes) == count
    assert not any(value.dtype.is_float for value in graph.values.values())
    assert {"QuantizeLinear", "DequantizeLinear"}.isdisjoint(item.op for item in graph.nodes)


def test_two_outputs_of_the_same_integers() -> None:
    """The second names a value that has become the first output already."""
    net = start().op("Reshape", "x_dq shape", "r").pair("r", 0.04, np.int8(-5)).op("Reshape", "r_dq shape", "s")
    net.const(shape=np.int64([1, 6, 56])).pair("s", 0.04, np.int8(-5))
    graph = absorb_qdq.run(load_onnx(net.build(IMAGE, "r_q s_q", types={"r_q": "int8", "s_q": "int8"}).SerializeToString()))
    verify(graph)
    values = simulate(graph, {"x": int8(*IMAGE["x"])})
    np.testing.assert_array_equal(values["r_q"], values["s_q"])
