"""What the steps of random QDQ graphs compute: each function adds one step to a drawing, or says that it can't."""

from __future__ import annotations

from typing import Any

import numpy as np
from onnx import NodeProto, TensorProto
from qdq_graphs import Draw, Drawing, Tensor


def _one(d: Drawing, op: str, tensor: Tensor | None, tail: bool = False, constants: tuple[Any, ...] = (), **attrs: Any) -> bool:
    """A step of one operator on one tensor, and maybe an activation behind it."""
    if tensor is None:
        return False
    nodes: list[NodeProto] = []
    names = [d.constant("c", data) for data in constants]
    made = d.node(op, [d.real(tensor, nodes), *names], **attrs)
    nodes.append(made)
    d.finish(op, (tensor,), nodes, [_tail(d, made.output[0], nodes) if tail else made.output[0]])
    return True


def _tail(d: Drawing, name: str, nodes: list[NodeProto]) -> str:
    """What exporters leave between an operator and its QuantizeLinear."""
    chosen = d.rng.random()
    if chosen < 0.3:
        nodes.append(d.node("Relu", [name]))
    elif chosen < 0.4:
        bounds = [d.constant("b", np.float32(bound)) for bound in (0.0, d.rng.uniform(0.3, 6.0))]
        nodes.append(d.node("Clip", [name, *bounds]))
    elif chosen < 0.5:
        factor = d.constant("f", np.float32(d.rng.uniform(-2.0, 2.0)))
        nodes.append(d.node("Mul", [name, factor]))
    else:
        return name
    return str(nodes[-1].output[0])


def convolution(d: Drawing) -> bool:
    tensor = d.pick(4)
    if tensor is None:
        return False
    channels = tensor.shape[1]
    depthwise = d.rng.random() < 0.3
    outputs = channels if depthwise else int(d.rng.integers(1, 9))
    size = int(d.rng.choice([1, 3] if min(tensor.shape[2:]) >= 3 else [1]))
    nodes: list[NodeProto] = []
    x = d.real(tensor, nodes)
    shape = (outputs, 1 if depthwise else channels, size, size)
    names = [x, d.weights(shape, 0 if d.rng.random() < 0.5 else None, nodes)]
    if d.rng.random() < 0.6:
        names.append(d.constant("bias", d.rng.uniform(-1, 1, outputs).astype(np.float32)))
    pads = [int(pad) for pad in d.rng.integers(0, 2, 4)] if size > 1 else [0] * 4
    strides = [int(stride) for stride in d.rng.integers(1, 3, 2)]
    nodes.append(d.node("Conv", names, pads=pads, strides=strides, group=channels if depthwise else 1))
    d.finish("Conv", (tensor,), nodes, [_tail(d, nodes[-1].output[0], nodes)])
    return True


def matrix_product(d: Drawing) -> bool:
    tensor = d.pick(2)
    if tensor is None:
        return False
    outputs = int(d.rng.integers(1, 12))
    nodes: list[NodeProto] = []
    x = d.real(tensor, nodes)
    matrix = d.weights((tensor.shape[1], outputs), 1 if d.rng.random() < 0.4 else None, nodes)
    if d.rng.random() < 0.5:
        nodes.append(d.node("MatMul", [x, matrix]))
    else:
        bias = d.constant("bias", d.rng.uniform(-1, 1, outputs).astype(np.float32))
        nodes.append(d.node("Gemm", [x, matrix, bias]))
    d.finish("MatMul", (tensor,), nodes, [_tail(d, nodes[-1].output[0], nodes)])
    return True


def integer_product(d: Drawing) -> bool:
    """MatMulInteger or ConvInteger on the integers themselves, made real by Cast and Mul."""
    tensor = d.pick()
    if tensor is None or tensor.wide or len(tensor.shape) not in (2, 4):
        return False
    flat = len(tensor.shape) == 2
    outputs = int(d.rng.integers(1, 6))
    shape = (tensor.shape[1], outputs) if flat else (outputs, tensor.shape[1], 1, 1)
    # Seven bits: with eight, onnxruntime's own kernel saturates pairs of products on some processors.
    weights = d.constant("w", d.rng.integers(-63, 64, shape).astype(np.int8))
    product = d.node("MatMulInteger" if flat else "ConvInteger", [tensor.name, weights, f"{tensor.name}_zero"])
    cast = d.node("Cast", [product.output[0]], to=TensorProto.FLOAT)
    factor = d.constant("f", np.float32(tensor.scale * d.rng.uniform(0.002, 0.02)))
    scaled = d.node("Mul", [cast.output[0], factor])
    nodes = [product, cast, scaled]
    d.finish("integer product", (tensor,), nodes, [_tail(d, scaled.output[0], nodes)])
    return True


