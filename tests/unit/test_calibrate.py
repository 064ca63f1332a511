"""`espgen calibrate`: the simulator's own numbers come out again, also when they are not the ones that espgen knows."""

from __future__ import annotations

import json
import random
import re
from pathlib import Path

import pytest

from espgen import api
from espgen.calibrate.bench import Answer, BoardBench, SimulatorBench
from espgen.calibrate.calibration import chip_of, costs, model_parameters, simulator_bench, write_chip_file
from espgen.calibrate.core import CORE, taken_and_missed
from espgen.calibrate.firmware import build_image
from espgen.calibrate.kernels import function
from espgen.calibrate.meanings import MEANINGS
from espgen.calibrate.measure import Figure, measure
from espgen.calibrate.memory import MEMORY
from espgen.calibrate.switching import ask_switch
from espgen.errors import ENVIRONMENT, EspgenError
from espgen.target.chips import PORTABLE, V1, V3, Chip, find_chip
from espgen.verify.simulator import Options

TOLERANCE = 0.02

NOT_ASKED = {
    "port_queue": "how long an access queues behind the other core's without holding up its own",
    "l2_at_top": "where internal RAM lies, which linker scripts say",
    "psram_size": "what is soldered to the board",
    "flash_size": "what is soldered to the board",
    "clock_hz": "told, not measured",
    "core_quantum": "of the simulator, not of a chip",
}
"""Parameters of the simulator that no benchmark finds, and why."""

CYCLES = {
    "load_use": (0, 9), "qacc_mac_use": (0, 12), "qacc_load_use": (0, 9), "qacc_mac_interval": (1, 9), "xacc_mac_use": (0, 12),
    "xacc_load_use": (0, 9), "xacc_mac_interval": (1, 12), "mul_latency": (0, 9), "div_cycles": (2, 40), "float_latency": (3, 12),
    "fused_addend": (0, 3), "float_div_latency": (2, 38), "convert_latency": (0, 9), "csr_latency": (0, 9),
    "branch_predicted": (0, 3), "branch_mispredicted": (1, 15), "jump": (0, 9), "loop_back": (0, 4), "loop_setup": (1, 6),
    "misaligned": (0, 9), "port_cycles": (1, 3), "miss_blocks": (0, 1), "barrier": (30, 400), "l1_miss": (3, 40),
    "internal_miss": (3, 40), "l1_dirty_eviction": (0, 20), "psram_fill": (40, 400), "flash_fill": (400, 3000),
    "l2_write_back": (0, 40), "copy_start": (50, 900), "copy_finish": (20, 400), "copy_finish_line": (0, 4),
}  # fmt: skip


def _other_chip(seed: int) -> dict[str, float]:
    """A chip that could be: the second-level cache has at least twice the ways of the first."""
    chosen = random.Random(seed)
    chip = {name: float(chosen.randint(*limits)) for name, limits in CYCLES.items()}
    chip |= {"copy_rate": chosen.uniform(0.3, 2), "psram_rate": chosen.uniform(1, 2.2)}
    ways = chosen.choice([1, 2, 4])
    code_ways = chosen.choice([1, 2, 4, 8])
    caches = {
        "l1_ways": ways,
        "l1_size": ways * 1024 * chosen.choice([4, 8, 16]),
        "l2_ways": chosen.choice([count for count in (2, 4, 8, 16) if count >= 2 * ways]),
        "l2_size": chosen.choice([65536, 131072, 262144]),
        "l2_line": chosen.choice([64, 128]),
        "l1i_ways": code_ways,
        "l1i_size": code_ways * 1024 * chosen.choice([2, 4, 8]),
    }
    return {**chip, **{name: float(value) for name, value in caches.items()}}


def _wrong(figures: list[Figure]) -> list[str]:
    """Figures that are not what the model says within 2 % (of a copy's hold, which the simulator rounds: half a cycle)."""
    slack = {"copy_hold": 0.5, "psram_rate": float("inf")}  # the second follows from the first
    return [
        f"{one.name}: {one.measured} instead of {one.modelled} {one.reason}"
        for one in figures
        if one.measured is None
        or one.modelled is None
        or abs(one.measured - one.modelled) > slack.get(one.name, TOLERANCE * one.modelled) + 1e-9
    ]


def _measured(chip: Chip, hidden: dict[str, float]) -> list[Figure]:
    return measure(simulator_bench(chip, 256, hidden), {**model_parameters(chip, 256), **hidden})


@pytest.mark.parametrize("chip", [V1, V3], ids=lambda chip: chip.name)
def test_the_model_is_found_again(chip: Chip) -> None:
    assert _wrong(_measured(chip, {})) == []


def test_a_chip_that_differs_behind_its_back_is_found() -> None:
    # An L2 cache that is no larger than L1, whose ways are smaller ones: L1 must not hide its misses.
    caches = {"l1_ways": 4.0, "l1_size": 65536.0, "l2_ways": 8.0, "l2_size": 65536.0}
    hidden = {**_other_chip(1), **caches}
    assert _wrong(_measured(V3, hidden)) == []


@pytest.mark.prove
@pytest.mark.parametrize("seed", range(100, 130))
def test_any_chip_is_found(seed: int) -> None:
    assert _wrong(_measured(V1 if seed % 2 else V3, _other_chip(seed))) == []


def test_every_parameter_is_asked_for_or_named() -> None:
    found = {record.name for record in (*CORE, *MEMORY) if record.is_parameter}
    known = set(model_parameters(V3, 256))
    assert found <= known
    assert known - found == set(NOT_ASKED)


