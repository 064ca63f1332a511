"""onnxruntime, optimizations off, on one layer at a time: fed with the reference interpreter's own layer inputs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper

from espgen.frontend import load_onnx
from espgen.interpret import run_layers
from espgen.ir import Graph, Value
from espgen.ir.layout import from_layout, onnx_shape, to_layout
from espgen.passes.pipeline import lower_to_integer
from espgen.quantize.exporter import qdq_bytes
from espgen.quantize.model import QuantizedModel

Array = npt.NDArray[Any]


def layer_differences(
    model: QuantizedModel, data: Array, folder: Path
) -> tuple[Graph, dict[str, tuple[int, float]]]:
    """The integer graph of a model with one input, exported to `folder`, and what its layers differ by from the export.

    Per layer: largest difference and share of elements that differ, over all of `data`, float32 [samples, ...].
    """
    path = folder / "model.onnx"
    path.write_bytes(qdq_bytes(model))
    graph = lower_to_integer(load_onnx(path))
    value = graph.value(graph.inputs[0])
    oracle = LayerOracle(str(path), graph)
    worst: dict[str, tuple[int, float]] = {}
    for sample in data:
        integers = np.rint(sample[None] / np.float32(value.scale)) + value.zero_point
        integers = np.clip(integers, value.dtype.minimum, value.dtype.maximum).astype(value.dtype.numpy)
        for name, (most, share) in oracle.compare(run_layers(graph, {value.name: to_layout(integers, "NHWC")})).items():
            before = worst.get(name, (0, 0.0))
            worst[name] = (max(most, before[0]), before[1] + share / len(data))
    return graph, worst


class LayerOracle:
    """Compares integer values of a graph with what the ONNX file computes from the values before them."""

    def __init__(self, path: str, graph: Graph) -> None:
        self.model = onnx.load(path)
        self.graph = graph
        self.producers = {output: node for node in self.model.graph.node for output in node.output}
        self.constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in self.model.graph.initializer}
        self.quantized = self._quantized_names()

    def _quantized_names(self) -> dict[str, str]:
        """IR value name -> the integer tensor in the file: inputs and outputs carry their float name in the IR."""
        names = {output: output for node in self.model.graph.node if node.op_type == "QuantizeLinear" for output in node.output}
        floats = TensorProto.FLOAT
        names |= {i.name: i.name for i in self.model.graph.input if i.type.tensor_type.elem_type != floats}
        for node in self.model.graph.node:
            if node.op_type == "QuantizeLinear" and node.input[0] in {i.name for i in self.model.graph.input}:
                names[node.input[0]] = node.output[0]
            if node.op_type == "DequantizeLinear" and node.output[0] in {o.name for o in self.model.graph.output}:
                names[node.output[0]] = node.input[0]
        return names

    def compare(self, values: Mapping[str, Array]) -> dict[str, tuple[int, float]]:
        """Per layer output: largest difference and share of different elements, in int16 only of those float32 can tell."""
        tensors = {}
        for name, data in values.items():
            value = self.graph.value(name)
            tensor = self.quantized.get(_source_name(name))
            if tensor is not None:
                tensors.setdefault(tensor, self._file_integers(tensor, value, data))
        result = {}
        for tensor in tensors:
            if tensor not in self.producers:  # an integer input of the network
                continue
            node = self.producers[tensor]
            inputs = self._boundary(node, set(tensors) - {tensor})
            if not inputs or node.input[0] in {i.name for i in self.model.graph.input}:
                continue
            expected, real = self._run(tensor, {name: tensors[name] for name in inputs})
            actual = tensors[tensor].reshape(expected.shape)
            difference = np.abs(actual.astype(np.int64) - expected.astype(np.int64))
            differs = (difference != 0) & self._told(node, expected, real)
            result[tensor] = (int(difference.max()), float(np.mean(differs)))
        return result

    def _told(self, node: onnx.NodeProto, integers: Array, real: Array) -> Array:
        """False where a 16-bit result lies so near to a tie that float32's last bits decide: an all but dead channel, whose
        value is everywhere the same, would count as one element in 32."""
        if integers.dtype.itemsize == 1:
            return np.ones(integers.shape, bool)
        steps = real.astype(np.float64) / self.constants[node.input[1]].astype(np.float64)
        from_tie = np.abs(steps - np.floor(steps) - 0.5)
        return np.asarray(from_tie > 2 * np.spacing(np.abs(steps).astype(np.float32)))

    def _file_integers(self, tensor: str, value: Value, data: Array) -> Array:
        """A value in the file's layout and signedness."""
        plain = from_layout(data, value.layout).reshape(onnx_shape(value.shape, value.layout))
        node = self.producers.get(tensor)
        zero = self.constants.get(node.input[2]) if node is not None and len(node.input) > 2 else None
        if zero is None or zero.dtype == plain.dtype:
            return plain
        offset = 128 if zero.dtype == np.uint8 else 32768
        return (plain.astype(np.int64) + offset).astype(zero.dtype)

    def _boundary(self, node: onnx.NodeProto, known: set[str]) -> list[str]:
        """The known integer tensors that a node's result depends on through nodes without known results."""
        found: dict[str, None] = {}
        queue, seen = list(node.input), set()
        while queue:
            name = queue.pop()
            if name in seen or not name:
                continue
            seen.add(name)
            if name in known:
                found[name] = None
            elif name in self.producers:
                queue += list(self.producers[name].input)
        return list(found)

    def _type_of(self, tensor: str) -> int:
        node = self.producers[tensor]
        zero = self.constants.get(node.input[2]) if len(node.input) > 2 else None
        return TensorProto.UINT8 if zero is None else helper.np_dtype_to_tensor_dtype(zero.dtype)

    def _run(self, tensor: str, feeds: Mapping[str, Array]) -> tuple[Array, Array]:
        """The integers, and the real values they are made of (the integers again where there are none)."""
        nodes, queue, seen = [], [tensor], set()
        while queue:
            name = queue.pop()
            if name in feeds or name not in self.producers:
                continue
            node = self.producers[name]
            if id(node) in seen:
                continue
            seen.add(id(node))
            nodes.append(node)
            queue += list(node.input)
        order = {id(node): index for index, node in enumerate(self.model.graph.node)}
        nodes.sort(key=lambda node: order[id(node)])
        needed = {name for node in nodes for name in node.input}
        kinds = {data.dtype: helper.np_dtype_to_tensor_dtype(data.dtype) for data in feeds.values()}
        last = self.producers[tensor]
        reals = [onnx.ValueInfoProto(name=last.input[0])] if last.op_type == "QuantizeLinear" else []
        graph = helper.make_graph(
            nodes,
            "layer",
            [helper.make_tensor_value_info(name, kinds[data.dtype], data.shape) for name, data in feeds.items()],
            [helper.make_tensor_value_info(tensor, self._type_of(tensor), None), *reals],
            [tensor_proto for tensor_proto in self.model.graph.initializer if tensor_proto.name in needed],
        )
        model = helper.make_model(graph, opset_imports=self.model.opset_import, ir_version=self.model.ir_version)
        options = ort.SessionOptions()
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
        options.intra_op_num_threads = 1
        options.log_severity_level = 3
        session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        results = session.run(None, dict(feeds))
        return np.asarray(results[0]), np.asarray(results[-1])


def _source_name(name: str) -> str:
    """The quantized graph's name behind an integer value's name."""
    for suffix in ("_int8", "_int16"):
        if name.endswith(suffix):
            return name[: -len(suffix)]
    return name
