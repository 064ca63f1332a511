"""Float execution through onnxruntime: whole graphs with intermediate outputs, and single units, both batched."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from espgen.errors import EspgenError, environment_error
from espgen.ir import Graph, Node
from espgen.quantize.exporter import float_model
from espgen.quantize.units import dynamic_inputs

Feeds = Mapping[str, np.ndarray]


class Session:
    """One onnxruntime session; `run` takes and returns arrays whose first axis is the sample (with `batch` 1 also of models
    whose own first axis is another one: [samples, *shape]).

    All graph optimizations are off, so that every operator computes what the model says.
    Raises EspgenError with exit code 3 where onnxruntime is missing and 2 where it refuses the model.
    """

    def __init__(self, model: bytes, outputs: Sequence[str], threads: int = 1, batch: int = 0) -> None:
        self.outputs = list(outputs)
        self.batch = batch
        runtime = onnxruntime()
        options = runtime.SessionOptions()
        options.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_DISABLE_ALL
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 4
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            self._session = runtime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        except Exception as error:
            raise EspgenError(
                f"onnxruntime refuses the model: {_first_line(error)}", place="float inference",
                hint="check the model with onnx.checker; every operator must be one onnxruntime runs",
            ) from error  # fmt: skip
        self.inputs = [item.name for item in self._session.get_inputs()]
        self._ranks = {item.name: len(item.shape) for item in self._session.get_inputs()}

    def run(self, feeds: Feeds) -> dict[str, np.ndarray]:
        """Outputs by name for all samples, in sub-batches of `batch` (0: all at once)."""
        parts = [result for _, result in self.chunks(feeds)]
        if len(parts) == 1:
            return parts[0]
        return {name: np.concatenate([part[name] for part in parts]) for name in self.outputs}

    def chunks(self, feeds: Feeds) -> Iterator[tuple[slice, dict[str, np.ndarray]]]:
        """Outputs sub-batch by sub-batch, with the slice of samples they belong to."""
        count = len(feeds[self.inputs[0]]) if self.inputs else 1
        step = self.batch or count
        for start in range(0, count, step):
            part = slice(start, min(count, start + step))
            chunk = {name: self._fed(name, feeds[name][part]) for name in self.inputs}
            try:
                results = self._session.run(self.outputs, chunk) if self.outputs else []  # None of them would mean all
            except Exception as error:
                raise EspgenError(f"onnxruntime stops: {_first_line(error)}", place="float inference") from error
            if self.batch == 1:
                results = [result if result.shape[:1] == (1,) else result[None] for result in results]
            yield part, dict(zip(self.outputs, results, strict=True))

    def _fed(self, name: str, data: np.ndarray) -> np.ndarray:
        """A sub-batch as the model takes it: one whole sample where the model's first axis is not the sample."""
        read = np.asarray(data, order="C")
        return np.asarray(read[0]) if self.batch == 1 and read.ndim == self._ranks[name] + 1 else read


def onnxruntime() -> Any:
    """The onnxruntime module; EspgenError (exit code 3) where it is not installed."""
    try:
        import onnxruntime as module
    except ImportError as error:
        raise environment_error(
            "the quantizer needs onnxruntime", hint="pip install 'espgen[quantize]'"
        ) from error
    return module


def graph_session(graph: Graph, outputs: Sequence[str], threads: int, batch: int) -> Session:
    """Session of a whole float graph; runs sample by sample where the graph cannot take batches."""
    if can_batch(graph):
        return Session(float_model(graph, outputs, batched=True), outputs, threads, batch)
    return Session(float_model(graph, outputs), outputs, threads, 1)


def unit_session(graph: Graph, nodes: Sequence[Node], outputs: Sequence[str], threads: int,
                 constants: Feeds | None = None, batch: int = 16) -> Session:  # fmt: skip
    """Session of a few nodes of the graph, with some constants replaced."""
    part = graph.updated(nodes=nodes, inputs=dynamic_inputs(graph, nodes), outputs=outputs, constants=constants)
    batched = can_batch(part)
    return Session(float_model(part, outputs, batched=batched), outputs, threads, batch if batched else 1)


def can_batch(graph: Graph) -> bool:
    """True where every computed value has the sample as its first axis and no node mixes samples."""
    computed = [name for node in graph.nodes for name in node.outputs if name]
    if any(not graph.value(name).shape or graph.value(name).shape[0] != 1 for name in (*graph.inputs, *computed)):
        return False
    return all(_keeps_samples(graph, node) for node in graph.nodes)


def _keeps_samples(graph: Graph, node: Node) -> bool:
    if node.op == "Transpose":
        order = node.attrs.get("perm")
        return order is not None and order[0] == 0
    if node.op in ("Concat", "Softmax", "LogSoftmax", "Gather", "Split"):
        rank = len(graph.value(node.outputs[0]).shape)
        return int(node.attrs.get("axis", -1)) % max(rank, 1) != 0
    if node.op == "Gemm":
        return not node.attrs.get("transA", 0)
    if node.op == "Flatten":
        return int(node.attrs.get("axis", 1)) != 0
    if node.op.startswith("Reduce") or node.op in ("ArgMax", "ArgMin"):
        rank = max(len(graph.value(node.inputs[0]).shape), 1)
        axes = node.attrs.get("axes", (node.attrs.get("axis", 0),) if node.op.startswith("Arg") else ())
        return len(axes) > 0 and all(int(axis) % rank for axis in axes)
    return node.op not in ("LSTM", "GRU", "RNN", "Expand", "Tile", "Resize", "Squeeze", "Unsqueeze")


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0][:300] if str(error).strip() else type(error).__name__
