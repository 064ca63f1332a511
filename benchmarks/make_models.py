"""Quantized networks for the benchmarks: published shapes, random weights, every scale a power of two.

    python benchmarks/make_models.py FOLDER

Cycles do not depend on weights. The shapes are those of MLPerf Tiny (keyword spotting DS-CNN, ResNet-8, MobileNet v1
0.25 96x96); weights spread so that activations fill their range, whose zero point is 0 or that of an unsigned range.
"""

from __future__ import annotations

import argparse
import math
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

OPSET = 17
_ACTIVATION_SCALE = 2.0**-4
_WEIGHT_SPREAD = 40
_OUTPUT_SPREAD = 40


@dataclass
class Network:
    """An ONNX graph in QDQ form under construction; tensors are named by their dequantized side.

    `relu_zero_point` is the zero point of what follows a Relu: -128 (all of the range is positive) or 0.
    """

    name: str
    relu_zero_point: int
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    constants: list[onnx.TensorProto] = field(default_factory=list)
    shapes: dict[str, tuple[int, ...]] = field(default_factory=dict)
    dice: np.random.Generator = field(default_factory=lambda: np.random.default_rng(1))

    def _constant(self, name: str, data: np.ndarray) -> str:
        self.constants.append(numpy_helper.from_array(data, name))
        return name

    def _node(self, op: str, inputs: list[str], output: str, **attrs: object) -> str:
        self.nodes.append(helper.make_node(op, inputs, [output], name=f"{output}/{op}", **attrs))
        return output

    def quantized(self, real: str, shape: tuple[int, ...], scale: float, zero_point: int) -> str:
        """A real tensor through QuantizeLinear and DequantizeLinear."""
        scale_name = self._constant(f"{real}_scale", np.array(scale, np.float32))
        point = self._constant(f"{real}_zero_point", np.array(zero_point, np.int8))
        self._node("QuantizeLinear", [real, scale_name, point], f"{real}_q")
        self.shapes[f"{real}_dq"] = shape
        return self._node("DequantizeLinear", [f"{real}_q", scale_name, point], f"{real}_dq")

    def _weights(self, name: str, shape: tuple[int, ...], inputs: int) -> tuple[str, float]:
        spread = _ACTIVATION_SCALE * _WEIGHT_SPREAD * _OUTPUT_SPREAD * math.sqrt(inputs)
        scale = 2.0 ** -round(math.log2(spread / (_ACTIVATION_SCALE * _OUTPUT_SPREAD)))
        data = np.clip(np.rint(self.dice.normal(0, _WEIGHT_SPREAD, shape)), -127, 127).astype(np.int8)
        outputs = shape[0]
        operands = [
            self._constant(f"{name}_q", data),
            self._constant(f"{name}_scale", np.full(outputs, scale, np.float32)),
            self._constant(f"{name}_zero_point", np.zeros(outputs, np.int8)),
        ]
        return self._node("DequantizeLinear", operands, name, axis=0), scale

    def _bias(self, name: str, outputs: int, scale: float) -> str:
        data = self.dice.integers(-500, 500, outputs).astype(np.int32)
        operands = [
            self._constant(f"{name}_q", data),
            self._constant(f"{name}_scale", np.full(outputs, scale, np.float32)),
            self._constant(f"{name}_zero_point", np.zeros(outputs, np.int32)),
        ]
        return self._node("DequantizeLinear", operands, name, axis=0)

    def conv(
        self,
        x: str,
        outputs: int,
        kernel: tuple[int, int],
        stride: int = 1,
        *,
        depthwise: bool = False,
        relu: bool = True,
    ) -> str:
        """A convolution with TensorFlow's SAME padding."""
        _, channels, height, width = self.shapes[x]
        name = f"conv{len(self.nodes)}"
        per_group = 1 if depthwise else channels
        weights, scale = self._weights(f"{name}_w", (outputs, per_group, *kernel), per_group * kernel[0] * kernel[1])
        bias = self._bias(f"{name}_b", outputs, scale * _ACTIVATION_SCALE)
        out_h, out_w = -(-height // stride), -(-width // stride)
        extents = ((out_h, kernel[0], height), (out_w, kernel[1], width))
        total = [max(0, (out - 1) * stride + taps - size) for out, taps, size in extents]
        pads = [total[0] // 2, total[1] // 2, total[0] - total[0] // 2, total[1] - total[1] // 2]
        groups = channels if depthwise else 1
        real = self._node("Conv", [x, weights, bias], name, strides=[stride, stride], pads=pads, group=groups)
        return self._activated(real, (1, outputs, out_h, out_w), relu)

    def _activated(self, real: str, shape: tuple[int, ...], relu: bool) -> str:
        if relu:
            real = self._node("Relu", [real], f"{real}_relu")
        return self.quantized(real, shape, _ACTIVATION_SCALE, self.relu_zero_point if relu else 0)

    def add(self, first: str, second: str) -> str:
        """A residual sum with Relu."""
        real = self._node("Add", [first, second], f"add{len(self.nodes)}")
        return self._activated(real, self.shapes[first], relu=True)

    def classifier(self, x: str, classes: int) -> str:
        """Global mean, dense layer, softmax; returns the output's name."""
        channels = self.shapes[x][1]
        mean = self._node("GlobalAveragePool", [x], "mean")
        pooled = self.quantized(mean, (1, channels, 1, 1), _ACTIVATION_SCALE, self.relu_zero_point)
        flat = self._node("Flatten", [pooled], "flat")
        weights, scale = self._weights("dense_w", (classes, channels), channels)
        bias = self._bias("dense_b", classes, scale * _ACTIVATION_SCALE)
        logits = self._node("Gemm", [flat, weights, bias], "dense", transB=1)
        quantized = self.quantized(logits, (1, classes), _ACTIVATION_SCALE, 0)
        probabilities = self._node("Softmax", [quantized], "softmax", axis=1)
        return self.quantized(probabilities, (1, classes), 2.0**-8, -128)

    def model(self, input_shape: tuple[int, ...], output: str) -> onnx.ModelProto:
        """The finished model."""
        graph = helper.make_graph(
            self.nodes,
            self.name,
            [helper.make_tensor_value_info("input", TensorProto.FLOAT, input_shape)],
            [helper.make_tensor_value_info(output, TensorProto.FLOAT, self.shapes[output])],
            self.constants,
        )
        made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=8)
        onnx.checker.check_model(made, full_check=True)
        return made


def keyword_spotting() -> onnx.ModelProto:
    """DS-CNN on 49x10 MFCC, 12 classes, zero points as in the published model."""
    net = Network("kws_shift", relu_zero_point=-128)
    shape = (1, 1, 49, 10)
    x = net.quantized("input", shape, _ACTIVATION_SCALE, 83)
    x = net.conv(x, 64, (10, 4), 2)
    for _ in range(4):
        x = net.conv(x, 64, (3, 3), depthwise=True)
        x = net.conv(x, 64, (1, 1))
    return net.model(shape, net.classifier(x, 12))


def resnet8() -> onnx.ModelProto:
    """ResNet-8 on 32x32 RGB, 10 classes."""
    net = Network("resnet8_shift", relu_zero_point=0)
    shape = (1, 3, 32, 32)
    x = net.conv(net.quantized("input", shape, _ACTIVATION_SCALE, 0), 16, (3, 3))
    for outputs, stride in ((16, 1), (32, 2), (64, 2)):
        y = net.conv(net.conv(x, outputs, (3, 3), stride), outputs, (3, 3), relu=False)
        x = net.add(x if stride == 1 else net.conv(x, outputs, (1, 1), stride, relu=False), y)
    return net.model(shape, net.classifier(x, 10))


def visual_wake_words() -> onnx.ModelProto:
    """MobileNet v1 0.25 on 96x96 RGB, 2 classes."""
    net = Network("vww_shift", relu_zero_point=0)
    shape = (1, 3, 96, 96)
    x = net.conv(net.quantized("input", shape, _ACTIVATION_SCALE, 0), 8, (3, 3), 2)
    plan = [(16, 1), (32, 2), (32, 1), (64, 2), (64, 1), (128, 2), *[(128, 1)] * 5, (256, 2), (256, 1)]
    for outputs, stride in plan:
        x = net.conv(x, net.shapes[x][1], (3, 3), stride, depthwise=True)
        x = net.conv(x, outputs, (1, 1))
    return net.model(shape, net.classifier(x, 2))


MODELS = {"kws_shift": keyword_spotting, "resnet8_shift": resnet8, "vww_shift": visual_wake_words}


def write_models(folder: Path) -> dict[str, Path]:
    """Write every model as `<name>.onnx` and return the paths by name."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = {name: folder / f"{name}.onnx" for name in MODELS}
    for name, make in MODELS.items():
        onnx.save(make(), str(paths[name]))
    return paths


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    for path in write_models(parser.parse_args().folder).values():
        print(path)


if __name__ == "__main__":
    main()
