"""`idf.py espgen-verify` and `idf.py espgen-profile`: the command line's verbs inside an ESP-IDF project.

ESP-IDF 6 finds `action_extensions` through the entry point group `idf_extension` of an espgen installed beside idf.py;
older ones through the idf_ext.py of the example project. See "Extending idf.py" in ESP-IDF's programming guide.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from espgen.errors import EspgenError

MANIFEST = "espgen_component.json"
PLACES = (f"components/*/{MANIFEST}", f"*/{MANIFEST}", f"../*/{MANIFEST}")
"""Where a project's components may lie, nearest first."""


def action_extensions(base_actions: Mapping[str, Any], project_path: str) -> dict[str, Any]:
    """The commands in the form idf.py wants them (interface version 1); none where they are registered already."""
    if "espgen-verify" in base_actions.get("actions", {}):
        return {"version": "1"}
    options = [
        {"names": ["--component"], "help": "Folder of the compiled model (found where there is only one)."},
        {"names": ["--simulator"], "is_flag": True, "help": "Run in the simulator instead of on the board."},
    ]
    data = {"names": ["--data"], "help": "F.npz with arrays named after the inputs, and labels y."}
    inputs = {"names": ["--input"], "multiple": True, "help": "NAME=ARRAY[:NHWC|:NCHW][:real|:codes], as espgen verify has it."}
    limit = {"names": ["--limit"], "type": int, "help": "Use the first N samples only."}

    def run(subcommand_name: str, ctx: Any, global_args: Any, **arguments: Any) -> None:
        verb = subcommand_name.removeprefix("espgen-")
        port = None if arguments.get("simulator") else _port(global_args)
        try:
            command = command_line(verb, Path(project_path), port, arguments)
        except EspgenError as error:
            print(f"error: {error}", file=sys.stderr)
            sys.exit(error.exit_code)
        code = subprocess.run(command, check=False).returncode
        if code:
            sys.exit(code)

    return {
        "version": "1",
        "actions": {
            "espgen-verify": {
                "callback": run,
                "short_help": "Prove that the board computes what the network says.",
                "help": "Compare every layer on the flashed board (--port) or in the simulator with the reference.",
                "options": [*options, data, inputs, limit],
            },
            "espgen-profile": {
                "callback": run,
                "short_help": "Show cycles per layer.",
                "help": "Measure every layer on the flashed board (--port) or in the simulator.",
                "options": options,
            },
        },
    }


def command_line(verb: str, project: Path, port: str | None, arguments: Mapping[str, Any]) -> list[str]:
    """The espgen command for an idf.py command; raises EspgenError where the component is not clear."""
    component = Path(arguments["component"]) if arguments.get("component") else _only_component(project)
    command = [sys.executable, "-m", "espgen", verb, str(component)]
    for option in ("data", "limit"):
        if arguments.get(option) is not None:
            command += [f"--{option}", str(arguments[option])]
    for entry in arguments.get("input") or ():
        command += ["--input", entry]
    return command + (["--port", port] if port else [])


def _port(global_args: Any) -> str | None:
    """idf.py's --port, or what its environment names; the simulator runs where there is none."""
    return getattr(global_args, "port", None) or os.environ.get("ESPPORT")


def _only_component(project: Path) -> Path:
    found = sorted({manifest.parent.resolve() for manifest in _manifests(project)})
    if len(found) == 1:
        return found[0]
    what = "no compiled model" if not found else f"{len(found)} compiled models"
    raise EspgenError(f"the project has {what}", place=str(project), hint="name the folder with --component")


def _manifests(project: Path) -> Iterator[Path]:
    for pattern in PLACES:
        matches = sorted(project.glob(pattern))
        yield from matches
        if matches:
            return
