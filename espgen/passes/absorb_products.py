"""Products by constant integers: what follows them before their QuantizeLinear goes into weights, scales and bias."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from espgen import arith
from espgen.errors import EspgenError
from espgen.ir import DType, Node, QuantParams
from espgen.passes.absorb_numbers import Array, dequantized
from espgen.passes.absorb_symbols import Product, Quantized, Real, Symbol

if TYPE_CHECKING:
    from espgen.passes.absorb_builder import Builder

PRODUCTS = ("Conv", "ConvTranspose", "Gemm", "MatMul")

_SAME_SCALE = 1e-6
"""Relative difference below which a bias scale is the product of the two other scales, rounded to float32."""

_LARGEST_BIAS = 2.0**30
"""Biases beyond this (channels whose weights are all but zero) get a coarser weight scale instead of an overflow."""

_PRECISE_BIAS = 2.0**22
"""Biases beyond this, too, as long as a step of the accumulator stays below _FINE_STEP of an output step: one channel with
an accumulator out of proportion would cost all others the precision of their requantization."""

_FINE_STEP = 2.0**-13

_COARSE_STEP = 2.0**-8
"""A step of the accumulator, in output steps, above which the rounding of a bias shows."""


def make_product(builder: Builder, node: Node, operands: list[Symbol | None], shape: tuple[int, ...]) -> Product | None:
    """The open product of `node`, None where its second operand isn't a constant matrix or kernel.

    Raises EspgenError for float weights, float activations and scales on an axis that isn't the output channels'.
    """
    weights = operands[1]
    if isinstance(weights, Real):
        raise EspgenError(
            f"the weights of {node.op} are not quantized", node=node.name, place=f"tensor {node.inputs[1]!r}",
            hint="complete the model with `espgen convert --data`, or quantize the float model with `espgen quantize`",
        )  # fmt: skip
    data = builder.constants.get(weights.name) if isinstance(weights, Quantized) else None
    if data is None or not isinstance(weights, Quantized) or (node.op == "MatMul" and data.ndim != 2):
        return None
    assert operands[0] is not None
    x = builder.operand(operands[0], node)
    axis, channels = _channel_axis(node, data)
    quant = _weight_quant(node, builder.quant(weights.name), axis)
    product = Product(node.outputs[0], shape, node, x, data, quant, axis, channels, None, weights.name)
    alpha = float(node.attrs.get("alpha", 1.0))
    if alpha != 1.0:
        factored = scaled(product, np.array(alpha))
        if factored is None:
            raise EspgenError(
                f"alpha {alpha} makes the weight scales infinite", node=node.name, place="attribute alpha",
                hint="correct alpha, or fold it into the weights",
            )  # fmt: skip
        product = factored
    addend = operands[2] if len(operands) > 2 else None
    if addend is None or float(node.attrs.get("beta", 1.0)) == 0.0:
        return product
    return biased(builder, product, addend, node, float(node.attrs.get("beta", 1.0)))


def _channel_axis(node: Node, data: Array) -> tuple[int, int]:
    """Axis of the weights that holds the output channels, and how many channels there are."""
    if node.op == "ConvTranspose":
        return 1, data.shape[1] * int(node.attrs["group"])
    axis = 0 if node.op == "Conv" or node.attrs.get("transB", 0) else 1
    return axis, data.shape[axis]


def _weight_quant(node: Node, quant: QuantParams, axis: int) -> QuantParams:
    if quant.axis in (None, axis):
        return quant
    if len(set(quant.scale)) == 1 and len(set(quant.zero_point)) == 1:
        return QuantParams(quant.scale[:1], quant.zero_point[:1])
    raise EspgenError(
        f"the weights of {node.op} have one scale per entry of axis {quant.axis}; its output channels are axis {axis}",
        node=node.name, place=f"tensor {node.inputs[1]!r}", hint="quantize weights per output channel or per tensor",
    )  # fmt: skip


def per_channel(product: Product, values: tuple[float, ...] | tuple[int, ...]) -> Array:
    """Scales or zero points of the weights, one per output channel."""
    entries = np.asarray(values, np.float64)
    return np.asarray(np.tile(entries, product.channels // entries.size))


def channel_vector(product: Product, data: Array) -> Array | None:
    """A constant that broadcasts against the product, as one number per output channel; None where it isn't one."""
    rank = len(product.shape)
    position = 1 if product.node.op in ("Conv", "ConvTranspose") else rank - 1
    if data.ndim > rank:
        if any(extent != 1 for extent in data.shape[: data.ndim - rank]):
            return None
        data = data.reshape(data.shape[data.ndim - rank :])
    shape = (1,) * (rank - data.ndim) + data.shape
    if any(extent != 1 for axis, extent in enumerate(shape) if axis != position) or shape[position] not in (1, product.channels):
        return None
    return np.broadcast_to(data.reshape(-1).astype(np.float64), (product.channels,))


