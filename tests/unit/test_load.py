"""Model files are known by what is in them, whatever they are called; what espgen does not read is named, with a way out."""

from __future__ import annotations

import gzip
import io
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
from onnx_models import node, serialized

from espgen.cli import main
from espgen.errors import BAD_INPUT, EspgenError
from espgen.frontend import load

ONNX = serialized([node("Relu", "x", "y")], {"x": [2, 3]}, ["y"])


def _archive(*names: str) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name in names:
            archive.writestr(name, b"content")
    return stream.getvalue()


def _arrays() -> bytes:
    stream = io.BytesIO()
    np.savez(stream, x=np.zeros(3))
    return stream.getvalue()


OTHERS = {
    "torch": (_archive("model/data.pkl", "model/version"), "PyTorch", "torch.onnx.export"),
    "torch_new": (_archive("archive/.format_version", "archive/data.pkl"), "PyTorch", "torch.onnx.export"),
    "torch_old": (pickle.dumps({"state": [1, 2]}, protocol=2), "pickle", "torch.onnx.export"),
    "keras": (_archive("metadata.json", "config.json", "model.weights.h5"), "Keras", "model.export"),
    "h5": (b"\x89HDF\r\n\x1a\n" + bytes(40), "HDF5", "model.export"),
    "npz": (_arrays(), ".npz", "--data"),
    "zip": (_archive("model.onnx"), "zip", "unpack"),
    "gzip": (gzip.compress(ONNX), "gzip", "gunzip"),
    "xml": (b'<?xml version="1.0"?><net name="x"/>', "XML", "ONNX"),
}


@pytest.mark.parametrize("suffix", [".onnx", ".bin", ".tflite", ""])
def test_the_name_of_a_file_does_not_matter(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"model{suffix}"
    path.write_bytes(ONNX)
    assert [item.op for item in load(path).nodes] == ["Relu"]
    assert [item.op for item in load(ONNX).nodes] == ["Relu"]


@pytest.mark.parametrize("kind", sorted(OTHERS))
def test_other_files_are_named(tmp_path: Path, kind: str) -> None:
    content, name, remedy = OTHERS[kind]
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    for source in (path, content):
        with pytest.raises(EspgenError, match=name) as caught:
            load(source)
        assert remedy in (caught.value.hint or "")
        assert caught.value.place == (str(path) if source is path else "model")


def test_every_command_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(OTHERS["torch"][0])
    data, output = str(tmp_path / "x.npz"), str(tmp_path / "out")
    Path(data).write_bytes(_arrays())
    for command in (
        ["inspect", str(path)],
        ["compile", str(path), "-o", output],
        ["quantize", str(path), "--data", data, "-o", output],
        ["convert", str(path), "--data", data, "-o", output],
        ["evaluate", "--quantized", str(path), "--data", data],
    ):
        with pytest.raises(SystemExit) as stopped:
            main(command)
        assert stopped.value.code == BAD_INPUT, command
        assert "PyTorch" in capsys.readouterr().err
    assert not Path(output).exists()


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(EspgenError, match="can't read the model"):
        load(tmp_path / "missing.onnx")


def test_a_short_file_is_a_damaged_onnx_file(tmp_path: Path) -> None:
    for content in (b"", b"P", b"PK\x03", b"\x80"):
        with pytest.raises(EspgenError, match=r"ONNX|graph"):
            load(content)
