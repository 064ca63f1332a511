"""Components for any target of ESP-IDF: no assembly, no list of targets, no warning on the chips of the C series; and what a
component registry makes of every component."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from espgen import api
from espgen.errors import EspgenError
from espgen.resources import firmware_dir, models_dir
from espgen.target.chips import CHIPS
from espgen.verify.component import Component

MODEL = models_dir() / "digits_int8_qdq.onnx"
STRICT = ("-std=c++17", "-O2", "-Wall", "-Wextra", "-Werror", "-fno-exceptions", "-fno-rtti", "-ffreestanding")
TARGETS = {"esp32c3": "generic_rv32+m+c", "esp32c6": "generic_rv32+m+a+c"}


@pytest.fixture(scope="module")
def portable(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("portable") / "digits"
    api.compile(MODEL, folder, options=api.Options(chip=CHIPS["portable"]))
    return folder


def test_nothing_in_it_names_a_chip(portable: Path) -> None:
    assert [path.name for path in (portable / "src").glob("*.S")] == ["digits_int8_qdq_weights.S"]
    assert "REQUIRED_IDF_TARGETS" not in (portable / "CMakeLists.txt").read_text()
    assert "targets:" not in (portable / "idf_component.yml").read_text()
    assert "esp.v" not in "".join(path.read_text() for path in (portable / "src").glob("*.cpp"))


@pytest.mark.parametrize("target", list(TARGETS))
def test_it_compiles_for_the_c_series_without_a_warning(portable: Path, tmp_path: Path, target: str) -> None:
    pytest.importorskip("ziglang", reason="the extra sim is not installed")
    cpu = ("-target", "riscv32-freestanding-none", f"-mcpu={TARGETS[target]}", "-mabi=ilp32")
    library = firmware_dir() / "boards" / "simulator" / "include"  # string.h and the like, which ESP-IDF has
    includes = (f"-I{portable / 'include'}", f"-I{portable / 'src'}", f"-isystem{library}")
    for source in Component.load(portable).sources:
        language = STRICT if source.suffix == ".cpp" else ()
        command = [sys.executable, "-m", "ziglang", "c++", *cpu, *language, *includes, "-c", str(source)]
        done = subprocess.run([*command, "-o", str(tmp_path / "unit.o")], cwd=source.parent, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr


def test_a_registry_takes_the_manifest_and_leaves_out_what_only_a_pc_runs(portable: Path, tmp_path: Path) -> None:
    compote = shutil.which("compote", path=str(Path(sys.executable).parent)) or shutil.which("compote")
    if compote is None:
        pytest.skip("idf-component-manager is not installed")
    folder = tmp_path / "digits"
    options = api.Options(license="Apache-2.0 OR MIT", url="https://example.com/digits")
    api.compile(MODEL, folder, options=options)
    for made in (folder, portable):
        done = subprocess.run([compote, "manifest", "lint", str(made)], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout
    manifest = (folder / "idf_component.yml").read_text()
    assert 'license: "Apache-2.0 OR MIT"' in manifest and 'url: "https://example.com/digits"' in manifest
    # The archive without them is verified on the chip, not on a PC.
    for path in (folder / "src").glob("*_host.*"):
        path.unlink()
    Component.load_sealed(folder)
    with pytest.raises(EspgenError, match="no files for a PC"):
        api.verify(folder, target="host", limit=1)


def test_half_of_the_files_for_a_pc_is_damage(tmp_path: Path) -> None:
    api.compile(MODEL, tmp_path / "digits")
    next((tmp_path / "digits" / "src").glob("*_host.bin")).unlink()
    with pytest.raises(EspgenError, match="a file of the component is missing"):
        Component.load_sealed(tmp_path / "digits")


@pytest.mark.parametrize(("field", "text"), [("license", 'x"\ny: 1'), ("url", "ftp://x"), ("url", 'https://x"y')])
def test_texts_that_a_manifest_cannot_hold_are_refused(field: str, text: str) -> None:
    with pytest.raises(EspgenError, match=r"is no (SPDX|address)"):
        api.Options(**{field: text})  # type: ignore[arg-type]
