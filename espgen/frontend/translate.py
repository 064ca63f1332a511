"""One ONNX node -> canonical nodes: expansion, type inference, constant folding, normalisation, in this order."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import GraphProto, NodeProto

from espgen.errors import EspgenError
from espgen.frontend.attributes import read_attributes
from espgen.frontend.fold import evaluate, infer
from espgen.frontend.importer import Importer
from espgen.frontend.normalize import NORMALIZERS, generic
from espgen.frontend.normalize_quant import dequantize_linear, quantize_linear
from espgen.frontend.qoperator import expand, is_qoperator
from espgen.frontend.step import Step
from espgen.frontend.tensors import read_tensor
from espgen.frontend.written_out import QUANT_DOMAINS, product, quant, remember

STANDARD_DOMAINS = ("", "ai.onnx")
CONTRIB_DOMAINS = ("com.microsoft",)
# Results that differ from run to run, and LRN, whose windows onnx's reference sums wrongly.
_NEVER_FOLDED = {
    "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Multinomial", "Bernoulli", "LRN",
}  # fmt: skip
_QUANTIZERS = {"QuantizeLinear": quantize_linear, "DequantizeLinear": dequantize_linear}


def translate(importer: Importer, node: NodeProto, index: int) -> None:
    """Add `node` to the import; `index` names nodes that have no name. Raises EspgenError that names the node."""
    name = node.name or f"{node.op_type or 'node'}_{index}"
    try:
        _translate(importer, node, _opset(importer, node), name)
    except EspgenError as error:
        if error.node is None:
            raise EspgenError(error.message, node=name, place=error.place, hint=error.hint) from None
        raise
    except (
        ValueError,
        TypeError,
        KeyError,
        IndexError,
        OverflowError,
        ArithmeticError,
        AttributeError,
        MemoryError,
    ) as error:
        raise EspgenError(
            f"{node.op_type} is malformed: {type(error).__name__}: {str(error)[:200]}", node=name,
            place=f"operator {node.op_type}", hint="check this node's inputs and attributes, or export the model again",
        ) from error  # fmt: skip


def _opset(importer: Importer, node: NodeProto) -> int:
    """The ai.onnx version whose meaning the node has: the model's, or that of the function it comes from."""
    return next((importer.opsets[name] for name in node.output if name in importer.opsets), importer.opset)


def _translate(importer: Importer, original: NodeProto, version: int, name: str) -> None:
    node = NodeProto()
    node.CopyFrom(original)
    del node.input[:]
    node.input.extend(importer.resolve(operand) for operand in original.input)
    for operand in node.input:
        if operand and operand not in importer.types:
            raise EspgenError(
                f"input {operand!r} is computed by no node", node=name, place=operand, hint="export the model again"
            )
    if node.op_type == "Quant" and node.domain in QUANT_DOMAINS:
        quant(importer, node, name)
        return
    if node.domain not in (*STANDARD_DOMAINS, *CONTRIB_DOMAINS):
        raise _unknown(node, name)
    if node.op_type in _QUANTIZERS:
        _QUANTIZERS[node.op_type](importer, node, name)
        return
    if is_qoperator(node):
        nodes, plain_version = expand(importer, node, name)
        for part in nodes:
            _translate(importer, part, plain_version, part.name)
        return
    if node.domain in CONTRIB_DOMAINS:
        raise _unknown(node, name)
    _standard(importer, node, version, name)


