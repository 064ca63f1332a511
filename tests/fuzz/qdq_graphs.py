"""Random QDQ graphs of one to six steps: several outputs, several readers per tensor, mixed widths, several grids per value.

A step reads quantized tensors and ends in the QuantizeLinear of one or more. What a step means is told by onnxruntime on
the step alone, so an error of one step is not seen through the next one. Scales come from the values that flow.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

KINDS = {"int8": TensorProto.INT8, "uint8": TensorProto.UINT8, "int16": TensorProto.INT16, "uint16": TensorProto.UINT16}
WIDTHS = ("int8", "int8", "uint8", "uint8", "int16", "uint16")
OPSET = 21


@dataclass(frozen=True)
class Tensor:
    """A quantized tensor, or (kind "float32") a graph input before its QuantizeLinear; `data` is one sample of it."""

    name: str
    kind: str
    data: np.ndarray
    scale: float = 1.0
    zero_point: int = 0

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.data.shape)

    @property
    def wide(self) -> bool:
        return self.kind.endswith("16")


@dataclass(frozen=True)
class Step:
    """`nodes` lead from `inputs` to the integers of `outputs`; `op` names what is between."""

    op: str
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    nodes: tuple[NodeProto, ...]

    def reference(self, constants: dict[str, np.ndarray], feeds: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """The outputs' integers for integer inputs, by onnxruntime without optimizations."""
        if not self.outputs:
            return {}
        return run(self.nodes, self.inputs, [(item.name, KINDS[item.kind]) for item in self.outputs], constants, feeds)


def run(
    nodes: Sequence[NodeProto], inputs: Sequence[Tensor], outputs: Sequence[tuple[str, int]],
    constants: dict[str, np.ndarray], feeds: dict[str, np.ndarray],
) -> dict[str, np.ndarray]:  # fmt: skip
    data = _model(nodes, inputs, outputs, constants).SerializeToString()
    results = session(data).run(None, {item.name: feeds[item.name] for item in inputs})
    return dict(zip((name for name, _ in outputs), results, strict=True))


def session(data: bytes) -> Any:
    """onnxruntime's session without optimizations."""
    onnxruntime = pytest.importorskip("onnxruntime")
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])


def _model(
    nodes: Sequence[NodeProto], inputs: Sequence[Tensor], outputs: Sequence[tuple[str, int]], constants: dict[str, np.ndarray]
) -> ModelProto:
    read = {name for node in nodes for name in node.input}
    unique = {item.name: item for item in inputs}.values()
    graph = helper.make_graph(
        nodes, "drawn",
        [helper.make_tensor_value_info(item.name, KINDS.get(item.kind, TensorProto.FLOAT), item.shape) for item in unique],
        [helper.make_tensor_value_info(name, kind, None) for name, kind in outputs],
        [numpy_helper.from_array(data, name) for name, data in constants.items() if name in read],
    )  # fmt: skip
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=10)


@dataclass
class Drawing:
    """A graph while it is drawn."""

    rng: np.random.Generator
    narrow: bool
    constants: dict[str, np.ndarray] = field(default_factory=dict)
    tensors: list[Tensor] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)
    nodes: list[NodeProto] = field(default_factory=list)
    inputs: list[Tensor] = field(default_factory=list)
    reads: dict[str, int] = field(default_factory=dict)
    count: int = 0

    def fresh(self, stem: str) -> str:
        self.count += 1
        return f"{stem}{self.count}"

    def constant(self, stem: str, data: object) -> str:
        name = self.fresh(stem)
        self.constants[name] = np.asarray(data)
        return name

    def node(self, op: str, inputs: Sequence[str], count: int = 1, **attrs: object) -> NodeProto:
        outputs = [self.fresh("v") for _ in range(count)]
        return helper.make_node(op, list(inputs), outputs, name=f"{op}_{self.count}", **attrs)

    def real(self, tensor: Tensor, nodes: list[NodeProto]) -> str:
        """The float value of a tensor, through a DequantizeLinear: its own, or one that other readers have, too."""
        shared = f"{tensor.name}_real"
        name = shared if self.rng.random() < 0.5 else self.fresh(shared)
        parameters = [f"{tensor.name}_scale", f"{tensor.name}_zero"]
        nodes.append(helper.make_node("DequantizeLinear", [tensor.name, *parameters], [name], name=f"{name}_dequantize"))
        return name

    def weights(self, shape: tuple[int, ...], axis: int | None, nodes: list[NodeProto]) -> str:
        """The float value of an int8 constant, with one scale or one per entry of `axis`."""
        data = self.constant("w", self.rng.integers(-127, 128, shape).astype(np.int8))
        count = () if axis is None else (shape[axis],)
        scale = self.constant("ws", self.rng.uniform(0.002, 0.02, count).astype(np.float32))
        zero = self.constant("wz", np.zeros(count, np.int8))
        made = self.node("DequantizeLinear", [data, scale, zero], **({} if axis is None else {"axis": axis}))
        nodes.append(made)
        return str(made.output[0])

    def quantized(self, name: str, data: np.ndarray, nodes: list[NodeProto], least: float = 1e-3) -> Tensor:
        """QuantizeLinear of the float value `name`, in a grid that suits its sample `data` and spans `least`."""
        kind = str(self.rng.choice(WIDTHS[:4] if self.narrow else WIDTHS))
        limits = np.iinfo(kind)
        low, high = min(float(data.min()), 0.0), max(float(data.max()), 0.0)
        span = max(high - low, least) * self.rng.uniform(0.8, 1.4)
        scale = float(np.float32(span / (limits.max - limits.min)))
        zero = int(np.clip(round(limits.min - low / scale), limits.min, limits.max))
        label = self.fresh("q")
        self.constants[f"{label}_scale"] = np.float32(scale)
        self.constants[f"{label}_zero"] = np.array(zero, kind)
        parameters = [f"{label}_scale", f"{label}_zero"]
        nodes.append(helper.make_node("QuantizeLinear", [name, *parameters], [label], name=f"{label}_quantize"))
        integers = np.clip(np.rint(data / np.float32(scale)) + zero, limits.min, limits.max).astype(kind)
        return Tensor(label, kind, integers, scale, zero)

    def finish(self, op: str, inputs: Sequence[Tensor], nodes: list[NodeProto], results: Sequence[str]) -> None:
        """Quantize the float `results`, some of them in two grids, and record the step."""
        feeds = {item.name: item.data for item in inputs}
        samples = run(nodes, inputs, [(name, TensorProto.FLOAT) for name in results], self.constants, feeds)
        # What cancels to nearly nothing is noise of float32 in any finer grid.
        least = max(float(item.scale) * np.iinfo(item.kind).max for item in inputs) / 64
        outputs = []
        for name in results:
            for _ in range(2 if self.rng.random() < 0.15 else 1):
                outputs.append(self.quantized(name, samples[name], nodes, least))
        for item in inputs:
            self.reads[item.name] = self.reads.get(item.name, 0) + 1
        known = {name for node in self.nodes for name in node.output}
        self.nodes += [node for node in nodes if node.output[0] not in known]
        self.steps.append(Step(op, tuple(inputs), tuple(outputs), tuple(nodes)))
        self.tensors += outputs

    def pick(self, rank: int | None = None) -> Tensor | None:
        """A tensor that later steps may read, the later the likelier."""
        fitting = [item for item in self.tensors if rank is None or len(item.shape) == rank]
        return fitting[-1 - int(len(fitting) * self.rng.random() ** 2)] if fitting else None


