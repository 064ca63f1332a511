"""What the quantizer decides: schemes, the quantization of each tensor and layer, and the whole model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import Enum

import numpy as np

from espgen.ir import Graph


class Scheme(Enum):
    """Which scales and zero points are allowed.

    SHIFT   any activation scale, even zero points; each channel's weight scale makes s_x*s_w/s_y a power of two.
    ESP_DL  every scale a power of two, every zero point 0 (the arithmetic of ESP-DL's own models).
    AFFINE  any scale, any (even) zero point; weights symmetric per channel.
    """

    SHIFT = "shift"
    ESP_DL = "esp-dl"
    AFFINE = "affine"

    @property
    def symmetric(self) -> bool:
        return self is Scheme.ESP_DL


@dataclass(frozen=True)
class TensorQuant:
    """Per-tensor quantization of one activation: real = scale * (integer - zero_point), `bits` 8 or 16, signed."""

    scale: float
    zero_point: int
    bits: int = 8

    @property
    def low(self) -> int:
        return -(1 << (self.bits - 1))

    @property
    def high(self) -> int:
        return (1 << (self.bits - 1)) - 1

    @property
    def real_low(self) -> float:
        """Smallest real value the tensor can hold."""
        return (self.low - self.zero_point) * self.scale

    @property
    def real_high(self) -> float:
        """Largest real value the tensor can hold."""
        return (self.high - self.zero_point) * self.scale

    def integers(self, real: np.ndarray) -> np.ndarray:
        """Integers of float array `real` (int8 or int16), ties to even as in ONNX QuantizeLinear."""
        scaled = np.asarray(np.rint(np.asarray(real, np.float32) / np.float32(self.scale)))  # numpy makes scalars of rank 0
        scaled += np.float32(self.zero_point)
        np.clip(scaled, self.low, self.high, out=scaled)
        return np.asarray(scaled.astype(np.int8 if self.bits == 8 else np.int16))

    def reals(self, integers: np.ndarray) -> np.ndarray:
        """float32 values of integer array `integers`, as ONNX DequantizeLinear computes them."""
        centred = integers.astype(np.float32) - np.float32(self.zero_point)
        centred *= np.float32(self.scale)
        return np.asarray(centred)

    def fake(self, real: np.ndarray) -> np.ndarray:
        """`real` rounded to the grid and cut to the range, float32."""
        return self.reals(self.integers(real))


@dataclass(frozen=True)
class LayerQuant:
    """Integer weights of one product layer (Conv, ConvTranspose, Gemm, MatMul).

    weights: integers in the shape of the float weights; scale: float32 [channels]; axis: the output-channel axis;
    bias: int32 [channels] on the grid s_x * scale, or None; bits: 8 or 16 (weights, and activations the layer reads);
    odd_bias: bool [channels] where the bias has to be odd (see ties.py), or None.
    """

    weights: np.ndarray
    scale: np.ndarray
    axis: int
    bias: np.ndarray | None
    input_scale: float
    bits: int = 8
    odd_bias: np.ndarray | None = None

    def real_weights(self) -> np.ndarray:
        """Dequantized weights, float32."""
        shape = [1] * self.weights.ndim
        shape[self.axis] = -1
        return np.asarray(self.weights.astype(np.float32) * self.scale.astype(np.float32).reshape(shape))

    @property
    def bias_scale(self) -> np.ndarray:
        """Scale of the int32 bias per channel, the float32 product onnxruntime would form."""
        return (np.float32(self.input_scale) * self.scale.astype(np.float32)).astype(np.float32)

    def real_bias(self) -> np.ndarray | None:
        """Dequantized bias, float32 [channels]."""
        if self.bias is None:
            return None
        return np.asarray(self.bias.astype(np.float32) * self.bias_scale)


@dataclass(frozen=True)
class QuantizedModel:
    """A float graph together with everything that makes it a quantized one.

    graph: the folded and equalized float graph; activations: quantized tensors by value name (a tensor that is
    missing stays float); layers: integer weights by node name; requantized: (node, input value) -> the grid on which
    that node reads the value, where it differs from the value's own (8 bit beside 16 bit; one grid per value and
    width); factors: equalization factors by value name; reference: the folded float graph before equalization.
    """

    graph: Graph
    scheme: Scheme
    activations: Mapping[str, TensorQuant]
    layers: Mapping[str, LayerQuant]
    reference: Graph
    requantized: Mapping[tuple[str, str], TensorQuant] = field(default_factory=dict)
    factors: Mapping[str, np.ndarray] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def with_notes(self, *notes: str) -> QuantizedModel:
        return replace(self, notes=(*self.notes, *notes))