def two_tensors(d: Drawing) -> bool:
    """Add, Sub, Mul of two tensors of one shape, or twice of one."""
    first = d.pick()
    if first is None:
        return False
    fitting = [item for item in d.tensors if item.shape == first.shape]
    second = fitting[int(d.rng.integers(len(fitting)))]
    op = str(d.rng.choice(["Add", "Add", "Sub", "Mul"]))
    nodes: list[NodeProto] = []
    names = [d.real(first, nodes), d.real(second, nodes)]
    nodes = list({node.output[0]: node for node in nodes}.values())
    nodes.append(d.node(op, names))
    d.finish(op, (first, second), nodes, [_tail(d, nodes[-1].output[0], nodes)])
    return True


def with_constant(d: Drawing) -> bool:
    op = str(d.rng.choice(["Add", "Sub", "Mul"]))
    tensor = d.pick()
    if tensor is None or tensor.wide:
        return False
    return _one(d, op, tensor, tail=True, constants=(np.float32(d.rng.uniform(0.2, 2.0)),))


def function(d: Drawing) -> bool:
    tensor = d.pick()
    if tensor is None or tensor.wide:
        return False
    return _one(d, str(d.rng.choice(["Sigmoid", "Tanh", "LeakyRelu", "HardSwish", "Relu", "Exp", "Abs", "Neg"])), tensor)


def swish(d: Drawing) -> bool:
    tensor = d.pick()
    if tensor is None or tensor.wide:
        return False
    nodes: list[NodeProto] = []
    x = d.real(tensor, nodes)
    gate = d.node("Sigmoid", [x])
    nodes += [gate, d.node("Mul", [x, gate.output[0]])]
    d.finish("swish", (tensor,), nodes, [nodes[-1].output[0]])
    return True


def requantize(d: Drawing) -> bool:
    tensor = d.pick()
    if tensor is None:
        return False
    nodes: list[NodeProto] = []
    d.finish("requantize", (tensor,), nodes, [d.real(tensor, nodes)])
    return True


def reread(d: Drawing) -> bool:
    """The same integers read with another scale and zero point than they were made with."""
    tensor = d.pick()
    if tensor is None or tensor.wide:
        return False
    nodes: list[NodeProto] = []
    scale = d.constant("s", np.float32(tensor.scale * d.rng.uniform(0.5, 2.0)))
    zero = d.constant(
        "z", np.array(tensor.zero_point + int(d.rng.integers(0, 9)) * (-1 if tensor.zero_point > 9 else 1), tensor.kind)
    )
    nodes.append(d.node("DequantizeLinear", [tensor.name, scale, zero]))
    d.finish("reread", (tensor,), nodes, [nodes[-1].output[0]])
    return True


def fork(d: Drawing) -> bool:
    """An unquantized sum or convolution that several read: as it is, and behind a Relu or a Clip."""
    tensor = d.pick(4)
    if tensor is None:
        return False
    nodes: list[NodeProto] = []
    x = d.real(tensor, nodes)
    if d.rng.random() < 0.5:
        nodes.append(d.node("Conv", [x, d.weights((3, tensor.shape[1], 1, 1), 0, nodes)]))
    else:
        nodes.append(d.node("Add", [x, x]))
    made = nodes[-1].output[0]
    nodes.append(d.node("Relu", [made]))
    bounds = [d.constant("b", np.float32(bound)) for bound in (-0.5, 0.7)]
    nodes.append(d.node("Clip", [made, *bounds]))
    d.finish("fork", (tensor,), nodes, [made, nodes[-2].output[0], nodes[-1].output[0]])
    return True


