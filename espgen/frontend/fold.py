"""Type inference and constant evaluation of single nodes, through onnx's own schemas and reference implementations."""

from __future__ import annotations

import warnings
from collections.abc import Mapping

import numpy as np
import onnx
from onnx import ModelProto, NodeProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from espgen.errors import EspgenError
from espgen.frontend.importer import Importer, TensorType, widened
from espgen.frontend.limits import check_shape
from espgen.frontend.tensors import element_type, numpy_type

# Parameter tensors (shapes, axes, pads ..) are small; larger constants only slow inference down.
_LARGEST_PARAMETER = 4096
# Their output shape depends on their input's content, and is never larger than a few times the input.
_BOUNDED_BY_INPUT = {"NonZero", "Unique", "Compress"}


def infer(importer: Importer, node: NodeProto, schema: onnx.defs.OpSchema, version: int, name: str) -> list[TensorType | None]:
    """Types of the node's outputs, None for absent ones and where no shape is known; EspgenError if malformed."""
    kinds = _operand_types(importer, node)
    check_operands(kinds, node, schema, name)
    types, data = {}, {}
    for operand, kind in kinds.items():
        types[operand] = helper.make_tensor_type_proto(element_type(kind.dtype), kind.shape)
        constant = importer.constant(operand)
        if constant is not None and constant.size <= _LARGEST_PARAMETER:
            data[operand] = numpy_helper.from_array(np.asarray(constant), operand)
    try:
        inferred = onnx.shape_inference.infer_node_outputs(
            schema, node, types, data, opset_imports=[helper.make_opsetid("", version)], ir_version=8
        )
    except Exception as error:  # onnx raises errors of its own, of its checker, and what its C++ throws
        raise EspgenError(
            f"{node.op_type} is malformed: {_short(error)}", node=name, place=f"operator {node.op_type}",
            hint="check the shapes and attributes of this node, or export the model again",
        ) from None  # fmt: skip
    return [_tensor_type(inferred.get(output), output, name) if output else None for output in node.output]


def _operand_types(importer: Importer, node: NodeProto) -> dict[str, TensorType]:
    """Types of the inputs; next to a value computed at run time, constants of every float type count as float32."""
    kinds = {operand: importer.type(operand) for operand in node.input if operand}
    if all(operand in importer.constants for operand in kinds):
        return kinds
    return {operand: TensorType(kind.shape, widened(kind.dtype)) for operand, kind in kinds.items()}


def check_operands(kinds: Mapping[str, TensorType], node: NodeProto, schema: onnx.defs.OpSchema, name: str) -> None:
    """Number, presence and element types of inputs, as the schema wants them."""
    if not schema.min_input <= len(node.input) <= schema.max_input:
        raise _malformed(node, name, f"has {len(node.input)} inputs, wants {schema.min_input} to {schema.max_input}")
    if not schema.min_output <= len(node.output) <= schema.max_output:
        raise _malformed(node, name, f"has {len(node.output)} outputs, wants {schema.min_output} to {schema.max_output}")
    generic: dict[str, str] = {}
    for index, operand in enumerate(node.input):
        formal = schema.inputs[min(index, len(schema.inputs) - 1)]
        if not operand:
            if formal.option == onnx.defs.OpSchema.FormalParameterOption.Single:
                raise _malformed(node, name, f"lacks its input {formal.name!r}")
            continue
        written = f"tensor({_onnx_name(kinds[operand].dtype)})"
        if written not in formal.types:
            raise _malformed(node, name, f"has input {operand!r} of type {written}, which {formal.name!r} does not take")
        same = formal.option != onnx.defs.OpSchema.FormalParameterOption.Variadic or formal.is_homogeneous
        if same and generic.setdefault(formal.type_str, written) != written:
            raise _malformed(node, name, f"mixes inputs of type {generic[formal.type_str]} and {written}")


