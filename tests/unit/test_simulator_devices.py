"""The simulated board: devices, both cores, the pseudo-terminal, the profile, the memory map."""

from __future__ import annotations

import json
import random
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
import serial
from simulator_build import build

from espgen.errors import EspgenError
from espgen.verify.simulator import STOPPED_BY_ERROR, Options, Simulator, build_simulator, simulate


def _passes(elf: Path, options: Options | None = None) -> dict[str, Any]:
    result = simulate(elf, options, timeout=60)
    assert (result.status, result.errors) == (0, "")
    return result.statistics


@pytest.mark.parametrize("l2_kb", [128, 256])
def test_devices_and_memory_model(l2_kb: int, tmp_path: Path) -> None:
    extra = ("-DESPGEN_L2_128",) if l2_kb == 128 else ()
    statistics = _passes(build(tmp_path, "devices", *extra), Options(l2_kb=l2_kb))
    memory = statistics["memory"]
    assert memory["copies"] == 5
    assert memory["copied_bytes"] == 1024 + 2048 + 1024 + 64 + 4096


def test_firmware_for_a_small_cache_is_refused_with_a_large_one(tmp_path: Path) -> None:
    with pytest.raises(EspgenError, match="outside memory"):
        simulate(build(tmp_path, "devices", "-DESPGEN_L2_128"), Options(l2_kb=256))


def test_two_cores(tmp_path: Path) -> None:
    elf = build(tmp_path, "two_cores")
    first = _passes(elf, Options(memory_model=False))
    assert _passes(elf, Options(memory_model=False)) == first  # deterministic
    assert first["cores"][0]["contention_cycles"] > 500  # both spin on one word
    alone = _passes(elf, Options(memory_model=False, parameters={"port_cycles": 0}))
    assert alone["cores"][0]["contention_cycles"] == 0
    _passes(elf, Options(memory_model=True))


PORT = {"": 35.0, "TWO_CORES": 38.0, "TWO_CORES FREE": 35.0}


@pytest.mark.parametrize("case", PORT)
def test_two_cores_share_one_access_per_cycle(case: str, tmp_path: Path) -> None:
    """Fourteen loads, five stores and sixteen float instructions: 35 cycles alone, twice nineteen together."""
    elf = build(tmp_path, "shared_port", *(["-DTWO_CORES"] if case else []))
    free = {"port_cycles": 0.0} if "FREE" in case else None
    result = simulate(elf, Options(memory_model=False, parameters=free), timeout=60)
    assert abs(int(result.output) / 100 - PORT[case]) <= 0.1


def test_a_miss_of_one_core_holds_the_other_one_up(tmp_path: Path) -> None:
    elf = build(tmp_path, "shared_port", "-DTWO_CORES", "-DMISSES")
    blocked, independent = (int(simulate(elf, Options(parameters={"miss_blocks": on}), timeout=60).output) / 100 for on in (1, 0))
    assert blocked > 1.15 * independent


def test_pseudo_terminal_carries_every_byte(tmp_path: Path) -> None:
    data = bytes(1 + i % 255 for i in range(100_000))
    with Simulator(build(tmp_path, "echo")) as simulator:
        assert simulator.running
        with serial.Serial(simulator.port, timeout=10) as port:
            received = b""
            for start in range(0, len(data), 4096):
                chunk = data[start : start + 4096]
                port.write(chunk)
                received += port.read(len(chunk))
            assert received == data
            port.write(b"\0")
            assert port.read(1) == b"\0"
        assert simulator.wait(10) == 7
        assert simulator.statistics()["status"] == 7


def test_pseudo_terminal_survives_clients_that_come_and_go(tmp_path: Path) -> None:
    with Simulator(build(tmp_path, "echo")) as simulator:
        for text in (b"first", b"second"):
            with serial.Serial(simulator.port, timeout=10) as port:
                port.write(text)
                assert port.read(len(text)) == text


def test_waiting_firmware_leaves_the_processor_to_others(tmp_path: Path) -> None:
    with Simulator(build(tmp_path, "echo")) as simulator:
        pid = simulator.process_id
        time.sleep(0.3)
        before = _processor_seconds(pid)
        time.sleep(1.0)
        assert _processor_seconds(pid) - before < 0.3


def _processor_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / 100


def test_a_stopped_simulator_is_the_error_the_user_sees(tmp_path: Path) -> None:
    elf = build(tmp_path, "echo")
    with (
        pytest.raises(EspgenError, match="cycle limit"),
        Simulator(elf, Options(max_cycles=1000)) as simulator,
    ):
        assert simulator.wait(10) == STOPPED_BY_ERROR
        raise EspgenError("the board does not answer")


def test_missing_and_broken_elf_files(tmp_path: Path) -> None:
    broken = tmp_path / "broken.elf"
    broken.write_bytes(b"\x7fELF\x01\x01\x01" + bytes(20))
    for elf, message in ((tmp_path / "none.elf", "cannot be read"), (broken, "truncated")):
        with pytest.raises(EspgenError, match=message), Simulator(elf):
            pass


def test_mutated_elf_files_end_cleanly(tmp_path: Path) -> None:
    good = build(tmp_path, "devices").read_bytes()
    rng = random.Random(1)
    program, elf = str(build_simulator()), tmp_path / "mutated.elf"
    outcomes = set()
    for _ in range(300):
        image = bytearray(good[: rng.choice([len(good), rng.randrange(len(good))])])
        for _ in range(rng.choice([1, 3, 20])):
            # Headers, section table and code: everywhere, but the ends more often.
            place = rng.choice([rng.randrange(len(image)), rng.randrange(min(200, len(image))), len(image) - 1])
            image[place] = rng.randrange(256)
        elf.write_bytes(image)
        command = [program, "--elf", str(elf), "--uart", "none", "--max-cycles", "100000"]
        outcomes.add(subprocess.run(command, capture_output=True, check=False, timeout=30).returncode)
    assert min(outcomes) >= 0  # no signal
    assert {STOPPED_BY_ERROR, 122} <= outcomes


def test_profile_per_function(tmp_path: Path) -> None:
    out = tmp_path / "profile.json"
    _passes(build(tmp_path, "profile"), Options(memory_model=False, profile=out))
    functions = {row["name"]: row for row in json.loads(out.read_text())["functions"]}
    straight = functions["Straight"]
    assert (straight["calls"], straight["instructions"]) == (5, 5 * 21)
    assert straight["cycles"] == 5 * (20 + 4)
    assert functions["Loop"]["instructions"] == 2 * 100 + 1
    assert functions["Loop"]["cycles"] == 2 * 100 + 3 * 4 + 4  # two wrong predictions at first, one at the end, the return
    assert straight["stall_cycles"] == 0
