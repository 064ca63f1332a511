"""One door for model files: what a file is is told by its first bytes, never by its name."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from espgen.errors import EspgenError
from espgen.frontend.espdl import MAGICS, load_espdl
from espgen.frontend.files import first_bytes, place_of, read_model
from espgen.frontend.inputs import Numbers
from espgen.frontend.loaded import Loaded
from espgen.frontend.reader import load_onnx
from espgen.frontend.tflite.reader import read_tflite
from espgen.frontend.tflite.schema import IDENTIFIER
from espgen.ir import Extents, Graph

Source = str | os.PathLike[str] | bytes

_HEAD = 96
_NO_SHAPES: Mapping[str, Extents] = {}
_NO_CONSTANTS: Mapping[str, Numbers] = {}


@dataclass(frozen=True)
class Refused:
    """A kind of file that is no model espgen reads: how it is known, what it is, and what to do instead."""

    matches: Callable[[bytes], bool]
    what: str
    remedy: str


def load(
    source: Source,
    *,
    shapes: Mapping[str, Extents] = _NO_SHAPES,
    constants: Mapping[str, Numbers] = _NO_CONSTANTS,
    allow_external_data: bool = False,
    member: str | None = None,
) -> Graph:
    """The source graph of a model file; see load_all."""
    loaded = load_all(source, shapes=shapes, constants=constants, allow_external_data=allow_external_data, member=member)
    return loaded.graph


def load_all(
    source: Source,
    *,
    shapes: Mapping[str, Extents] = _NO_SHAPES,
    constants: Mapping[str, Numbers] = _NO_CONSTANTS,
    allow_external_data: bool = False,
    member: str | None = None,
) -> Loaded:
    """What a model file (or its bytes) in any format that espgen reads holds: its source graph and test vectors.

    shapes, constants, allow_external_data: as load_onnx takes them
    member: which model of a pack of .espdl files

    Raises EspgenError, also for files of other kinds, which it names.
    """
    head = first_bytes(source, _HEAD)
    for kind in REFUSED:
        if kind.matches(head):
            raise EspgenError(f"this is {kind.what}, which espgen does not read", place=place_of(source), hint=kind.remedy)
    if head.startswith(MAGICS):
        for option, given in (("--shape", shapes), ("--const", constants)):
            if given:
                place = place_of(source)
                raise EspgenError("nothing is left open in an .espdl file", place=place, hint=f"leave {option} out")
        return load_espdl(read_model(source), place_of(source), member=member)
    if member is not None:
        raise EspgenError("only packs of .espdl files have members", place=place_of(source), hint="leave --member out")
    if head[4:8] == IDENTIFIER:
        return Loaded(read_tflite(read_model(source), place_of(source), shapes, constants))
    return Loaded(load_onnx(source, shapes=shapes, constants=constants, allow_external_data=allow_external_data))


def _starts(*starts: bytes) -> Callable[[bytes], bool]:
    return lambda head: head.startswith(starts)


def _zip_of(*ends: str) -> Callable[[bytes], bool]:
    """A zip archive whose first member's name ends so."""

    def matches(head: bytes) -> bool:
        length = int.from_bytes(head[26:28], "little")
        return head.startswith(_ZIP) and head[30 : 30 + length].decode("utf-8", "replace").endswith(ends)

    return matches


_ZIP = b"PK\x03\x04"
_TORCH = 'export it in PyTorch: torch.onnx.export(model, (example,), "model.onnx")'
_KERAS = (
    'export it in Keras: model.export("model.onnx", format="onnx"), or convert it with tf.lite.TFLiteConverter to a .tflite '
    "file of full integers"
)

REFUSED: tuple[Refused, ...] = (
    Refused(_zip_of("data.pkl", ".format_version", "byteorder", "constants.pkl", "archive_format"), "a PyTorch file", _TORCH),
    Refused(_zip_of("metadata.json", "config.json", "model.weights.h5"), "a Keras file", _KERAS),
    Refused(_zip_of(".npy"), "an .npz of arrays", "give it to --data, and a model here"),
    Refused(_starts(_ZIP), "a zip archive", "unpack it, and give the model inside"),
    Refused(_starts(b"\x1f\x8b"), "a gzip archive", "unpack it with `gunzip` (or `tar -xzf`), and give the model inside"),
    Refused(_starts(b"\x89HDF\r\n\x1a\n"), "an HDF5 file (Keras .h5)", _KERAS),
    Refused(_starts(*(bytes((0x80, version)) for version in range(2, 6))), "a Python pickle (an old PyTorch file?)", _TORCH),
    Refused(_starts(b"<?xml", b"<net"), "an XML file (OpenVINO?)", "give the ONNX model that it was made from"),
)  # fmt: skip
"""Tried in this order, the first that matches names the file; what none of them knows is read as ONNX."""
