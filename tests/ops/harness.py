"""Runs the portable kernels of one-operator graphs on the host: renders KernelCalls, compiles, guards every buffer."""

from __future__ import annotations

import ctypes
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
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
    """A value's storage between guards, garbage wherever no element and no halo lies."""

    def __init__(self, storage: Storage, dtype: DType, zero_point: int, rng: np.random.Generator) -> None:
        self.storage, self.dtype = storage, dtype
        row = storage.row_pitch
        self.memory = rng.integers(0, 256, 2 * GUARD + storage.nbytes + row + 64, dtype=np.uint8)
        self.shift = -(self.memory.ctypes.data + GUARD) % 64
        self.start = self.memory.ctypes.data + GUARD + self.shift
        padding = self._elements(storage.rows, 1, 0, storage.pixel_pitch and row // storage.pixel_pitch)
        padding[...] = zero_point
        for first, count in (
            (0, storage.pad_left),
            (row // storage.pixel_pitch - storage.pad_right, storage.pad_right),
        ):
            if count:
                self._elements(0, storage.rows, first, count)[...] = zero_point
        self.untouched = self.memory.copy()

    def _elements(self, row: int, rows: int, pixel: int, pixels: int) -> np.ndarray:
        s = self.storage
        offset = GUARD + self.shift + row * s.row_pitch + pixel * s.pixel_pitch
        return np.ndarray(
            (rows, pixels, s.channels), self.dtype.numpy, self.memory.data, offset, (s.row_pitch, s.pixel_pitch, s.item)
        )

    @property
    def elements(self) -> np.ndarray:
        return self._elements(0, self.storage.rows, self.storage.pad_left, self.storage.pixels)

    def pointers(self, table: RowTable) -> Any:
        s = self.storage
        offset = (s.pad_left + table.first_pixel) * s.pixel_pitch + table.byte_offset
        rows = [s.rows if row == PADDING_ROW else row for row in table.rows]
        return (ctypes.c_void_p * len(rows))(*[self.start + row * s.row_pitch + offset for row in rows])

    def damaged(self) -> bool:
        """Whether anything but the elements changed."""
        other = self.memory.copy()
        shadow = replace_memory(self, other)
        shadow.elements[...] = 0
        before = self.untouched.copy()
        replace_memory(self, before).elements[...] = 0
        return not np.array_equal(other, before)


def replace_memory(buffer: Buffer, memory: np.ndarray) -> Buffer:
    """A view of `buffer`'s layout in another memory."""
    twin = object.__new__(Buffer)
    twin.__dict__.update(buffer.__dict__, memory=memory)
    return twin


def render(call: KernelCall, symbol: str) -> str:
    """One KernelCall as an exported C function of pointers."""
    fields = ", ".join(str(value) for value in call.shape.values())
    types = "".join(f", {C_TYPES[dtype]}" for dtype in call.types.values())
    inputs = [f"const void* const* in{index}" for index in range(len(call.inputs))]
    tables = [f"const void* table{index}" for index in range(len(call.tables))]
    casts = [
        f"static_cast<const {C_TYPES[DType.of(data)]}*>(table{index})" for index, (_, data) in enumerate(call.tables)
    ]
    arguments = ["out", *(f"in{index}" for index in range(len(call.inputs))), *casts, "rows"]
    parameters = ["void* const* out", *inputs, *tables, "int32_t rows"]
    return (
        f"static constexpr {call.shape_type} shape_{symbol} = {{{fields}}};\n"
        f'extern "C" void {symbol}({", ".join(parameters)}) {{\n'
        f"  {call.function}<shape_{symbol}{types}>({', '.join(arguments)});\n}}\n"
    )


def compilers() -> dict[str, list[str]]:
    """Host compilers by name: zig with UBSan always, gcc with ASan-free UBSan where present."""
    undefined = ["-fsanitize=undefined", "-fno-sanitize-recover=all"]
    found = {
        "zig": [sys.executable, "-m", "ziglang", "c++", *STRICT, "-fsanitize=undefined", "-fsanitize-trap=undefined"]
    }
    gcc = shutil.which("g++")
    if gcc:
        found["gcc"] = [gcc, *STRICT, *undefined]
    return found


def build(sources: Sequence[KernelCall], symbols: Sequence[str], command: Sequence[str]) -> Path:
    """Compile the calls into one shared library, kept under the hash of its text."""
    headers = sorted({call.header for call in sources})
    text = "".join(f'#include "{name}"\n' for name in headers) + "using namespace espgen;\n"
    text += "\n".join(render(call, symbol) for call, symbol in zip(sources, symbols, strict=True))
    kernels = sorted((ROOT / "firmware").rglob("*.h"))
    digest = hashlib.sha256("\0".join([*command, text, *(path.read_text() for path in kernels)]).encode()).hexdigest()[
        :24
    ]
    folder = Path(tempfile.gettempdir()) / f"espgen_ops_{os.getuid()}"
    folder.mkdir(exist_ok=True)
    library = folder / f"{digest}.so"
    if not library.exists():
        source = folder / f"{digest}.cpp"
        source.write_text(text)
        partial = folder / f"{digest}.{os.getpid()}.so"
        include = [f"-I{ROOT / 'firmware' / 'include'}", f"-I{ROOT / 'firmware' / 'kernels'}"]
        done = subprocess.run(
            [*command, *include, str(source), "-o", str(partial)], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr[-6000:]
        partial.rename(library)
    return library


def run(
    graph: Graph,
    calls: Sequence[KernelCall],
    functions: Sequence[Any],
    variant: Variant,
    inputs: Mapping[str, Any],
    seed: int,
) -> dict[str, np.ndarray]:
    """Outputs of the kernel calls of the graph's only node; AssertionError where anything else was written."""
    rng = np.random.default_rng(seed)
    buffers = {}
    for name, storage in storage_of(graph, variant).items():
        value = graph.value(name)
        point = value.zero_point if value.quant is None or value.quant.per_tensor else 0
        buffers[name] = Buffer(storage, value.dtype, point, rng)
        data = graph.constants.get(name, inputs.get(name))
        if data is not None:
            buffers[name].elements[...] = data.reshape(buffers[name].elements.shape)
            buffers[name].untouched = buffers[name].memory.copy()
    for call, function in zip(calls, functions, strict=True):
        tables = [np.ascontiguousarray(data) for _, data in call.tables]
        function(
            buffers[call.output.value].pointers(call.output),
            *(buffers[table.value].pointers(table) for table in call.inputs),
            *(ctypes.c_void_p(table.ctypes.data) for table in tables),
            ctypes.c_int32(call.rows),
        )
    for name, buffer in buffers.items():
        if name in graph.nodes[0].outputs:
            assert not buffer.damaged(), f"{name}: written outside of its elements"
        else:
            assert np.array_equal(buffer.memory, buffer.untouched), f"{name}: an input was written"
    return {name: buffers[name].elements.reshape(graph.value(name).shape).copy() for name in graph.outputs}


__all__ = ["VARIANTS", "Variant", "build", "compilers", "render", "run", "storage_of"]