def biased(builder: Builder, product: Product, addend: Symbol, reader: Node, factor: float = 1.0) -> Product:
    """The product with `factor * addend`, a constant per output channel, added. EspgenError where it isn't one."""
    if isinstance(addend, Real):
        real = addend.data.astype(np.float64)
    elif isinstance(addend, Quantized) and addend.name in builder.constants:
        real = _real_bias(builder, product, addend)
    else:
        raise EspgenError(
            f"the bias of {reader.op} is computed at run time", node=reader.name, place=f"tensor {addend.label!r}",
            hint="make the bias a constant",
        )  # fmt: skip
    if reader is product.node and product.node.op != "Gemm":
        real = real.reshape((-1,) + (1,) * (len(product.shape) - 2))
    vector = channel_vector(product, real)
    if vector is None or not np.all(np.isfinite(vector * factor)):
        raise EspgenError(
            f"the bias of {reader.op} isn't one finite number per output channel", node=reader.name,
            place=f"tensor {addend.label!r}", hint="add it behind a QuantizeLinear/DequantizeLinear pair instead",
        )  # fmt: skip
    total = vector * factor + (0.0 if product.bias is None else product.bias)
    return replace(product, bias=total)


def _real_bias(builder: Builder, product: Product, addend: Quantized) -> Array:
    """Real bias; integers in the accumulator's own scale (but for its rounding to float32) keep their meaning exactly."""
    data, quant = builder.constants[addend.name], builder.quant(addend.name)
    unit = _unit(builder, product)
    scales = np.broadcast_to(np.asarray(quant.scale, np.float64), unit.shape) if len(quant.scale) in (1, unit.size) else None
    flat = data.size in (1, unit.size) and max(data.shape, default=1) == data.size
    if scales is None or not flat or any(quant.zero_point) or not np.allclose(scales, unit, rtol=_SAME_SCALE, atol=0.0):
        return dequantized(data, quant)
    exact = np.broadcast_to(data.reshape(-1).astype(np.float64), unit.shape) * unit
    return exact.reshape(data.shape) if data.size == exact.size else exact.reshape((1,) * (data.ndim - 1) + (-1,))


def _unit(builder: Builder, product: Product) -> Array:
    """Real value of one step of the accumulator, per output channel."""
    return builder.quant(product.x).scale[0] * per_channel(product, product.quant.scale)


def scaled(product: Product, factor: Array) -> Product | None:
    """The product times one factor per output channel (or a scalar); None where its weights can't take that."""
    if product.clip is not None or not np.all(np.isfinite(factor)):
        return None
    factors = np.broadcast_to(factor.reshape(-1).astype(np.float64), (product.channels,))
    uniform = bool(np.all(factors == factors[0]))
    if product.node.op == "ConvTranspose" and int(product.node.attrs["group"]) > 1 and not uniform:
        return None
    weights, quant = scale_weights(
        product.weights, product.quant, product.channel_axis, factors[: product.weights.shape[product.channel_axis]]
    )
    bias = None if product.bias is None else product.bias * factors
    if not all(np.isfinite(quant.scale)) or (bias is not None and not np.all(np.isfinite(bias))):
        return None
    return replace(product, weights=weights, quant=quant, bias=bias)


def scale_weights(weights: Array, quant: QuantParams, axis: int, factors: Array) -> tuple[Array, QuantParams]:
    """Integers and scales of weights times one factor per entry of `axis`: factors go into scales, signs into integers.

    A channel to be negated that holds the type's minimum is complemented together with its zero point, which is exact.
    """
    count = weights.shape[axis]
    scale = np.array(np.broadcast_to(np.asarray(quant.scale, np.float64), (count,)))
    points = np.array(np.broadcast_to(np.asarray(quant.zero_point, np.int64), (count,)))
    limits = np.iinfo(weights.dtype)
    data = np.moveaxis(weights.astype(np.int64), axis, 0).copy()
    for channel, factor in enumerate(factors):
        if factor == 0.0:
            data[channel] = points[channel]
            continue
        scale[channel] *= abs(factor)
        if factor > 0.0:
            continue
        negated = 2 * points[channel] - data[channel]
        if negated.size and (negated.min() < limits.min or negated.max() > limits.max):
            negated = limits.min + limits.max - data[channel]
            points[channel] = limits.min + limits.max - points[channel]
        data[channel] = negated
    tiny = float(np.finfo(np.float32).tiny)
    result = np.ascontiguousarray(np.moveaxis(data, 0, axis)).astype(weights.dtype)
    if np.all(scale == scale[0]) and np.all(points == points[0]) and quant.axis is None:
        return result, QuantParams.tensor(max(float(scale[0]), tiny), int(points[0]))
    return result, QuantParams(tuple(max(float(value), tiny) for value in scale), tuple(int(value) for value in points), axis)


