"""Damaged ONNX models: half of them bytes, half of them well-formed protobuf that says something wrong."""

from __future__ import annotations

import struct
from collections.abc import Callable

import numpy as np
from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto, helper

Random = np.random.Generator

INTEGERS = (0, 1, -1, 2, 3, 7, 255, 256, -128, 2**15, 2**31 - 1, 2**31, -(2**31), 2**40, 2**62, 2**63 - 1, -(2**63))
FLOATS = (0.0, -0.0, 1.0, -1.0, 1e-45, 1e-38, 1e38, float("inf"), float("-inf"), float("nan"), 0.1)
NAMES = ("", "x", "y", "*/", "../../etc", '"; }', "${HOME}", "{{ 7 }}", "a\nb", "\u00e9\u4e2d", "n" * 300, "0", "int", " ")
TYPES = tuple(TensorProto.DataType.values())


def pick(rng: Random, items: object) -> object:
    """One of a sequence's items."""
    sequence = list(items)  # type: ignore[call-overload]
    return sequence[int(rng.integers(len(sequence)))]


# Bytes.


def truncate(data: bytes, rng: Random) -> bytes:
    return data[: int(rng.integers(len(data)))]


def flip_bits(data: bytes, rng: Random) -> bytes:
    damaged = bytearray(data)
    for _ in range(int(rng.integers(1, 9))):
        damaged[int(rng.integers(len(damaged)))] ^= 1 << int(rng.integers(8))
    return bytes(damaged)


def overwrite(data: bytes, rng: Random) -> bytes:
    start = int(rng.integers(len(data)))
    noise = rng.integers(0, 256, int(rng.integers(1, 33))).astype(np.uint8).tobytes()
    return data[:start] + noise + data[start + len(noise) :]


def cut(data: bytes, rng: Random) -> bytes:
    start, end = sorted(int(value) for value in rng.integers(0, len(data), 2))
    return data[:start] + data[min(end, start + 64) :]


def repeat(data: bytes, rng: Random) -> bytes:
    start = int(rng.integers(len(data)))
    return data[:start] + data[start : start + 64] + data[start:]


def huge_length(data: bytes, rng: Random) -> bytes:
    start = int(rng.integers(len(data)))
    return data[:start] + b"\xff\xff\xff\xff\x0f" + data[start + 1 :]


BYTE_MUTATIONS: tuple[Callable[[bytes, Random], bytes], ...] = (truncate, flip_bits, overwrite, cut, repeat, huge_length)


# Messages.


def _integer(rng: Random) -> int:
    return int(pick(rng, INTEGERS)) if rng.random() < 0.6 else int(rng.integers(-20, 300))  # type: ignore[call-overload]


def _node(graph: GraphProto, rng: Random) -> NodeProto:
    return graph.node[int(rng.integers(len(graph.node)))]


def _names(graph: GraphProto) -> list[str]:
    names = [name for node in graph.node for name in (*node.input, *node.output)]
    return [*names, *(tensor.name for tensor in graph.initializer), *(item.name for item in graph.input)]


def change_attribute(model: ModelProto, rng: Random) -> None:
    nodes = [node for node in model.graph.node if node.attribute]
    if not nodes:
        add_attribute(model, rng)
        return
    node = nodes[int(rng.integers(len(nodes)))]
    attribute = node.attribute[int(rng.integers(len(node.attribute)))]
    kind = attribute.type
    if kind == AttributeProto.INT:
        attribute.i = _integer(rng)
    elif kind == AttributeProto.FLOAT:
        attribute.f = float(pick(rng, FLOATS))  # type: ignore[arg-type]
    elif kind == AttributeProto.INTS:
        choice = rng.random()
        if choice < 0.5 and attribute.ints:
            attribute.ints[int(rng.integers(len(attribute.ints)))] = _integer(rng)
        elif choice < 0.75:
            attribute.ints.append(_integer(rng))
        elif attribute.ints:
            del attribute.ints[-1]
    elif kind == AttributeProto.STRING:
        attribute.s = str(pick(rng, (*NAMES, "SAME_UPPER", "SAME_LOWER", "VALID", "linear", "cubic", "reflect"))).encode()


def retype_attribute(model: ModelProto, rng: Random) -> None:
    node = _node(model.graph, rng)
    if node.attribute:
        node.attribute[int(rng.integers(len(node.attribute)))].type = int(pick(rng, AttributeProto.AttributeType.values()))  # type: ignore[assignment,call-overload]


