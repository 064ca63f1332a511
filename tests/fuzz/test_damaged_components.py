"""Damaged component folders: each is refused with the file and a remedy, in no time; nothing of them is believed.

The fast part runs with the suite; `make prove` damages 500.
"""

from __future__ import annotations

import random
import resource
import shutil
import time
from collections import Counter
from pathlib import Path

import pytest
from damaged_components import DAMAGES, add_a_file, damage_a_file, edit_the_manifest, write_nonsense

from espgen import api, cli
from espgen.codegen.project import MANIFEST
from espgen.errors import BAD_INPUT, DONE, ENVIRONMENT, MISMATCH
from espgen.resources import models_dir

SECONDS = 30.0  # a case that is built after all compiles the component's C++
KILOBYTES = 400_000  # more than before, at the peak


@pytest.fixture(scope="module")
def component(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole") / "digits"
    api.compile(models_dir() / "digits_int8_qdq.onnx", folder)
    return folder


def verified(folder: Path, capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    """Exit code and errors of `espgen verify`, with time and memory bounded."""
    before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.monotonic()
    with pytest.raises(SystemExit) as done:
        cli.main(["verify", str(folder), "--target", "host", "--limit", "1"])
    assert time.monotonic() - start < SECONDS
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < KILOBYTES
    assert isinstance(done.value.code, int)
    return done.value.code, capsys.readouterr().err


def refused(folder: Path, what: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, told = verified(folder, capsys)
    assert code == BAD_INPUT, (what, told)
    assert f"place: {folder}" in told and "remedy: " in told, (what, told)


def copied(component: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "copy"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(component, folder)
    return folder


def one_case(component: Path, tmp_path: Path, seed: int, capsys: pytest.CaptureFixture[str]) -> int:
    chance, folder = random.Random(seed), copied(component, tmp_path)
    kind = seed % 8
    if kind == 7:  # with a new seal even nonsense is as it was written: it may be refused later, or be harmless
        what = edit_the_manifest(folder, chance, reseal=True)
        code, told = verified(folder, capsys)
        assert code in (DONE, MISMATCH, BAD_INPUT, ENVIRONMENT), (what, told)
        return code
    if kind == 6:
        what = write_nonsense(folder, chance)
    elif kind == 5:
        what = edit_the_manifest(folder, chance, reseal=False)
    elif kind == 4:
        what = add_a_file(folder, chance)
    else:
        what = damage_a_file(folder, chance)
    refused(folder, what, capsys)
    return BAD_INPUT


def test_a_whole_component_is_equal(component: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = copied(component, tmp_path)
    (folder / "NOTES.md").write_text("what stands beside the component is not built\n")
    assert verified(folder, capsys)[0] == DONE


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("name", [MANIFEST, "espgen_graph.bin", "src/digits_int8_qdq_weights_host.bin", "include/espgen/model.h"])
def test_each_damage_names_file_and_remedy(
    component: Path, tmp_path: Path, name: str, damage: object, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = copied(component, tmp_path)
    assert callable(damage)
    damage(folder / name, random.Random(1))
    code, told = verified(folder, capsys)
    assert code == BAD_INPUT, told
    assert f"place: {folder / name}" in told and "remedy: " in told, told


def test_random_damage(component: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    codes = Counter(one_case(component, tmp_path, seed, capsys) for seed in range(32))
    assert codes[BAD_INPUT] >= 28


@pytest.mark.prove
def test_500_damaged_components(component: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    codes = Counter(one_case(component, tmp_path, seed, capsys) for seed in range(1000, 1500))
    with capsys.disabled():
        print(f"\nexit codes of 500 damaged components: {dict(codes)}")
    assert codes.total() == 500 and codes[BAD_INPUT] >= 438
