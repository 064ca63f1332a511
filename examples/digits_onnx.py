"""The trained digits network as ONNX: float with unfolded BatchNormalization, and int8 QDQ with it folded.

The QDQ form is what a plain min-max quantizer writes: int8 asymmetric activations, int8 symmetric weights per
output channel, int32 biases with scale s_x * s_w.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import onnx
from digits_net import Array, BatchNorm, Conv, Layer, PooledDense, Relu, Residual
from onnx import TensorProto, helper, numpy_helper

OPSET = 17


@dataclass
class Builder:
    """Collects nodes and initializers."""

    nodes: list[onnx.NodeProto] = field(default_factory=list)
    initializers: list[onnx.TensorProto] = field(default_factory=list)

    def constant(self, name: str, data: np.ndarray) -> str:
        self.initializers.append(numpy_helper.from_array(np.asarray(data), name))
        return name

    def node(self, op: str, inputs: list[str], output: str, **attributes: object) -> str:
        self.nodes.append(helper.make_node(op, inputs, [output], name=output, **attributes))
        return output

    def model(self, name: str) -> onnx.ModelProto:
        graph = helper.make_graph(
            self.nodes,
            name,
            [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 1, 8, 8])],
            [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1, 10])],
            self.initializers,
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)])
        model.producer_name = "espgen"
        model.ir_version = 8
        onnx.checker.check_model(model, full_check=True)
        return model


def conv_attributes(layer: Conv) -> dict[str, object]:
    """Attributes of the ONNX Conv node."""
    return {
        "kernel_shape": [layer.kernel] * 2,
        "strides": [layer.stride] * 2,
        "pads": [layer.padding] * 4,
        "group": layer.channels_in if layer.depthwise else 1,
    }


def float_model(layers: list[Layer]) -> onnx.ModelProto:
    """Float network, BatchNormalization as its own nodes; input `image` is the pixel value 0..16."""
    build = Builder()
    _float_layers(build, layers, "image")
    return build.model("digits_float")


def _float_layers(build: Builder, layers: list[Layer], value: str) -> str:
    for layer in layers:
        if isinstance(layer, Conv):
            weight = build.constant(f"{layer.name}.weight", layer.params["weight"].astype(np.float32))
            value = build.node("Conv", [value, weight], layer.name, **conv_attributes(layer))
        elif isinstance(layer, BatchNorm):
            parts = {**layer.params, "mean": layer.mean, "variance": layer.variance}
            names = [build.constant(f"{layer.name}.{key}", parts[key].astype(np.float32)) for key in parts]
            value = build.node("BatchNormalization", [value, *names], layer.name, epsilon=layer.epsilon)
        elif isinstance(layer, Relu):
            value = build.node("Relu", [value], layer.name)
        elif isinstance(layer, Residual):
            value = build.node("Add", [value, _float_layers(build, layer.body, value)], layer.name)
        elif isinstance(layer, PooledDense):
            pooled = build.node("GlobalAveragePool", [value], f"{layer.name}_pool")
            flat = build.node("Flatten", [pooled], f"{layer.name}_flat")
            weight = build.constant(f"{layer.name}.weight", layer.params["weight"].astype(np.float32))
            bias = build.constant(f"{layer.name}.bias", layer.params["bias"].astype(np.float32))
            value = build.node("Gemm", [flat, weight, bias], "logits", transB=1)
    return value


@dataclass
class Quantizer:
    """Writes the QDQ form while running the network on calibration images, so that every range is at hand."""

    build: Builder = field(default_factory=Builder)
    scales: dict[str, float] = field(default_factory=dict)

    def activation(self, name: str, values: Array, output: str | None = None) -> str:
        """Quantize and dequantize value `name` with the range of `values`; returns the dequantized name."""
        low, high = min(float(values.min()), 0.0), max(float(values.max()), 0.0)
        scale = np.float32((high - low) / 255.0)
        zero_point = np.int8(np.clip(np.rint(-128 - low / scale), -128, 127))
        result = output or f"{name}_dq"
        parameters = [
            self.build.constant(f"{name}.scale", scale),
            self.build.constant(f"{name}.zero_point", zero_point),
        ]
        quantized = self.build.node("QuantizeLinear", [name, *parameters], f"{name}_q")
        self.scales[result] = float(scale)
        return self.build.node("DequantizeLinear", [quantized, *parameters], result)

    def weights(self, name: str, weight: Array, bias: Array, x: str) -> list[str]:
        """Constants and DequantizeLinear of a weight (output channel first) and its bias."""
        axes = tuple(range(1, weight.ndim))
        scale = (np.abs(weight).max(axis=axes) / 127.0).astype(np.float32)
        expanded = scale.reshape(-1, *([1] * (weight.ndim - 1)))
        integers = np.clip(np.rint(weight / expanded), -127, 127).astype(np.int8)
        bias_scale = (np.float32(self.scales[x]) * scale).astype(np.float32)
        bias_integers = np.rint(bias / bias_scale).astype(np.int32)
        return [
            self._dequantized(f"{name}.weight", integers, scale, np.int8),
            self._dequantized(f"{name}.bias", bias_integers, bias_scale, np.int32),
        ]

    def _dequantized(self, name: str, integers: np.ndarray, scale: np.ndarray, dtype: type) -> str:
        parameters = [
            self.build.constant(f"{name}_q", integers),
            self.build.constant(f"{name}.scale", scale),
            self.build.constant(f"{name}.zero_point", np.zeros(len(scale), dtype)),
        ]
        return self.build.node("DequantizeLinear", parameters, name, axis=0)

    def layers(self, layers: list[Layer], x: str, values: Array) -> tuple[str, Array]:
        """Write `layers` reading the dequantized value `x`, whose calibration values are `values`."""
        position = 0
        while position < len(layers):
            layer = layers[position]
            position += 1
            if isinstance(layer, Conv):
                norm = layers[position]
                assert isinstance(norm, BatchNorm)
                position += 1
                gain = norm.params["gamma"] / np.sqrt(norm.variance + norm.epsilon)
                weight = layer.params["weight"] * gain[:, None, None, None]
                constants = self.weights(layer.name, weight, norm.params["beta"] - norm.mean * gain, x)
                name = self.build.node("Conv", [x, *constants], layer.name, **conv_attributes(layer))
                values = norm.forward(layer.forward(values, False), False)
            elif isinstance(layer, Residual):
                inner, _ = self.layers(layer.body, x, values)
                name = self.build.node("Add", [x, inner], layer.name)
                values = layer.forward(values, False)
            else:
                assert isinstance(layer, PooledDense)
                return self._head(layer, x, values)
            if position < len(layers) and isinstance(layers[position], Relu):
                values = layers[position].forward(values, False)
                name = self.build.node("Relu", [name], layers[position].name)
                position += 1
            x = self.activation(name, values)
        return x, values

    def _head(self, layer: PooledDense, x: str, values: Array) -> tuple[str, Array]:
        pooled = values.mean(axis=(2, 3))
        name = self.build.node("GlobalAveragePool", [x], f"{layer.name}_pool")
        x = self.activation(name, pooled)
        x = self.activation(self.build.node("Flatten", [x], f"{layer.name}_flat"), pooled)
        constants = self.weights(layer.name, layer.params["weight"], layer.params["bias"], x)
        name = self.build.node("Gemm", [x, *constants], layer.name, transB=1)
        logits = layer.forward(values, False)
        return self.activation(name, logits, output="logits"), logits


def qdq_model(layers: list[Layer], calibration: Array) -> onnx.ModelProto:
    """int8 QDQ network with min-max ranges over `calibration` [N, 1, 8, 8]."""
    quantizer = Quantizer()
    x = quantizer.activation("image", calibration)
    quantizer.layers(layers, x, calibration)
    return quantizer.build.model("digits_int8_qdq")
