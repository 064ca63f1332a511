"""Quantized graph to integer graph: every node becomes integer kernels, channels last, with its requantization."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Mapping
from functools import cache
from types import MappingProxyType

import espgen.ops
from espgen.errors import EspgenError
from espgen.ir import Graph, Node, Value
from espgen.ir.layout import channels_last_layout, channels_last_shape
from espgen.ops.lowering import CHANNELS_LAST, PLAIN, LoweringContext, signed, wants_channels_last

Lower = Callable[[LoweringContext, Node], None]


@cache
def lowerings() -> Mapping[str, Lower]:
    """ONNX operator name -> lowering, collected from the operator files."""
    found: dict[str, Lower] = {}
    for module in sorted(info.name for info in pkgutil.iter_modules(espgen.ops.__path__)):
        found.update(getattr(importlib.import_module(f"espgen.ops.{module}"), "LOWER", {}))
    return MappingProxyType(found)


def run(graph: Graph) -> Graph:
    """Lower every node; raises EspgenError naming the node for an operator without a lowering."""
    context = LoweringContext(graph)
    for name in graph.inputs:
        _lower_input(context, name)
    table = lowerings()
    for node in graph.nodes:
        lower = table.get(node.op)
        if lower is None:
            raise unsupported(node)
        lower(context, node)
    outputs = tuple(_lower_output(context, name) for name in graph.outputs)
    inputs = tuple(name for name in graph.inputs)
    used = {name for node in context.nodes for name in (*node.inputs, *node.outputs) if name} | set(inputs) | set(outputs)
    return Graph(
        name=graph.name,
        inputs=inputs,
        outputs=outputs,
        nodes=tuple(context.nodes),
        values={name: value for name, value in context.values.items() if name in used},
        constants={name: data for name, data in context.constants.items() if name in used},
    )


_REMEDIES = {"LogSoftmax": "end the network at its logits, or with Softmax: the order of the classes is the same"}


def unsupported(node: Node) -> EspgenError:
    """The error for an operator that espgen has no lowering for."""
    general = "see the table of operators in the README; replace it in the model or keep it outside"
    return EspgenError(
        f"operator {node.op} is not supported", node=node.name, place=f"output {node.outputs[0]!r}",
        hint=_REMEDIES.get(node.op, general),
    )  # fmt: skip


def _lower_input(context: LoweringContext, name: str) -> None:
    """Declare a graph input in its own type; unsigned ones get a signed twin that the graph computes with."""
    value = context.source.value(name)
    last = wants_channels_last(context.source, name)
    shape = channels_last_shape(value.shape) if last else value.shape
    layout = channels_last_layout(len(value.shape)) if last else ""
    context.values[name] = Value(name, shape, value.dtype, value.quant, layout)
    form = CHANNELS_LAST if last else PLAIN
    twin = signed(value)
    if twin.dtype is value.dtype:
        context.forms[name] = {form: name}
        return
    inner = context.new_value(name, Value(name, shape, twin.dtype, twin.quant, layout), form)
    context.emit(f"{name}_signed", "flip_sign", (name,), (inner,))


def _lower_output(context: LoweringContext, name: str) -> str:
    """The value that becomes a graph output: in the layout it has, in the type the model declares."""
    value = context.source.value(name)
    if context.source.is_constant(name):
        raise EspgenError(f"output {name!r} is a constant", place=name, hint="nothing is left to compute: remove the output")
    form = context.layout_of([name])
    inner = context.fetch(name, form)
    if signed(value).dtype is value.dtype:
        return inner
    held = context.values[inner]
    context.values[name] = Value(name, held.shape, value.dtype, value.quant, held.layout)
    context.emit(f"{name}_unsigned", "flip_sign", (inner,), (name,))
    return name