def drop_attribute(model: ModelProto, rng: Random) -> None:
    node = _node(model.graph, rng)
    if node.attribute:
        del node.attribute[int(rng.integers(len(node.attribute)))]


def add_attribute(model: ModelProto, rng: Random) -> None:
    known = (
        "axis", "axes", "pads", "strides", "dilations", "group", "kernel_shape", "auto_pad", "alpha", "perm", "to",
        "ceil_mode", "keepdims", "output_shape", "block_size", "mode", "count_include_pad", "output_padding", "transA",
    )  # fmt: skip
    value: object = pick(
        rng, (_integer(rng), [_integer(rng) for _ in range(int(rng.integers(5)) + 1)], 0.5, "SAME_LOWER", float("nan"))
    )
    _node(model.graph, rng).attribute.append(helper.make_attribute(str(pick(rng, known)), value))


def change_dims(model: ModelProto, rng: Random) -> None:
    tensor = model.graph.initializer[int(rng.integers(len(model.graph.initializer)))]
    choice = rng.random()
    if choice < 0.4 and tensor.dims:
        tensor.dims[int(rng.integers(len(tensor.dims)))] = _integer(rng)
    elif choice < 0.6:
        tensor.dims.append(int(pick(rng, (1, 1, 0, 2, 2**40))))  # type: ignore[call-overload]
    elif choice < 0.8:
        permuted = [int(item) for item in rng.permutation(list(tensor.dims))]
        tensor.dims[:] = permuted
    elif tensor.dims:
        del tensor.dims[-1]


def change_data(model: ModelProto, rng: Random) -> None:
    tensor = model.graph.initializer[int(rng.integers(len(model.graph.initializer)))]
    raw = bytearray(tensor.raw_data)
    if not raw:
        tensor.raw_data = b"\x01"
    elif rng.random() < 0.7:
        raw[int(rng.integers(len(raw)))] = int(rng.integers(256))
        tensor.raw_data = bytes(raw)
    else:
        tensor.raw_data = bytes(raw[: int(rng.integers(len(raw)))])


def change_numbers(model: ModelProto, rng: Random) -> None:
    """Scales, zero points, shapes and axes: constants of one or few elements."""
    small = [tensor for tensor in model.graph.initializer if len(tensor.raw_data) <= 64]
    if not small:
        return
    tensor = small[int(rng.integers(len(small)))]
    if tensor.data_type == TensorProto.FLOAT:
        count = len(tensor.raw_data) // 4
        tensor.raw_data = b"".join(struct.pack("<f", float(pick(rng, FLOATS))) for _ in range(count))  # type: ignore[arg-type]
    elif tensor.data_type == TensorProto.INT64:
        values = list(struct.unpack(f"<{len(tensor.raw_data) // 8}q", tensor.raw_data))
        if values:
            values[int(rng.integers(len(values)))] = _integer(rng)
        tensor.raw_data = struct.pack(f"<{len(values)}q", *values)
    else:
        tensor.raw_data = rng.integers(0, 256, len(tensor.raw_data)).astype(np.uint8).tobytes()


def retype_tensor(model: ModelProto, rng: Random) -> None:
    tensor = model.graph.initializer[int(rng.integers(len(model.graph.initializer)))]
    tensor.data_type = int(pick(rng, (*TYPES, 99)))  # type: ignore[call-overload]


def change_input(model: ModelProto, rng: Random) -> None:
    kind = model.graph.input[int(rng.integers(len(model.graph.input)))].type
    dims = kind.tensor_type.shape.dim
    choice = rng.random()
    if choice < 0.5 and dims:
        dims[int(rng.integers(len(dims)))].dim_value = _integer(rng)
    elif choice < 0.6 and dims:
        dims[int(rng.integers(len(dims)))].dim_param = str(pick(rng, NAMES))
    elif choice < 0.7:
        dims.add().dim_value = 1
    elif choice < 0.8 and dims:
        del dims[-1]
    elif choice < 0.9:
        kind.tensor_type.elem_type = int(pick(rng, TYPES))  # type: ignore[call-overload]
    else:
        kind.ClearField("tensor_type")


def rewire(model: ModelProto, rng: Random) -> None:
    node = _node(model.graph, rng)
    if node.input:
        node.input[int(rng.integers(len(node.input)))] = str(pick(rng, (*_names(model.graph), "", "nowhere")))


