"""What a user installs holds everything a user needs: built as source distribution, then as wheel from that."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest

from espgen import resources

ROOT = Path(__file__).parents[2]
PACKAGED = {"espgen": "espgen", "templates": "espgen/templates", "firmware": "espgen/firmware"}
BUILD = "from setuptools import build_meta as b; import sys; print(getattr(b, sys.argv[1])(sys.argv[2]))"


def sources(tree: Path) -> dict[str, Path]:
    """Installed path -> file of `tree`, for everything that has to be installed."""
    found = {}
    for folder, installed in PACKAGED.items():
        for path in sorted((tree / folder).rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                found[f"{installed}/{path.relative_to(tree / folder).as_posix()}"] = path
    return found


def build(kind: str, tree: Path, into: Path) -> Path:
    into.mkdir()
    done = subprocess.run(
        [sys.executable, "-c", BUILD, kind, str(into)], cwd=tree, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return into / done.stdout.splitlines()[-1]


@pytest.mark.skipif(importlib.util.find_spec("setuptools") is None, reason="setuptools is not installed")
def test_the_wheel_built_from_the_source_distribution_holds_every_file(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    for folder in PACKAGED:
        shutil.copytree(ROOT / folder, tree / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "setup.py", "README.md"):
        shutil.copy(ROOT / name, tree / name)
    expected = sources(tree)
    with tarfile.open(build("build_sdist", tree, tmp_path / "sdist")) as archive:
        archive.extractall(tmp_path / "unpacked", filter="data")
    (unpacked,) = (tmp_path / "unpacked").iterdir()
    with zipfile.ZipFile(build("build_wheel", unpacked, tmp_path / "wheel")) as wheel:
        names = {name for name in wheel.namelist() if ".dist-info/" not in name}
        assert names == expected.keys()
        for name, path in expected.items():
            assert wheel.read(name) == path.read_bytes(), name


def test_resources_are_found() -> None:
    assert (resources.templates_dir() / "__init__.py").is_file()
    assert (resources.firmware_dir() / "include" / "espgen").is_dir()
    assert {"digits_float.onnx", "digits_int8_qdq.onnx", "digits_test.npz"} <= set(os.listdir(resources.models_dir()))


def test_extras_and_entry_point() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    everything = re.search(r"\[(.*)\]", extras["all"][0])
    assert everything is not None
    assert set(everything[1].split(",")) == extras.keys() - {"all"}
    assert project["scripts"] == {"espgen": "espgen.__main__:run"}


def test_module_and_script_are_the_same_program() -> None:
    done = subprocess.run([sys.executable, "-m", "espgen", "--help"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("Usage: espgen")
