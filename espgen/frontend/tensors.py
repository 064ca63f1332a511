"""TensorProto -> numpy, with every size checked first."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import onnx
from onnx import ModelProto, TensorProto, numpy_helper

from espgen.errors import EspgenError
from espgen.frontend.limits import check_shape

_TYPED_FIELDS: dict[int, str] = {
    TensorProto.FLOAT: "float_data",
    TensorProto.DOUBLE: "double_data",
    TensorProto.INT64: "int64_data",
    TensorProto.UINT64: "uint64_data",
    TensorProto.UINT32: "uint64_data",
    TensorProto.STRING: "string_data",
}
# Four-bit weights are widened: the chip has no smaller load than a byte. Nothing is four bits wide at run time.
_FOUR_BIT: dict[int, np.dtype] = {TensorProto.INT4: np.dtype(np.int8), TensorProto.UINT4: np.dtype(np.uint8)}
_SUPPORTED: set[int] = {
    TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.FLOAT16, TensorProto.BFLOAT16, TensorProto.BOOL,
    TensorProto.INT8, TensorProto.UINT8, TensorProto.INT16, TensorProto.UINT16, TensorProto.INT32, TensorProto.UINT32,
    TensorProto.INT64, TensorProto.UINT64,
}  # fmt: skip


def is_four_bit(tensor: TensorProto) -> bool:
    """Whether the tensor holds four-bit integers, which read_tensor widens."""
    return tensor.data_type in _FOUR_BIT


def type_name(element_type: int) -> str:
    """The name of a TensorProto.DataType number, for messages."""
    try:
        return str(TensorProto.DataType.Name(element_type)).lower()
    except ValueError:
        return f"type {element_type}"


def numpy_type(element_type: int, what: str, node: str | None = None) -> np.dtype:
    """numpy's type for a TensorProto.DataType number; EspgenError for types espgen does not handle."""
    if element_type not in _SUPPORTED:
        raise EspgenError(
            f"{what} has element type {type_name(element_type)}", node=node, place=what,
            hint="use float32, int8, uint8, int16, uint16, int32, int64 or bool",
        )  # fmt: skip
    return np.dtype(onnx.helper.tensor_dtype_to_np_dtype(element_type))


def element_type(dtype: np.dtype) -> int:
    """The TensorProto.DataType number of a numpy type."""
    return int(onnx.helper.np_dtype_to_tensor_dtype(dtype))


def read_tensor(tensor: TensorProto, what: str, node: str | None = None, folder: Path | None = None) -> np.ndarray:
    """The array a TensorProto holds.

    `folder` is where external data may lie; None refuses external data. Raises EspgenError for unknown types, shapes
    beyond the limits and data of the wrong length.
    """
    shape = check_shape(list(tensor.dims), what, node, allow_empty=True)
    dtype = _FOUR_BIT.get(tensor.data_type) or numpy_type(tensor.data_type, what, node)
    if tensor.HasField("segment"):
        raise _bad(what, node, "is split into segments", "save the model with whole tensors")
    packed = tensor.data_type in _FOUR_BIT
    elements = math.prod(shape)
    expected = (elements + 1) // 2 if packed else elements * dtype.itemsize
    if tensor.data_location == TensorProto.EXTERNAL or len(tensor.external_data) > 0:
        raw = _external(tensor, expected, what, node, folder)
    elif tensor.HasField("raw_data"):
        raw = tensor.raw_data
        if len(raw) != expected:
            raise _bad(what, node, f"has {len(raw)} bytes of raw data where shape {list(shape)} needs {expected}", _RESAVE)
    else:
        return _typed(tensor, shape, dtype, what, node)
    if packed:
        return _unpack_four_bit(raw, elements, dtype).reshape(shape)
    little = np.frombuffer(raw, dtype=dtype.newbyteorder("<") if dtype.kind in "iuf" else dtype)
    return little.astype(dtype).reshape(shape)


def with_data(model: ModelProto, folder: Path | None) -> ModelProto:
    """A copy of the model whose initializers hold their data. EspgenError as read_tensor."""
    whole = ModelProto()
    whole.CopyFrom(model)
    for tensor in whole.graph.initializer:
        if tensor.data_location == TensorProto.EXTERNAL:
            data = read_tensor(tensor, f"initializer {tensor.name!r}", None, folder)
            tensor.CopyFrom(numpy_helper.from_array(data, tensor.name))
    return whole


_RESAVE = "the file is damaged: export the model again"


def _typed(tensor: TensorProto, shape: tuple[int, ...], dtype: np.dtype, what: str, node: str | None) -> np.ndarray:
    values = getattr(tensor, _TYPED_FIELDS.get(tensor.data_type, "int32_data"))
    elements = math.prod(shape)
    packed = tensor.data_type in _FOUR_BIT
    expected = (elements + 1) // 2 if packed else elements
    if len(values) != expected:
        raise _bad(what, node, f"holds {len(values)} values where shape {list(shape)} needs {expected}", _RESAVE)
    if tensor.data_type in (TensorProto.FLOAT16, TensorProto.BFLOAT16):
        bits = np.array(values, dtype=np.int64).astype(np.uint16)
        return bits.view(dtype).reshape(shape)
    if packed:
        raw = np.array(values, dtype=np.int64).astype(np.uint8).tobytes()
        return _unpack_four_bit(raw, elements, dtype).reshape(shape)
    array = np.array(values, dtype=dtype if dtype.kind == "f" else (np.uint64 if dtype == np.uint64 else np.int64))
    result = array.astype(dtype)
    if dtype.kind in "iu" and not np.array_equal(result.astype(array.dtype), array):
        raise _bad(what, node, f"holds values outside the range of {dtype.name}", _RESAVE)
    return result.reshape(shape)


def _unpack_four_bit(raw: bytes, elements: int, dtype: np.dtype) -> np.ndarray:
    pairs = np.frombuffer(raw, dtype=np.uint8)
    nibbles = np.stack([pairs & 15, pairs >> 4], axis=1).reshape(-1)[:elements].astype(np.int16)
    if dtype == np.int8:
        nibbles = np.where(nibbles >= 8, nibbles - 16, nibbles)
    return nibbles.astype(dtype)


def _external(tensor: TensorProto, expected: int, what: str, node: str | None, folder: Path | None) -> bytes:
    """Bytes of a tensor kept in another file, which must be a regular file below the model's folder."""
    if folder is None:
        hint = "give --external-data (allow_external_data in Python), or save the model in one file"
        raise _bad(what, node, "keeps its data in another file", hint)
    fields = {entry.key: entry.value for entry in tensor.external_data}
    try:
        offset, length = int(fields.get("offset", "0")), int(fields.get("length", str(expected)))
    except ValueError:
        raise _bad(what, node, "has an external offset or length that is no number", _RESAVE) from None
    root = folder.resolve()
    location = fields.get("location", "")
    path = root / location if "\0" not in location else root
    # A file of that name below the folder and nothing else: no absolute path, no "..", no link on the way.
    if not location or Path(location).is_absolute() or path.resolve() != path or not path.is_file():
        hint = "put the data file next to the model (the file itself, no link)"
        raise _bad(what, node, "names no regular file below the model's folder", hint)
    if offset < 0 or length != expected or offset + length > path.stat().st_size:
        raise _bad(what, node, f"needs {expected} bytes at offset {offset} of {path.name}, which it does not have", _RESAVE)
    with path.open("rb") as stream:
        stream.seek(offset)
        return stream.read(length)


def _bad(what: str, node: str | None, problem: str, hint: str) -> EspgenError:
    return EspgenError(f"{what} {problem}", node=node, place=what, hint=hint)
