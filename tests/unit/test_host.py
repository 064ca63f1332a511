"""The host library: guard bytes, poisoned memory, missing rows, sanitizers."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from toy_reference import TOY, sanitizers, toy_input, toy_reference

from espgen.errors import ENVIRONMENT, EspgenError
from espgen.verify.build import build_host
from espgen.verify.host import HostModel


def changed_toy(folder: Path, old: str, new: str) -> Path:
    """A copy of the toy component with one defect."""
    copy = folder / "component"
    shutil.copytree(TOY, copy)
    source = copy / "src" / "toy.cpp"
    text = source.read_text()
    assert old in text
    source.write_text(text.replace(old, new))
    return copy


@pytest.mark.parametrize("sanitized", [False, True])
def test_every_layer_is_the_references(sanitized: bool) -> None:
    with HostModel(build_host(TOY, sanitize=sanitizers() if sanitized else ())) as model:
        assert (model.name, model.hash) == ("toy", bytes(range(32)).hex())
        for seed in range(4):
            x = toy_input(seed)
            reference = toy_reference(x)
            values = model.run({"x": x})
            assert set(values) == set(reference)
            for name, value in values.items():
                assert value.dtype == reference[name].dtype
                np.testing.assert_array_equal(value, reference[name])
            assert set(model.run({"x": x}, keep="outputs")) == {"wide", "high"}


def test_zig_alone_is_enough() -> None:
    x = toy_input(5)
    for sanitize in ((), ("undefined",)):
        with HostModel(build_host(TOY, sanitize=sanitize, compiler="zig")) as model:
            np.testing.assert_array_equal(model.run({"x": x})["doubled"], toy_reference(x)["doubled"])


@pytest.mark.parametrize("sanitized", [False, True])
@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("    kHigh[i] =", "    kHigh[9] = 8;\n    kHigh[i + 9] =", "toy_psram was written 0 bytes past its end, in spread"),
        ("    kRing[(row", "    kRing[-1] = 0;\n    kRing[(row", "toy_internal was written 1 bytes before its start, in double"),
    ],
)
def test_a_write_outside_the_arena_is_caught(
    tmp_path: Path, old: str, new: str, message: str, sanitized: bool
) -> None:
    built = build_host(changed_toy(tmp_path, old, new), sanitize=("undefined",) if sanitized else ())
    with HostModel(built) as model, pytest.raises(EspgenError, match=message):
        model.run({"x": toy_input(0)})


def test_a_row_never_made_or_made_twice_is_caught(tmp_path: Path) -> None:
    for name, old, new, message in (
        ("never", "{Double, 0, 6, 8}", "{Double, 0, 6, 7}", "7 rows of 'doubled'"),
        ("twice", "{Double, 0, 6, 8}", "{Double, 0, 5, 8}", "9 rows of 'doubled'"),
    ):
        component = tmp_path / name
        component.mkdir()
        with (
            HostModel(build_host(changed_toy(component, old, new))) as model,
            pytest.raises(EspgenError, match=message),
        ):
            model.run({"x": toy_input(0)})


def test_memory_nobody_wrote_shows(tmp_path: Path) -> None:
    """A kernel that relies on what was there before gives another result in the next run."""
    copy = changed_toy(tmp_path, "kWide[2 * i] = static_cast<uint8_t>(wide);", "")
    with HostModel(build_host(copy)) as model:
        first, second = (model.run({"x": toy_input(0)})["wide"] for _ in range(2))
        assert not np.array_equal(first, second)


def test_undefined_behaviour_is_reported(tmp_path: Path) -> None:
    copy = changed_toy(tmp_path, "300 * value", "(2147483640 + value + toy_weights[0])")
    with (
        HostModel(build_host(copy, sanitize=("undefined",))) as model,
        pytest.raises(EspgenError, match="signed integer overflow") as error,
    ):
        model.run({"x": np.full((1, 8, 5, 3), 1, np.int8) * np.arange(8, dtype=np.int8).reshape(1, 8, 1, 1) * 13})
    assert "toy.cpp" in error.value.message


def test_wrong_inputs_are_refused() -> None:
    with HostModel(build_host(TOY)) as model:
        with pytest.raises(EspgenError, match="no data for input 'x'"):
            model.run({})
        with pytest.raises(EspgenError, match="int16 of shape"):
            model.run({"x": toy_input(0).astype(np.int16)})


def test_a_file_that_is_no_library_is_an_error(tmp_path: Path) -> None:
    for name in ("broken.so", "broken"):
        path = tmp_path / name
        path.write_bytes(b"\x7fELF nonsense")
        path.chmod(0o755)
        with pytest.raises(EspgenError) as error:
            HostModel(path)
        assert error.value.exit_code == ENVIRONMENT


@pytest.mark.parametrize("sanitized", [False, True])
def test_bytes_between_buffers_are_guards(tmp_path: Path, sanitized: bool) -> None:
    sanitize = ("undefined",) if sanitized else ()
    x = toy_input(3)
    cases = {
        # a byte between two buffers
        "gap": ("    kDifference[row", "    kDifference[-1] = 9;\n    kDifference[row", "byte 159, in no buffer of difference"),
        # memory of a later layer, written too early
        "early": ("kRing[(row", "kWide[0] = 7;\n        kRing[(row", "byte 288, in no buffer of double"),
    }
    for name, (old, new, message) in cases.items():
        folder = tmp_path / name
        folder.mkdir()
        source = (TOY / "src" / "toy.cpp").read_text()
        if old not in source:
            old = old.strip()
        with (
            HostModel(build_host(changed_toy(folder, old, new), sanitize=sanitize)) as model,
            pytest.raises(EspgenError, match=message),
        ):
            model.run({"x": x})


def test_a_value_read_after_its_time_shows(tmp_path: Path) -> None:
    """The difference's buffer is said to end before its reader: what the reader finds is no longer the value."""
    x = toy_input(3)
    with HostModel(build_host(changed_toy(tmp_path, "{0, 160, 120, 1, 8}", "{0, 160, 120, 1, 7}"))) as model:
        assert not np.array_equal(model.run({"x": x})["wide"], toy_reference(x)["wide"])
