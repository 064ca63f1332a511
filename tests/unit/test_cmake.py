"""The CMake side: models are compiled when they change, and firmware/ builds on the host without a warning."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.skipif(shutil.which("cmake") is None, reason="cmake is not installed")

PROJECT = """
cmake_minimum_required(VERSION 3.16)
project(application NONE)
set(ESPGEN_COMMAND "{python}" "{program}")
include("{root}/firmware/cmake/espgen.cmake")
espgen_compile("{folder}/model.onnx" "{folder}/component" {options})
"""

PROGRAM = """
import pathlib, sys
verb, model, _, folder, *rest = sys.argv[1:]
content = pathlib.Path(model).read_text()
if content == "broken":
    sys.exit(2)
pathlib.Path(folder).mkdir(exist_ok=True)
pathlib.Path(folder, "espgen_component.json").write_text(" ".join([verb, content, *rest]))
with open(pathlib.Path(folder).parent / "runs", "a") as runs:
    runs.write("x")
"""


class Application:
    """A CMake project with a model, and a stand-in for the espgen command."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.options = folder, ""
        (folder / "program.py").write_text(PROGRAM)
        self.model("first", 1_000_000_000)

    def model(self, content: str, changed: int | None = None) -> None:
        path = self.folder / "model.onnx"
        path.write_text(content)
        if changed:
            os.utime(path, (changed, changed))

    def configure(self) -> int:
        text = PROJECT.format(
            python=sys.executable, program=self.folder / "program.py", root=ROOT, folder=self.folder, options=self.options
        )
        (self.folder / "CMakeLists.txt").write_text(text)
        command = ["cmake", "-S", str(self.folder), "-B", str(self.folder / "build")]
        return subprocess.run(command, capture_output=True, check=False).returncode

    def runs(self) -> int:
        return len((self.folder / "runs").read_text())

    def compiled(self) -> str:
        return (self.folder / "component" / "espgen_component.json").read_text()


def test_a_model_is_compiled_again_only_when_it_or_the_options_change(tmp_path: Path) -> None:
    application = Application(tmp_path)
    assert application.configure() == 0
    assert (application.runs(), application.compiled()) == (1, "compile first")
    assert application.configure() == 0
    assert application.runs() == 1
    application.model("second", 4_000_000_000)
    assert application.configure() == 0
    assert (application.runs(), application.compiled()) == (2, "compile second")
    application.model("second", 1_000_000_000)
    application.options = "--kernels portable"
    assert application.configure() == 0
    assert (application.runs(), application.compiled()) == (3, "compile second --kernels portable")
    assert application.configure() == 0
    assert application.runs() == 3


def test_a_model_that_does_not_compile_stops_the_build(tmp_path: Path) -> None:
    application = Application(tmp_path)
    application.model("broken")
    assert application.configure() != 0


@pytest.mark.prove
def test_all_firmware_builds_on_the_host_without_a_warning(tmp_path: Path) -> None:
    configured = subprocess.run(["cmake", "-S", str(ROOT), "-B", str(tmp_path)], capture_output=True, text=True, check=False)
    assert configured.returncode == 0, configured.stderr
    built = subprocess.run(["cmake", "--build", str(tmp_path)], capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stdout + built.stderr
