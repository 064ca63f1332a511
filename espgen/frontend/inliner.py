"""Calls of local functions -> the nodes of their bodies.

onnx has an inliner, but it forgets the default values of a function's attributes and leaves calls of functions that
import another opset than the model. Here the opset of every node that comes from a function is remembered.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import onnx
from onnx import AttributeProto, FunctionProto, GraphProto, ModelProto, NodeProto

from espgen.errors import EspgenError
from espgen.frontend.limits import MIN_OPSET

Key = tuple[str, str, str]
"""Domain, name and overload of a function."""

_STANDARD = ("", "ai.onnx")


def key_of(item: FunctionProto | NodeProto) -> Key:
    """What a call and its function have in common; a function of several overloads is several functions."""
    name = item.name if isinstance(item, FunctionProto) else item.op_type
    return "" if item.domain == "ai.onnx" else item.domain, name, item.overload


@dataclass(frozen=True)
class _Scope:
    """One call: real names of the body's values, the attributes the call gives, ai.onnx version, prefix of new names."""

    names: Mapping[str, str]
    attributes: Mapping[str, AttributeProto]
    opset: int
    prefix: str


_MODEL = _Scope({}, {}, 0, "")


class Inliner:
    """Replaces calls of the functions of `model`; the caller has checked that this ends and stays small.

    `opsets` has the ai.onnx version of the node that makes a value, for values that functions with one of their own make.
    """

    def __init__(self, model: ModelProto, place: str) -> None:
        self.opsets: dict[str, int] = {}
        self._functions = {key_of(function): function for function in model.functions}
        self._place = place
        self._taken = set(_names(model.graph))

    def expand(self, nodes: Iterable[NodeProto]) -> list[NodeProto]:
        """The model's own nodes with every call, also those inside subgraphs, replaced by its body."""
        return self._expand(nodes, _MODEL)

    def _expand(self, nodes: Iterable[NodeProto], scope: _Scope) -> list[NodeProto]:
        result: list[NodeProto] = []
        for original in nodes:
            node = self._bound(original, scope)
            function = self._functions.get(key_of(node))
            if function is None:
                result.append(node)
            else:
                result += self._called(node, function)
        return result

    def _bound(self, original: NodeProto, scope: _Scope) -> NodeProto:
        """A copy of the node in the names, attributes and opset of `scope`."""
        node = NodeProto()
        node.CopyFrom(original)
        del node.attribute[:], node.input[:], node.output[:]
        if scope.prefix:
            node.name = f"{scope.prefix}/{original.name or original.op_type}"
        node.input.extend(scope.names.get(name, name) for name in original.input)
        node.output.extend(scope.names.get(name, name) for name in original.output)
        if scope.opset:
            self.opsets.update((name, scope.opset) for name in node.output if name)
        for attribute in original.attribute:
            given = self._attribute(attribute, scope)
            if given is not None:
                node.attribute.append(given)
        return node

    def _attribute(self, attribute: AttributeProto, scope: _Scope) -> AttributeProto | None:
        """The attribute with what it refers to in the call, None where the call leaves that out."""
        result = AttributeProto()
        result.CopyFrom(attribute)
        if attribute.ref_attr_name and scope.prefix:
            given = scope.attributes.get(attribute.ref_attr_name)
            if given is None:
                return None
            result.CopyFrom(given)
            result.name = attribute.name
            return result
        if result.HasField("g"):
            self._subgraph(result.g, scope)
        for graph in result.graphs:
            self._subgraph(graph, scope)
        return result

    def _subgraph(self, graph: GraphProto, scope: _Scope) -> None:
        """In place: calls inside are expanded, values of the subgraph's own get names that nobody else has."""
        if scope.prefix:
            own = [item.name for item in (*graph.initializer, *graph.input)]
            own += [name for node in graph.node for name in node.output if name]
            names = {**scope.names, **{name: self._fresh(scope.prefix, name) for name in own}}
            for item in (*graph.initializer, *graph.input, *graph.output):
                item.name = names.get(item.name, item.name)
            scope = _Scope(names, scope.attributes, scope.opset, scope.prefix)
        nodes = self._expand(list(graph.node), scope)
        del graph.node[:]
        graph.node.extend(nodes)

    def _called(self, call: NodeProto, function: FunctionProto) -> list[NodeProto]:
        where = call.name or call.op_type
        if len(call.input) > len(function.input) or len(call.output) > len(function.output):
            raise EspgenError(
                f"local function {function.name!r} has {len(function.input)} inputs and {len(function.output)} outputs, "
                f"its call has {len(call.input)} and {len(call.output)}",
                node=where, place=self._place, hint="export the model again",
            )  # fmt: skip
        names = dict.fromkeys(function.input, "")
        names.update(zip(function.input, call.input, strict=False))
        copies: list[NodeProto] = []
        for formal, actual in zip(function.output, call.output, strict=False):
            if actual and formal in names:
                copies.append(NodeProto(op_type="Identity", name=f"{where}/{actual}", input=[names[formal]], output=[actual]))
            elif actual:
                names[formal] = actual
        for node in function.node:
            for name in node.output:
                if name and name not in names:
                    names[name] = self._fresh(where, name)
        attributes = {item.name: item for item in (*function.attribute_proto, *call.attribute)}
        scope = _Scope(names, attributes, self._opset(function), where)
        return [*self._expand(function.node, scope), *copies]

    def _opset(self, function: FunctionProto) -> int:
        opset = next((entry.version for entry in function.opset_import if entry.domain in _STANDARD), 0)
        newest = onnx.defs.onnx_opset_version()
        if opset and not MIN_OPSET <= opset <= newest:
            raise EspgenError(
                f"local function {function.name!r} uses opset {opset}", place=self._place,
                hint=f"export with opset {MIN_OPSET} to {newest}, or run onnx.version_converter",
            )  # fmt: skip
        return opset

    def _fresh(self, prefix: str, name: str) -> str:
        wanted, count = f"{prefix}/{name}", 1
        found = wanted
        while found in self._taken:
            count += 1
            found = f"{wanted}_{count}"
        self._taken.add(found)
        return found


def _names(graph: GraphProto) -> set[str]:
    names = {item.name for item in (*graph.initializer, *graph.input, *graph.output)}
    for node in graph.node:
        names.update(node.input, node.output)
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs) if attribute.HasField("g") or attribute.graphs else ():
                names |= _names(inner)
    return names
