"""A model beside a second task of its core that uses the vector unit: with the shared lock all is well, without it the status
says so. Interrupts come every 50 to 500 cycles, and the simulator keeps of the unit what ESP-IDF does."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from espgen import api
from espgen.errors import MISMATCH, EspgenError
from espgen.interpret import run_layers
from espgen.ir import Graph
from espgen.resources import models_dir
from espgen.target.chips import V1, V3, Chip
from espgen.target.espv import Level
from espgen.target.isa import assemble_text
from espgen.verify.build import build_firmware
from espgen.verify.component import MANIFEST
from espgen.verify.data import random_dataset
from espgen.verify.device import Device
from espgen.verify.link import open_serial
from espgen.verify.protocol import Status
from espgen.verify.simulator import Options, Simulator, simulate

FIRMWARE = Path(__file__).parent / "firmware" / "beside_an_rtos.cpp"
OTHERS = ("NONE", "SCALAR", "MODEL", "REGISTERS", "ROUNDING")
RUNS = 100
OFTEN, SELDOM = (50, 500), (5_000, 50_000)
"""Cycles between interrupts; an inference takes about 20,000."""
SAMPLES = 5
REGISTERS = [f"esp.zero.q q{number}" for number in range(8)] + ["esp.zero.qacc", "esp.zero.xacc"]
ROUNDING = ["esp.movx.w.cfg a1"]


@dataclass(frozen=True)
class Network:
    """A component, its graph, samples and what its only output is for each."""

    folder: Path
    graph: Graph
    samples: tuple[Mapping[str, np.ndarray], ...]
    outputs: tuple[np.ndarray, ...]


@pytest.fixture(scope="module")
def networks(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Network]:
    """The bundled model under two names, as the chip's only model and as the other task's."""
    folder = tmp_path_factory.mktemp("networks")
    made = {}
    for seed, name in enumerate(("model", "other")):
        shutil.copy(models_dir() / "digits_int8_qdq.onnx", folder / f"{name}.onnx")
        api.compile(folder / f"{name}.onnx", folder / name)
        graph = api.component_graph(folder / name)
        samples = tuple(random_dataset(graph, SAMPLES, seed=seed))
        outputs = tuple(run_layers(graph, sample)[graph.outputs[0]] for sample in samples)
        made[name] = Network(folder / name, graph, samples, outputs)
    return made


def _array(name: str, arrays: list[np.ndarray]) -> str:
    rows = ",\n".join("{" + ", ".join(map(str, array.ravel().tolist())) + "}" for array in arrays)
    return f"const int8_t {name}[{len(arrays)}][{arrays[0].size}] = {{{rows}}};\n"


def _cases(networks: Mapping[str, Network]) -> str:
    """A header with both networks' samples, and functions that run them."""
    text = "#pragma once\n#include <stdint.h>\n#include <string.h>\n"
    text += "".join(f"#define OTHER_{name} {number}\n" for number, name in enumerate(OTHERS))
    for name, network in networks.items():
        source, target = network.graph.inputs[0].lower(), network.graph.outputs[0].lower()
        text += f'#include "{name}.h"\n'
        text += _array(f"{name}_inputs", [sample[network.graph.inputs[0]] for sample in network.samples])
        text += _array(f"{name}_outputs", list(network.outputs))
        text += f"constexpr uint32_t {name}_samples = {SAMPLES}, {name}_output_bytes = {network.outputs[0].size};\n"
        text += (
            f"inline espgen::Status infer_{name}(const int8_t* input, int8_t* output) {{\n"
            f"  {name}::write_{source}(input);\n  const espgen::Status status = {name}::run();\n"
            f"  {name}::read_{target}(output);\n  return status;\n}}\n"
        )
    return text


def _disturb(level: Level) -> str:
    """`disturb(how)`: zeros in the vector unit's registers; another rounding mode, too, where `how` says so."""
    registers = [f".4byte {assemble_text(text, level):#x}" for text in REGISTERS]
    rounding = [f".4byte {assemble_text(text, level):#x}" for text in ROUNDING]
    lines = [".option norvc", ".globl disturb", "disturb:", *registers, f"li a1, {OTHERS.index('ROUNDING')}"]
    return "\n".join([*lines, "bne a0, a1, 1f", "li a1, 0", *rounding, "1: ret", ""])