def _standard(importer: Importer, node: NodeProto, version: int, name: str) -> None:
    try:
        schema = onnx.defs.get_schema(node.op_type, version, "")
    except onnx.defs.SchemaError:
        raise _unknown(node, name) from None
    if schema.deprecated:
        raise _unknown(node, name)
    if node.op_type == "If":
        _inline_branch(importer, node, name)
        return
    attrs = read_attributes(node, schema, name)
    if any(isinstance(value, GraphProto) for value in attrs.values()):
        raise EspgenError(
            f"{node.op_type} runs a subgraph at run time", node=name, place=f"operator {node.op_type}",
            hint="unroll loops and fix conditions before export",
        )  # fmt: skip
    variadic = bool(schema.outputs) and schema.outputs[-1].option == onnx.defs.OpSchema.FormalParameterOption.Variadic
    while node.output and not node.output[-1] and not variadic:  # the parts of a Split are counted
        del node.output[-1]
    if node.output and not node.output[0]:  # a node is known by its first output
        node.output[0] = importer.fresh(f"{name}/unread")
    types = infer(importer, node, schema, version, name)
    if node.op_type == "Constant":
        importer.add_constant(node.output[0], _constant(attrs, name), name)
        return
    if node.op_type in ("Shape", "Size"):
        _static_shape(importer, node, attrs, name)
        return
    if product(importer, node, name):
        return
    constant = len(node.input) > 0 and all(operand in importer.constants for operand in node.input if operand)
    if constant and node.op_type not in _NEVER_FOLDED:
        results = evaluate(importer, node, types, version, name)
        for output, data in zip(node.output, results, strict=True):
            if output:
                importer.add_constant(output, data, name)
        remember(importer, node, importer.constants, results)
        return
    made = [(output, kind) for output, kind in zip(node.output, types, strict=True) if output]
    if made and all(kind is not None and 0 in kind.shape for _, kind in made):
        for output, kind in made:  # without elements there is nothing to compute
            assert kind is not None
            importer.add_constant(output, np.zeros(kind.shape, kind.dtype), name)
        return
    step = Step(name, node.op_type, version, tuple(node.input), tuple(node.output), attrs, tuple(types))
    NORMALIZERS.get(node.op_type, generic)(importer, step)


def _constant(attrs: dict[str, object], name: str) -> np.ndarray:
    for key, dtype in (
        ("value_float", np.float32),
        ("value_floats", np.float32),
        ("value_int", np.int64),
        ("value_ints", np.int64),
    ):
        if key in attrs:
            return np.array(attrs[key], dtype=dtype)
    value = attrs.get("value")
    if not isinstance(value, np.ndarray):
        raise EspgenError("Constant has no dense numeric value", node=name, place="attribute value", hint="use a dense tensor")
    return value


def _static_shape(importer: Importer, node: NodeProto, attrs: dict[str, object], name: str) -> None:
    """Shape and Size are known for every value."""
    shape = importer.shape(node.input[0])
    if node.op_type == "Size":
        importer.fold(node.output[0], np.array(int(np.prod(shape, dtype=object)), np.int64), name)
        return
    start, end = attrs.get("start", 0), attrs.get("end")
    clamp = slice(int(str(start)), None if end is None else int(str(end)))
    importer.fold(node.output[0], np.array(shape[clamp], np.int64), name)


def _inline_branch(importer: Importer, node: NodeProto, name: str) -> None:
    """If with a constant condition is its branch."""
    condition = importer.parameter(node.input[0] if node.input else "", "condition", name)
    if condition is None or condition.size != 1:
        raise EspgenError("If needs one condition", node=name, place="operator If", hint="export the model again")
    wanted = "then_branch" if bool(condition.reshape(-1)[0]) else "else_branch"
    graph = next((attribute.g for attribute in node.attribute if attribute.name == wanted), None)
    if graph is None or len(graph.output) != len(node.output):
        raise EspgenError(f"If lacks its {wanted}", node=name, place=f"attribute {wanted}", hint="export the model again")
    for tensor in graph.initializer:
        importer.add_constant(tensor.name, read_tensor(tensor, f"initializer {tensor.name!r}", name), name)
    for index, inner in enumerate(graph.node):
        _translate(importer, inner, _opset(importer, inner), inner.name or f"{name}/{inner.op_type}_{index}")
    for outer, result in zip(node.output, graph.output, strict=True):
        source = importer.resolve(result.name)
        if source not in importer.types:
            raise EspgenError(f"{result.name!r} is never computed", node=name, place=result.name, hint="export the model again")
        if outer:
            importer.alias(outer, source, name)


def _unknown(node: NodeProto, name: str) -> EspgenError:
    domain = f" of domain {node.domain!r}" if node.domain else ""
    return EspgenError(
        f"operator {node.op_type!r}{domain} is unknown", node=name, place=f"operator {node.op_type}",
        hint="replace it by standard ONNX operators, or export with another opset",
    )  # fmt: skip
