"""An .espdl file -> source graph: float values between QuantizeLinear and DequantizeLinear, channels first, as from ONNX."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np

from espgen.errors import EspgenError
from espgen.frontend.espdl import elementwise, products, shaping
from espgen.frontend.espdl.container import payload
from espgen.frontend.espdl.model import Model, Node, Tensor, ValueInfo, read_model
from espgen.frontend.espdl.translation import (
    Translation,
    View,
    channels_last,
    identity,
    inverse,
    keeps_order,
)
from espgen.frontend.importer import Importer
from espgen.frontend.limits import check_shape
from espgen.frontend.loaded import Loaded
from espgen.ir import QuantParams, verify

OPSET = 24
"""The ai.onnx version whose meaning the nodes have that are made for the file's."""

Handler = Callable[[Translation, Node], None]

_UNARY = (
    "Elu", "Exp", "Gelu", "HardSigmoid", "HardSwish", "LUT", "LeakyRelu", "Log", "Neg", "Relu", "Sigmoid", "Sqrt",
    "Swish", "Tanh",
)  # fmt: skip
_BINARY = ("Add", "Div", "Mul", "Pow", "Sub")
_REDUCE = ("ReduceMax", "ReduceMean", "ReduceMin", "ReduceSum")

HANDLERS: Mapping[str, Handler] = MappingProxyType({
    **dict.fromkeys(_UNARY, elementwise.unary),
    **dict.fromkeys(_BINARY, elementwise.binary),
    **dict.fromkeys(_REDUCE, shaping.reduce),
    **dict.fromkeys(("QuantizeLinear", "DequantizeLinear", "RequantizeLinear"), elementwise.requantize),
    **dict.fromkeys(("AveragePool", "GlobalAveragePool", "GlobalMaxPool", "MaxPool"), shaping.pool),
    **dict.fromkeys(("DepthToSpace", "SpaceToDepth"), shaping.depth_space),
    **dict.fromkeys(("LogSoftmax", "Softmax"), shaping.along_axis),
    **dict.fromkeys(("Squeeze", "Unsqueeze"), shaping.squeeze),
    "Clip": elementwise.clip,
    "Concat": shaping.concat,
    "Conv": products.convolution,
    "Flatten": shaping.flatten,
    "Gather": shaping.gather,
    "Gemm": products.gemm,
    "Identity": elementwise.alias,
    "InsertZeros": products.insert_zeros,
    "LayerNormalization": shaping.normalize,
    "MatMul": products.matmul,
    "PRelu": elementwise.prelu,
    "Pad": shaping.pad,
    "Reshape": shaping.reshape,
    "Resize": shaping.resize,
    "Slice": shaping.slice_,
    "Split": shaping.split,
    "Transpose": shaping.transpose,
})  # fmt: skip
"""ESP-DL operator -> what it is in ONNX."""

_REMEDIES = {
    "StreamingCache": "it keeps state between calls, which espgen does not: export the model without streaming",
}

_IMAGE = frozenset({
    "AveragePool", "Conv", "ConvTranspose", "DepthToSpace", "GlobalAveragePool", "GlobalMaxPool", "InsertZeros", "MaxPool",
    "PRelu", "Resize", "SpaceToDepth",
})  # fmt: skip
"""Operators whose operands are channels last in the file."""

_PASSIVE = frozenset(
    {*_UNARY, *_BINARY, "Clip", "Concat", "DequantizeLinear", "Identity", "QuantizeLinear", "RequantizeLinear", "Split"}
)
"""Operators that leave the order of axes as it is."""


