"""Random small quantized networks in ONNX: every operator, with the shapes and quantizations that break compilers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from network_builder import Array, NetworkBuilder, Quant, Style, Tensor

CHANNELS = (1, 3, 5, 8, 16, 17, 24, 32, 40)
WHOLE_VECTORS = (16, 32, 48)
"""Channels of some networks: parts of their values can lie in others without copies."""
MANY = (40, 72, 96, 144)
"""Channels of some networks of small images: sums too long for a kernel that is unrolled whole."""

_LARGEST = 40_000
"""Elements of a tensor beyond which nothing is made of it that is as large."""

_FUNCTIONS: dict[str, dict[str, Any]] = {
    "Sigmoid": {},
    "HardSigmoid": {"alpha": 0.2, "beta": 0.5},
    "HardSwish": {},
    "Tanh": {},
    "LeakyRelu": {"alpha": 0.1},
    "Elu": {"alpha": 1.0},
    "Relu": {},
    "Gelu": {},
    "Abs": {},
}


@dataclass(frozen=True)
class Network:
    """A model and how its activations are quantized."""

    seed: int
    model: onnx.ModelProto
    style: Style


def random_network(seed: int) -> Network:
    """The network of a seed: the same on every machine."""
    rng = np.random.default_rng(seed)
    kind = str(rng.choice(["int8", "uint8", "int16"], p=[0.55, 0.25, 0.2]))
    draws = rng.random(4)
    style = Style(kind, draws[0] < 0.35, draws[1] < 0.4, draws[2] < 0.6, draws[3] < 0.25 and kind != "int16")
    widths = (CHANNELS, WHOLE_VECTORS, MANY)[int(rng.choice(3, p=[0.6, 0.25, 0.15]))]
    builder = NetworkBuilder(rng, style, widths)
    batch = 2 if builder.chance(0.15) else 1
    channels = builder.pick(builder.widths)
    if widths is MANY:
        shape: tuple[int, ...] = (batch, channels, int(rng.integers(1, 7)), int(rng.integers(1, 7)))
    elif builder.chance(0.2):
        shape = (batch, channels, int(rng.integers(1, 40)))
    elif builder.chance(0.12):
        shape = (batch, min(channels, 8), int(rng.integers(40, 70)), int(rng.integers(40, 70)))
    else:
        shape = (batch, channels, int(rng.integers(1, 18)), int(rng.integers(1, 18)))
    builder.input(shape)
    if builder.chance(0.3):
        builder.input(shape)
    for _ in range(int(rng.integers(3, 9))):
        _grow(builder)
    return Network(seed, builder.model(f"network_{seed}"), style)


def _grow(builder: NetworkBuilder) -> None:
    """One more operator on one of the tensors, most often the last."""
    tensors = [tensor for tensor in builder.tensors if np.ptp(tensor.data) > 0]
    for _ in range(40 if tensors else 0):
        source = tensors[-1] if builder.chance(0.6) else builder.pick(tensors)
        names = list(OPERATIONS)
        weights = np.array([OPERATIONS[name][0] for name in names], float)
        operation = OPERATIONS[str(builder.rng.choice(names, p=weights / weights.sum()))][1]
        if operation(builder, source):
            return


def _conv(builder: NetworkBuilder, source: Tensor) -> bool:
    return _product(builder, source) is not None


def _product(builder: NetworkBuilder, source: Tensor, quant: Quant | None = None, same: bool = False) -> Tensor | None:
    """A convolution of an image or a signal, its clip and its quantization; `same` keeps the extents."""
    if len(source.shape) not in (3, 4):
        return None
    spatial = source.shape[2:]
    channels = source.shape[1]
    groups, outputs = _groups(builder, channels)
    kernel = [
        builder.pick((1, 1, 3, 3, 5, 2)) if groups != channels or channels == 1 else builder.pick((3, 3, 5, 2)) for _ in spatial
    ]
    if builder.chance(0.5):
        kernel = [kernel[0]] * len(spatial)
    strides = [1 if same else builder.pick((1, 1, 2, 3)) for _ in spatial]
    dilations = [builder.pick((1, 1, 1, 2)) for _ in spatial]
    reach = [(k - 1) * d for k, d in zip(kernel, dilations, strict=True)]
    if same or builder.chance(0.5):
        begin = [r // 2 for r in reach]
        end = [r - b for r, b in zip(reach, begin, strict=True)]
    else:
        begin = [int(builder.rng.integers(0, r + 1)) for r in reach]
        end = [int(builder.rng.integers(0, r + 1)) for r in reach]
    if any(extent + b + e <= r for extent, b, e, r in zip(spatial, begin, end, reach, strict=True)):
        return None
    count = outputs * (channels // groups) * int(np.prod(kernel))
    if source.data.size // channels * outputs > _LARGEST * 4 or count > 3 * _LARGEST:
        return None
    weights = builder.rng.standard_normal((outputs, channels // groups, *kernel)) * builder.rng.uniform(0.2, 1.0)
    attrs: dict[str, Any] = {"strides": strides, "dilations": dilations, "pads": [*begin, *end], "group": groups}
    return _finished(builder, "Conv", source, weights, 0, outputs, attrs, quant)


def _groups(builder: NetworkBuilder, channels: int) -> tuple[int, int]:
    """Groups and output channels of a convolution."""
    if channels > 1 and builder.chance(0.3):
        return channels, channels * builder.pick((1, 1, 1, 2))
    divisors = [count for count in range(2, channels) if channels % count == 0]
    if divisors and builder.chance(0.15):
        groups = builder.pick(divisors)
        return groups, groups * builder.pick((1, 2, 3, 8))
    return 1, builder.pick(builder.widths)


def _finished(
    builder: NetworkBuilder,
    op: str,
    source: Tensor,
    real: Array,
    axis: int,
    outputs: int,
    attrs: dict[str, Any],
    quant: Quant | None,
) -> Tensor:
    """A product's node with its weights, its bias or none, a clip or none, and QuantizeLinear."""
    name, data, scales = builder.weights(real, axis)
    operands, values = [source.name, name], [source.data, data]
    if builder.chance(0.75):
        size = float(np.abs(data).mean() * np.abs(source.data).mean() * np.sqrt(data[0].size) + 1e-3)
        sums = scales if scales.size in (1, outputs) else scales[:1]
        if sums.size == 1 or op != "ConvTranspose":
            wanted = builder.rng.standard_normal(outputs) * size
            bias_name, bias = builder.bias(wanted, (sums * np.float32(source.quant.scale)).astype(np.float32))
            operands, values = [*operands, bias_name], [*values, bias]
    result, computed = builder.node(op, operands, values, **attrs)
    if builder.chance(0.45):
        result, computed = _clipped(builder, result, computed)
    # An output finer than the accumulators' own steps would show how the bias was rounded to them, and nothing else.
    step = float(scales.max()) * source.quant.scale
    return builder.quantized(result, computed, quant or builder.fitting(computed, 2 * step))


