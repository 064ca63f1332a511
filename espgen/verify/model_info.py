"""What a built model says about itself (the bytes of firmware/agent/describe.h), compared with what its graph says."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields, replace

import numpy as np

from espgen.errors import EspgenError, environment_error
from espgen.verify.protocol import Describe

# In the order of espgen::DType in firmware/include/espgen/model.h.
DTYPES = ("int8", "uint8", "int16", "uint16", "int32", "int64", "float32")
MAX_TEXT = 480  # bytes of a name; longer ones are cut
MAX_OPERATOR = 64


@dataclass(frozen=True)
class TensorInfo:
    """A tensor of the component: element type, logical shape (channels last) and how its rows are held."""

    index: int
    name: str
    dtype: np.dtype
    shape: tuple[int, ...]
    scale: float
    zero_point: int
    rows: int
    row_bytes: int
    ring_rows: int

    @property
    def nbytes(self) -> int:
        return self.rows * self.row_bytes

    def array(self, data: bytes) -> np.ndarray:
        """The tensor's packed bytes as an array of its shape. EspgenError for another number of bytes."""
        if len(data) != self.nbytes or self.nbytes != int(np.prod(self.shape)) * self.dtype.itemsize:
            raise environment_error(f"{self.name}: {len(data)} bytes are no {self.dtype} of shape {self.shape}")
        return np.frombuffer(data, self.dtype.newbyteorder("<")).astype(self.dtype).reshape(self.shape)


@dataclass(frozen=True)
class LayerInfo:
    """One node of the integer graph and the tensors it makes (`first_output` counts through all layers).

    `values` are the names of the tensors `outputs`.
    """

    index: int
    name: str
    op: str
    macs: int
    first_output: int
    outputs: tuple[int, ...]
    values: tuple[str, ...] = ()


@dataclass(frozen=True)
class ModelInfo:
    """Tensors, layers, which tensors are the model's inputs and outputs, and in how many steps it runs (0: not known)."""

    tensors: tuple[TensorInfo, ...]
    layers: tuple[LayerInfo, ...]
    inputs: tuple[TensorInfo, ...]
    outputs: tuple[TensorInfo, ...]
    steps: int = 0

    def outputs_of(self, layer: LayerInfo) -> tuple[TensorInfo, ...]:
        return tuple(self.tensors[index] for index in layer.outputs)

    @property
    def layer_outputs(self) -> tuple[TensorInfo, ...]:
        """Every layer's outputs, in the order of LayerInfo.first_output."""
        return tuple(tensor for layer in self.layers for tensor in self.outputs_of(layer))


def read_model_info(
    describe: Callable[[int, int], bytes], tensors: int, layers: int, expected: ModelInfo | None = None
) -> ModelInfo:
    """Ask `describe(what, index)` for everything. EspgenError (exit code 3) where the answer makes no sense.

    expected  what the component's graph says (espgen.verify.expected): the answer must say the same, all of it, and is
              compared piece by piece, so that nothing that is announced is allocated or counted to. It is what is returned:
              names are whole in it.
    """
    try:
        if expected is not None:
            _compare_counts("tensors", tensors, len(expected.tensors))
            _compare_counts("layers", layers, len(expected.layers))
        tensor_infos, layer_infos = [], []
        for index in range(tensors):
            tensor_infos.append(parse_tensor(index, describe(Describe.TENSOR, index)))
            if expected is not None:
                wanted = expected.tensors[index]
                _compare("tensor", tensor_infos[-1], replace(wanted, name=as_described(wanted.name)))
        for index in range(layers):
            layer_infos.append(parse_layer(index, describe(Describe.LAYER, index)))
            if expected is not None:
                layer = expected.layers[index]
                name, op = as_described(layer.name), as_described(layer.op, MAX_OPERATOR)
                _compare("layer", layer_infos[-1], replace(layer, name=name, op=op, values=()))
        wanted_counts = None if expected is None else (len(expected.inputs), len(expected.outputs))
        inputs, outputs = read_interface(describe, wanted_counts)
        if expected is not None:
            _compare_ports("inputs", inputs, expected.inputs)
            _compare_ports("outputs", outputs, expected.outputs)
            return expected
        named = tuple(
            replace(layer, values=tuple(tensor_infos[index].name for index in layer.outputs)) for layer in layer_infos
        )
        found = tuple(tensor_infos)
        return ModelInfo(found, named, _pick(found, inputs), _pick(found, outputs))
    except (struct.error, IndexError, ValueError, OverflowError) as error:
        raise environment_error(
            f"the model's description makes no sense: {error}",
            hint="rebuild the component and the firmware with the same version of espgen",
        ) from error


