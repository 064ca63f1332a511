"""Cycles of a quantized model's layers, measured: compiled, run in the simulator or on a board, counted per ONNX node."""

from __future__ import annotations

import logging
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from espgen import api
from espgen.errors import environment_error
from espgen.frontend import load_onnx
from espgen.ir import Graph
from espgen.target.chips import DEFAULT, Chip, concrete

_LOG = logging.getLogger(__name__)
_KEPT_LINES = 12


@dataclass(frozen=True)
class Measurement:
    """Measures QDQ models: a `Measure` of the quantizer (file bytes -> cycles by node name; their sum is the whole run).

    port: serial port of a board that is flashed for each measurement (needs ESP-IDF's idf.py on the path); None for the
    simulator with cold caches, as `espgen profile` has it. chip: what models are compiled for, and what is simulated (of several
    the last, as `profile` has it). What connects two layers (a change of width or of layout)
    counts for the layer that reads it.
    """

    port: str | None = None
    chip: Chip = DEFAULT

    @property
    def place(self) -> str:
        """Where it measures, for messages and reports."""
        if self.port is not None:
            return f"board at {self.port}"
        return f"simulator, {concrete(self.chip)[0].label()}"

    def __call__(self, model: bytes) -> dict[str, float]:
        """Raises EspgenError where the model does not compile, and (exit code 3) where a tool or the board is missing."""
        idf = None if self.port is None else find_idf()
        with tempfile.TemporaryDirectory(prefix="espgen-cycles-") as scratch:
            folder = Path(scratch)
            source = folder / "measured.onnx"
            source.write_bytes(model)
            component, project = folder / "measured", folder / "application"
            api.compile(source, component, project=None if idf is None else project, options=api.Options(chip=self.chip))
            if idf is not None and self.port is not None:
                flash(idf, project, self.port)
            result = api.profile(component, port=self.port, chip=None if self.port else self.chip)
            cycles = {layer["name"]: float(layer["cycles"]) for layer in result["layers"]}
            _LOG.info("measured %d cycles (%s)", sum(cycles.values()), self.place)
            nodes = [node.name for node in load_onnx(source).nodes if node.op not in ("QuantizeLinear", "DequantizeLinear")]
            return by_node(cycles, api.component_graph(component), nodes)


def by_node(cycles: Mapping[str, float], integer: Graph, nodes: list[str]) -> dict[str, float]:
    """Cycles by integer layer -> cycles by node of the model.

    A layer of its own (a requantization, a transposition) belongs to the node whose name it extends, else to the first
    node that reads it; what nobody reads keeps its own name.
    """
    known = set(nodes)
    consumers = integer.consumers()
    layers = {node.name: node for node in integer.nodes}

    def owner(name: str, seen: frozenset[str] = frozenset()) -> str | None:
        if name in known:
            return name
        longer = [node for node in known if name.startswith(f"{node}_")]
        if longer:
            return max(longer, key=len)
        if name in seen or name not in layers:
            return None
        readers = [reader for output in layers[name].outputs for reader in consumers.get(output, ())]
        found = (owner(reader.name, seen | {name}) for reader in readers)
        return next((reader for reader in found if reader is not None), None)

    shared: dict[str, float] = {}
    for name, count in cycles.items():
        belongs = owner(name) or name
        shared[belongs] = shared.get(belongs, 0.0) + count
    return shared


def find_idf() -> str:
    """Path of idf.py. EspgenError (exit code 3) where ESP-IDF's environment is not set up."""
    found = shutil.which("idf.py")
    if found is None:
        raise environment_error(
            "measuring on a board needs ESP-IDF's idf.py", place="PATH",
            hint="set up ESP-IDF's environment (. export.sh), or measure in the simulator: leave --port out",
        )  # fmt: skip
    return found


def flash(idf: str, project: Path, port: str) -> None:
    """Build the project and write it to the board. EspgenError (exit code 3) with the end of idf.py's output."""
    device = port.partition("@")[0]
    command = [idf, "-C", str(project), "-B", str(project / "build"), "-p", device, "build", "flash"]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", check=False)
    if done.returncode != 0:
        last = "\n".join(done.stdout.strip().splitlines()[-_KEPT_LINES:])
        raise environment_error(f"idf.py fails: {last}", place=port, hint="does `idf.py build flash` work in a project of yours?")