def load_espdl(data: bytes, place: str, *, member: str | None = None, nearest: bool = True) -> Loaded:
    """The model of an .espdl file (its bytes).

    member   which model of a pack
    nearest  16-bit tables: the nearest entry (ESP-DL from 3.3.9 on), else interpolated between two (before)

    Raises EspgenError naming the offset, part or node that is wrong or not supported, and the remedy.
    """
    model = read_model(payload(data, place, member), place)
    state = Translation(model, Importer(OPSET), nearest)
    for item in model.inputs:
        _input(state, item)
    for node in model.nodes:
        handler = HANDLERS.get(node.op)
        if handler is None:
            raise _unsupported(node)
        handler(state, node)
    outputs = [_output(state, item, place) for item in model.outputs]
    names = [item.name for item in model.inputs]
    graph = state.importer.finish(model.name, names, [item.name for item in model.outputs])
    verify(graph, "reading the model")
    orders = {item.name: view for item, view in zip(model.outputs, outputs, strict=True)}
    return Loaded(graph, _vectors(state, model.test_inputs, state.views), _vectors(state, model.test_outputs, orders))


def _unsupported(node: Node) -> EspgenError:
    general = "see docs/espdl.md for the operators that are read; replace it in the model or keep it outside"
    return EspgenError(
        f"operator {node.op} is not supported", node=node.name, place=f"output {node.outputs[0]!r}",
        hint=_REMEDIES.get(node.op, general),
    )  # fmt: skip


def _input(state: Translation, item: ValueInfo) -> None:
    """A float input of the graph, quantized as the file says; images channels first."""
    rank = len(item.shape)
    axes = channels_last(rank) if rank in (3, 4) and _is_image(state.model, item.name) else identity(rank)
    shape = check_shape([item.shape[axis] for axis in inverse(axes)], f"input {item.name!r}")
    state.importer.declare(item.name, shape, np.dtype(np.float32))
    if item.dtype.kind == "f":
        state.views[item.name] = View(item.name, axes)
        return
    if item.dtype.name not in ("int8", "int16"):
        raise EspgenError(f"input {item.name!r} is {item.dtype.name}", place=item.name, hint="export the model with 8 or 16 bits")
    quant = QuantParams.tensor(2.0**item.exponent)
    integers = state.fresh(f"{item.name}/integers")
    state.importer.declare(integers, shape, item.dtype)
    state.importer.quants[integers] = quant
    state.importer.emit(f"{item.name}/quantize", "QuantizeLinear", (item.name,), (integers,), {"quant": quant})
    state.views[item.name] = View(state.dequantize(f"{item.name}/real", integers, quant), axes, integers)


def _is_image(model: Model, name: str) -> bool:
    """Whether the value goes into an operator on images, perhaps through others that keep the order of axes."""
    reached = {name}
    for node in model.nodes:
        if reached & set(node.inputs):
            if node.op in _IMAGE:
                return True
            if node.op in _PASSIVE:
                reached.update(node.outputs)
    return False


def _output(state: Translation, item: ValueInfo, place: str) -> View:
    """The graph output: channels first where the file has it channels last, else in the file's order."""
    if item.name not in state.views:
        raise EspgenError(f"graph output {item.name!r} is computed by no node", place=place, hint="export the model again")
    view = state.views[item.name]
    if state.shape(view) != item.shape:
        raise EspgenError(
            f"graph output {item.name!r} has shape {list(state.shape(view))}, the file tells of {list(item.shape)}", place=place,
            hint="export the model again with a current ESP-PPQ",
        )  # fmt: skip
    kept = keeps_order(view.axes)
    name = view.base if kept else state.plain(view)
    if name != item.name:
        state.importer.alias(item.name, name, item.name)
    return View(item.name, view.axes if kept else identity(len(view.axes)))


def _vectors(state: Translation, tensors: Mapping[str, Tensor], views: Mapping[str, View]) -> Mapping[str, np.ndarray]:
    """Test vectors of inputs or outputs in the source graph's order of axes; those of inner values are left out."""
    found: dict[str, np.ndarray] = {}
    ends = {item.name: item for item in (*state.model.inputs, *state.model.outputs)}
    for name, tensor in tensors.items():
        if name not in ends or name not in views:
            continue
        if tensor.dims != ends[name].shape or tensor.data.dtype != ends[name].dtype:
            raise EspgenError(f"the test vector of {name!r} does not fit it", place=name, hint="export the model again")
        found[name] = np.ascontiguousarray(tensor.plain.transpose(inverse(views[name].axes)))
    return MappingProxyType(found)
