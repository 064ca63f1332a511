"""A component as a host library: every layer of whole data sets, fast, with guard bytes round every arena.

A shared library is called through ctypes; a program built with sanitizers runs as a worker process behind a pipe.
Both offer firmware/agent/host_api.h.
"""

from __future__ import annotations

import ctypes
import struct
import subprocess
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Protocol

import numpy as np

from espgen.errors import EspgenError, environment_error
from espgen.resources import MODEL_ABI
from espgen.verify.device import packed_input
from espgen.verify.model_info import LayerInfo, ModelInfo, TensorInfo, read_model_info

_TENSORS, _LAYERS, _LAYER_OUTPUTS = 0, 1, 3  # EspgenHostCount
_GUARD_CHANGED = 2
# What a run finds in memory nobody has written yet; two values, so that no result can depend on it twice.
_POISON = (0xA5, 0x5A)


class _Backend(Protocol):
    """host_api.h, however it is reached."""

    def identity(self) -> tuple[int, bytes, str]: ...
    def count(self, what: int) -> int: ...
    def describe(self, what: int, index: int) -> bytes: ...
    def prepare(self, value: int) -> None: ...
    def set_input(self, tensor: int, data: bytes) -> int: ...
    def run(self, sizes: list[int]) -> tuple[int, list[tuple[int, bytes]]]: ...
    def read(self, tensor: int, size: int) -> bytes | None: ...
    def failure(self) -> str: ...
    def close(self) -> None: ...


class HostModel:
    """A built component (espgen.verify.build.build_host). Inputs and results as in espgen.verify.device.Device.

    EspgenError (exit code 3) where it cannot be loaded, or does not describe the `expected` tensors, layers and ports.
    """

    def __init__(self, built: Path, expected: ModelInfo | None = None) -> None:
        self._backend: _Backend = _Library(built) if built.suffix == ".so" else _Worker(built)
        abi, digest, self.name = self._backend.identity()
        if abi != MODEL_ABI:
            raise environment_error(
                f"the component has model ABI {abi}, this espgen {MODEL_ABI}",
                place=str(built),
                hint="compile the component again",
            )
        self.hash = digest.hex()
        self.info: ModelInfo = read_model_info(
            self._backend.describe, self._backend.count(_TENSORS), self._backend.count(_LAYERS), expected
        )
        self._runs = 0

    def __enter__(self) -> HostModel:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the worker, if there is one. (A loaded library stays in the process.)"""
        self._backend.close()

    @property
    def layers(self) -> tuple[LayerInfo, ...]:
        """The model's layers in order."""
        return self.info.layers

    @property
    def inputs(self) -> tuple[TensorInfo, ...]:
        return self.info.inputs

    @property
    def outputs(self) -> tuple[TensorInfo, ...]:
        return self.info.outputs

    def run(self, inputs: Mapping[str, np.ndarray], *, keep: str = "layers") -> dict[str, np.ndarray]:
        """Run once on memory filled with a pattern. Returns every layer's outputs (`keep="layers"`) or the model's.

        EspgenError where a row of a layer is never made or made twice, where a kernel wrote outside its arena
        (`check_each_step` finds out which layer) or where no buffer is in use, where a sanitizer objects, or for inputs
        of the wrong kind.
        """
        self._backend.prepare(_POISON[self._runs % len(_POISON)])
        self._runs += 1
        for tensor in self.info.inputs:
            if self._backend.set_input(tensor.index, packed_input(tensor, inputs)) != 0:
                raise environment_error(f"the component does not take input {tensor.name!r}")
        captured = self.info.layer_outputs if keep == "layers" else ()
        status, results = self._backend.run([tensor.nbytes for tensor in captured])
        if status != 0:
            raise EspgenError(
                f"a kernel wrote outside its memory: {self._backend.failure()}",
                hint="this is a defect of espgen: please report it with the model",
            )
        values: dict[str, np.ndarray] = {}
        for tensor, (rows, data) in zip(captured, results, strict=True):
            if rows != tensor.rows:
                raise EspgenError(
                    f"{rows} rows of {tensor.name!r} were made, it has {tensor.rows}",
                    hint="this is a defect of espgen: please report it with the model",
                )
            values[tensor.name] = tensor.array(data)
        for tensor in self.info.outputs:
            values[tensor.name] = self.read(tensor)
        return values

    def read(self, tensor: TensorInfo) -> np.ndarray:
        """All of a tensor that is wholly held, as it is now. EspgenError where it is not."""
        data = self._backend.read(tensor.index, tensor.nbytes)
        if data is None:
            raise environment_error(f"{tensor.name!r} is not held as a whole")
        return tensor.array(data)