def _clipped(builder: NetworkBuilder, name: str, data: Array) -> tuple[str, Array]:
    if builder.chance(0.6):
        return builder.node("Relu", [name], [data])
    low, high = sorted(float(np.float32(item)) for item in np.quantile(data, [0.1, 0.85]))
    bounds = [builder.constant(np.float32(min(low, 0.0))), builder.constant(np.float32(max(high, 0.01)))]
    return builder.node("Clip", [name, *bounds], [data, None, None])


def _conv_transpose(builder: NetworkBuilder, source: Tensor) -> bool:
    if len(source.shape) not in (3, 4) or source.data.size > 5000 or source.shape[1] > 150:
        return False
    spatial, channels = source.shape[2:], source.shape[1]
    groups = channels if channels > 1 and builder.chance(0.2) else 1
    outputs = builder.pick((1, 3, 8, 16, 17)) if groups == 1 else 1
    kernel = [builder.pick((1, 2, 3, 4)) for _ in spatial]
    strides = [builder.pick((1, 2, 2, 3)) for _ in spatial]
    pads = [int(builder.rng.integers(0, k)) for k in (*kernel, *kernel)]
    extra = [int(builder.rng.integers(0, s)) for s in strides]
    sizes = [
        (extent - 1) * s + k - pads[i] - pads[i + len(kernel)] + extra[i]
        for i, (extent, s, k) in enumerate(zip(spatial, strides, kernel, strict=True))
    ]
    if min(sizes) < 1:
        return False
    weights = builder.rng.standard_normal((channels, outputs, *kernel)) * 0.5
    attrs = {"strides": strides, "pads": pads, "group": groups, "output_padding": extra}
    _finished(builder, "ConvTranspose", source, weights, 1, outputs * groups, attrs, None)
    return True


