"""Compilers, manifests, builds and their cache."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest
from toy_reference import TOY

from espgen.errors import ENVIRONMENT, EspgenError
from espgen.resources import firmware_dir
from espgen.verify import build, cache, compilers, private_folder
from espgen.verify.component import Component
from espgen.verify.toolchain import build_firmware, build_host, doctor, firmware_compilers, host_compilers


@pytest.fixture
def no_tools(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compilers.shutil, "which", lambda name: None)
    monkeypatch.setattr(compilers.importlib.util, "find_spec", lambda name: None)
    compilers._probe.cache_clear()
    yield
    compilers._probe.cache_clear()


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "cache"
    monkeypatch.setenv("ESPGEN_CACHE", str(folder))
    return folder


@pytest.fixture
def toy(tmp_path: Path) -> Path:
    return Path(shutil.copytree(TOY, tmp_path / "toy"))


def test_zig_is_found_and_is_the_last_choice() -> None:
    for found in (host_compilers(), firmware_compilers()):
        assert found[-1].kind == "zig"
        assert [entry.kind for entry in found].count("zig") == 1
    assert compilers.host_compiler("zig").command[-1] == "c++"


def test_doctor_lists_every_tool_with_its_remedy() -> None:
    findings = doctor()
    assert [entry.name for entry in findings] == [
        "firmware compiler riscv32-esp-elf-g++",
        "firmware compiler riscv64-unknown-elf-g++",
        "firmware compiler zig",
        "host compiler g++",
        "host compiler clang++",
        "host compiler zig",
    ]
    for entry in findings:
        assert bool(entry.version) == bool(entry.path) == entry.found != bool(entry.remedy)
        assert entry.host != entry.firmware


def test_without_a_compiler_the_remedy_is_named(no_tools: None) -> None:
    assert not any(entry.found for entry in doctor())
    for find in (compilers.host_compiler, compilers.firmware_compiler):
        with pytest.raises(EspgenError, match="compiler") as error:
            find()
        assert error.value.exit_code == ENVIRONMENT and "pip install" in (error.value.hint or "")


def test_a_compiler_that_is_not_there_is_an_error() -> None:
    with pytest.raises(EspgenError, match="called nosuch"):
        compilers.host_compiler("nosuch")


def test_the_environment_chooses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ESPGEN_HOST_COMPILER", "zig")
    monkeypatch.setenv("ESPGEN_FIRMWARE_COMPILER", "zig")
    assert compilers.host_compiler().kind == compilers.firmware_compiler().kind == "zig"
    with pytest.raises(EspgenError, match="no sanitizer for address with zig"):
        compilers.host_compiler(sanitize=("address",))


def test_a_compiler_without_the_sanitizers_libraries_is_passed_over(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """As Debian's clang without libclang-rt-dev: it compiles, and fails to link what asks for a sanitizer."""
    bare, sanitizing = tmp_path / "bare", tmp_path / "sanitizing"
    bare.write_text('#!/bin/sh\ncase "$*" in *-fsanitize=*) exit 1;; esac\n')
    sanitizing.write_text("#!/bin/sh\n")
    for program in (bare, sanitizing):
        program.chmod(0o755)
    found = tuple(compilers.Compiler(path.name, (str(path),), "clang", "1") for path in (bare, sanitizing))
    monkeypatch.setattr(compilers, "host_compilers", lambda: found)
    assert compilers.host_compiler().name == "bare"
    assert compilers.host_compiler(sanitize=("address", "undefined")).name == "sanitizing"
    with pytest.raises(EspgenError, match="no sanitizer for address and undefined with bare"):
        compilers.host_compiler("bare", ("address", "undefined"))


def test_a_manifest_is_read() -> None:
    component = Component.load(TOY)
    assert component.name == "toy"
    assert component.hash == bytes(range(32)).hex()
    assert [path.name for path in component.sources] == ["toy.cpp", "weights.S"]
    assert component.manifest["name"] == "toy"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (None, "no component of espgen"),
        ("{", "broken"),
        ("[]", "not an object"),
        ({"name": 3}, "no name"),
        ({"hash": "12"}, "no hash"),
        ({"identifier": "a b"}, "no identifier"),
        ({"abi": 1}, "another version of espgen"),
        ({"sources": "toy.cpp"}, "no list of texts"),
        ({"sources": ["src/nothing.cpp"]}, "nothing.cpp is missing"),
        ({"sources": ["../../../etc/passwd"]}, "leaves the component"),
        ({"include_dirs": ["/usr/include"]}, "leaves the component"),
    ],
)
def test_a_broken_manifest_is_refused(toy: Path, change: object, message: str) -> None:
    path = toy / "espgen_component.json"
    if change is None:
        path.unlink()
    elif isinstance(change, str):
        path.write_text(change)
    else:
        assert isinstance(change, dict)
        path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(EspgenError, match=message) as error:
        Component.load(toy)
    assert error.value.exit_code == 2 and error.value.hint


