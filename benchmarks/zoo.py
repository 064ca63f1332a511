"""Networks that others made, through every command as a user types it: inspect, quantize (minmax), compile, verify on the host.

    python benchmarks/zoo.py [NAME ...] [--docs docs/zoo.md]

ESPGEN_ZOO names the folder that holds onnx/*.onnx. Calibration and test data are random numbers of the range that the
network's makers give their inputs. The first command that refuses ends a network's row, with its message.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import onnx

Maker = Callable[[np.random.Generator, tuple[int, ...]], np.ndarray]
SAMPLES, VERIFIED = 8, 2
SECONDS = 900
"""Most that one command may take."""


def normal(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return rng.normal(0.0, 1.0, shape)


def between(low: float, high: float) -> Maker:
    return lambda rng, shape: rng.uniform(low, high, shape)


@dataclass(frozen=True)
class Told:
    """What a user has to say about a network: options of the commands, and the range of its inputs."""

    options: tuple[str, ...] = ()
    data: Maker = normal
    integers: tuple[str, ...] = field(default=())
    """Inputs that --const makes constants: there is no data for them."""


TOLD: dict[str, Told] = {
    "basic_pitch": Told(data=between(-1, 1)),
    "dtln_1": Told(data=between(0, 2)),
    "dtln_2": Told(data=between(-1, 1)),
    "espdl_tcn": Told(data=between(-2, 2)),
    "fastestdet": Told(data=between(-1, 1)),
    "gtcrn_simple": Told(data=between(-1, 1)),
    "light_shufflenet": Told(data=between(-1, 1)),
    "light_squeezenet": Told(data=between(-1, 1)),
    "nanodet_m": Told(data=between(-2, 2)),
    "oww_alexa": Told(data=between(-2, 2)),
    "oww_hey_rhasspy": Told(data=between(-2, 2)),
    "pfld": Told(data=between(0, 1)),
    "ppocr_cls": Told(("--shape", "x=1,3,48,192"), between(-1, 1)),
    "silero_16k_op15": Told(("--shape", "input=1,512", "--const", "sr=16000"), between(-1, 1), ("sr",)),
    "ten_vad": Told(data=between(-2, 2)),
    "ultraface_rfb320": Told(data=between(-1, 1)),
    "ultraface_slim320_simpl": Told(data=between(-1, 1)),
    "yunet_n_dyn": Told(("--shape", "input=1,3,160,160"), between(0, 255)),
    "yunet_s_320": Told(data=between(0, 255)),
}


@dataclass
class Row:
    """One network's way: seconds by command that went through, and what stopped it."""

    name: str
    options: tuple[str, ...]
    seconds: dict[str, float] = field(default_factory=dict)
    obstacle: str = ""


def shapes(model: Path, told: Told) -> dict[str, tuple[int, ...]]:
    """Shape of every input that data is needed for, open dimensions as `told` says or 1."""
    graph = onnx.load(str(model), load_external_data=False).graph
    constants = {tensor.name for tensor in graph.initializer} | set(told.integers)
    given = dict(option.split("=") for option in told.options if "=" in option)
    found = {}
    for item in graph.input:
        if item.name in constants:
            continue
        dims = [dim.dim_value if dim.dim_value > 0 else 1 for dim in item.type.tensor_type.shape.dim]
        found[item.name] = tuple(int(extent) for extent in given[item.name].split(",")) if item.name in given else tuple(dims)
    return found


def walk(model: Path, folder: Path) -> Row:
    """Every command on one network, until one refuses."""
    told = TOLD.get(model.stem, Told())
    row = Row(model.stem, told.options)
    rng = np.random.default_rng(0)
    arrays = {}
    for name, shape in shapes(model, told).items():
        sample = shape[1:] if shape and shape[0] == 1 else shape
        arrays[name] = told.data(rng, (SAMPLES, *sample)).astype(np.float32)
    data, quantized, component = folder / "data.npz", folder / f"{model.stem}_int8.onnx", folder / "component"
    np.savez(data, **arrays)
    commands: tuple[tuple[str, Sequence[str | Path]], ...] = (
        ("inspect", (model, *told.options)),
        ("quantize", (model, "-o", quantized, "--data", data, "--recipe", "minmax", "--no-layerwise", *told.options)),
        ("compile", (quantized, "-o", component)),
        ("verify", (component, "--data", data, "--target", "host", "--limit", str(VERIFIED))),
    )
    for verb, arguments in commands:
        started = time.monotonic()
        problem = run(verb, [str(argument) for argument in arguments])
        if problem:
            hidden = {str(folder): "", str(model.parent): ""}
            for path, shown in hidden.items():
                problem = problem.replace(f"{path}/", shown)
            row.obstacle = f"{verb}: {problem}"
            break
        row.seconds[verb] = time.monotonic() - started
    return row


def run(verb: str, arguments: list[str]) -> str:
    """Why a command failed, "" where it did not."""
    try:
        done = subprocess.run(
            [sys.executable, "-m", "espgen", verb, *arguments, "--json"], capture_output=True, text=True, timeout=SECONDS
        )
    except subprocess.TimeoutExpired:
        return f"more than {SECONDS} s"
    if done.returncode:
        lines = [line.strip() for line in done.stderr.strip().splitlines() if line.strip()]
        return " ".join(lines) or f"exit code {done.returncode}"
    if verb == "inspect":
        stopped = json.loads(done.stdout)["unsupported"]
        more = f"; and {len(stopped) - 3} more" if len(stopped) > 3 else ""
        return "; ".join(f"{entry['op']} (node {entry['node']}): {entry['reason']}" for entry in stopped[:3]) + more
    return ""


VERBS = ("inspect", "quantize", "compile", "verify")


def table(rows: Sequence[Row]) -> str:
    lines = ["| network | told | " + " | ".join(VERBS) + " | first obstacle |", "|---|---|" + "---:|" * len(VERBS) + "---|"]
    for row in rows:
        cells = [f"{row.seconds[verb]:.0f} s" if verb in row.seconds else "-" for verb in VERBS]
        told = f"`{' '.join(row.options)}`" if row.options else ""
        lines.append(f"| {row.name} | {told} | {' | '.join(cells)} | {row.obstacle.replace('|', '/')} |")
    return "\n".join(lines)


BEGIN, END = "<!-- zoo begin -->", "<!-- zoo end -->"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="only these networks")
    parser.add_argument("--docs", type=Path, help="the page whose table is written")
    arguments = parser.parse_args()
    zoo = os.environ.get("ESPGEN_ZOO")
    if not zoo or not (Path(zoo) / "onnx").is_dir():
        print("ESPGEN_ZOO names no folder with onnx/*.onnx in it", file=sys.stderr)
        return 3
    rows = []
    for model in sorted((Path(zoo) / "onnx").glob("*.onnx")):
        if arguments.names and model.stem not in arguments.names:
            continue
        with tempfile.TemporaryDirectory() as folder:
            rows.append(walk(model, Path(folder)))
        print(table(rows).splitlines()[-1], flush=True)
    if arguments.docs:
        text = arguments.docs.read_text(encoding="utf-8")
        head, rest = text.split(BEGIN)
        done = sum(not row.obstacle for row in rows)
        said = f"{done} of {len(rows)} networks go through every command.\n\n{table(rows)}\n"
        arguments.docs.write_text(f"{head}{BEGIN}\n{said}{END}{rest.split(END)[1]}", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