@dataclass(frozen=True)
class Drawn:
    """A finished graph: the model, its steps in order, and one sample of its inputs."""

    seed: int
    model: bytes
    steps: tuple[Step, ...]
    constants: dict[str, np.ndarray]
    inputs: tuple[Tensor, ...]
    outputs: dict[str, Tensor]


Draw = Callable[[Drawing], bool]


def drawn(seed: int, operators: Sequence[Draw]) -> Drawn:
    """The graph of `seed`, made of `operators`."""
    rng = np.random.default_rng(seed)
    drawing = Drawing(rng, narrow=bool(rng.random() < 0.3))
    for _ in range(1 + int(rng.random() < 0.3)):
        _input(drawing)
    wanted, tries = int(rng.integers(1, 7)), 0
    while sum(bool(step.op != "input") for step in drawing.steps) < wanted and tries < 40:
        tries += 1
        operators[int(rng.integers(len(operators)))](drawing)
    unread = [item for item in drawing.tensors if not drawing.reads.get(item.name)]
    ends = unread + [item for item in drawing.tensors if item not in unread and rng.random() < 0.15]
    outputs, nodes = {}, list(drawing.nodes)
    for item in ends:
        name = f"y_{item.name}"
        parameters = [f"{item.name}_scale", f"{item.name}_zero"]
        nodes.append(helper.make_node("DequantizeLinear", [item.name, *parameters], [name], name=f"{name}_dequantize"))
        outputs[name] = item
    results = [(name, TensorProto.FLOAT) for name in outputs]
    model = _model(nodes, drawing.inputs, results, drawing.constants).SerializeToString()
    return Drawn(seed, model, tuple(drawing.steps), drawing.constants, tuple(drawing.inputs), outputs)


def _input(drawing: Drawing) -> None:
    """A float input behind one QuantizeLinear, or several: of other grids, or behind a movement; or an integer input."""
    rng = drawing.rng
    shape = (1, int(rng.integers(1, 7)), int(rng.integers(3, 9)), int(rng.integers(3, 9)))
    if rng.random() < 0.25:
        shape = (int(rng.integers(1, 4)), int(rng.integers(2, 20)))
    data = rng.uniform(-3, 3, shape).astype(np.float32)
    if rng.random() < 0.2:
        _integer_input(drawing, data)
        return
    source = Tensor(drawing.fresh("x"), "float32", data)
    drawing.inputs.append(source)
    nodes: list[NodeProto] = []
    outputs = [drawing.quantized(source.name, data, nodes)]
    if rng.random() < 0.4:
        outputs.append(drawing.quantized(source.name, data * np.float32(rng.uniform(0.5, 1.0)), nodes))
    if rng.random() < 0.2:
        perm = [0, *(int(axis) for axis in rng.permutation(np.arange(1, len(shape))))]
        nodes.append(drawing.node("Transpose", [source.name], perm=perm))
        outputs.append(drawing.quantized(nodes[-1].output[0], np.transpose(data, perm), nodes))
    if rng.random() < 0.1:
        nodes.append(drawing.node("Reshape", [source.name, drawing.constant("shape", np.array([shape[0], -1], np.int64))]))
        outputs.append(drawing.quantized(nodes[-1].output[0], data.reshape(shape[0], -1), nodes))
    drawing.nodes += nodes
    drawing.steps.append(Step("input", (source,), tuple(outputs), tuple(nodes)))
    drawing.tensors += outputs


def _integer_input(drawing: Drawing, data: np.ndarray) -> None:
    """A graph input that is quantized already."""
    nodes: list[NodeProto] = []
    tensor = drawing.quantized("", data, nodes)
    drawing.inputs.append(tensor)
    drawing.steps.append(Step("input", (tensor,), (), ()))
    drawing.tensors.append(tensor)