def test_a_chip_file_says_what_was_measured_and_is_taken_as_a_chip(tmp_path: Path) -> None:
    described = tmp_path / "other.json"
    described.write_text(json.dumps({"chip": "esp32p4-v3", "costs": {"psram_fill": 321, "xacc_mac_interval": 7}}))
    written = tmp_path / "measured.json"
    result = api.calibrate(chip=str(described), output=written)
    assert result["place"] == "simulator"
    chip = find_chip(str(written))
    assert chip.name == "esp32p4-v3"
    assert (chip.costs["psram_fill"], chip.costs["xacc_mac_interval"]) == (321, 7)
    # The simulator takes every name in it, and none says how sdkconfig divides memory.
    assert set(chip.costs) <= set(model_parameters(V3, 256)) - {"l2_size"}
    told = {one["name"]: one for one in result["meanings"]}
    assert told["vmul_saturates"]["measured"] == "saturates"
    assert told["ldxq_keeps_address"]["measured"] == "keeps it"
    assert "not verified" in told["vsrd_32_rounds"]["reason"]


def test_costs_are_whole_cycles_and_never_negative() -> None:
    figures = [
        Figure("load_use", "", "cycles", 1.02, 1, True),
        Figure("jump", "", "cycles", -0.01, 3, True),
        Figure("copy_rate", "", "bytes per cycle", 0.98604, 0.986, True),
        Figure("l2_size", "", "bytes", 262144, 262144, True),
        Figure("instruction", "", "cycles", 1, 1, False),
        Figure("barrier", "", "cycles", None, 100, True, "no second core here"),
    ]
    assert costs(figures) == {"load_use": 1.0, "jump": 0.0, "copy_rate": 0.986}


def test_a_chip_file_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    result = {"chip": V3.to_json(), "place": "simulator", "costs": {}}
    with pytest.raises(EspgenError, match="cannot be written") as problem:
        write_chip_file(result, tmp_path / "nowhere" / "chip.json")
    assert problem.value.exit_code == ENVIRONMENT


def test_the_portable_chip_cannot_be_simulated() -> None:
    with pytest.raises(EspgenError, match="no chip that the simulator can be"):
        api.calibrate(chip=PORTABLE)


def test_branches_of_the_pattern_are_counted_as_the_model_predicts_them() -> None:
    assert taken_and_missed(0xFFFFFFFF) == (32, 0)
    assert taken_and_missed(0) == (0, 0)
    # Taken and not taken in turn: the counter stands at 0 or 1, so that every taken one is missed.
    assert taken_and_missed(0x55555555) == (0, 16)


def test_kernels_and_meanings_have_names_of_their_own() -> None:
    names = [meaning.name for meaning in MEANINGS]
    assert len(set(names)) == len(names)
    text = function(MEANINGS[0].kernel)
    assert f"calibrate_meaning_{names[0]}:" in text


@pytest.mark.parametrize(("release", "kept"), [("6.0", "all but CFG"), ("5.3", "all but q3, SAR, FFT_BIT_WIDTH, CFG")])
def test_what_a_switch_of_tasks_keeps_is_found(release: str, kept: str) -> None:
    bench = SimulatorBench(build_image(V1, 256), Options(chip=V1, l2_kb=256, max_cycles=10_000_000, task_switch=release))
    assert ask_switch(bench).measured == kept


def test_the_project_for_a_board_is_whole_and_new(tmp_path: Path) -> None:
    folder = tmp_path / "calibration"
    written = api.calibration_project(folder)["files"]
    texts = {name: (folder / name).read_text() for name in written}
    # Every file of ours that one includes is there.
    for name, text in texts.items():
        for included in re.findall(r'#include "((?:calibrate|boards|agent)/[^"]+|port\.h|espgen_pie\.inc)"', text):
            places = (f"main/{included}", f"{Path(name).parent}/{included}")
            assert any(place in texts for place in places), (name, included)
    assert "CONFIG_ESP32P4_SELECTS_REV_LESS_V3=y" in texts["sdkconfig.esp32p4-v1"]
    with pytest.raises(EspgenError, match="holds something else"):
        api.calibration_project(folder)


class _Board:
    """A port behind which a chip boots, chatters and answers."""

    def __init__(self, answers: dict[str, str]) -> None:
        self.answers = answers
        self._out = b"ESP-ROM:esp32p4\r\nI (23) boot: hello\r\n"

    def write(self, data: bytes) -> None:
        for line in data.decode().replace("\0", "").splitlines():
            if line in self.answers:
                self._out += f"I (99) main: chatter\n{self.answers[line]}\n".encode()

    def read(self, timeout: float) -> bytes:
        given, self._out = self._out[:7], self._out[7:]
        return given

    def close(self) -> None:
        pass


def test_a_board_that_chatters_is_understood() -> None:
    bench = BoardBench(_Board({"i": "= 400000000 301 1 2 3 4", "t x": "= 64 128", "c 1": "? no copy engine here"}), "port")
    assert chip_of(bench.hello()).name == "esp32p4-v3"
    timed, copied = bench.ask(["t x", "c 1"])
    assert timed.numbers == [64, 128]
    assert copied.missing == "no copy engine here"
    with pytest.raises(EspgenError, match="no copy engine here"):
        _ = copied.numbers


def test_an_old_chip_is_told_by_its_revision_and_clock() -> None:
    chip = chip_of(Answer("= 360000000 103 0 0 0 0"))
    assert (chip.name, chip.clock_hz) == ("esp32p4-v1", 360_000_000)


def test_a_port_without_the_firmware_is_said() -> None:
    ticks = iter(range(10_000))
    bench = BoardBench(_Board({}), "/dev/ttyX", clock=lambda: float(next(ticks)))
    with pytest.raises(EspgenError, match="nothing answers") as problem:
        bench.hello()
    assert problem.value.exit_code == ENVIRONMENT
