"""Reading an ONNX file: bytes -> checked ModelProto -> source graph."""

from __future__ import annotations

import heapq
import os
from collections.abc import Mapping
from pathlib import Path

import onnx
from google.protobuf.descriptor import FieldDescriptor  # type: ignore[import-untyped]
from google.protobuf.message import DecodeError, Message  # type: ignore[import-untyped]
from onnx import GraphProto, ModelProto, NodeProto

from espgen.errors import EspgenError
from espgen.frontend.example_shape import example_shape
from espgen.frontend.files import place_of, read_model
from espgen.frontend.functions import inline_functions
from espgen.frontend.importer import Importer
from espgen.frontend.inputs import Numbers, constant_inputs, input_types
from espgen.frontend.limits import MAX_NAME, MAX_NODES, MIN_OPSET
from espgen.frontend.old_opsets import raised_to_minimum
from espgen.frontend.tensors import is_four_bit, read_tensor
from espgen.frontend.translate import CONTRIB_DOMAINS, STANDARD_DOMAINS, translate
from espgen.frontend.wire import first_bad_offset
from espgen.frontend.written_out import SIGNS
from espgen.ir import Extents, Graph, verify

_NO_SHAPES: Mapping[str, Extents] = {}
_NO_CONSTANTS: Mapping[str, Numbers] = {}


def load_onnx(
    source: str | os.PathLike[str] | bytes,
    *,
    shapes: Mapping[str, Extents] = _NO_SHAPES,
    constants: Mapping[str, Numbers] = _NO_CONSTANTS,
    allow_external_data: bool = False,
) -> Graph:
    """The source graph of an ONNX model: ONNX operator names, NCHW, canonical attributes, static shapes.

    `shapes` fixes symbolic dimensions: name of a dimension -> extent, or name of an input -> its shape; a symbolic
    first dimension (the batch) is 1 otherwise. `constants` makes inputs constant: one number for all elements, or as many as
    there are elements, row by row. External data is refused unless allowed, and then must lie below the
    model's folder.
    Raises EspgenError naming the node, value or byte offset, and the remedy.
    """
    place = place_of(source)
    data = read_model(source)
    folder = None if isinstance(source, bytes) or not allow_external_data else Path(source).parent
    try:
        return read_proto(parse(data, place), place, shapes, constants, folder)
    except UnicodeDecodeError as error:
        raise EspgenError(
            "the model holds a name that is not UTF-8",
            place=f"{place}, byte {error.start} of the name",
            hint="the file is damaged: export it again",
        ) from None
    except RecursionError:
        raise EspgenError("the model nests too deeply", place=place, hint="flatten nested subgraphs before export") from None


def parse(data: bytes, place: str) -> ModelProto:
    """The model in `data`. Raises EspgenError where it is damaged, or no ONNX model."""
    model = ModelProto()
    try:
        model.ParseFromString(data)
    except (DecodeError, RuntimeError):
        offset, message = first_bad_offset(data)
        raise EspgenError(
            "this is not an ONNX model, or a damaged one", place=f"{place}, offset {offset} in {message}",
            hint="check that the file was copied completely, or export the model again",
        ) from None  # fmt: skip
    _check_text(model, place)
    if not model.HasField("graph"):
        raise EspgenError(
            "the file holds no graph",
            place=f"{place}, offset {len(data)}",
            hint="is this an ONNX model? export it again",
        )
    return model


def _check_text(message: Message, place: str) -> None:
    """Every string is UTF-8: protobuf hands over others as bytes, which no name may be."""
    for field, value in message.ListFields():
        single = isinstance(value, (str, bytes, Message))
        if field.type == FieldDescriptor.TYPE_MESSAGE:
            for item in (value,) if single else value:
                _check_text(item, place)
        elif field.type == FieldDescriptor.TYPE_STRING:
            for item in (value,) if single else value:
                if not isinstance(item, str):
                    where = f"{place}, {message.DESCRIPTOR.name}.{field.name} {item[:40]!r}"
                    raise EspgenError("a name is not UTF-8", place=where, hint="the file is damaged: export the model again")


