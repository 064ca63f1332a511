"""Builds quantized ONNX networks step by step: every tensor is held as numbers too, so that scales fit what is there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime as ort
from onnx import helper, numpy_helper

Array = npt.NDArray[Any]

OPSET = 21
"""The first whose QuantizeLinear makes 16-bit integers."""


@dataclass(frozen=True)
class Quant:
    """Scale and zero point per tensor, and the integer type."""

    kind: str
    scale: float
    zero: int

    @property
    def limits(self) -> tuple[int, int]:
        info = np.iinfo(self.kind)
        return int(info.min), int(info.max)

    def integers(self, real: Array) -> Array:
        low, high = self.limits
        return np.clip(np.rint(real / np.float32(self.scale)) + self.zero, low, high).astype(self.kind)

    def real(self, integers: Array) -> Array:
        return ((integers.astype(np.float32) - self.zero) * np.float32(self.scale)).astype(np.float32)


@dataclass(frozen=True, eq=False)
class Tensor:
    """An activation: the name of its real values (after DequantizeLinear), of its integers, and what it held once."""

    name: str
    integers: str
    quant: Quant
    data: Array

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.data.shape)


@dataclass(frozen=True)
class Style:
    """What a network's quantization looks like.

    kind        integer type of its activations
    power       all scales are powers of two
    symmetric   zero points in the middle of the type
    channels    weights have a scale per output channel
    odd_weights weights may be unsigned or have zero points
    """

    kind: str
    power: bool
    symmetric: bool
    channels: bool
    odd_weights: bool


class NetworkBuilder:
    """Nodes, constants and tensors so far; `widths` are the channels that convolutions may have."""

    def __init__(self, rng: np.random.Generator, style: Style, widths: Sequence[int]) -> None:
        self.rng, self.style, self.widths = rng, style, widths
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self.inputs: list[onnx.ValueInfoProto] = []
        self.tensors: list[Tensor] = []
        self.used: set[str] = set()
        self._count = 0

    def chance(self, probability: float) -> bool:
        return bool(self.rng.random() < probability)

    def pick(self, options: Sequence[Any]) -> Any:
        return options[int(self.rng.integers(len(options)))]

    def name(self, stem: str) -> str:
        self._count += 1
        return f"{stem}{self._count}"

    def constant(self, data: Array, stem: str = "c") -> str:
        name = self.name(stem)
        self.constants.append(numpy_helper.from_array(np.asarray(data), name))
        return name

    def input(self, shape: Sequence[int]) -> Tensor:
        """A graph input: real values that are quantized, or integers."""
        quant = self._chosen(-2.0, 2.0 if self.chance(0.7) else 1.0)
        low, high = quant.limits
        integers = self.rng.integers(low, high, shape, endpoint=True).astype(quant.kind)
        if self.chance(0.5):
            name = self.name("x")
            self.inputs.append(helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape))
            return self.quantized(name, quant.real(integers), quant)
        name, real = self.name("x"), self.name("real")
        self.inputs.append(helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(np.dtype(quant.kind)), shape))
        self._dequantize(name, real, quant)
        return self._held(Tensor(real, name, quant, quant.real(integers)))

    def node(self, op: str, operands: Sequence[str], values: Sequence[Array | None], outputs: int = 1, **attrs: Any) -> Any:
        """Append a node; the names and values of its results (a pair, or lists of both where `outputs` says more).

        `values` are the operands' values, None for those that are constants of the network.
        """
        results = [self.name("r") for _ in range(outputs)]
        node = helper.make_node(op, list(operands), results, self.name(op.lower()), **attrs)
        self.nodes.append(node)
        computed = self._computed(node, operands, values)
        return (results[0], computed[0]) if outputs == 1 else (results, computed)

    def quantized(self, real: str, data: Array, quant: Quant | None = None) -> Tensor:
        """QuantizeLinear and DequantizeLinear behind `real`, with parameters that fit `data` unless given."""
        chosen = quant or self.fitting(data)
        integers, name = self.name("q"), self.name("real")
        scale, zero = self._parameters(chosen)
        self.nodes.append(helper.make_node("QuantizeLinear", [real, scale, zero], [integers], self.name("quantize")))
        self._dequantize(integers, name, chosen, (scale, zero))
        return self._held(Tensor(name, integers, chosen, chosen.real(chosen.integers(data))))

    def fitting(self, data: Array, least: float = 0.0) -> Quant:
        """Parameters for real values: their range or a bit less or more of it; no scale below `least`."""
        reach = self.rng.uniform(0.5, 1.2)
        low, high = min(0.0, float(data.min())) * reach, max(0.0, float(data.max())) * reach
        return self._chosen(low, max(high, low + least * 2.0 ** np.iinfo(self.style.kind).bits))

    def weights(self, data: Array, axis: int) -> tuple[str, Array, Array]:
        """A dequantized constant like `data`: its name, its real values, and the scales (one, or one per entry of `axis`)."""
        kind = self._weight_kind(data.size // data.shape[axis])
        info = np.iinfo(kind)
        odd = self.style.odd_weights and self.chance(0.7)
        per_channel = self.style.channels and self.chance(0.85)
        count = data.shape[axis] if per_channel else 1
        reach = np.abs(np.moveaxis(data, axis, 0).reshape(count, -1)).max(axis=1) + 1e-3
        scales = np.array(
            [self._scale(float(item) / 127 if info.bits == 8 else float(item) / 32767) for item in reach], np.float32
        )
        middle = 128 if info.min == 0 else 0
        zero = middle + (int(self.rng.integers(-60, 60)) if odd and info.bits == 8 else 0)
        shape = [1] * data.ndim
        shape[axis] = count
        spread = scales.reshape(shape)
        integers = np.clip(np.rint(data / spread) + zero, info.min, info.max).astype(kind)
        if per_channel:
            points: Array = np.full(count, zero, kind)
            names = [self.constant(item, "w") for item in (integers, scales, points)]
        else:
            names = [self.constant(item, "w") for item in (integers, scales[0], np.asarray(zero, kind))]
        real = self.name("weights")
        attrs = {"axis": axis} if per_channel else {}
        self.nodes.append(helper.make_node("DequantizeLinear", names, [real], self.name("dequantize"), **attrs))
        return real, ((integers.astype(np.float32) - zero) * spread).astype(np.float32), scales

    def bias(self, data: Array, scales: Array) -> tuple[str, Array]:
        """A bias in real numbers, or int32 behind its own DequantizeLinear with the scales of the accumulators."""
        if self.chance(0.35):
            return self.constant(data.astype(np.float32), "b"), data.astype(np.float32)
        integers = np.clip(np.rint(data / scales), -(2**26), 2**26).astype(np.int32)
        names = [self.constant(integers, "b")]
        names += [self.constant(scales if scales.size > 1 else scales[0], "b")]
        if self.chance(0.5):
            names.append(self.constant(np.zeros(scales.size if scales.size > 1 else (), np.int32), "b"))
        real = self.name("bias")
        attrs = {"axis": 0} if scales.size > 1 else {}
        self.nodes.append(helper.make_node("DequantizeLinear", names, [real], self.name("dequantize"), **attrs))
        return real, (integers * scales).astype(np.float32)

    def model(self, title: str) -> onnx.ModelProto:
        """The network; outputs are all tensors nobody reads and a few that others read too."""
        outputs, names = [], set()
        for tensor in self.tensors:
            unread = tensor.name not in self.used
            if tensor.integers in {entry.name for entry in self.inputs}:
                continue
            if not unread and not self.chance(0.12):
                continue
            name = tensor.name if self.chance(0.35) else tensor.integers
            kind = onnx.TensorProto.FLOAT if name == tensor.name else helper.np_dtype_to_tensor_dtype(np.dtype(tensor.quant.kind))
            if name not in names:
                names.add(name)
                outputs.append(helper.make_tensor_value_info(name, kind, tensor.shape))
        graph = helper.make_graph(self.nodes, title, self.inputs, outputs, self.constants)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=10)

    def _held(self, tensor: Tensor) -> Tensor:
        self.tensors.append(tensor)
        return tensor

    def _scale(self, wanted: float) -> float:
        """`wanted` in three digits, or the next power of two."""
        if self.style.power:
            return float(2.0 ** np.ceil(np.log2(wanted)))
        return float(np.float32(f"{wanted:.3g}"))

    def _chosen(self, low: float, high: float) -> Quant:
        info = np.iinfo(self.style.kind)
        steps = int(info.max) - int(info.min)
        middle = 0 if info.min else (int(info.max) + 1) // 2
        if self.style.symmetric or self.chance(0.15):
            return Quant(self.style.kind, self._scale(max(-low, high, 1e-3) * 2 / steps), middle)
        scale = self._scale(max(high - low, 1e-3) / steps)
        zero = int(np.clip(np.rint(-low / scale) + info.min, info.min, info.max))
        return Quant(self.style.kind, scale, zero)

    def _weight_kind(self, products: int) -> str:
        """16-bit weights only for sums that no accumulator of 40 bits overflows at."""
        if self.style.kind == "int16":
            return "int16" if products <= 200 and self.chance(0.3) else "int8"
        return "uint8" if self.style.odd_weights and self.chance(0.5) else "int8"

    def _parameters(self, quant: Quant) -> tuple[str, str]:
        return self.constant(np.float32(quant.scale), "s"), self.constant(np.asarray(quant.zero, quant.kind), "z")

    def _dequantize(self, integers: str, real: str, quant: Quant, names: tuple[str, str] | None = None) -> None:
        scale, zero = names or self._parameters(quant)
        self.nodes.append(helper.make_node("DequantizeLinear", [integers, scale, zero], [real], self.name("dequantize")))

    def _computed(self, node: onnx.NodeProto, operands: Sequence[str], values: Sequence[Array | None]) -> list[Array]:
        feeds = {name: data for name, data in zip(operands, values, strict=True) if data is not None}
        self.used |= set(feeds)
        infos = [
            helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(data.dtype), data.shape)
            for name, data in feeds.items()
        ]
        results = [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in node.output]
        held = [entry for entry in self.constants if entry.name in operands and entry.name not in feeds]
        graph = helper.make_graph([node], "node", infos, results, held)
        proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=10)
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        options.log_severity_level = 3
        session = ort.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])
        return [np.asarray(item) for item in session.run(None, feeds)]