def _gemm(builder: NetworkBuilder, source: Tensor) -> bool:
    if len(source.shape) > 2:
        if int(np.prod(source.shape[1:])) > 700:
            return False
        name, data = builder.node("Flatten", [source.name], [source.data])
        source = builder.quantized(name, data, source.quant)
    features, outputs = source.shape[1], builder.pick((1, 3, 8, 10, 16, 17, 40, 64))
    if builder.chance(0.5):
        flipped = int(builder.chance(0.5))
        weights = builder.rng.standard_normal((outputs, features) if flipped else (features, outputs))
        _finished(builder, "Gemm", source, weights, 0 if flipped else 1, outputs, {"transB": flipped}, None)
        return True
    name, data, _ = builder.weights(builder.rng.standard_normal((features, outputs)), 1)
    result, computed = builder.node("MatMul", [source.name, name], [source.data, data])
    if builder.chance(0.5):
        bias = (builder.rng.standard_normal(outputs) * np.abs(computed).mean()).astype(np.float32)
        result, computed = builder.node("Add", [result, builder.constant(bias, "b")], [computed, None])
    builder.quantized(result, computed)
    return True


def _matmul(builder: NetworkBuilder, source: Tensor) -> bool:
    """A signal with weights on its last axis, or with its own transpose, as attention has it."""
    if len(source.shape) != 3 or source.shape[2] > 64:
        return False
    if builder.chance(0.5):
        outputs = builder.pick((1, 5, 16, 17))
        _finished_matmul(builder, source, builder.rng.standard_normal((source.shape[2], outputs)))
        return True
    name, data = builder.node("Transpose", [source.name], [source.data], perm=[0, 2, 1])
    turned = builder.quantized(name, data, source.quant)
    result, computed = builder.node("MatMul", [source.name, turned.name], [source.data, turned.data])
    builder.quantized(result, computed)
    return True


def _finished_matmul(builder: NetworkBuilder, source: Tensor, real: Array) -> None:
    name, data, _ = builder.weights(real, 1)
    result, computed = builder.node("MatMul", [source.name, name], [source.data, data])
    builder.quantized(result, computed)


def _binary(builder: NetworkBuilder, source: Tensor) -> bool:
    """A sum or product with another tensor, of the same shape or one that broadcasts, or a constant."""
    op = builder.pick(("Add", "Add", "Add", "Mul", "Mul", "Sub"))
    others = [tensor for tensor in builder.tensors if _broadcasts(tensor.shape, source.shape) and tensor is not source]
    if others and builder.chance(0.85):
        other = others[-1] if builder.chance(0.5) else builder.pick(others)
        pair = [source, other] if builder.chance(0.5) else [other, source]
        result, computed = builder.node(op, [item.name for item in pair], [item.data for item in pair])
    else:
        shape = (source.shape[1], *(1,) * (len(source.shape) - 2))
        style, builder.style = builder.style, _plain(builder.style)
        name, data, _ = builder.weights(builder.rng.standard_normal(shape) * np.abs(source.data).max(), 0)
        builder.style = style
        result, computed = builder.node(op, [source.name, name], [source.data, data])
    if builder.chance(0.3):
        result, computed = _clipped(builder, result, computed)
    builder.quantized(result, computed)
    return True


def _plain(style: Style) -> Style:
    return Style(style.kind, style.power, style.symmetric, channels=False, odd_weights=False)