def evaluate(importer: Importer, node: NodeProto, types: list[TensorType | None], version: int, name: str) -> list[np.ndarray]:
    """The node's outputs for its constant inputs. EspgenError where they are too large or can't be computed."""
    for kind, output in zip(types, node.output, strict=True):
        if not output:
            continue
        if kind is None and node.op_type not in _BOUNDED_BY_INPUT:
            raise _malformed(node, name, "has constant inputs but no static output shape")
        importer.reserve(0 if kind is None else int(np.prod(kind.shape, dtype=object)), name)
    feeds = {operand: importer.constants[operand] for operand in node.input if operand}
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            results = ReferenceEvaluator(_single(importer, node, version)).run(None, feeds)
    except Exception as error:  # onnx.reference raises whatever numpy raises
        raise _malformed(node, name, f"can't be evaluated: {_short(error)}") from None
    made = iter(np.asarray(result) for result in results)
    arrays = [next(made) if output else np.zeros(0, np.float32) for output in node.output]
    for array, kind, output in zip(arrays, types, node.output, strict=True):
        if not output:
            continue
        check_shape(array.shape, f"value {output!r}", name, allow_empty=True)
        if kind is not None and array.dtype != kind.dtype:
            raise _malformed(node, name, f"gives {array.dtype.name} where {kind.dtype.name} was expected")
    return arrays


_WHOLE_ROWS = {"Hardmax", "LogSoftmax", "Softmax"}
_ONE_AXIS_SINCE = 13


def _single(importer: Importer, node: NodeProto, version: int) -> ModelProto:
    """A model of this node alone, with the meaning that opset `version` gives it.

    onnx's reference chooses the implementation by the opset of a model (of a bare node it takes the newest), and has one
    of Softmax alone: before opset 13, it runs over all axes from `axis` on together.
    """
    inputs = [
        helper.make_tensor_value_info(operand, element_type(importer.type(operand).dtype), importer.shape(operand))
        for operand in dict.fromkeys(node.input)
        if operand
    ]
    outputs = [helper.make_value_info(output, onnx.TypeProto()) for output in node.output if output]
    nodes = [node]
    if node.op_type in _WHOLE_ROWS and version < _ONE_AXIS_SINCE:
        nodes, version = _over_whole_rows(node), _ONE_AXIS_SINCE
    graph = helper.make_graph(nodes, "constants", inputs, outputs)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", version)])


def _over_whole_rows(node: NodeProto) -> list[NodeProto]:
    axis = next((attribute.i for attribute in node.attribute if attribute.name == "axis"), 1)
    (source,), (result,) = node.input, node.output
    flat, shape, made = (f"{result}/{part}" for part in ("flat", "shape", "rows"))
    return [
        helper.make_node("Flatten", [source], [flat], axis=axis),
        helper.make_node("Shape", [source], [shape]),
        helper.make_node(node.op_type, [flat], [made], axis=1),
        helper.make_node("Reshape", [made, shape], [result]),
    ]


def _tensor_type(proto: onnx.TypeProto | None, output: str, name: str) -> TensorType | None:
    if proto is None or not proto.HasField("tensor_type"):
        return None
    tensor = proto.tensor_type
    if not tensor.HasField("shape") or tensor.elem_type == 0:
        return None
    if not all(dimension.HasField("dim_value") for dimension in tensor.shape.dim):
        return None
    shape = check_shape([dimension.dim_value for dimension in tensor.shape.dim], f"value {output!r}", name, allow_empty=True)
    return TensorType(shape, numpy_type(tensor.elem_type, f"value {output!r}", name))


def _onnx_name(dtype: np.dtype) -> str:
    return {"float32": "float", "float64": "double"}.get(dtype.name, dtype.name)


def _short(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return (lines[0] if lines else type(error).__name__)[:200]


def _malformed(node: NodeProto, name: str, problem: str) -> EspgenError:
    return EspgenError(
        f"{node.op_type} {problem}", node=name, place=f"operator {node.op_type}",
        hint="check this node's inputs and attributes, or export the model again",
    )  # fmt: skip