def as_described(text: str, limit: int = MAX_TEXT) -> str:
    """A name as a description gives it: a C string, cut after `limit` bytes."""
    return text.encode("utf-8", "replace").partition(b"\0")[0][:limit].decode("utf-8", "replace")


def not_the_graphs(what: str) -> EspgenError:
    """What runs is not what the component's graph describes (exit code 3): nothing it says proves anything."""
    return environment_error(
        f"what runs is not the component's graph: {what}",
        hint="compile the model again with this espgen, then build and flash it",
    )


def _compare_counts(what: str, found: int, wanted: int) -> None:
    if found != wanted:
        raise not_the_graphs(f"it has {found} {what}, the graph {wanted}")


def _compare(kind: str, found: TensorInfo | LayerInfo, wanted: TensorInfo | LayerInfo) -> None:
    for field in fields(wanted):
        ours, theirs = getattr(wanted, field.name), getattr(found, field.name)
        if theirs != ours:
            name = field.name.replace("_", " ")
            raise not_the_graphs(f"{name} of {kind} {wanted.index} ({wanted.name!r}) is {theirs!r}, in the graph {ours!r}")


def _compare_ports(what: str, found: tuple[int, ...], wanted: tuple[TensorInfo, ...]) -> None:
    numbers = tuple(tensor.index for tensor in wanted)
    if found != numbers:
        raise not_the_graphs(f"its {what} are the tensors {found}, in the graph {numbers}")


def _pick(tensors: tuple[TensorInfo, ...], indices: Iterable[int]) -> tuple[TensorInfo, ...]:
    return tuple(tensors[index] for index in indices)


def parse_tensor(index: int, data: bytes) -> TensorInfo:
    """struct.error or IndexError where `data` is no tensor description."""
    dtype, rank = data[0], data[1]
    shape = struct.unpack_from(f"<{rank}i", data, 2)
    place = 2 + 4 * rank
    scale, zero_point, rows, row_bytes, ring_rows = struct.unpack_from("<fiIII", data, place)
    name, _ = parse_text(data, place + 20)
    return TensorInfo(
        index, name, np.dtype(DTYPES[dtype]), tuple(shape), scale, zero_point, rows, row_bytes, ring_rows
    )


def parse_layer(index: int, data: bytes) -> LayerInfo:
    """struct.error where `data` is no layer description."""
    macs, first_output, count = struct.unpack_from("<QHH", data)
    outputs = struct.unpack_from(f"<{count}H", data, 12)
    op, place = parse_text(data, 12 + 2 * count)
    name, _ = parse_text(data, place)
    return LayerInfo(index, name, op, macs, first_output, tuple(outputs))


def read_interface(
    describe: Callable[[int, int], bytes], expected: tuple[int, int] | None = None
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Tensor indices of the inputs and of the outputs, in as many answers as they take. struct.error for other answers.

    expected  how many of each there must be
    """
    indices: list[int] = []
    while True:
        data = describe(Describe.INTERFACE, len(indices))
        inputs, outputs = struct.unpack_from("<HH", data)
        if expected is not None:
            _compare_counts("inputs", inputs, expected[0])
            _compare_counts("outputs", outputs, expected[1])
        found = struct.unpack(f"<{(len(data) - 4) // 2}H", data[4:])
        indices += found
        if len(indices) == inputs + outputs:
            return tuple(indices[:inputs]), tuple(indices[inputs:])
        if not found or len(indices) > inputs + outputs:
            raise struct.error(f"{len(indices)} of {inputs} inputs and {outputs} outputs")


def parse_text(data: bytes, place: int) -> tuple[str, int]:
    """The text at `place` and the place after it."""
    (length,) = struct.unpack_from("<H", data, place)
    end = place + 2 + length
    if end > len(data):
        raise struct.error("text runs past the end")
    return data[place + 2 : end].decode("utf-8", "replace"), end
