"""One small .tflite file per operator and option: what the reader is compared with the maker's interpreter on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from tflite_writer import Network

Array = npt.NDArray[Any]

SAME, VALID = 0, 1
RELU, RELU_N1_TO_1, RELU6 = 1, 2, 3


def _weights(shape: Sequence[int], seed: int) -> Array:
    return np.random.default_rng(seed).integers(-127, 128, shape).astype(np.int8)


def _ints(values: Any) -> Array:
    return np.array(values, np.int32)


def product(op: str, x: Sequence[int], weights: Array, y: Sequence[int], *, axis: int = 0, kind: str = "int8", bias: bool = True,
            per_channel: bool = True, scale: float = 0.02, **options: Any) -> bytes:  # fmt: skip
    """One product; `axis`: where the weights have their output channels."""
    net, generator = Network(), np.random.default_rng(1)
    count = weights.shape[axis]
    scales = generator.uniform(0.004, 0.012, count).astype(np.float32) if per_channel else np.float32([0.008])
    point = {"int8": 3, "uint8": 120, "int16": 0}[kind]
    source = net.tensor("x", x, kind, scale, point)
    if kind == "uint8":
        weight = net.tensor("w", weights.shape, "uint8", scales, 131, axis, (weights.astype(np.int16) + 128).astype(np.uint8))
    else:
        weight = net.constant("w", weights, scales, axis)
    inputs = [source, weight]
    if bias:
        integers = generator.integers(-900, 900, count).astype(np.int64 if kind == "int16" else np.int32)
        inputs.append(net.constant("b", integers, np.float32(scale) * scales))
    result = net.tensor("y", y, kind, 0.11 if kind != "int16" else 0.0007, {"int8": -7, "uint8": 130, "int16": 0}[kind])
    if op == "TRANSPOSE_CONV":
        inputs = [net.constant("shape", _ints(y)), weight, source, *inputs[2:]]
    net.operator(op, inputs, [result], **options)
    return net.content([source], [result])


def elementwise(op: str, shapes: Sequence[Sequence[int]], y: Sequence[int], *, kind: str = "int8",
                out: tuple[float, int] = (0.05, 4),
                parameters: Sequence[Array] = (), scale: float = 0.04, same: bool = False, outputs: int = 1, first: bool = False,
                **options: Any) -> bytes:  # fmt: skip
    """An operator on activations; `parameters`: integer constants behind them, or `first` in front; `same`: one grid for all."""
    net = Network()
    point = 0 if kind == "int16" else 5
    sources = [net.tensor(f"x{index}", shape, kind, scale, point) for index, shape in enumerate(shapes)]
    constants = [net.constant(f"p{index}", data) for index, data in enumerate(parameters)]
    grid = (scale, point) if same else out
    results = [net.tensor(f"y{index}", y, kind, grid[0], grid[1]) for index in range(outputs)]
    net.operator(op, [*constants, *sources] if first else [*sources, *constants], results, **options)
    return net.content(sources, results)


_CONV = {"padding": SAME, "stride_w": 1, "stride_h": 1, "activation": 0, "dilation_w": 1, "dilation_h": 1}
_IMAGE = (1, 7, 6, 8)

def dilated(op: str, crop: int = 0) -> bytes:
    """A convolution by 2 x 2, written as older converters do."""
    net, generator = Network(), np.random.default_rng(4)
    deep = op == "DEPTHWISE_CONV_2D"
    grid = {"scale": 0.05, "zero_point": 4}
    out = {"scale": 0.1, "zero_point": -3}
    x = net.tensor("x", (1, 8, 6, 3), **grid)
    spread = net.tensor("spread", (4, 6, 5, 3), **grid)
    product = net.tensor("product", (4, 4, 3, 3), **out)
    y = net.tensor("y", (1, 8 - crop, 6, 3), **out)
    block = net.constant("block", np.int32([2, 2]))
    weights = net.constant("w", generator.integers(-127, 128, (1 if deep else 3, 3, 3, 3)).astype(np.int8), 0.01)
    bias = net.constant("b", np.int32([300, -200, 100]), 0.0005)
    net.operator("SPACE_TO_BATCH_ND", [x, block, net.constant("pads", np.int32([[2, 2], [2, 2]]))], [spread])
    net.operator(op, [spread, weights, bias], [product], padding=1, stride_w=1, stride_h=1, dilation_w=1, dilation_h=1,
                 **({"multiplier": 1} if deep else {}))  # fmt: skip
    net.operator("BATCH_TO_SPACE_ND", [product, block, net.constant("crops", _ints([[crop, 0], [0, 0]]))], [y])
    return net.content([x], [y])


def composite(target: int, depth: int = 1) -> bytes:
    """HARD_SWISH and LOGISTIC as a composite of the graph `target`, whose own middle may be one again."""
    net = Network()
    x, y = net.tensor("x", (1, 4), scale=0.1), net.tensor("y", (1, 4), scale=1 / 256, zero_point=-128)
    net.operator("STABLEHLO_COMPOSITE", [x], [y], name="aten.mine", decomposition=target)
    inner = net.beside()
    a, b = inner.tensor("x", (1, 4), scale=0.1), inner.tensor("b", (1, 4), scale=0.1)
    c = inner.tensor("c", (1, 4), scale=1 / 256, zero_point=-128)
    inner.operator("HARD_SWISH", [a], [b])
    if depth == 1:
        inner.operator("LOGISTIC", [b], [c])
    else:
        inner.operator("STABLEHLO_COMPOSITE", [b], [c], name="aten.mine", decomposition=1)
    return net.content([x], [y], inner.graph([a], [c]))


def with_constant(op: str, data: Array, y: Sequence[int], *, scale: float = 0.04, point: int = 5,
                  out: tuple[float, int] = (0.04, 5),
                  parameters: Sequence[Array] = ()) -> bytes:  # fmt: skip
    """An operator on an activation, integer parameters, and a quantized constant."""
    net = Network()
    x, y_ = net.tensor("x", _IMAGE, "int8", 0.04, 5), net.tensor("y", y, "int8", *out)
    constants = [net.constant(f"p{index}", values) for index, values in enumerate(parameters)]
    number = net.tensor("c", data.shape, "int8", scale, point, 0, data.astype(np.int8))
    net.operator(op, [x, *constants, number], [y_])
    return net.content([x], [y_])


CASES: dict[str, bytes] = {
    "conv_same": product("CONV_2D", _IMAGE, _weights((5, 3, 3, 8), 1), (1, 7, 6, 5), **_CONV),
    "conv_valid_relu6": product("CONV_2D", _IMAGE, _weights((4, 3, 2, 8), 2), (1, 5, 5, 4),
                                **(_CONV | {"padding": VALID, "activation": RELU6})),
    "conv_strided_relu": product("CONV_2D", _IMAGE, _weights((4, 3, 3, 8), 3), (1, 4, 3, 4),
                                 **(_CONV | {"stride_w": 2, "stride_h": 2, "activation": RELU})),
    "conv_dilated": product("CONV_2D", _IMAGE, _weights((4, 3, 3, 8), 4), (1, 7, 6, 4),
                            **(_CONV | {"dilation_w": 2, "dilation_h": 2})),
    "conv_per_tensor_uint8": product("CONV_2D", _IMAGE, _weights((4, 3, 3, 8), 5), (1, 7, 6, 4),
                                     kind="uint8", per_channel=False, **_CONV),
    "conv_int16": product("CONV_2D", _IMAGE, _weights((4, 3, 3, 8), 6), (1, 7, 6, 4), kind="int16", scale=0.0001, **_CONV),
    "conv_grouped": product("CONV_2D", _IMAGE, _weights((6, 3, 3, 4), 8), (1, 7, 6, 6), **_CONV),
    "depthwise": product("DEPTHWISE_CONV_2D", _IMAGE, _weights((1, 3, 3, 8), 9), _IMAGE, axis=3, multiplier=1, **_CONV),
    "depthwise_multiplier": product("DEPTHWISE_CONV_2D", _IMAGE, _weights((1, 3, 3, 16), 10), (1, 4, 3, 16), axis=3,
                                    multiplier=2, **(_CONV | {"stride_w": 2, "stride_h": 2})),
    "transpose_conv": product("TRANSPOSE_CONV", (1, 4, 3, 8), _weights((5, 3, 3, 8), 11), (1, 8, 6, 5), padding=SAME,
                              stride_w=2, stride_h=2),
    "transpose_conv_valid": product("TRANSPOSE_CONV", (1, 4, 3, 8), _weights((5, 2, 3, 8), 12), (1, 8, 7, 5), padding=VALID,
                                    stride_w=2, stride_h=2, bias=False),
    "fully_connected": product("FULLY_CONNECTED", (1, 20), _weights((9, 20), 13), (1, 9), per_channel=False, activation=RELU),
    "fully_connected_per_channel": product("FULLY_CONNECTED", (1, 20), _weights((9, 20), 14), (1, 9)),
    "fully_connected_rows": product("FULLY_CONNECTED", (1, 3, 20), _weights((9, 20), 15), (1, 3, 9), keep_num_dims=True),
    "fully_connected_image": product("FULLY_CONNECTED", (1, 2, 3, 4), _weights((9, 24), 16), (1, 9)),
    "max_pool": elementwise("MAX_POOL_2D", [_IMAGE], (1, 4, 3, 8), same=True, padding=SAME, stride_w=2, stride_h=2, filter_w=3,
                            filter_h=3),
    "average_pool": elementwise("AVERAGE_POOL_2D", [_IMAGE], (1, 4, 3, 8), same=True, padding=SAME, stride_w=2, stride_h=2,
                                filter_w=3, filter_h=3),
    "add": elementwise("ADD", [_IMAGE, _IMAGE], _IMAGE),
    "add_broadcast_relu": elementwise("ADD", [_IMAGE, (1, 1, 1, 8)], _IMAGE, activation=RELU),
    "sub": elementwise("SUB", [_IMAGE, _IMAGE], _IMAGE),
    "mul": elementwise("MUL", [_IMAGE, _IMAGE], _IMAGE, out=(0.1, -3)),
    "mul_int16": elementwise("MUL", [_IMAGE, _IMAGE], _IMAGE, kind="int16", scale=0.0004, out=(0.004, 0)),
    "relu": elementwise("RELU", [_IMAGE], _IMAGE, out=(0.02, -128)),
    "relu6": elementwise("RELU6", [_IMAGE], _IMAGE, out=(0.0235, -128)),
    "logistic": elementwise("LOGISTIC", [(1, 256)], (1, 256), out=(1 / 256, -128)),
    "tanh": elementwise("TANH", [(1, 256)], (1, 256), out=(1 / 128, 0)),
    "hard_swish": elementwise("HARD_SWISH", [(1, 256)], (1, 256), out=(0.05, -120)),
    "leaky_relu": elementwise("LEAKY_RELU", [(1, 256)], (1, 256), alpha=0.1),
    "softmax": elementwise("SOFTMAX", [(2, 12)], (2, 12), out=(1 / 256, -128), beta=1.0),
    "quantize": elementwise("QUANTIZE", [_IMAGE], _IMAGE, out=(0.07, -9)),
    "concatenation": elementwise("CONCATENATION", [_IMAGE, _IMAGE], (1, 7, 6, 16), same=True, axis=3),
    "concatenation_rows": elementwise("CONCATENATION", [_IMAGE, _IMAGE], (1, 14, 6, 8), same=True, axis=-3),
    "reshape": elementwise("RESHAPE", [_IMAGE], (1, 336), parameters=[_ints([1, 336])], same=True, new_shape=[1, 336]),
    "transpose": elementwise("TRANSPOSE", [_IMAGE], (1, 8, 7, 6), parameters=[_ints([0, 3, 1, 2])], same=True),
    "pad": elementwise("PAD", [_IMAGE], (1, 10, 7, 8), parameters=[_ints([[0, 0], [1, 2], [0, 1], [0, 0]])], same=True),
    "mirror_pad": elementwise("MIRROR_PAD", [_IMAGE], (1, 10, 7, 8),
                              parameters=[_ints([[0, 0], [1, 2], [0, 1], [0, 0]])], same=True, mode=0),
    "mean": elementwise("MEAN", [_IMAGE], (1, 8), parameters=[_ints([1, 2])], out=(0.03, 5), keep_dims=False),
    "mean_kept": elementwise("MEAN", [_IMAGE], (1, 1, 1, 8), parameters=[_ints([1, 2])], out=(0.03, 5), keep_dims=True),
    "mean_channels": elementwise("MEAN", [_IMAGE], (1, 7, 6), parameters=[_ints([3])], out=(0.03, 5), keep_dims=False),
    "sum": elementwise("SUM", [_IMAGE], (1, 8), parameters=[_ints([1, 2])], out=(0.9, 5), keep_dims=False),
    "reduce_max": elementwise("REDUCE_MAX", [_IMAGE], (1, 8), parameters=[_ints([1, 2])], same=True, keep_dims=False),
    "slice": elementwise("SLICE", [_IMAGE], (1, 3, 6, 4), parameters=[_ints([0, 2, 0, 4]), _ints([1, 3, -1, 4])], same=True),
    "strided_slice": elementwise("STRIDED_SLICE", [_IMAGE], (1, 3, 6, 8), same=True, begin_mask=9, end_mask=13,
                                 parameters=[_ints([0, 1, 0, 0]), _ints([0, 6, 6, 8]), _ints([1, 2, 1, 1])]),
    "strided_slice_shrunk": elementwise("STRIDED_SLICE", [_IMAGE], (1, 6, 8), same=True, shrink_axis_mask=2, end_mask=13,
                                        parameters=[_ints([0, -1, 0, 0]), _ints([0, 0, 0, 0]), _ints([1, 1, 1, 1])]),
    "split": elementwise("SPLIT", [_IMAGE], (1, 7, 6, 4), same=True, outputs=2, parameters=[_ints(3)], first=True, num_splits=2),
    "pack": elementwise("PACK", [(1, 6), (1, 6)], (1, 2, 6), same=True, values_count=2, axis=1),
    "unpack": elementwise("UNPACK", [(1, 2, 6)], (1, 6), same=True, outputs=2, num=2, axis=1),
    "resize_nearest": elementwise("RESIZE_NEAREST_NEIGHBOR", [_IMAGE], (1, 14, 12, 8), parameters=[_ints([14, 12])], same=True),
    "resize_nearest_half": elementwise("RESIZE_NEAREST_NEIGHBOR", [_IMAGE], (1, 10, 9, 8), parameters=[_ints([10, 9])], same=True,
                                       half_pixel_centers=True),
    "resize_bilinear": elementwise("RESIZE_BILINEAR", [_IMAGE], (1, 14, 12, 8), parameters=[_ints([14, 12])], same=True,
                                   half_pixel_centers=True),
    "resize_bilinear_corners": elementwise("RESIZE_BILINEAR", [_IMAGE], (1, 13, 11, 8), parameters=[_ints([13, 11])], same=True,
                                           align_corners=True),
    "depth_to_space": elementwise("DEPTH_TO_SPACE", [_IMAGE], (1, 14, 12, 2), same=True, block_size=2),
    "space_to_depth": elementwise("SPACE_TO_DEPTH", [(1, 4, 6, 3)], (1, 2, 3, 12), same=True, block_size=2),
    "squeeze": elementwise("SQUEEZE", [(1, 1, 6, 8)], (6, 8), same=True, squeeze_dims=[0, 1]),
    "expand_dims": elementwise("EXPAND_DIMS", [(6, 8)], (1, 6, 8), same=True, parameters=[_ints(0)]),
    "batch_matmul": elementwise("BATCH_MATMUL", [(1, 5, 7), (1, 7, 4)], (1, 5, 4), out=(0.2, -4)),
    "batch_matmul_turned": elementwise("BATCH_MATMUL", [(1, 5, 7), (1, 4, 7)], (1, 5, 4), out=(0.2, -4), adj_y=True),
    "prelu": with_constant("PRELU", _weights((1, 1, 8), 21), _IMAGE, scale=0.004, point=0, out=(0.04, -3)),
    "padv2": with_constant("PADV2", _weights((), 22), (1, 10, 7, 8), parameters=[_ints([[0, 0], [1, 2], [0, 1], [0, 0]])]),
    "minimum_constant": with_constant("MINIMUM", _ints([20]), _IMAGE),
    "maximum_constant": with_constant("MAXIMUM", _ints([20]), _IMAGE),
    "add_constant": with_constant("ADD", _weights((8,), 23), _IMAGE, scale=0.02, point=-5, out=(0.05, 4)),
    "add_constant_image": with_constant("ADD", _weights((1, 1, 1, 8), 24), _IMAGE, scale=0.02, out=(0.05, 4)),
    "mul_constant": with_constant("MUL", _weights((8,), 25), _IMAGE, scale=0.02, point=-5, out=(0.05, 4)),
    "sub_scalar": with_constant("SUB", _weights((), 26), _IMAGE, scale=0.02, point=-5, out=(0.05, 4)),
    "mul_broadcast": elementwise("MUL", [_IMAGE, (1, 8)], _IMAGE, out=(0.1, -3)),
    "add_int16": elementwise("ADD", [_IMAGE, _IMAGE], _IMAGE, kind="int16", scale=0.0004, out=(0.0006, 0)),
    "abs": elementwise("ABS", [(1, 256)], (1, 256)),
    "exp": elementwise("EXP", [(1, 256)], (1, 256), out=(0.5, -128)),
    "gelu": elementwise("GELU", [(1, 256)], (1, 256)),
    "gelu_tanh": elementwise("GELU", [(1, 256)], (1, 256), approximate=True),
    "squared_difference": elementwise("SQUARED_DIFFERENCE", [_IMAGE, _IMAGE], _IMAGE, out=(0.4, -128)),
    "softmax_beta": elementwise("SOFTMAX", [(2, 12)], (2, 12), out=(1 / 256, -128), beta=0.5),
    "reduce_min": elementwise("REDUCE_MIN", [_IMAGE], (1, 8), parameters=[_ints([1, 2])], same=True),
    "tile": elementwise("TILE", [(2, 3)], (4, 9), same=True, parameters=[_ints([2, 3])]),
    "broadcast_to": elementwise("BROADCAST_TO", [(1, 3)], (4, 3), same=True, parameters=[_ints([4, 3])]),
    "max_pool_relu": elementwise("MAX_POOL_2D", [_IMAGE], (1, 3, 3, 8), same=True, padding=VALID, stride_w=2, stride_h=2,
                                 filter_w=2, filter_h=2, activation=RELU),
    "relu_n1_to_1": elementwise("RELU_N1_TO_1", [_IMAGE], _IMAGE, out=(1 / 128, 0)),
    "gather": elementwise("GATHER", [(5, 6)], (3, 6), same=True, parameters=[_ints([4, 0, 2])]),
}  # fmt: skip
"""Name -> file."""

LARGEST_SHARE = 0.02
"""Share of an output's elements that may differ by one step, but for these:"""

SHARES = {
    "average_pool": 0.07,  # the maker rounds halves away from zero, espgen to even as ONNX does
    "batch_matmul": 0.12,  # few elements
    "conv_int16": 0.2,  # the maker multiplies 16-bit results by ratios of 15 bits
    "leaky_relu": 0.05,  # rounded twice there
    "mul_constant": 0.04,  # the same
    "resize_bilinear": 0.07,  # the maker weighs neighbours with 10 bits and rounds down
    "resize_bilinear_corners": 0.2,
}
OPTIMIZED_ONLY = {"sum"}
"""Cases whose reference kernel is wrong (it adds what lies in memory): the maker's optimized one computes what it should."""

SEVERAL = {"dilated": dilated("CONV_2D"), "composite": composite(1)}
"""Files of several operators that are read as something else."""