def emit_product(builder: Builder, product: Product, result: str) -> None:
    """The node with its integer weights and, where there is one, its integer bias in the accumulator's scale."""
    node, attrs = product.node, dict(product.node.attrs)
    wide = builder.values[product.x].dtype in (DType.INT16, DType.UINT16)
    if product.bias is not None and not wide:
        product = _fit_bias(builder, _refine_dead_channels(builder, product, result), builder.quant(result).scale[0])
    names = [product.x, _weights_constant(builder, product)]
    if product.bias is not None:
        unit = _unit(builder, product)
        integers = np.rint(product.bias / unit)
        limit = 2.0**39 if wide else 2.0**31
        if np.any(np.abs(integers) >= limit):
            channel = int(np.argmax(np.abs(integers)))
            raise EspgenError(
                f"the bias of output channel {channel} needs more than {40 if wide else 32} bits in the accumulator's scale",
                node=node.name, hint="the weight scale of this channel is too small for its bias: re-quantize the layer",
            )  # fmt: skip
        scale = tuple(float(value) for value in unit)
        same = len(set(scale)) == 1
        quant = QuantParams.tensor(scale[0]) if same else QuantParams(scale, (0,) * len(scale), 0)
        names.append(builder.add_constant(f"{node.name}/bias", integers.astype(np.int64 if wide else np.int32), quant))
    op = node.op
    if op == "Gemm":
        attrs.update(alpha=1.0, beta=1.0)
    elif op == "MatMul" and product.bias is not None and len(product.shape) == 2:
        op, attrs = "Gemm", {"alpha": 1.0, "beta": 1.0, "transA": 0, "transB": 0}
    if product.clip is not None:
        attrs["clip"] = product.clip
    builder.emit(node.name, op, tuple(names), (result,), **attrs)


def _weights_constant(builder: Builder, product: Product) -> str:
    original = builder.constants[product.weights_name]
    if product.weights is original and builder.quant(product.weights_name) == product.quant:
        return product.weights_name
    return builder.add_constant(f"{product.weights_name}/{product.node.name}", product.weights, product.quant)


def _refine_dead_channels(builder: Builder, product: Product, result: str) -> Product:
    """A finer scale for channels without weights whose own is too coarse for their bias: it means nothing else."""
    assert product.bias is not None
    count = product.weights.shape[product.channel_axis]
    points = np.broadcast_to(np.asarray(product.quant.zero_point, np.int64), (count,))
    data = np.moveaxis(product.weights.astype(np.int64), product.channel_axis, 0).reshape(count, -1)
    ratio = _unit(builder, product).reshape(-1, count)[0] / builder.quant(result).scale[0]
    coarse = np.all(data == points[:, None], axis=1) & (ratio > _COARSE_STEP)
    if not coarse.any():
        return product
    scale = np.array(np.broadcast_to(np.asarray(product.quant.scale, np.float64), (count,)))
    scale[coarse] *= 2.0 ** np.floor(np.log2(_COARSE_STEP / ratio[coarse]))
    quant = QuantParams(tuple(scale.tolist()), tuple(int(point) for point in points), product.channel_axis)
    return replace(product, quant=quant)


def _fit_bias(builder: Builder, product: Product, output_scale: float) -> Product:
    """Coarser weight scales (by powers of two) for channels whose bias is out of proportion to their weights."""
    assert product.bias is not None
    count = product.weights.shape[product.channel_axis]
    unit = _unit(builder, product)
    bias = np.abs(product.bias / unit).reshape(-1, count).max(axis=0)
    ratio = unit.reshape(-1, count)[0] / output_scale
    excess = np.ceil(np.log2(np.maximum(bias / _LARGEST_BIAS, 1.0)))
    if not all(arith.is_power_of_two(float(value)) for value in ratio):  # those are shifted, exactly as they are
        wanted = np.ceil(np.log2(np.maximum(bias / _PRECISE_BIAS, 1.0)))
        allowed = np.floor(np.log2(np.maximum(_FINE_STEP / ratio, 1.0)))
        excess = np.maximum(excess, np.minimum(wanted, allowed))
    if not excess.any():
        return product
    scale = np.array(np.broadcast_to(np.asarray(product.quant.scale, np.float64), (count,)))
    points = np.broadcast_to(np.asarray(product.quant.zero_point, np.int64), (count,))
    data = np.moveaxis(product.weights.astype(np.int64), product.channel_axis, 0).copy()
    for channel in np.flatnonzero(excess):
        factor = 2.0 ** float(excess[channel])
        data[channel] = np.rint((data[channel] - points[channel]) / factor) + points[channel]
        scale[channel] *= factor
    weights = np.ascontiguousarray(np.moveaxis(data, 0, product.channel_axis)).astype(product.weights.dtype)
    quant = QuantParams(tuple(scale.tolist()), tuple(int(point) for point in points), product.channel_axis)
    return replace(product, weights=weights, quant=quant)
