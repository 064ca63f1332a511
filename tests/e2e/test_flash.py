"""How much flash a component takes: counted when it is compiled, measured where an image is linked."""

from __future__ import annotations

from pathlib import Path

import pytest

from espgen import api
from espgen.codegen.flash import RECORDS
from espgen.report import text
from espgen.resources import firmware_dir, models_dir
from espgen.target.chips import CHIPS
from espgen.verify.build import Stored, build_firmware, stored_bytes
from espgen.verify.compilers import firmware_compilers
from espgen.verify.component import Component
from espgen.verify.image import stored_sections

NO_MODEL = firmware_dir() / "boards" / "no_model"


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("digits") / "component"
    api.compile(models_dir() / "digits_int8_qdq.onnx", folder)
    return folder


@pytest.mark.parametrize("compiler", [entry.name for entry in firmware_compilers()])
def test_an_image_holds_what_was_counted_and_the_code(digits: Path, compiler: str) -> None:
    memory = Component.load(digits).manifest["memory"]
    image = build_firmware(digits, compiler=compiler)
    held, empty = (stored_sections(path) for path in (image, build_firmware(NO_MODEL, compiler=compiler)))
    assert held[".psram"] == memory["weights"]
    # The empty model has a Model, too; text that both images hold is merged, tables are aligned.
    assert held[".rodata"] - empty[".rodata"] == pytest.approx(memory["tables"] - RECORDS["Model"], abs=64)
    code = held[".text"] - empty[".text"]
    total = held[".psram"] + held[".rodata"] - empty[".rodata"] + code
    assert stored_bytes(image, compiler=compiler) == Stored(code, total)


def test_profile_tells_what_was_measured_and_compile_what_was_counted(digits: Path, tmp_path: Path) -> None:
    compiled = api.compile(models_dir() / "digits_int8_qdq.onnx", tmp_path / "c")["memory"]
    profiled = api.profile(digits)["memory"]
    stored = stored_bytes(build_firmware(digits))
    assert profiled == {**compiled, "flash": stored.total, "code": stored.code}
    assert list(profiled) == ["internal", "psram", "arenas", "flash", "code", "planner"]
    assert 1000 < stored.code < stored.total
    measured = api.compile(models_dir() / "digits_int8_qdq.onnx", tmp_path / "m", code_size=True)["memory"]
    assert (measured["flash"], measured["code"]) == (stored.total, stored.code), "--code-size tells what profile tells"
    assert profiled["flash"] > compiled["flash"] > Component.load(digits).manifest["memory"]["weights"]


def test_a_component_for_any_chip_has_no_image_to_measure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    anywhere = api.Options(chip=CHIPS["portable"])
    compiled = api.compile(models_dir() / "digits_int8_qdq.onnx", tmp_path / "any", options=anywhere, code_size=True)
    assert "code" not in compiled["memory"] and compiled["memory"]["flash"] > 1000
    assert "for portable (any chip of ESP-IDF)" in text.compilation(compiled)
    monkeypatch.setattr("espgen.api.firmware_compilers", lambda: ())
    compiled = api.compile(models_dir() / "digits_int8_qdq.onnx", tmp_path / "c", code_size=True)
    assert "code" not in compiled["memory"] and "for esp32p4 (revision 0.x, 1.x, 3.1 and later, 360 MHz)" in text.compilation(
        compiled
    )


def test_sizes_of_records_are_the_ones_that_the_firmware_asserts() -> None:
    header = (firmware_dir() / "include" / "espgen" / "model.h").read_text()
    for name, size in RECORDS.items():
        assert f"sizeof({name}) == {size}" in " ".join(header.split())


def test_nothing_adds_nothing() -> None:
    assert stored_bytes(build_firmware(NO_MODEL)) == Stored(0, 0)
