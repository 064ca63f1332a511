"""Writes an ESP-IDF application around a component: the model's first run, and the agent that answers `espgen verify`."""

from __future__ import annotations

import json
import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from espgen.codegen.project import MANIFEST
from espgen.codegen.render import render
from espgen.errors import EspgenError
from espgen.resources import firmware_dir
from espgen.target.chips import CHIPS, DEFAULT, L2_KB, Chip

AGENT = Path("components/espgen_agent")
EXTENSION = Path(__file__).parents[1] / "espgen_ext.py"
"""The commands of idf.py: a file that stands alone, copied into every project."""

OWN = {
    "CMakeLists.txt": "CMakeLists.txt.j2",
    "main/CMakeLists.txt": "main_CMakeLists.txt.j2",
    "main/main.cpp": "main.cpp.j2",
    "partitions.csv": "partitions.csv.j2",
    "sdkconfig.defaults": "sdkconfig.defaults.j2",
}
"""Files the user may change: written once, never replaced."""

FLASH_MEGABYTES = (4, 8, 16, 32, 64, 128)
"""Sizes of flash chips; boards with an ESP32-P4 have 16 MB or more."""
LEAST_ON_P4 = 16

PROGRAM_BYTES = 2 << 20
"""Room for the application besides the model's weights."""


@dataclass(frozen=True)
class ExampleView:
    """What the example's templates print."""

    model: str
    component: str
    extra_directory: str
    has_extra_directory: bool
    app_megabytes: int
    flash_megabytes: int
    target: str
    chip: str
    settings: tuple[str, ...]
    l2_kb: int
    l2_line: int
    has_psram_arena: bool
    has_large_constants: bool
    uses_psram: bool
    profiles: tuple[str, ...]


def write_example_project(component: Path, project: Path) -> Path:
    """Write the application that uses the component folder `component` below `project`; returns `project`.

    A project written before keeps its own files and gets the agent that belongs to this espgen. Raises EspgenError where
    `project` holds something else or ESP-IDF could not use the component's folder name.
    """
    check_example_project(component, project)
    component, project = component.resolve(), project.resolve()
    view = _view(component, project)
    for path, template in OWN.items():
        target = project / path
        if not target.exists():
            _write(target, render(f"project/example/{template}", view))
    extension = project / "idf_ext.py"
    if not extension.exists():
        _write(extension, EXTENSION.read_text())
    for chip in _alternatives(component):
        profile = project / f"sdkconfig.{chip.name}"
        if not profile.exists():
            _write(profile, "".join(f"{name}={value}\n" for name, value in chip.kconfig.items()))
    _write_agent(project / AGENT, view)
    return project


def _made_for(component: Path) -> Chip:
    manifest = json.loads((component / MANIFEST).read_text())
    return CHIPS.get(manifest.get("chip", {}).get("name", ""), DEFAULT)


def _alternatives(component: Path) -> tuple[Chip, ...]:
    """The chips among which a project for several has to choose: one image runs on one of them."""
    chip = _made_for(component)
    return tuple(CHIPS[name] for name in chip.runs_on) if len(chip.espv) > 1 else ()


def check_example_project(component: Path, project: Path) -> None:
    """Raise EspgenError where `project` cannot hold an application for the component folder, which need not exist yet."""
    component, project = component.resolve(), project.resolve()
    if not re.fullmatch(r"[A-Za-z0-9_-]+", component.name) or component.name in ("main", AGENT.name):
        raise EspgenError(
            f"ESP-IDF cannot use {component.name!r} as the name of a component",
            place=str(component),
            hint=f"name the component's folder with letters, digits, - and _, and not main or {AGENT.name}",
        )
    if project.is_relative_to(component):
        hint = f"compile into a folder of the project, such as {project / 'components' / 'model'}"
        raise EspgenError("the project lies in the component's folder", place=str(project), hint=hint)
    if project.exists() and not project.is_dir():
        raise EspgenError("the project exists and is a file", place=str(project), hint="name another folder")
    if not project.exists() or (project / AGENT).is_dir():
        return
    if any(not component.is_relative_to(entry) for entry in project.iterdir()):
        raise EspgenError("the project folder holds something else", place=str(project), hint="name a new folder")


def _view(component: Path, project: Path) -> ExampleView:
    manifest = json.loads((component / MANIFEST).read_text())
    inside = component.parent == project / "components"
    megabytes = -(-(int(manifest["memory"]["weights"]) + PROGRAM_BYTES) // (1 << 20))
    least = LEAST_ON_P4 if _made_for(component).has_vectors else 0
    flash = next((size for size in FLASH_MEGABYTES if size > megabytes and size >= least), 0)
    if not flash:
        raise EspgenError(f"an application of {megabytes} MB fits no flash", place=str(component), hint="use a smaller model")
    relative = Path(os.path.relpath(component, project)).as_posix()
    chip, memory, l2_kb = _made_for(component), manifest["memory"], int(manifest.get("l2_kb", L2_KB))
    psram_arena, large = int(memory.get("psram", 0)) > 0, int(memory["weights"]) > l2_kb * 1024
    return ExampleView(
        model=str(manifest["identifier"]),
        component=component.name,
        extra_directory="${CMAKE_CURRENT_LIST_DIR}/" + relative,
        has_extra_directory=not inside,
        app_megabytes=megabytes,
        flash_megabytes=flash,
        target="esp32p4" if chip.has_vectors else "",
        chip=chip.label(),
        settings=tuple(f"{name}={value}" for name, value in chip.kconfig.items()),
        l2_kb=l2_kb,
        l2_line=chip.caches.l2_line,
        has_psram_arena=psram_arena,
        has_large_constants=large and chip.has_vectors,
        uses_psram=psram_arena or (large and chip.has_vectors),
        profiles=tuple(f"sdkconfig.{one.name}" for one in _alternatives(component)),
    )


def _write_agent(folder: Path, view: ExampleView) -> None:
    firmware = firmware_dir()
    if folder.exists():
        shutil.rmtree(folder)
    for part in ("agent", "boards/esp32p4", "include/espgen"):
        for source in sorted((firmware / part).glob("*")):
            if source.suffix in (".cpp", ".h") and not source.name.startswith("host_"):
                _write(folder / part / source.name, source.read_text())
    _write(folder / "CMakeLists.txt", render("project/example/agent_CMakeLists.txt.j2", view))


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
