"""Every layer of a .tflite model against the maker's interpreter, each fed with the interpreter's own inputs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from espgen.data.meaning import encoded
from espgen.frontend.reader import read_proto
from espgen.frontend.tflite.convert import to_onnx
from espgen.frontend.tflite.model import Model, Operator, read
from espgen.interpret import run_integer
from espgen.ir.layout import from_layout
from espgen.passes.pipeline import lower_to_integer

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Layer:
    """What one operator's output differs by, in steps of its integers."""

    operator: Operator
    elements: int
    different: int
    largest: int

    @property
    def share(self) -> float:
        return self.different / self.elements


def interpreted(content: bytes, inputs: list[Array], optimized: bool = False) -> tuple[dict[int, Array], list[Array]]:
    """All tensors (by number) and the outputs that the maker's reference kernels (or `optimized` ones) compute."""
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    kernels = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES if optimized else OpResolverType.BUILTIN_REF
    runtime = Interpreter(
        model_content=content, experimental_preserve_all_tensors=True, experimental_op_resolver_type=kernels
    )
    runtime.allocate_tensors()
    for detail, data in zip(runtime.get_input_details(), inputs, strict=True):
        runtime.set_tensor(detail["index"], data)
    runtime.invoke()
    found = {}
    for detail in runtime.get_tensor_details():
        try:
            found[detail["index"]] = np.array(runtime.get_tensor(detail["index"]))
        except ValueError:  # no tensor of the graph's own
            continue
    return found, [np.array(runtime.get_tensor(detail["index"])) for detail in runtime.get_output_details()]


def random_inputs(model: Model, seed: int) -> list[Array]:
    """One array per input: all codes of an integer input, reals of a normal distribution."""
    generator = np.random.default_rng(seed)
    found: list[Array] = []
    for index in model.inputs:
        tensor = model.tensors[index]
        if tensor.kind == "float32":
            found.append(generator.normal(size=tensor.shape).astype(np.float32))
        else:
            limits = np.iinfo(tensor.kind)
            found.append(generator.integers(limits.min, limits.max + 1, tensor.shape).astype(tensor.kind))
    return found


def layers(content: bytes, seed: int = 0, optimized: bool = False) -> Iterator[Layer]:
    """One record per operator and output whose results are integers, for random inputs."""
    model = read(content, "model")
    tensors, _ = interpreted(content, random_inputs(model, seed), optimized)
    for operator in model.operators:
        for output in operator.outputs:
            if model.tensors[output].grid is None:
                continue
            wanted = tensors[output].astype(np.int64)
            found = single(model, operator, output, tensors).astype(np.int64)
            difference = np.abs(wanted.reshape(-1) - found.reshape(-1))
            yield Layer(operator, difference.size, int((difference > 0).sum()), int(difference.max(initial=0)))


def single(model: Model, operator: Operator, output: int, tensors: Mapping[int, Array]) -> Array:
    """One output of one operator, by espgen's integer graph of this operator alone, in the file's axis order."""
    reads = tuple(dict.fromkeys(index for index in operator.inputs if index >= 0 and model.tensors[index].data is None))
    part = replace(model, operators=(operator,), inputs=reads, outputs=(output,))
    graph = lower_to_integer(read_proto(to_onnx(part, "part"), "part"))
    feeds = {}
    for index in reads:
        value = graph.value(model.tensors[index].name)
        data = tensors[index]
        if data.dtype.kind == "f":
            feeds[value.name] = encoded(data, value)
        else:
            feeds[value.name] = data.reshape(value.shape)
    name = graph.outputs[0]
    result = run_integer(graph, feeds)[name]
    return from_layout(result, graph.value(name).layout)