def image(
    networks: Mapping[str, Network],
    folder: Path,
    other: str,
    *,
    locked: bool = True,
    chip: Chip = V1,
    served: bool = False,
    interval: tuple[int, int] = OFTEN,
) -> Path:
    """Both components in one image, with the other task and interrupts `interval` cycles apart.

    served  the agent runs beside the other task instead of the test
    """
    parts = {name: json.loads((network.folder / MANIFEST).read_text()) for name, network in networks.items()}
    lists = {
        key: [f"{name}/{entry}" for name, part in parts.items() for entry in part[key]]
        for key in ("sources", "firmware_sources", "host_sources", "include_dirs")
    }
    for name, network in networks.items():
        shutil.copytree(network.folder, folder / name)
    (folder / "cases.h").write_text(_cases(networks))
    level = Level(chip.espv[0])
    (folder / "disturb.S").write_text(_disturb(level))
    lists["firmware_sources"] += ["task.cpp", "disturb.S"]
    lists["include_dirs"].append(".")
    chosen = {"OTHER": OTHERS.index(other), "LOCKED": int(locked), "SERVED": int(served), "RUNS": RUNS}
    chosen |= dict(zip(("SHORTEST", "LONGEST"), interval, strict=True))
    head = "".join(f"#define {name} {value}\n" for name, value in chosen.items())  # here, so that all else is compiled once
    (folder / "task.cpp").write_text(head + FIRMWARE.read_text())
    (folder / MANIFEST).write_text(json.dumps({**parts["model"], **lists}))
    return build_firmware(folder, chip=chip)


def run(
    networks: Mapping[str, Network], elf: Path, chip: Chip, system: str, seed: int = 1
) -> tuple[list[Status], int, dict[str, int]]:
    """Status of every run, how many that said kOk were wrong, and what the simulator counted."""
    result = simulate(elf, Options(memory_model=False, chip=chip, task_switch=system, seed=seed), timeout=120)
    assert (result.status, result.errors) == (0, "")
    model = networks["model"]
    records = np.frombuffer(result.output, np.uint8).reshape(RUNS, 1 + model.outputs[0].size)
    statuses = [Status(record[0]) for record in records]
    wrong = sum(
        status is Status.OK and not np.array_equal(record[1:].view(np.int8), model.outputs[index % SAMPLES].ravel())
        for index, (status, record) in enumerate(zip(statuses, records, strict=True))
    )
    return statuses, wrong, result.statistics["cores"][0]


SYSTEMS = ("5.3", "6.0")


@pytest.mark.parametrize("chip", [V1, V3], ids=lambda chip: chip.name)
@pytest.mark.parametrize("other", OTHERS)
def test_with_the_lock_100_inferences_give_the_same_bytes(
    networks: dict[str, Network], other: str, chip: Chip, tmp_path: Path
) -> None:
    elf = image(networks, tmp_path, other, chip=chip)
    for system in SYSTEMS:
        statuses, wrong, counted = run(networks, elf, chip, system)
        assert (statuses, wrong) == ([Status.OK] * RUNS, 0)
        assert counted["interrupts"] > 70 * RUNS
        assert (counted["task_switches"] > 70 * RUNS) == (other != "NONE")
        assert (counted["vector_switches"] > RUNS) == (other not in ("NONE", "SCALAR"))


@pytest.mark.parametrize("chip", [V1, V3], ids=lambda chip: chip.name)
@pytest.mark.parametrize("other", ["REGISTERS", "ROUNDING"])
def test_without_the_lock_the_status_says_so(networks: dict[str, Network], other: str, chip: Chip, tmp_path: Path) -> None:
    elf = image(networks, tmp_path, other, locked=False, chip=chip)
    for system in SYSTEMS:
        statuses, wrong, counted = run(networks, elf, chip, system)
        assert counted["vector_switches"] > RUNS
        kept = system == "6.0" and other == "REGISTERS"  # all that this task changes: nothing to complain about
        assert (statuses, wrong) == ([Status.OK if kept else Status.VECTOR_UNIT_DISTURBED] * RUNS, 0)


@pytest.mark.parametrize("other", ["REGISTERS", "ROUNDING"])
def test_a_single_switch_is_noticed(networks: dict[str, Network], other: str, tmp_path: Path) -> None:
    """Most inferences see one switch or none: those that say kOk are right, and both happen."""
    elf = image(networks, tmp_path, other, locked=False, interval=SELDOM)
    for seed in range(3):
        statuses, wrong, _ = run(networks, elf, V1, "5.3", seed)
        assert wrong == 0
        assert 5 < statuses.count(Status.OK) < RUNS - 5


@pytest.mark.parametrize("locked", [True, False], ids=["locked", "without lock"])
def test_verify_tells_the_layer_that_was_disturbed(networks: dict[str, Network], locked: bool, tmp_path: Path) -> None:
    model = networks["model"]
    elf = image(networks, tmp_path, "ROUNDING", locked=locked, served=True)
    options = Options(memory_model=False, chip=V1)
    with Simulator(elf, options) as simulator, open_serial(simulator.port) as link:
        device = Device.connect(link)
        for sample, expected in zip(model.samples, model.outputs, strict=True):
            if locked:
                np.testing.assert_array_equal(device.run(sample)[model.graph.outputs[0]], expected)
                continue
            with pytest.raises(EspgenError, match="another task used the vector unit") as caught:
                device.layer_hashes(sample)
            assert caught.value.exit_code == MISMATCH
            assert caught.value.node in {layer.name for layer in device.layers}
            assert "espgen::VectorLock" in str(caught.value.hint)
