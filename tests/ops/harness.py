"""Runs the portable kernels of one-operator graphs on the host: renders KernelCalls, compiles, guards every buffer."""

from __future__ import annotations

import ctypes
import hashlib
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from espgen.ir import DType, Graph
from espgen.ops.base import PADDING_ROW, KernelCall, RowTable, Storage, rows_of

ROOT = Path(__file__).parents[2]
GUARD = 64
STRICT = [
    "-std=c++17",
    "-O1",
    "-Wall",
    "-Wextra",
    "-Wconversion",
    "-Werror",
    "-fno-exceptions",
    "-fno-rtti",
    "-shared",
    "-fPIC",
]
C_TYPES = {
    DType.INT8: "int8_t",
    DType.UINT8: "uint8_t",
    DType.INT16: "int16_t",
    DType.UINT16: "uint16_t",
    DType.INT32: "int32_t",
    DType.INT64: "int64_t",
    DType.FLOAT32: "float",
}


@dataclass(frozen=True)
class Variant:
    """How values are stored: pixels rounded up to `pixel_align` bytes, `halo` pixels at both ends of a row."""

    name: str
    pixel_align: int = 1
    halo: int = 0


VARIANTS = (Variant("dense"), Variant("padded", 16, 1))


def storage_of(graph: Graph, variant: Variant) -> Mapping[str, Storage]:
    """A storage for every value; constants are dense, as they lie in the weights."""
    result = {}
    for name, value in graph.values.items():
        rows, pixels, channels = rows_of(value.shape)
        constant = graph.is_constant(name)
        align, halo = (1, 0) if constant else (variant.pixel_align, variant.halo)
        pitch = -(-channels * value.dtype.size // align) * align
        row = (pixels + 2 * halo) * pitch
        result[name] = Storage(rows, pixels, channels, value.dtype.size, pitch, row, halo, halo)
    return result


class Buffer:
    """A value's storage and its padding row, garbage wherever no element and no halo lies.

    Between guards in one piece of memory; or, `exact`, each allocated by malloc in its own size, which is what
    AddressSanitizer watches.
    """

    def __init__(self, storage: Storage, dtype: DType, zero_point: int, rng: np.random.Generator, exact: bool) -> None:
        self.storage, self.dtype = storage, dtype
        sizes = (storage.nbytes, storage.row_pitch)
        self.pieces = [_allocated(size, rng) for size in sizes] if exact else _between_guards(sizes, rng)
        _strided(self.pieces[1], storage, dtype, 0, 1, 0, storage.row_pitch // storage.pixel_pitch)[...] = zero_point
        last = storage.row_pitch // storage.pixel_pitch - storage.pad_right
        for first, count in ((0, storage.pad_left), (last, storage.pad_right)):
            if count:
                _strided(self.pieces[0], storage, dtype, 0, storage.rows, first, count)[...] = zero_point
        self.snapshot()

    def snapshot(self) -> None:
        self.untouched = [piece.copy() for piece in self.pieces]

    @property
    def elements(self) -> np.ndarray:
        s = self.storage
        return _strided(self.pieces[0], s, self.dtype, 0, s.rows, s.pad_left, s.pixels)

    def pointers(self, table: RowTable) -> Any:
        s = self.storage
        offset = (s.pad_left + table.first_pixel) * s.pixel_pitch + table.byte_offset
        starts = [piece.ctypes.data for piece in self.pieces]
        addresses = [starts[1] + offset if row == PADDING_ROW else starts[0] + row * s.row_pitch + offset for row in table.rows]
        return (ctypes.c_void_p * len(addresses))(*addresses)

    def damaged(self, elements_too: bool) -> bool:
        """Whether anything changed, the elements only if `elements_too`."""
        now, before = ([piece.copy() for piece in pieces] for pieces in (self.pieces, self.untouched))
        if not elements_too:
            s = self.storage
            for body in (now[0], before[0]):
                _strided(body, s, self.dtype, 0, s.rows, s.pad_left, s.pixels)[...] = 0
            if len(now) > 2:  # what the pieces share with the guarded memory
                first = self.pieces[0].ctypes.data - self.pieces[2].ctypes.data
                for pieces in (now, before):
                    pieces[2][first : first + pieces[0].size] = 0
        return not all(np.array_equal(left, right) for left, right in zip(now, before, strict=True))


def _between_guards(sizes: Sequence[int], rng: np.random.Generator) -> list[np.ndarray]:
    """Views of the sizes within one memory, 64-byte aligned, and that memory."""
    room = [size + GUARD + 64 for size in sizes]
    memory = rng.integers(0, 256, sum(room) + GUARD, dtype=np.uint8)
    views, start = [], GUARD
    for size, step in zip(sizes, room, strict=True):
        begin = start + -(memory.ctypes.data + start) % 64
        views.append(memory[begin : begin + size])
        start += step
    return [*views, memory]


def _allocated(size: int, rng: np.random.Generator) -> np.ndarray:
    """`size` bytes of garbage from malloc, never freed."""
    malloc = ctypes.CDLL(None).malloc
    malloc.restype, malloc.argtypes = ctypes.c_void_p, (ctypes.c_size_t,)
    data = np.frombuffer((ctypes.c_uint8 * size).from_address(malloc(size)), np.uint8)
    data[...] = rng.integers(0, 256, size, dtype=np.uint8)
    return data


def _strided(data: np.ndarray, storage: Storage, dtype: DType, row: int, rows: int, pixel: int, pixels: int) -> np.ndarray:
    """[rows, pixels, channels] elements of a storage that starts at `data`."""
    offset = row * storage.row_pitch + pixel * storage.pixel_pitch
    shape, strides = (rows, pixels, storage.channels), (storage.row_pitch, storage.pixel_pitch, storage.item)
    return np.ndarray(shape, dtype.numpy, data.data, offset, strides)


def _literal(value: object) -> str:
    """A field of a shape in C++."""
    return str(value).lower() if isinstance(value, bool | np.bool_) else str(value)


def render(call: KernelCall, symbol: str) -> str:
    """One KernelCall as an exported C function of pointers."""
    fields = ", ".join(_literal(value) for value in call.shape.values())
    types = "".join(f", {C_TYPES[dtype]}" for dtype in call.types.values())
    inputs = [f"const void* const* in{index}" for index in range(len(call.inputs))]
    tables = [f"const void* table{index}" for index in range(len(call.tables))]
    casts = [f"static_cast<const {C_TYPES[DType.of(data)]}*>(table{index})" for index, (_, data) in enumerate(call.tables)]
    arguments = ["out", *(f"in{index}" for index in range(len(call.inputs))), *casts, "rows"]
    parameters = ["void* const* out", *inputs, *tables, "int32_t rows"]
    return (
        f"static constexpr {call.shape_type} shape_{symbol} = {{{fields}}};\n"
        f'extern "C" void {symbol}({", ".join(parameters)}) {{\n'
        f"  {call.function}<shape_{symbol}{types}>({', '.join(arguments)});\n}}\n"
    )


ADDRESS_SANITIZERS = {"gcc": ("g++", "libasan.so"), "clang": ("clang++", f"libclang_rt.asan-{platform.machine()}.so")}
"""Compiler and the runtime of its AddressSanitizer by name."""


def compilers() -> dict[str, list[str]]:
    """Commands by name: zig, which stops where UBSan objects, gcc and clang with ASan and UBSan where they have them."""
    checked = ("-fsanitize=undefined", "-fsanitize-trap=undefined")
    # Kernels need no C++ library, and zig would build its own first.
    found = {"zig": [sys.executable, "-m", "ziglang", "c++", *STRICT, *checked, "-nostdlib++"]}
    for name, (command, _) in ADDRESS_SANITIZERS.items():
        path = shutil.which(command)
        if path:
            shared = ("-shared-libasan",) if name == "clang" else ()
            found[name] = [path, *STRICT, "-fsanitize=address,undefined", "-fno-sanitize-recover=all", *shared]
    return found


def address_sanitizer(compiler: str) -> str | None:
    """Path of the compiler's AddressSanitizer runtime, which has to be loaded first; None where there is none."""
    command, runtime = ADDRESS_SANITIZERS[compiler]
    path = shutil.which(command)
    if path is None:
        return None
    asked = subprocess.run([path, f"-print-file-name={runtime}"], capture_output=True, text=True, check=False)
    found = Path(asked.stdout.strip())
    return str(found) if found.is_absolute() and found.exists() else None


def build(sources: Sequence[KernelCall], symbols: Sequence[str], command: Sequence[str]) -> Path:
    """Compile the calls into one shared library, kept under the hash of its text."""
    headers = sorted({call.header for call in sources})
    text = "".join(f'#include "{name}"\n' for name in headers) + "using namespace espgen;\n"
    text += "\n".join(render(call, symbol) for call, symbol in zip(sources, symbols, strict=True))
    kernels = sorted((ROOT / "firmware").rglob("*.h"))
    digest = hashlib.sha256("\0".join([*command, text, *(path.read_text() for path in kernels)]).encode()).hexdigest()[:24]
    folder = Path(tempfile.gettempdir()) / f"espgen_ops_{os.getuid()}"
    folder.mkdir(exist_ok=True)
    library = folder / f"{digest}.so"
    if not library.exists():
        source = folder / f"{digest}.cpp"
        source.write_text(text)
        partial = folder / f"{digest}.{os.getpid()}.so"
        include = [f"-I{ROOT / 'firmware' / 'include'}", f"-I{ROOT / 'firmware' / 'kernels'}"]
        done = subprocess.run([*command, *include, str(source), "-o", str(partial)], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr[-6000:]
        partial.rename(library)
    return library


def in_bands(call: KernelCall, rows: int) -> list[KernelCall]:
    """The call as calls for so many rows each (the last one for what is left); as it is where it cannot be parted."""
    if call.advance is None:
        return [call]
    parts = []
    for begin in range(0, call.rows, rows):
        end = min(begin + rows, call.rows)
        inputs = tuple(
            replace(table, rows=table.rows[begin * step :]) for table, step in zip(call.inputs, call.advance, strict=True)
        )
        tables = tuple((name, data[begin * call.table_advance.get(name, 0) :]) for name, data in call.tables)
        output = replace(call.output, rows=call.output.rows[begin:end])
        parts.append(replace(call, output=output, inputs=inputs, tables=tables, rows=end - begin))
    return parts


def run(
    graph: Graph,
    calls: Sequence[KernelCall],
    functions: Sequence[Any],
    variant: Variant,
    inputs: Mapping[str, Any],
    seed: int,
    exact: bool = False,
    band_rows: int = 1 << 30,
) -> dict[str, np.ndarray]:
    """Outputs of the kernel calls of the graph's only node; AssertionError where anything else was written.

    band_rows  calls that can be parted make so many rows at a time
    """
    rng = np.random.default_rng(seed)
    buffers = {}
    for name, storage in storage_of(graph, variant).items():
        value = graph.value(name)
        point = value.zero_point if value.quant is None or value.quant.per_tensor else 0
        buffers[name] = Buffer(storage, value.dtype, point, rng, exact)
        data = graph.constants.get(name, inputs.get(name))
        if data is not None:
            buffers[name].elements[...] = data.reshape(buffers[name].elements.shape)
            buffers[name].snapshot()
    banded = [(part, function) for call, function in zip(calls, functions, strict=True) for part in in_bands(call, band_rows)]
    for call, function in banded:
        tables = [np.ascontiguousarray(data) for _, data in call.tables]
        function(
            buffers[call.output.value].pointers(call.output),
            *(buffers[table.value].pointers(table) for table in call.inputs),
            *(ctypes.c_void_p(table.ctypes.data) for table in tables),
            ctypes.c_int32(call.rows),
        )
    for name, buffer in buffers.items():
        written = name in graph.nodes[0].outputs
        assert not buffer.damaged(elements_too=not written), f"{name}: written where it must not be"
    return {name: buffers[name].elements.reshape(graph.value(name).shape).copy() for name in graph.outputs}
