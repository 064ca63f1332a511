"""The CMake side: models are compiled when they change, and firmware/ builds on the host without a warning."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from espgen import api
from espgen.resources import models_dir

ROOT = Path(__file__).parents[2]
MODEL = models_dir() / "digits_int8_qdq.onnx"
pytestmark = pytest.mark.skipif(shutil.which("cmake") is None, reason="cmake is not installed")

PROJECT = """
cmake_minimum_required(VERSION 3.16)
project(application NONE)
set(ESPGEN_COMMAND "{python}" -m espgen)
include("{root}/firmware/cmake/espgen.cmake")
espgen_compile("{folder}/model.onnx" "{folder}/component" {options})
"""


class Application:
    """A CMake project with a model, compiled by espgen itself."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.options, self.told = folder, "", ""
        self.model(MODEL.read_bytes(), 1_000_000_000)

    def model(self, content: bytes, changed: int | None = None) -> None:
        path = self.folder / "model.onnx"
        path.write_bytes(content)
        if changed:
            os.utime(path, (changed, changed))

    def configure(self) -> bool:
        """Whether CMake configured the project; `told` is what it printed."""
        text = PROJECT.format(python=sys.executable, root=ROOT, folder=self.folder, options=self.options)
        (self.folder / "CMakeLists.txt").write_text(text)
        command = ["cmake", "-S", str(self.folder), "-B", str(self.folder / "build")]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
        self.told = done.stdout + done.stderr
        return done.returncode == 0

    def compiled(self) -> bool:
        """Configure; whether espgen was run."""
        assert self.configure(), self.told
        return "espgen: compiling" in self.told

    def kernels(self) -> set[str]:
        manifest = json.loads((self.folder / "component" / "espgen_component.json").read_text())
        return {entry["kernel"].split("_")[0] for entry in manifest["kernels"]}


def test_a_model_is_compiled_again_only_when_it_or_the_options_change(tmp_path: Path) -> None:
    application = Application(tmp_path)
    assert application.compiled()
    assert not application.compiled()
    first = application.kernels()
    application.model(MODEL.read_bytes(), 4_000_000_000)
    assert application.compiled()
    application.model(MODEL.read_bytes(), 1_000_000_000)
    application.options = "--kernels portable"
    assert application.compiled()
    assert application.kernels() != first
    assert not application.compiled()
    assert api.verify(tmp_path / "component", target="host", limit=1)["equal"]


def test_the_file_that_an_earlier_version_left_in_the_component_is_no_hindrance(tmp_path: Path) -> None:
    application = Application(tmp_path)
    assert application.compiled()
    (tmp_path / "component" / "espgen_options.txt").write_text("")
    application.options = "--kernels portable"
    assert application.compiled()
    assert not application.compiled()


def test_a_model_that_does_not_compile_stops_the_build(tmp_path: Path) -> None:
    application = Application(tmp_path)
    application.model(b"broken")
    assert not application.configure()
    assert "could not compile" in application.told
    assert not (tmp_path / "component").exists()


@pytest.mark.prove
def test_all_firmware_builds_on_the_host_without_a_warning(tmp_path: Path) -> None:
    configured = subprocess.run(["cmake", "-S", str(ROOT), "-B", str(tmp_path)], capture_output=True, text=True, check=False)
    assert configured.returncode == 0, configured.stderr
    built = subprocess.run(["cmake", "--build", str(tmp_path)], capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stdout + built.stderr
