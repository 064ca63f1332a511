"""What is refused before any work: networks and options that cannot give a model for the chip."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from espgen import frontend
from espgen.errors import ENVIRONMENT, EspgenError
from espgen.frontend.inputs import Numbers
from espgen.ir import DType, Graph
from espgen.ops.expression import FUNCTIONS
from espgen.passes.lower import lowerings
from espgen.passes.pipeline import lower_to_integer
from espgen.quantize.fold import FuseList
from espgen.quantize.pipeline import check_quantizable

_FOLDED = frozenset({"BatchNormalization", "Identity", "Dropout", "Relu", "Clip", "Constant"})


def load_model(
    model: Path, shapes: Mapping[str, Sequence[int] | int], constants: Mapping[str, Numbers] | None = None
) -> Graph:
    """The source graph of a model file; weights may lie in a file beside it, below the model's folder."""
    return frontend.load(model, shapes=shapes, constants=constants or {}, allow_external_data=True)


def check_real_outputs(graph: Graph) -> None:
    """EspgenError for a quantized network whose outputs are integers: its grids are found behind real values."""
    makers = graph.producers()
    for name in graph.outputs:
        maker = makers.get(name)
        while maker is not None and maker.op in ("Reshape", "Transpose"):
            maker = makers.get(maker.inputs[0])
        if maker is not None and maker.op == "QuantizeLinear":
            raise EspgenError(
                f"output {name!r} holds the integers of a QuantizeLinear, not real values", place=f"tensor {name!r}",
                hint="end the model in DequantizeLinear (of a .tflite model: inference_output_type = tf.float32) to convert it; "
                "`espgen compile` takes it as it is",
            )  # fmt: skip


def check_network(graph: Graph, fuse_list: FuseList | None = None) -> None:
    """EspgenError for a network that is quantized already, has no float inputs, or runs in fixed batches."""
    check_quantizable(graph)
    extents = {(*graph.value(name).shape, 1)[0] for name in graph.inputs}
    if len(extents) == 1 and extents != {1}:  # other axes lead where they differ: layers of a recurrent state, say
        name = graph.inputs[0]
        shape = graph.value(name).shape
        raise EspgenError(
            f"the first axis of input {name!r} has {shape[0]} entries, not one sample", place=f"shape {shape}",
            hint="export the model with a batch of 1, or with a symbolic batch",
        )  # fmt: skip
    names = {node.name for node in graph.nodes}
    for name in (part for pair in fuse_list or () for part in pair):
        if name not in names:
            raise EspgenError(
                f"no node is called {name!r}", place="--fuse-pair", hint="`espgen inspect` lists the names of the nodes"
            )


def check_operators(graph: Graph, kept_in_float: frozenset[str]) -> None:
    """EspgenError for operators the chip cannot compute, except on nodes that stay in float on purpose."""
    for node in graph.nodes:
        known = node.op in lowerings() or node.op in FUNCTIONS or node.op in _FOLDED
        # An integer input becomes real numbers here, and the Cast nothing but their grid.
        known |= node.op == "Cast" and node.inputs[0] in graph.inputs and graph.value(node.outputs[0]).dtype is DType.FLOAT32
        if not known and node.name not in kept_in_float:
            raise EspgenError(
                f"operator {node.op} is not supported", node=node.name, place="float model",
                hint=f"see the table of operators in the README, or make a fake-quant model only: "
                     f"--skip {node.name!r} --skip-as float",
            )  # fmt: skip


def refusal(model: bytes) -> str | None:
    """Why `espgen compile` would refuse a quantized model; None where it takes it."""
    try:
        lower_to_integer(frontend.load(model))
    except EspgenError as problem:
        return str(problem)
    return None


def check_targets(*targets: Path) -> None:
    """Raise EspgenError for files that could not be written, before any work is done for them."""
    for index, target in enumerate(targets):
        if target.is_dir():
            raise EspgenError("the output is a folder", place=str(target), hint="name a file")
        if any(target.absolute() == other.absolute() for other in targets[:index]):
            raise EspgenError("two outputs have the same name", place=str(target), hint="give them different names")
        check_folder(target.parent)


def check_folder(folder: Path) -> None:
    """Raise EspgenError where nothing could be written below `folder`, which need not exist yet."""
    nearest = folder.absolute()
    while not nearest.exists() and nearest != nearest.parent:
        nearest = nearest.parent
    if not nearest.is_dir():
        raise EspgenError("a file is in the way of the output folder", place=str(nearest), hint="name another folder")
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise EspgenError(
            "no permission to write", place=str(nearest), hint="check the folder and its permissions", exit_code=ENVIRONMENT
        )
