"""The code generated for a small network, reviewed as text; `UPDATE_REFS=1` writes it anew. And: same input, same bytes."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from espgen import api
from espgen.codegen.build import Options, generate
from espgen.codegen.naming import c_string, comment, identifier, model_identifier
from espgen.codegen.reserved_names import RESERVED_NAMES
from espgen.ops.conv2d import conv_graph
from espgen.resources import models_dir

GOLDEN = Path(__file__).parent / "small_conv"
FILES = ("src/small_conv_layers.cpp", "src/small_conv.cpp", "include/small_conv.h", "CMakeLists.txt")


def test_generated_code_is_what_was_reviewed(tmp_path: Path) -> None:
    graph = conv_graph("small conv", (1, 4, 4, 3), 5, (3, 3), pads=(1, 1, 1, 1))
    component = generate(graph, tmp_path / "c", options=Options(kernels="portable"), name="small conv", extra={})
    for name in FILES:
        text, held = (component / name).read_text(), GOLDEN / (Path(name).name + ".txt")
        if os.environ.get("UPDATE_REFS"):
            held.parent.mkdir(exist_ok=True)
            held.write_text(text)
        assert held.read_text() == text, f"{name} changed: review it, then run with UPDATE_REFS=1"


def digest(folder: Path) -> str:
    """Of all files below a folder, names and contents."""
    total = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            total.update(str(path.relative_to(folder)).encode() + path.read_bytes())
    return total.hexdigest()


def test_same_model_same_bytes_whatever_the_hash_seed(tmp_path: Path) -> None:
    model = models_dir() / "digits_int8_qdq.onnx"
    api.compile(model, tmp_path / "here")
    command = "import sys; from pathlib import Path; from espgen import api; api.compile(Path(sys.argv[1]), Path(sys.argv[2]))"
    for seed in ("1", "77"):
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        subprocess.run([sys.executable, "-c", command, str(model), str(tmp_path / seed)], check=True, env=environment)
        assert digest(tmp_path / seed) == digest(tmp_path / "here")


HOSTILE = ['*/ #include "x"', "a\nb", "../../etc", "${HOME}", "{{ 7 }}", "ä??/", "", "int", "9 lives", '"; rm', "espgen"]


@pytest.mark.parametrize("hostile", HOSTILE)
def test_names_from_a_model_cannot_leave_their_place(hostile: str) -> None:
    assert identifier(hostile).isidentifier() and model_identifier(hostile).isidentifier()
    assert model_identifier(hostile) not in RESERVED_NAMES
    assert "\n" not in comment(hostile)
    assert not comment(hostile + "\\").endswith("\\")
    literal = c_string(hostile)[1:-1]
    assert '"' not in literal.replace('\\"', "")
    assert "\n" not in literal
