"""Graph -> ONNX: the float model that calibration runs and the QDQ model that is the result.

The only file of the quantizer that imports onnx.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from espgen.errors import EspgenError
from espgen.ir import DType, Graph, Node
from espgen.quantize.model import LayerQuant, QuantizedModel, TensorQuant

OPSET = 17
"""What is written wherever it knows all operators."""
PRODUCER = "espgen"
_TYPES = {
    DType.INT8: TensorProto.INT8, DType.UINT8: TensorProto.UINT8, DType.INT16: TensorProto.INT16,
    DType.UINT16: TensorProto.UINT16, DType.INT32: TensorProto.INT32, DType.INT64: TensorProto.INT64,
    DType.FLOAT32: TensorProto.FLOAT, DType.BOOL: TensorProto.BOOL,
}  # fmt: skip
# Attributes that ONNX takes as constant inputs: operator -> (attribute, input index, element type).
_AS_INPUT: dict[str, tuple[tuple[str, int, type], ...]] = {
    "Clip": (("min", 1, np.float32), ("max", 2, np.float32)),
    "Pad": (("pads", 1, np.int64), ("value", 2, np.float32)),
    "ReduceSum": (("axes", 1, np.int64),),
    "Split": (("sizes", 1, np.int64),),
    "Slice": (("starts", 1, np.int64), ("ends", 2, np.int64), ("axes", 3, np.int64), ("steps", 4, np.int64)),
    "Resize": (("roi", 1, np.float32), ("scales", 2, np.float32), ("sizes", 3, np.int64)),
    "Tile": (("repeats", 1, np.int64),),
}
_AXES_INPUT_FROM = 18
"""The opset in which every reduction takes its axes as an input, as ReduceSum does before."""


def float_model(graph: Graph, outputs: Sequence[str] | None = None, batched: bool = False) -> bytes:
    """Serialized float ONNX model of `graph` that returns `outputs` (default: the graph's own).

    With `batched` the first dimension of inputs and outputs is left open and constant Reshape shapes keep it.
    """
    writer = _Writer(graph, batched)
    for name, data in graph.constants.items():
        writer.initializer(name, data)
    for node in graph.nodes:
        writer.node(node, node.inputs, node.outputs)
    model = writer.finish(graph.inputs, graph.outputs if outputs is None else outputs)
    return bytes(model.SerializeToString())


def qdq_model(model: QuantizedModel, batched: bool = False, extra_outputs: Sequence[str] = ()) -> onnx.ModelProto:
    """The QDQ form of a quantized model.

    int8 weights and int32 biases behind DequantizeLinear (per channel), Relu and Clip kept between an operator and
    its QuantizeLinear; 16-bit tensors use the com.microsoft form of both operators, which onnxruntime runs.
    `extra_outputs` are inner values to return as well, as their readers see them (their names may get the suffix
    ".dequantized").
    """
    return _QdqWriter(model, batched).write(extra_outputs)


def qdq_bytes(model: QuantizedModel) -> bytes:
    """The QDQ model as a file's bytes; the same model gives the same bytes."""
    return bytes(qdq_model(model).SerializeToString(deterministic=True))


class _Writer:
    """Collects nodes and initializers of one ONNX model."""

    def __init__(self, graph: Graph, batched: bool) -> None:
        self.graph = graph
        self.batched = batched
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: dict[str, onnx.TensorProto] = {}
        self.opset = _opset(graph)
        self.domains = {"": self.opset}

    def initializer(self, name: str, data: np.ndarray) -> str:
        if name not in self.initializers:
            self.initializers[name] = numpy_helper.from_array(np.ascontiguousarray(data), name)
        return name

    def node(self, node: Node, inputs: Iterable[str], outputs: Iterable[str]) -> None:
        """Append a canonical node of the source graph in the opset's form."""
        attrs = dict(node.attrs)
        names = list(inputs)
        if node.op in ("Reshape", "Expand"):
            shape = list(self.graph.value(node.outputs[0]).shape)
            if self.batched and shape and shape[0] == 1:
                shape[0] = 0 if node.op == "Reshape" else 1
            names = [names[0], self.initializer(f"{node.name}.shape", np.asarray(shape, np.int64))]
        if node.op == "Resize":
            self._resize(node, attrs)
        if node.op == "Slice":
            attrs |= self._sliced_axes(node)
        if node.op == "Cast":
            attrs["to"] = _TYPES[DType(attrs["to"])]
        if node.op == "Pad" and attrs.get("mode", "constant") != "constant":
            attrs.pop("value", None)
        inputs_of = _AS_INPUT.get(node.op, ())
        if node.op.startswith("Reduce") and self.opset >= _AXES_INPUT_FROM:
            inputs_of = _AS_INPUT["ReduceSum"]
        for attribute, index, kind in inputs_of:
            data = attrs.pop(attribute, None)
            if data is None or (attribute == "roi" and not len(data)):
                continue
            names += [""] * (index + 1 - len(names))
            names[index] = self.initializer(f"{node.name}.{attribute}", np.asarray(data, kind))
        while names and not names[-1]:
            names.pop()
        known = onnx.defs.get_schema(node.op, self.opset).attributes
        plain = {key: _attribute(value) for key, value in attrs.items() if value is not None and key in known}
        self.nodes.append(helper.make_node(node.op, names, list(outputs), name=node.name, **plain))

    def _resize(self, node: Node, attrs: dict[str, Any]) -> None:
        """ONNX takes sizes or scales, not both: scales where they give the sizes exactly."""
        before, after = self.graph.value(node.inputs[0]).shape, self.graph.value(node.outputs[0]).shape
        scales = attrs.get("scales")
        exact = scales is not None and all(int(a * s) == b for a, s, b in zip(before, scales, after, strict=True))
        attrs.pop("sizes" if exact else "scales", None)

    def _sliced_axes(self, node: Node) -> dict[str, tuple[int, ...]]:
        """Only the axes that lose something: a whole first axis must stay whole for more than one sample."""
        before, after = self.graph.value(node.inputs[0]).shape, self.graph.value(node.outputs[0]).shape
        entries = list(zip(node.attrs["starts"], node.attrs["ends"], node.attrs["axes"], node.attrs["steps"], strict=True))
        cut = [entry for entry in entries if before[entry[2]] != after[entry[2]] or entry[3] != 1] or entries[-1:]
        return dict(zip(("starts", "ends", "axes", "steps"), zip(*cut, strict=True), strict=True))

    def finish(self, inputs: Sequence[str], outputs: Sequence[str]) -> onnx.ModelProto:
        used = {name for node in self.nodes for name in node.input}
        graph = helper.make_graph(
            self.nodes,
            self.graph.name or "model",
            [self._info(name) for name in inputs],
            [self._info(name) for name in outputs],
            [data for name, data in self.initializers.items() if name in used],
        )
        opsets = [helper.make_opsetid(domain, version) for domain, version in self.domains.items()]
        ir_version = max(8, helper.find_min_ir_version_for(opsets, ignore_unknown=True))
        return helper.make_model(graph, opset_imports=opsets, ir_version=ir_version, producer_name=PRODUCER)

    def _info(self, name: str) -> onnx.ValueInfoProto:
        value = self.graph.value(name)
        shape: list[int | str] = list(value.shape)
        if self.batched and shape:
            shape[0] = "batch"
        return helper.make_tensor_value_info(name, _TYPES[value.dtype], shape)


class _QdqWriter(_Writer):
    """Writes Q/DQ pairs around every quantized tensor and DQ in front of every integer weight and bias."""

    def __init__(self, model: QuantizedModel, batched: bool) -> None:
        super().__init__(model.graph, batched)
        self.model = model
        self.dequantized: dict[str, str] = {}

    def write(self, extra_outputs: Sequence[str]) -> onnx.ModelProto:
        graph, model = self.graph, self.model
        for name in graph.inputs:
            self._pair(name, name)
        for node in graph.nodes:
            inputs = [self._operand(node, index, name) for index, name in enumerate(node.inputs)]
            results = []
            for name in node.outputs:
                internal = name
                if name in graph.outputs and name in model.activations:
                    internal = f"{name}.real"
                results.append(internal)
            self.node(node, inputs, results)
            for name, internal in zip(node.outputs, results, strict=True):
                if name:
                    self._pair(name, internal)
        proto = self.finish(graph.inputs, graph.outputs)
        for name in extra_outputs:
            info = self._info(name)
            info.name = self.dequantized.get(name, name)
            proto.graph.output.append(info)
        return proto

    def _pair(self, name: str, source: str) -> None:
        quant = self.model.activations.get(name)
        if quant is None:
            return
        target = name if source != name else f"{name}.dequantized"
        self._quantize(source, f"{name}.quantized", target, quant)
        self.dequantized[name] = target

    def _quantize(self, source: str, middle: str, target: str, quant: TensorQuant) -> None:
        dtype = np.int8 if quant.bits == 8 else np.int16
        scale = self.initializer(f"{middle}.scale", np.asarray(quant.scale, np.float32))
        zero = self.initializer(f"{middle}.zero_point", np.asarray(quant.zero_point, dtype))
        domain = self._domain(quant.bits)
        self.nodes.append(
            helper.make_node("QuantizeLinear", [source, scale, zero], [middle], name=f"{middle}.q", domain=domain)
        )
        self.nodes.append(
            helper.make_node("DequantizeLinear", [middle, scale, zero], [target], name=f"{middle}.dq", domain=domain)
        )

    def _domain(self, bits: int) -> str:
        if bits == 8:
            return ""
        self.domains["com.microsoft"] = 1
        return "com.microsoft"

    def _operand(self, node: Node, index: int, name: str) -> str:
        if not name:
            return ""
        layer = self.model.layers.get(node.name)
        if layer is not None and index == 1:
            return self._weights(name, node, layer)
        if layer is not None and index == 2 and layer.bias is not None:
            return self._bias(name, node, layer)
        special = self.model.requantized.get((node.name, name))
        if special is not None:
            label = f"{name}.{special.bits}bit"
            if label not in self.dequantized:
                self._quantize(self.dequantized.get(name, name), f"{label}.quantized", label, special)
                self.dequantized[label] = label
            return label
        if self.graph.is_constant(name):
            quant = self.model.activations.get(name)
            if quant is None:
                return self.initializer(name, self.graph.constants[name])
            return self._constant(name, quant)
        return self.dequantized.get(name, name)

    def _constant(self, name: str, quant: TensorQuant) -> str:
        """A constant operand of an elementwise operator: integers behind one DequantizeLinear."""
        if name not in self.dequantized:
            integers = self.initializer(f"{name}.quantized", quant.integers(self.graph.constants[name]))
            scale = self.initializer(f"{name}.scale", np.asarray(quant.scale, np.float32))
            dtype = np.int8 if quant.bits == 8 else np.int16
            zero = self.initializer(f"{name}.zero_point", np.asarray(quant.zero_point, dtype))
            target = f"{name}.dequantized"
            self.nodes.append(
                helper.make_node(
                    "DequantizeLinear", [integers, scale, zero], [target],
                    name=f"{name}.dq", domain=self._domain(quant.bits),
                )
            )  # fmt: skip
            self.dequantized[name] = target
        return self.dequantized[name]

    def _weights(self, name: str, node: Node, layer: LayerQuant) -> str:
        dtype = np.int8 if layer.bits == 8 else np.int16
        target = f"{node.name}.weights"
        integers = self.initializer(f"{target}.quantized", layer.weights.astype(dtype))
        scale = self.initializer(f"{target}.scale", layer.scale.astype(np.float32))
        zero = self.initializer(f"{target}.zero_point", np.zeros(layer.scale.shape, dtype))
        axis = layer.axis
        self.nodes.append(
            helper.make_node(
                "DequantizeLinear", [integers, scale, zero], [target],
                name=f"{target}.dq", axis=axis, domain=self._domain(layer.bits),
            )
        )  # fmt: skip
        return target

    def _bias(self, name: str, node: Node, layer: LayerQuant) -> str:
        assert layer.bias is not None
        target = f"{node.name}.bias"
        integers = self.initializer(f"{target}.quantized", layer.bias.astype(np.int32))
        scale = self.initializer(f"{target}.scale", layer.bias_scale)
        zero = self.initializer(f"{target}.zero_point", np.zeros(layer.scale.shape, np.int32))
        self.nodes.append(
            helper.make_node("DequantizeLinear", [integers, scale, zero], [target], name=f"{target}.dq", axis=0)
        )
        return target


def _opset(graph: Graph) -> int:
    """The first opset from OPSET on that knows every operator: Mish and Gelu came later, and others after them."""
    return max((_first_opset(node) for node in graph.nodes), default=OPSET)


def _first_opset(node: Node) -> int:
    for version in range(OPSET, onnx.defs.onnx_opset_version() + 1):
        try:
            onnx.defs.get_schema(node.op, version)
        except onnx.defs.SchemaError:
            continue
        return version
    raise EspgenError(
        f"operator {node.op} is in no opset from {OPSET} on", node=node.name, place="quantizer",
        hint="replace it by operators that ONNX defines",
    )  # fmt: skip


def _attribute(value: Any) -> Any:
    if isinstance(value, tuple):
        return list(value)
    if isinstance(value, np.ndarray):
        return numpy_helper.from_array(value)
    if isinstance(value, np.integer):
        return int(value)
    if isinstance(value, np.floating):
        return float(value)
    return value

