"""Writes a component to disk: rendered sources, weights, the kernels it uses, its graph, its manifest."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from espgen.codegen.component import Component, Layers, Planned
from espgen.codegen.flash import table_bytes
from espgen.codegen.pie.asm import assembly_file
from espgen.codegen.pie.watch import FILE as WATCH_FILE
from espgen.codegen.pie.watch import watch_functions
from espgen.codegen.render import render
from espgen.codegen.seal import sealed
from espgen.errors import EspgenError, environment_error
from espgen.interpret.store import save
from espgen.resources import MODEL_ABI, firmware_dir
from espgen.target.espv import Levels
from espgen.target.pie_macros import support_files

MANIFEST = "espgen_component.json"
GRAPH = "espgen_graph.bin"

_TEMPLATES = {
    "include/{model}.h": "model/model.h.j2",
    "src/{model}_layers.h": "model/layers.h.j2",
    "src/{model}.cpp": "model/model.cpp.j2",
    "include/{model}_io.h": "prepost/io.h.j2",
    "src/{model}_io.cpp": "prepost/io.cpp.j2",
    "CMakeLists.txt": "project/CMakeLists.txt.j2",
    "idf_component.yml": "project/idf_component.yml.j2",
}
_TOP_LEVEL = {MANIFEST, GRAPH, *(Path(path).parts[0] for path in _TEMPLATES)}


def write_component(
    component: Component, planned: Planned, output: Path, extra: Mapping[str, Any], levels: Levels = Levels.BOTH
) -> Path:
    """Write everything below `output`, which is replaced as a whole only when all of it is written.

    extra  entries for the manifest; levels  instruction sets that assembly is written for. Raises EspgenError where `output`
    holds something that is no component, or cannot be written.
    """
    check_target(output)
    target = output.resolve()
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name}.") as folder:
            staging = Path(folder) / "component"
            _write_files(component, planned, staging, extra, levels)
            if target.exists():
                target.rename(Path(folder) / "before")
            staging.rename(target)
    except OSError as problem:
        reason = problem.strerror or str(problem)
        raise environment_error(
            f"the component cannot be written: {reason}", place=str(output), hint="name a folder that can be written"
        ) from problem
    return output


def check_target(output: Path) -> None:
    """Raise EspgenError where `output` is a file, holds what no component has, or is where this process works."""
    if not output.exists():
        return
    if not output.is_dir():
        raise EspgenError("the output exists and is a file", place=str(output), hint="name another folder")
    names = {entry.name for entry in output.iterdir()}
    others = sorted(names - _TOP_LEVEL) if MANIFEST in names else sorted(names)
    if others:
        shown = ", ".join(others[:3]) + (", .." if len(others) > 3 else "")
        hint = "name an empty or a new folder, or move them away"
        raise EspgenError(f"the output folder holds something else: {shown}", place=str(output), hint=hint)
    if Path.cwd().is_relative_to(output.resolve()):
        hint = "it is replaced as a whole: go up and name it from there"
        raise EspgenError("the output is the folder you are in", place=str(output), hint=hint)


def _write_files(
    component: Component, planned: Planned, folder: Path, extra: Mapping[str, Any], levels: Levels
) -> None:
    model = component.view.model
    chip_sources = _write_layers(component.chip, folder, model, "")
    host_sources = _write_layers(component.host, folder, model, "_host") if component.host else []
    for symbol, text in component.assembly:
        chip_sources.append(f"src/{symbol}.S")
        _write(folder / chip_sources[-1], assembly_file([text], levels).encode())
    if component.assembly:
        chip_sources.append(f"src/{WATCH_FILE}.S")
        _write(folder / chip_sources[-1], assembly_file(list(watch_functions()), levels).encode())
        for name, text in support_files(levels).items():
            _write(folder / "src" / name, text.encode())
    shared = [f"src/{model}.cpp", f"src/{model}_io.cpp"]
    if not host_sources:
        shared, chip_sources = shared + chip_sources, []
    view = replace(component.view, sources=tuple(shared + chip_sources))
    for path, template in _TEMPLATES.items():
        _write(folder / path.format(model=model), render(template, view).encode())
    _write(folder / GRAPH, save(planned.graph))
    _copy_headers(folder)
    manifest = {
        "name": component.view.title,
        "identifier": model,
        "abi": MODEL_ABI,
        "hash": component.view.digest,
        "sources": shared,
        "firmware_sources": chip_sources,
        "host_sources": host_sources,
        "include_dirs": ["include", "src"],
        "steps": len(component.view.steps),
        "rings": {name: held.ring_rows for name, held in planned.storage.storages.items() if held.ring_rows},
        "memory": {
            "internal": component.view.internal_bytes,
            "psram": component.view.psram_bytes,
            "arenas": {arena.name: arena.nbytes for arena in planned.memory.arenas},
            "weights": component.view.weight_bytes,
            "tables": table_bytes(component.view, component.chip.view),
            "planner": component.view.planner,
        },
        "kernels": [
            {
                "layer": plan.node.name,
                "op": plan.node.op,
                "kernel": plan.kernel,
                "candidates": [
                    {"kernel": name, "cycles": cycles, "note": note} for name, cycles, note in plan.candidates
                ],
            }
            for plan in planned.nodes
        ],
        **extra,
    }
    _write(folder / MANIFEST, (json.dumps(sealed(manifest, folder), indent=2, sort_keys=True) + "\n").encode())


def _write_layers(layers: Layers, folder: Path, model: str, suffix: str) -> list[str]:
    """The layers, their constants and the assembly file that includes these; returns the sources."""
    sources = [f"src/{model}_layers{suffix}.cpp", f"src/{model}_weights{suffix}.S"]
    _write(folder / sources[0], render("model/layers.cpp.j2", layers.view).encode())
    _write(folder / sources[1], render("model/weights.S.j2", layers.view).encode())
    _write(folder / "src" / layers.view.weights_file, layers.weights)
    return sources


def _copy_headers(folder: Path) -> None:
    """The public headers and the portable kernels, so that the component stands alone."""
    firmware = firmware_dir()
    for header in sorted((firmware / "include" / "espgen").glob("*.h")):
        _write(folder / "include" / "espgen" / header.name, header.read_bytes())
    for header in sorted((firmware / "kernels").glob("*.h")):
        _write(folder / "include" / "espgen" / "kernels" / header.name, header.read_bytes())


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