def read_proto(
    model: ModelProto,
    place: str,
    shapes: Mapping[str, Extents] = _NO_SHAPES,
    constants: Mapping[str, Numbers] = _NO_CONSTANTS,
    folder: Path | None = None,
) -> Graph:
    """The source graph of a parsed model; shapes, constants as load_onnx takes them, folder: where external data may lie."""
    opset = _opset(model, place)
    if opset < MIN_OPSET:
        model, opset = raised_to_minimum(model, opset, place, folder), MIN_OPSET
    model, opsets = inline_functions(model, place)
    graph = model.graph
    if len(graph.node) > MAX_NODES:
        raise EspgenError(f"the model has {len(graph.node)} nodes", place=place, hint=f"at most {MAX_NODES} are supported")
    if len(graph.sparse_initializer) > 0:
        raise EspgenError("the model has sparse initializers", place=place, hint="store them as dense tensors")
    _check_names(graph, place)
    importer = Importer(opset, opsets)
    importer.written_out = any(node.op_type in SIGNS for node in graph.node)
    for tensor in graph.initializer:
        importer.add_constant(tensor.name, read_tensor(tensor, f"initializer {tensor.name!r}", None, folder))
        if is_four_bit(tensor):
            importer.four_bit.add(tensor.name)
    # Exporters before ONNX IR 4 list initializers as inputs, too: those are constants.
    real_inputs = [item for item in graph.input if item.name not in importer.constants]
    types = input_types(real_inputs, shapes, lambda name: example_shape(graph, name))
    fixed = constant_inputs(types, constants)
    for name, kind in types.items():
        if name in fixed:
            importer.add_constant(name, fixed[name])
        else:
            importer.declare(name, kind.shape, kind.dtype)
    for index, node in enumerate(_sorted(graph, importer, place)):
        translate(importer, node, index)
    outputs = [item.name for item in graph.output]
    for output in outputs:
        if importer.resolve(output) not in importer.types:
            raise EspgenError(f"graph output {output!r} is computed by no node", place=output, hint="export the model again")
    result = importer.finish(graph.name, [name for name in types if name not in fixed], outputs)
    verify(result, "reading the model")
    return result


def _opset(model: ModelProto, place: str) -> int:
    versions: dict[str, int] = {}
    for entry in model.opset_import:
        domain = "" if entry.domain in STANDARD_DOMAINS else entry.domain
        if versions.setdefault(domain, entry.version) != entry.version:
            raise EspgenError(f"domain {domain!r} is imported in two versions", place=place, hint="export the model again")
    used = {node.domain for node in model.graph.node}
    newest = onnx.defs.onnx_opset_version()
    version = versions.get("", newest if not used & set(STANDARD_DOMAINS) else 0)
    if version < 1:
        hint = f"export with opset {MIN_OPSET} to {newest}"
        raise EspgenError("the model imports no ai.onnx opset", place=place, hint=hint)
    if version > newest:
        raise EspgenError(
            f"the model uses opset {version}; the installed onnx knows {newest}", place=place,
            hint=f"install a newer onnx package, or export with opset {newest}",
        )  # fmt: skip
    missing = {domain for domain in used if domain in CONTRIB_DOMAINS and domain not in versions}
    if missing:
        raise EspgenError(f"domain {sorted(missing)[0]!r} is used but not imported", place=place, hint="export the model again")
    return version


def _check_names(graph: GraphProto, place: str) -> None:
    """Input and output names exist and are unique; no name is longer than anyone could mean."""
    for what, items in (("input", graph.input), ("output", graph.output)):
        seen: set[str] = set()
        for position, item in enumerate(items):
            if not item.name or item.name in seen:
                raise EspgenError(f"graph {what} {position} has no name of its own", place=place, hint="export the model again")
            seen.add(item.name)
    if not graph.output:
        raise EspgenError("the graph has no outputs", place=place, hint="export the model again")
    for node in graph.node:
        for name in (*node.input, *node.output, node.name):
            if len(name) > MAX_NAME:
                raise EspgenError(
                    f"a name has {len(name)} characters",
                    node=node.name[:80],
                    place=place,
                    hint=f"use at most {MAX_NAME}",
                )


def _sorted(graph: GraphProto, importer: Importer, place: str) -> list[NodeProto]:
    """The nodes, stably sorted so that every input comes first; EspgenError for cycles and names defined twice."""
    producer: dict[str, int] = {}
    for index, node in enumerate(graph.node):
        for output in node.output:
            if output and (output in producer or output in importer.types):
                raise EspgenError(
                    f"value {output!r} is defined twice",
                    node=node.name or node.op_type,
                    place=output,
                    hint="give every value its own name",
                )
            producer[output] = index
    waiting = [{producer[name] for name in _reads(node, 0) if name in producer and name} for node in graph.node]
    readers: dict[int, list[int]] = {}
    for index, sources in enumerate(waiting):
        for source in sources:
            readers.setdefault(source, []).append(index)

    ready = [index for index, sources in enumerate(waiting) if not sources]
    heapq.heapify(ready)
    order: list[int] = []
    while ready:
        index = heapq.heappop(ready)
        order.append(index)
        for reader in readers.get(index, ()):
            waiting[reader].discard(index)
            if not waiting[reader]:
                heapq.heappush(ready, reader)
    if len(order) < len(graph.node):
        stuck = graph.node[min(set(range(len(graph.node))) - set(order))]
        raise EspgenError(
            "the nodes form a cycle",
            node=stuck.name or stuck.op_type,
            place=place,
            hint="an output feeds back into its own inputs: export the model again",
        )
    return [graph.node[index] for index in order]


def _reads(node: NodeProto, depth: int) -> set[str]:
    """Names a node reads, those of its subgraphs included."""
    names = set(node.input)
    if depth > 16:
        raise EspgenError(
            "subgraphs nest too deeply", node=node.name or node.op_type, hint="flatten nested subgraphs before export"
        )
    for attribute in node.attribute:
        for graph in (attribute.g, *attribute.graphs) if attribute.HasField("g") or attribute.graphs else ():
            for inner in graph.node:
                names |= _reads(inner, depth + 1)
            names.update(item.name for item in graph.output)
    return names