class _Library:
    """The shared library through ctypes."""

    def __init__(self, path: Path) -> None:
        try:
            library = ctypes.CDLL(str(path))
        except OSError as error:
            raise environment_error(
                f"the host library cannot be loaded: {error}", place=str(path), hint="delete it and verify again"
            ) from error
        library.espgen_host_name.restype = ctypes.c_char_p
        library.espgen_host_hash.restype = ctypes.POINTER(ctypes.c_uint8)
        library.espgen_host_failure.restype = ctypes.c_char_p
        library.espgen_host_abi.restype = ctypes.c_uint32
        library.espgen_host_count.restype = ctypes.c_uint32
        library.espgen_host_count.argtypes = [ctypes.c_uint32]
        library.espgen_host_describe.restype = ctypes.c_size_t
        library.espgen_host_describe.argtypes = [ctypes.c_uint8, ctypes.c_uint16, ctypes.c_char_p, ctypes.c_size_t]
        library.espgen_host_prepare.restype = None
        library.espgen_host_prepare.argtypes = [ctypes.c_uint8]
        library.espgen_host_set_input.argtypes = [ctypes.c_uint16, ctypes.c_char_p, ctypes.c_size_t]
        library.espgen_host_run.argtypes = [ctypes.c_void_p, ctypes.c_void_p]
        library.espgen_host_read.argtypes = [ctypes.c_uint16, ctypes.c_char_p, ctypes.c_size_t]
        self._library = library

    def identity(self) -> tuple[int, bytes, str]:
        digest = bytes(self._library.espgen_host_hash()[:32])
        return self._library.espgen_host_abi(), digest, self._library.espgen_host_name().decode("utf-8", "replace")

    def count(self, what: int) -> int:
        return int(self._library.espgen_host_count(what))

    def describe(self, what: int, index: int) -> bytes:
        buffer = ctypes.create_string_buffer(1 << 16)
        size = self._library.espgen_host_describe(what, index, buffer, len(buffer))
        return buffer.raw[:size]

    def prepare(self, value: int) -> None:
        self._library.espgen_host_prepare(value)

    def set_input(self, tensor: int, data: bytes) -> int:
        return int(self._library.espgen_host_set_input(tensor, data, len(data)))

    def run(self, sizes: list[int]) -> tuple[int, list[tuple[int, bytes]]]:
        if not sizes:
            return int(self._library.espgen_host_run(None, None)), []
        buffers = [ctypes.create_string_buffer(max(size, 1)) for size in sizes]
        pointers = (ctypes.c_void_p * len(sizes))(*(ctypes.addressof(buffer) for buffer in buffers))
        rows = (ctypes.c_uint32 * len(sizes))()
        status = int(self._library.espgen_host_run(pointers, rows))
        results = [
            (int(count), buffer.raw[:size]) for count, buffer, size in zip(rows, buffers, sizes, strict=True)
        ]
        return status, results

    def read(self, tensor: int, size: int) -> bytes | None:
        buffer = ctypes.create_string_buffer(max(size, 1))
        status = self._library.espgen_host_read(tensor, buffer, size)
        return buffer.raw[:size] if status == 0 else None

    def failure(self) -> str:
        return bytes(self._library.espgen_host_failure()).decode("utf-8", "replace")

    def close(self) -> None:
        return None


class _Worker:
    """The worker program of firmware/agent/host_worker.cpp behind a pipe."""

    def __init__(self, path: Path) -> None:
        self._place = str(path)
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 (closed in close)
        try:
            self._process = subprocess.Popen(
                [str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors
            )
        except OSError as error:
            raise environment_error(f"the worker cannot be run: {error}", place=str(path)) from error

    def identity(self) -> tuple[int, bytes, str]:
        self._send(b"H")
        abi = self._number()
        return abi, self._bytes(32), self._bytes(self._number()).decode("utf-8", "replace")

    def count(self, what: int) -> int:
        self._send(b"C", what)
        return self._number()

    def describe(self, what: int, index: int) -> bytes:
        self._send(b"D", what, index)
        return self._bytes(self._number())

    def prepare(self, value: int) -> None:
        self._send(b"P", value)
        self._number()

    def set_input(self, tensor: int, data: bytes) -> int:
        self._send(b"I", tensor, len(data), data=data)
        return self._number()

    def run(self, sizes: list[int]) -> tuple[int, list[tuple[int, bytes]]]:
        self._send(b"R", int(bool(sizes)))
        status = self._number()
        results = []
        for _ in sizes if status == 0 else ():
            size, rows = self._number(), self._number()
            results.append((rows, self._bytes(size)))
        return status, results

    def read(self, tensor: int, size: int) -> bytes | None:
        self._send(b"O", tensor, size)
        return self._bytes(size) if self._number() == 0 else None

    def failure(self) -> str:
        self._send(b"F")
        return self._bytes(self._number()).decode("utf-8", "replace")

    def close(self) -> None:
        if self._process.stdin:
            with suppress(BrokenPipeError):
                self._process.stdin.close()
        self._process.wait()
        if self._process.stdout:
            self._process.stdout.close()
        self._errors.close()

    def _send(self, command: bytes, *numbers: int, data: bytes = b"") -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(command + struct.pack(f"<{len(numbers)}I", *numbers) + data)
            self._process.stdin.flush()
        except OSError as error:
            raise self._died() from error

    def _bytes(self, size: int) -> bytes:
        assert self._process.stdout is not None
        data = self._process.stdout.read(size)
        if len(data) != size:
            raise self._died()
        return data

    def _number(self) -> int:
        return int.from_bytes(self._bytes(4), "little")

    def _died(self) -> EspgenError:
        self._process.wait()
        self._errors.seek(0)
        lines = [line for line in self._errors.read().decode("utf-8", "replace").splitlines() if line.strip()]
        return EspgenError(
            "the component crashed on the host:\n" + "\n".join(lines[:12] or ["no message"]),
            place=self._place,
            hint="this is a defect of espgen: please report it with the model",
        )