def _broadcasts(shape: tuple[int, ...], to: tuple[int, ...]) -> bool:
    return len(shape) == len(to) and all(extent in (1, whole) for extent, whole in zip(shape, to, strict=True))


def _residual(builder: NetworkBuilder, source: Tensor) -> bool:
    """A branch of one or two products that keep the shape, added to what it came from."""
    if len(source.shape) not in (3, 4) or source.shape[1] > 150:
        return False
    outputs, branch = source.shape[1], source
    for _ in range(int(builder.rng.integers(1, 3))):
        branch = _pointwise(builder, branch, outputs)
    result, computed = builder.node("Add", [branch.name, source.name], [branch.data, source.data])
    if builder.chance(0.5):
        result, computed = builder.node("Relu", [result], [computed])
    builder.quantized(result, computed)
    return True


def _pool(builder: NetworkBuilder, source: Tensor) -> bool:
    if len(source.shape) not in (3, 4):
        return False
    spatial = source.shape[2:]
    kernel = [builder.pick((1, 2, 2, 3, 3, 4)) for _ in spatial]
    strides = [builder.pick((1, 2, 2, 3)) for _ in spatial]
    pads = [int(builder.rng.integers(0, (k + 1) // 2)) for k in (*kernel, *kernel)]
    if any(extent + pads[i] + pads[i + len(kernel)] < kernel[i] for i, extent in enumerate(spatial)):
        return False
    attrs: dict[str, Any] = {"kernel_shape": kernel, "strides": strides, "pads": pads}
    if builder.chance(0.15):
        attrs["ceil_mode"] = 1
    if builder.chance(0.5):
        result, computed = builder.node("MaxPool", [source.name], [source.data], **attrs)
        if not np.isfinite(computed).all():
            return True
        builder.quantized(result, computed, source.quant if builder.chance(0.8) else None)
        return True
    attrs["count_include_pad"] = int(builder.chance(0.3))
    result, computed = builder.node("AveragePool", [source.name], [source.data], **attrs)
    builder.quantized(result, computed, source.quant if builder.chance(0.5) else None)
    return True


def _global_pool(builder: NetworkBuilder, source: Tensor) -> bool:
    if len(source.shape) not in (3, 4):
        return False
    if builder.chance(0.3):
        axes = builder.constant(np.array(builder.pick(([2], [1], [-1])), np.int64))
        result, computed = builder.node("ReduceMean", [source.name, axes], [source.data, None], keepdims=1)
    else:
        op = "GlobalAveragePool" if builder.chance(0.8) else "GlobalMaxPool"
        result, computed = builder.node(op, [source.name], [source.data])
    builder.quantized(result, computed)
    return True


def _concat(builder: NetworkBuilder, source: Tensor) -> bool:
    """With tensors that are there, each in its own scale."""
    if len(source.shape) < 3:
        return False
    axis = builder.pick((1, 1, 2, len(source.shape) - 1))
    rest = [tensor for tensor in builder.tensors if len(tensor.shape) == len(source.shape)]
    fitting = [t for t in rest if all(i == axis or t.shape[i] == e for i, e in enumerate(source.shape))]
    parts = [source, *(builder.pick(fitting) for _ in range(int(builder.rng.integers(1, 3))))]
    if sum(part.data.size for part in parts) > _LARGEST:
        return False
    result, computed = builder.node("Concat", [p.name for p in parts], [p.data for p in parts], axis=axis)
    same = len({part.quant for part in parts}) == 1
    builder.quantized(result, computed, parts[0].quant if same else None)
    return True


def _branches(builder: NetworkBuilder, source: Tensor) -> bool:
    """Products of one tensor with equal scales, concatenated without a change of scale."""
    if len(source.shape) not in (3, 4) or source.data.size > _LARGEST // 4:
        return False
    quant = builder.fitting(source.data * 3)
    parts = [_product(builder, source, quant, same=True) for _ in range(int(builder.rng.integers(2, 4)))]
    whole = [part for part in parts if part is not None]
    if builder.chance(0.3):
        name, data = builder.node("Relu", [source.name], [source.data])
        whole.append(builder.quantized(name, data, quant))
    if len(whole) < 2:
        return bool(whole)
    result, computed = builder.node("Concat", [p.name for p in whole], [p.data for p in whole], axis=1)
    joined = builder.quantized(result, computed, quant)
    if builder.chance(0.6):
        _pointwise(builder, joined, builder.pick(builder.widths))
    return True


def _pointwise(builder: NetworkBuilder, source: Tensor, outputs: int) -> Tensor:
    """A convolution that reads single pixels and asks no halo of what it reads."""
    weights = builder.rng.standard_normal((outputs, source.shape[1], *(1,) * (len(source.shape) - 2))) * 0.5
    return _finished(builder, "Conv", source, weights, 0, outputs, {}, None)


def _split(builder: NetworkBuilder, source: Tensor) -> bool:
    """Two parts of the channels, one of them read by a product, both joined again."""
    if len(source.shape) < 2 or source.shape[1] < 2:
        return False
    channels = source.shape[1]
    likely = (16, 16, 32) if builder.widths is WHOLE_VECTORS and channels > 16 else (1, 8, 16, channels // 2)
    first = builder.pick([c for c in likely if 0 < c < channels])
    sizes = builder.constant(np.array([first, channels - first], np.int64))
    names, parts = builder.node("Split", [source.name, sizes], [source.data, None], outputs=2, axis=1)
    tensors = [builder.quantized(name, data, source.quant) for name, data in zip(names, parts, strict=True)]
    if len(source.shape) == 2 or builder.chance(0.3):
        return True
    tensors[1] = _product(builder, tensors[1], source.quant, same=True) or tensors[1]
    if builder.chance(0.5):
        tensors.reverse()
    result, computed = builder.node("Concat", [t.name for t in tensors], [t.data for t in tensors], axis=1)
    builder.quantized(result, computed, source.quant)
    return True


def _slice(builder: NetworkBuilder, source: Tensor) -> bool:
    axes = [axis for axis, extent in enumerate(source.shape) if extent > 1 and axis > 0]
    if not axes:
        return False
    chosen = sorted({builder.pick(axes) for _ in range(builder.pick((1, 1, 2)))})
    starts = [int(builder.rng.integers(0, source.shape[axis] // 2 + 1)) for axis in chosen]
    ends = [int(builder.rng.integers(start + 1, source.shape[axis] + 1)) for start, axis in zip(starts, chosen, strict=True)]
    steps = [builder.pick((1, 1, 1, 2)) for _ in chosen]
    operands = [builder.constant(np.array(item, np.int64)) for item in (starts, ends, chosen, steps)]
    result, computed = builder.node("Slice", [source.name, *operands], [source.data, *[None] * 4])
    return _moved(builder, source, result, computed)


def _moved(builder: NetworkBuilder, source: Tensor, name: str, data: Array) -> bool:
    builder.quantized(name, data, source.quant if builder.chance(0.8) else None)
    return True


def _pad(builder: NetworkBuilder, source: Tensor) -> bool:
    if len(source.shape) not in (3, 4) or source.data.size > _LARGEST // 2:
        return False
    spatial = source.shape[2:]
    mode = builder.pick(("constant", "constant", "edge", "reflect"))
    counts = [int(builder.rng.integers(0, min(3, extent if mode == "reflect" else 3))) for extent in (*spatial, *spatial)]
    half = len(spatial)
    pads = builder.constant(np.array([0, 0, *counts[:half], 0, 0, *counts[half:]], np.int64))
    result, computed = builder.node("Pad", [source.name, pads], [source.data, None], mode=mode)
    return _moved(builder, source, result, computed)


def _resize(builder: NetworkBuilder, source: Tensor) -> bool:
    if len(source.shape) != 4 or source.data.size > _LARGEST // 4:
        return False
    mode = builder.pick(("nearest", "nearest", "linear"))
    factors = builder.constant(np.array([1, 1, builder.pick((1, 2, 3)), builder.pick((1, 2, 2))], np.float32))
    attrs = {"mode": mode, "coordinate_transformation_mode": builder.pick(("asymmetric", "half_pixel"))}
    if mode == "nearest":
        attrs["nearest_mode"] = builder.pick(("floor", "round_prefer_floor"))
    result, computed = builder.node("Resize", [source.name, "", factors], [source.data, None, None], **attrs)
    return _moved(builder, source, result, computed)


def _transpose(builder: NetworkBuilder, source: Tensor) -> bool:
    """Of everything behind the batch; or there and back, as converters leave it."""
    rank = len(source.shape)
    if rank < 3:
        return False
    order = [0, *(1 + builder.rng.permutation(rank - 1)).tolist()]
    result, computed = builder.node("Transpose", [source.name], [source.data], perm=order)
    return _moved(builder, source, result, computed)


def _reshape(builder: NetworkBuilder, source: Tensor) -> bool:
    batch, rest = source.shape[0], int(np.prod(source.shape[1:]))
    divisors = [count for count in range(1, 65) if rest % count == 0]
    first = builder.pick(divisors)
    left = rest // first
    second = builder.pick([count for count in range(1, 33) if left % count == 0])
    shape = builder.pick(([batch, -1], [batch, first, -1], [batch, first, second, -1], [0, -1, second, 1]))
    operands = [source.name, builder.constant(np.array(shape, np.int64))]
    result, computed = builder.node("Reshape", operands, [source.data, None])
    return _moved(builder, source, result, computed)


def _rearrange(builder: NetworkBuilder, source: Tensor) -> bool:
    """DepthToSpace, SpaceToDepth."""
    if len(source.shape) != 4:
        return False
    if source.shape[1] % 4 == 0 and builder.chance(0.6):
        mode = builder.pick(("DCR", "CRD"))
        result, computed = builder.node("DepthToSpace", [source.name], [source.data], blocksize=2, mode=mode)
    elif source.shape[2] % 2 == 0 and source.shape[3] % 2 == 0:
        result, computed = builder.node("SpaceToDepth", [source.name], [source.data], blocksize=2)
    else:
        return False
    return _moved(builder, source, result, computed)


def _function(builder: NetworkBuilder, source: Tensor) -> bool:
    op = builder.pick(list(_FUNCTIONS))
    result, computed = builder.node(op, [source.name], [source.data], **_FUNCTIONS[op])
    builder.quantized(result, computed)
    return True


def _prelu(builder: NetworkBuilder, source: Tensor) -> bool:
    if len(source.shape) < 3:
        return False
    shape = (source.shape[1], *(1,) * (len(source.shape) - 2))
    style, builder.style = builder.style, _plain(builder.style)
    name, data, _ = builder.weights(builder.rng.standard_normal(shape) * 0.3, 0)
    builder.style = style
    result, computed = builder.node("PRelu", [source.name, name], [source.data, data])
    builder.quantized(result, computed)
    return True


def _softmax(builder: NetworkBuilder, source: Tensor) -> bool:
    axis = builder.pick((1, -1))
    result, computed = builder.node("Softmax", [source.name], [source.data], axis=axis)
    builder.quantized(result, computed)
    return True


OPERATIONS: dict[str, tuple[float, Callable[[NetworkBuilder, Tensor], bool]]] = {
    "conv": (10, _conv),
    "conv_transpose": (1, _conv_transpose),
    "gemm": (2, _gemm),
    "matmul": (1, _matmul),
    "binary": (4, _binary),
    "residual": (2, _residual),
    "pool": (3, _pool),
    "global_pool": (1.5, _global_pool),
    "concat": (1.5, _concat),
    "branches": (2, _branches),
    "split": (1.5, _split),
    "slice": (1, _slice),
    "pad": (1, _pad),
    "resize": (1, _resize),
    "transpose": (0.7, _transpose),
    "reshape": (0.7, _reshape),
    "rearrange": (0.5, _rearrange),
    "function": (2, _function),
    "prelu": (0.4, _prelu),
    "softmax": (0.5, _softmax),
}