def concatenation(d: Drawing) -> bool:
    first = d.pick()
    if first is None or len(first.shape) < 2:
        return False
    fitting = [item for item in d.tensors if len(item.shape) == len(first.shape)]
    fitting = [item for item in fitting if item.shape[:1] + item.shape[2:] == first.shape[:1] + first.shape[2:]]
    others = [fitting[int(d.rng.integers(len(fitting)))] for _ in range(int(d.rng.integers(1, 3)))]
    nodes: list[NodeProto] = []
    names = [d.real(item, nodes) for item in (first, *others)]
    nodes = list({node.output[0]: node for node in nodes}.values())
    nodes.append(d.node("Concat", names, axis=1))
    d.finish("Concat", (first, *others), nodes, [nodes[-1].output[0]])
    return True


def split(d: Drawing) -> bool:
    """Split in two, both parts read or one of them."""
    tensor = d.pick()
    if tensor is None or len(tensor.shape) < 2 or tensor.shape[1] < 2:
        return False
    nodes: list[NodeProto] = []
    at = int(d.rng.integers(1, tensor.shape[1]))
    sizes = d.constant("sizes", np.array([at, tensor.shape[1] - at], np.int64))
    nodes.append(d.node("Split", [d.real(tensor, nodes), sizes], count=2, axis=1))
    chosen = d.rng.random()
    parts = list(nodes[-1].output)
    d.finish("Split", (tensor,), nodes, parts if chosen < 0.6 else parts[:1] if chosen < 0.8 else parts[1:])
    return True


def movement(d: Drawing) -> bool:
    tensor = d.pick()
    if tensor is None:
        return False
    rank, chosen = len(tensor.shape), d.rng.random()
    if chosen < 0.3 and rank > 2:
        return _one(d, "Transpose", tensor, perm=[0, *(int(axis) for axis in d.rng.permutation(np.arange(1, rank)))])
    if chosen < 0.5:
        return _one(d, "Flatten", tensor, axis=1)
    if chosen < 0.7:
        axis = int(d.rng.integers(1, rank))
        extent = tensor.shape[axis]
        start = int(d.rng.integers(0, extent))
        end = int(d.rng.integers(start + 1, extent + 1))
        return _one(d, "Slice", tensor, constants=tuple(np.array([item], np.int64) for item in (start, end, axis)))
    if chosen < 0.85:
        pads = np.zeros(2 * rank, np.int64)
        pads[[rank - 1, 2 * rank - 1]] = d.rng.integers(0, 3, 2)
        return _one(d, "Pad", tensor, constants=(pads,))
    return _one(d, "Reshape", tensor, constants=(np.array([tensor.shape[0], 1, -1], np.int64),))


def pooling(d: Drawing) -> bool:
    tensor = d.pick(4)
    if tensor is None or min(tensor.shape[2:]) < 2:
        return False
    chosen = d.rng.random()
    if chosen < 0.2:
        return _one(d, "GlobalAveragePool", tensor)
    if chosen < 0.35:
        return _one(d, "ReduceMean", tensor, constants=(np.array([2, 3], np.int64),), keepdims=int(d.rng.random() < 0.5))
    if chosen < 0.7:
        return _one(d, "MaxPool", tensor, kernel_shape=[2, 2], strides=[int(s) for s in d.rng.integers(1, 3, 2)])
    return _one(d, "AveragePool", tensor, kernel_shape=[2, 2], strides=[int(s) for s in d.rng.integers(1, 3, 2)])


def nearest(d: Drawing) -> bool:
    tensor = d.pick(4)
    if tensor is None or tensor.data.size > 600:
        return False
    nodes: list[NodeProto] = []
    scales = d.constant("scales", np.array([1, 1, 2, 2], np.float32))
    nodes.append(d.node("Resize", [d.real(tensor, nodes), "", scales], mode="nearest"))
    d.finish("Resize", (tensor,), nodes, [nodes[-1].output[0]])
    return True


OPERATORS: tuple[Draw, ...] = (
    convolution, convolution, matrix_product, integer_product, two_tensors, two_tensors, with_constant, function, swish,
    requantize, reread, fork, concatenation, split, movement, movement, pooling, nearest,
)  # fmt: skip
