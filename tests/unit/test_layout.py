"""Line breaks of generated C++, and clang-format's verdict on whole components (part of the `dev` extra)."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from espgen import api
from espgen.codegen import layout
from espgen.resources import models_dir

STYLE = Path(__file__).parents[2] / ".clang-format"
CLANG_FORMAT = shutil.which("clang-format", path=os.pathsep.join([os.path.dirname(sys.executable), os.environ["PATH"]]))
LONG = "a_very_long_name_of_a_network_that_somebody_exported"


def test_items_fill_lines_and_no_more() -> None:
    assert layout.filled(["a", "b", "c"], 4) == ("a, b, c,",)
    assert layout.filled(["aaa", "bbb", "ccc"], 4, columns=12) == ("aaa,", "bbb,", "ccc,")
    assert layout.filled(["aaa", "bbb", "ccc"], 4, columns=13) == ("aaa, bbb,", "ccc,")
    assert layout.filled(["aaa", "bbb"], 4, ");", columns=13) == ("aaa,", "bbb);")


def test_arguments_stand_below_the_first_or_further_in() -> None:
    argument = "x" * 40
    assert layout.call("f", [1, 2]) == ("f(1, 2);",)
    assert layout.call("f", [argument] * 3) == (f"f({argument}, {argument},", f"  {argument});")
    assert layout.declaration("f", [argument] * 3, ") {") == (f"f({argument}, {argument},", f"  {argument}) {{")
    assert layout.call("f" * 70, [argument] * 2) == (f"{'f' * 70}(", f"    {argument}, {argument});")


def test_comments_break_between_words_only() -> None:
    assert layout.comment_lines("  in " + "word " * 30)[1].startswith("    word")
    assert all(len(line) <= layout.COLUMNS - 3 for line in layout.comment_lines("word " * 100))
    assert layout.comment_lines("w" * 200) == ("w" * 200,)
    assert layout.comment_lines("") == ("",)


def test_short_functions_stand_on_one_line() -> None:
    assert layout.function("void f()", ["g();"]) == ("void f() { g(); }",)
    assert layout.function("void f()", []) == ("void f() {}",)
    assert layout.function("void f()", ["g();", "h();"]) == ("void f() {", "  g();", "  h();", "}")


@pytest.mark.skipif(CLANG_FORMAT is None, reason="clang-format is not installed")
@pytest.mark.parametrize("name", ["zoo", LONG])
@pytest.mark.parametrize("kernels", ["auto", "portable"])
def test_generated_code_is_formatted(name: str, kernels: str, tmp_path: Path) -> None:
    model = tmp_path / f"{name}.onnx"
    model.write_bytes((models_dir() / "digits_int8_qdq.onnx").read_bytes())
    component = tmp_path / "component"
    api.compile(model, component, options=api.Options(kernels=kernels))
    files = [str(path) for folder in ("src", "include") for path in sorted((component / folder).glob("*"))]
    sources = [path for path in files if os.path.splitext(path)[1] in (".cpp", ".h")]
    assert len(sources) >= 6
    command = [str(CLANG_FORMAT), f"--style=file:{STYLE}", "--dry-run", "--Werror", *sources]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