def test_builds_are_cached_by_content(toy: Path, own_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runs: list[str] = []
    run = build._run
    monkeypatch.setattr(
        build, "_run", lambda command, folder, what, compiler: (runs.append(what), run(command, folder, what, compiler))
    )
    first = build_host(toy)
    assert first.is_relative_to(own_cache) and len(runs) == 9
    assert build_host(toy) == first and len(runs) == 9

    moved = toy.rename(toy.parent / "elsewhere")
    assert build_host(moved) == first and len(runs) == 9  # the same content is the same build

    source = moved / "src" / "toy.cpp"
    source.write_text(source.read_text().replace("300 *", "301 *"))
    second = build_host(moved)
    assert second != first and len(runs) == 11  # one unit and the link

    (moved / "src" / "weights.bin").write_bytes(b"\1\2\3")
    third = build_host(moved)
    assert third not in (first, second) and len(runs) == 13  # what .incbin names counts too


def test_a_header_counts_for_every_unit(toy: Path, own_cache: Path) -> None:
    manifest = toy / "espgen_component.json"
    manifest.write_text(json.dumps({**json.loads(manifest.read_text()), "include_dirs": ["src"]}))
    first = build_host(toy)
    (toy / "src" / "extra.h").write_text("// nobody includes this\n")
    assert build_host(toy) != first


def test_defines_reach_the_compiler(toy: Path, own_cache: Path) -> None:
    manifest = toy / "espgen_component.json"
    manifest.write_text(json.dumps({**json.loads(manifest.read_text()), "defines": ["TOY_WRONG=1"]}))
    source = toy / "src" / "toy.cpp"
    source.write_text(source.read_text() + "\n#if TOY_WRONG\n#error this is wrong\n#endif\n")
    with pytest.raises(EspgenError, match="this is wrong") as error:
        build_host(toy)
    assert error.value.exit_code == ENVIRONMENT
    assert "toy.cpp" in (error.value.place or "")
    assert not list(own_cache.rglob("*.so"))


def test_compiler_messages_are_cut(toy: Path, own_cache: Path) -> None:
    source = toy / "src" / "toy.cpp"
    source.write_text(source.read_text() + "".join(f"\nunknown{i} x{i};" for i in range(100)))
    with pytest.raises(EspgenError) as error:
        build_host(toy)
    assert error.value.message.count("\n") == build.SHOWN_LINES


@pytest.mark.parametrize("compiler", [entry.name for entry in firmware_compilers()])
def test_firmware_is_a_risc_v_image_with_the_build_in_it(toy: Path, tmp_path: Path, compiler: str) -> None:
    out = tmp_path / "images" / "toy.elf"
    assert build_firmware(toy, out, compiler=compiler) == out
    image = out.read_bytes()
    assert image[:5] == b"\x7fELF\x01" and image[18] == 243  # 32 bits, RISC-V
    build_id = build_firmware(toy, compiler=compiler).stem.split("-")[-1][:16]
    assert build_id.encode() in image


def test_an_unknown_board_is_the_users_fault() -> None:
    with pytest.raises(EspgenError, match="no stand-alone image for board 'esp32'") as error:
        build_firmware(TOY, board="esp32")
    assert error.value.exit_code == 2


def test_prune_deletes_what_was_used_longest_ago(own_cache: Path) -> None:
    import os

    for age, name in enumerate(("new", "middle", "old")):
        path = cache.cached(name, lambda place: place.write_bytes(bytes(100)))
        os.utime(path, (1_000_000 - age, 1_000_000 - age))
    cache.prune(limit=250)
    assert sorted(path.name for path in own_cache.iterdir()) == ["middle", "middle.sha256", "new", "new.sha256"]
    cache.cached("middle", lambda place: pytest.fail("it is there"))
    cache.prune(limit=100)
    assert sorted(path.name for path in own_cache.iterdir()) == ["middle", "middle.sha256"]


@pytest.mark.parametrize("harm", ["content", "length", "missing_note", "other_note", "link", "folder"])
def test_what_is_not_what_was_built_is_built_anew(harm: str, own_cache: Path) -> None:
    place = cache.cached("host/thing.so", lambda out: out.write_bytes(b"right"))
    note = place.with_name("thing.so.sha256")
    if harm == "content":
        place.write_bytes(b"wrong")
    elif harm == "length":
        place.write_bytes(b"")
    elif harm == "missing_note":
        note.unlink()
    elif harm == "other_note":
        note.write_bytes(b"\xff" * 64)
    elif harm == "link":
        place.unlink()
        (own_cache / "other").write_bytes(b"right")
        place.symlink_to(own_cache / "other")
    else:
        note.unlink()
        note.mkdir()
    if harm == "folder":
        with pytest.raises(EspgenError, match="cannot be kept") as caught:
            cache.cached("host/thing.so", lambda out: out.write_bytes(b"right"))
        assert caught.value.exit_code == ENVIRONMENT
        return
    made: list[int] = []
    again = cache.cached("host/thing.so", lambda out: made.append(out.write_bytes(b"right")))
    assert (again, again.read_bytes(), made, again.is_symlink()) == (place, b"right", [5], False)
    assert cache.cached("host/thing.so", lambda out: pytest.fail("it is there")) == place


def test_a_library_that_was_exchanged_is_not_loaded(toy: Path, own_cache: Path) -> None:
    built = build_host(toy)
    content = built.read_bytes()
    built.write_bytes(b"not this one")
    assert build_host(toy) == built
    assert built.read_bytes() == content


def test_a_folder_of_the_cache_belongs_to_its_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ESPGEN_CACHE", str(tmp_path / "new" / "cache"))
    folder = private_folder.private_folder()
    assert folder.stat().st_mode & 0o777 == 0o700
    for mode, message in ((0o775, "others may write"), (0o757, "others may write"), (0o1777, "others may write")):
        folder.chmod(mode)
        with pytest.raises(EspgenError, match=message) as caught:
            cache.cached("thing", lambda place: place.write_bytes(b"x"))
        assert caught.value.exit_code == ENVIRONMENT
        command = (caught.value.hint or "").split(",")[0]
        assert command == f"chmod go-w {folder}"
        subprocess.run(command.split(), check=True)
        assert cache.cached("thing", lambda place: place.write_bytes(b"x")).read_bytes() == b"x"
        folder.chmod(0o700)
    monkeypatch.setattr(private_folder.os, "geteuid", lambda: 12345)
    with pytest.raises(EspgenError, match="belongs to somebody else"):
        private_folder.private_folder()


def test_folders_above_the_cache_are_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ESPGEN_CACHE", str(tmp_path / "open" / "cache"))
    private_folder.private_folder()
    (tmp_path / "open").chmod(0o777)
    with pytest.raises(EspgenError, match="others may write to"):
        private_folder.private_folder()
    (tmp_path / "open").chmod(0o1777)  # as folders of temporary files are: only owners rename
    private_folder.private_folder()


def test_without_a_folder_of_ones_own_nothing_is_predictable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.delenv("ESPGEN_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "espgen").mkdir()
    (tmp_path / "home" / "espgen").chmod(0o777)
    private_folder._passing_folder.cache_clear()
    folder = private_folder.private_folder()
    assert folder.parent != tmp_path / "home"
    assert folder.stat().st_mode & 0o777 == 0o700
    assert folder == private_folder.private_folder()
    assert "others may write there" in caplog.text
    assert "ESPGEN_CACHE" in caplog.text
    private_folder._passing_folder.cache_clear()
    assert private_folder.private_folder() != folder
    private_folder._passing_folder.cache_clear()


def test_a_failed_build_leaves_nothing(own_cache: Path) -> None:
    def fail(place: Path) -> None:
        place.write_bytes(b"half")
        raise RuntimeError

    with pytest.raises(RuntimeError):
        cache.cached("thing", fail)
    assert list(own_cache.rglob("*")) == []


def test_a_cache_that_cannot_be_written_is_explained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "objects").write_text("in the way")
    monkeypatch.setenv("ESPGEN_CACHE", str(tmp_path))
    with pytest.raises(EspgenError, match="cannot be kept") as error:
        cache.cached("objects/thing", lambda place: place.write_bytes(b"x"))
    assert error.value.exit_code == ENVIRONMENT and "ESPGEN_CACHE" in (error.value.hint or "")


def test_large_models_get_larger_tables(toy: Path) -> None:
    manifest = toy / "espgen_component.json"
    plain = json.loads(manifest.read_text())
    for layers, expected in ((512, ()), (700, ("-DESPGEN_AGENT_LAYERS=700", "-DESPGEN_AGENT_OUTPUTS=1400"))):
        manifest.write_text(json.dumps({**plain, "kernels": [{}] * layers}))
        assert build.table_sizes(Component.load(toy)) == expected
    header = (firmware_dir() / "agent" / "runner.h").read_text()
    assert f"#define ESPGEN_AGENT_LAYERS {build.AGENT_LAYERS}\n" in header