def rename_output(model: ModelProto, rng: Random) -> None:
    node = _node(model.graph, rng)
    if node.output:
        node.output[int(rng.integers(len(node.output)))] = str(pick(rng, (*_names(model.graph), *NAMES)))


def change_arity(model: ModelProto, rng: Random) -> None:
    node = _node(model.graph, rng)
    names = node.input if rng.random() < 0.7 else node.output
    if rng.random() < 0.5 and names:
        del names[int(rng.integers(len(names)))]
    else:
        names.append(str(pick(rng, (*_names(model.graph), "", "more"))))


def change_operator(model: ModelProto, rng: Random) -> None:
    others = ("Relu", "Conv", "Gemm", "MatMul", "Softmax", "Loop", "If", "Scan", "Reshape", "Nothing", "QLinearConv", "Concat",
              "Split", "Resize", "NonZero", "Range", "ConstantOfShape", "Shape", "Cast", "DequantizeLinear", "QuantizeLinear",
              "LSTM", "Einsum", "ReduceMean", "Transpose", "TopK", "Identity", "BatchNormalization", "MaxPool", "")  # fmt: skip
    node = _node(model.graph, rng)
    if rng.random() < 0.2:
        node.domain = str(pick(rng, ("com.microsoft", "ai.onnx.ml", "ai.onnx", "org.example")))
    else:
        node.op_type = str(pick(rng, (*others, *(item.op_type for item in model.graph.node))))


def shuffle_nodes(model: ModelProto, rng: Random) -> None:
    nodes = list(model.graph.node)
    choice = rng.random()
    if choice < 0.4:
        del nodes[int(rng.integers(len(nodes)))]
    elif choice < 0.6:
        nodes.append(nodes[int(rng.integers(len(nodes)))])
    else:
        nodes = [nodes[int(index)] for index in rng.permutation(len(nodes))]
    copies = [NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del model.graph.node[:]
    model.graph.node.extend(copies)


def change_header(model: ModelProto, rng: Random) -> None:
    choice = rng.random()
    if choice < 0.4 and model.opset_import:
        model.opset_import[0].version = _integer(rng) if rng.random() < 0.4 else int(rng.integers(8, 30))
    elif choice < 0.5:
        del model.opset_import[:]
    elif choice < 0.6:
        del model.graph.output[:]
    elif choice < 0.7:
        model.graph.name = str(pick(rng, NAMES))
    elif choice < 0.8:
        del model.graph.initializer[int(rng.integers(len(model.graph.initializer)))]
    elif choice < 0.9:
        _node(model.graph, rng).name = str(pick(rng, NAMES))
    else:
        model.graph.output[0].name = str(pick(rng, (*_names(model.graph), *NAMES)))


def hostile_rename(model: ModelProto, rng: Random) -> None:
    """One value gets another name everywhere: the model stays valid, names must not break what is generated."""
    old, new = str(pick(rng, _names(model.graph))), str(pick(rng, NAMES))
    for node in model.graph.node:
        for names in (node.input, node.output):
            for index, name in enumerate(names):
                if name == old:
                    names[index] = new
    for items in (model.graph.input, model.graph.output, model.graph.initializer):
        for item in items:
            if item.name == old:
                item.name = new


MESSAGE_MUTATIONS: tuple[Callable[[ModelProto, Random], None], ...] = (
    change_attribute, change_attribute, retype_attribute, drop_attribute, add_attribute, change_dims, change_data,
    change_numbers, change_numbers, retype_tensor, change_input, change_input, rewire, rewire, rename_output, change_arity,
    change_operator, change_operator, shuffle_nodes, change_header, hostile_rename,
)  # fmt: skip


def mutated(model: ModelProto, case: int) -> bytes:
    """Case `case`: odd ones are damaged bytes, even ones one to three wrong statements in a well-formed message."""
    rng = np.random.default_rng(case)
    if case % 2:
        return BYTE_MUTATIONS[int(rng.integers(len(BYTE_MUTATIONS)))](model.SerializeToString(), rng)
    damaged = ModelProto.FromString(model.SerializeToString())
    for _ in range(int(rng.integers(1, 4))):
        if damaged.graph.node and damaged.graph.initializer and damaged.graph.input and damaged.graph.output:
            MESSAGE_MUTATIONS[int(rng.integers(len(MESSAGE_MUTATIONS)))](damaged, rng)
    return damaged.SerializeToString()
