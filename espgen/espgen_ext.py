"""`idf.py espgen-verify` and `idf.py espgen-profile`: the command line's verbs inside an ESP-IDF project.

This file stands alone (Python 3.9, nothing but the `espgen` command), because it runs in ESP-IDF's Python: projects hold a
copy of it as idf_ext.py, and ESP-IDF 6 finds it through the entry point group `idf_extension` of an espgen installed there.
"""

import importlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, Dict, List, Optional  # noqa: UP035

MANIFEST = "espgen_component.json"
PLACES = ("components/*/" + MANIFEST, "*/" + MANIFEST, "../*/" + MANIFEST)
"""Where a project's components may lie, nearest first."""

BAD_INPUT, ENVIRONMENT = 2, 3


class Refused(Exception):
    """What is wrong, what to do about it, and the exit code."""

    def __init__(self, message: str, remedy: str, code: int) -> None:
        super().__init__("error: " + message + "\nremedy: " + remedy)
        self.code = code


def action_extensions(base_actions: Dict[str, Any], project_path: str) -> Dict[str, Any]:  # noqa: UP006
    """The commands in the form idf.py wants them (interface version 1); none where they are registered already."""
    if "espgen-verify" in base_actions.get("actions", {}):
        return {"version": "1"}
    options = [
        {"names": ["--component"], "help": "Folder of the compiled model (found where there is only one)."},
        {"names": ["--simulator"], "is_flag": True, "help": "Run in the simulator instead of on the board."},
    ]
    data = {"names": ["--data"], "help": "F.npz with arrays named after the inputs, and labels y."}
    limit = {"names": ["--limit"], "type": int, "help": "Use the first N samples only."}

    def run(subcommand_name: str, ctx: Any, global_args: Any, **arguments: Any) -> None:
        project = Path(project_path)
        try:
            port = None if arguments.get("simulator") else board_port(global_args, project)
            command = command_line(subcommand_name[len("espgen-") :], project, port, arguments)
        except Refused as problem:
            print(problem, file=sys.stderr)
            sys.exit(problem.code)
        code = subprocess.run(command, check=False).returncode
        if code:
            sys.exit(code)

    return {
        "version": "1",
        "actions": {
            "espgen-verify": {
                "callback": run,
                "short_help": "Prove that the board computes what the network says.",
                "help": "Compare every layer on the flashed board (-p, or the port idf.py finds) with the reference.",
                "options": [*options, data, limit],
            },
            "espgen-profile": {
                "callback": run,
                "short_help": "Show cycles per layer.",
                "help": "Measure every layer on the flashed board (-p, or the port idf.py finds).",
                "options": options,
            },
        },
    }


def command_line(verb: str, project: Path, port: Optional[str], arguments: Dict[str, Any]) -> List[str]:  # noqa: UP006, UP045
    """The espgen command for an idf.py command; raises Refused where the component or espgen is not there."""
    component = Path(arguments["component"]) if arguments.get("component") else _only_component(project)
    program = shutil.which("espgen")
    if program is None:
        raise Refused("the command espgen is not on the path", "pip install espgen, in any Python 3.11 or newer", ENVIRONMENT)
    command = [program, verb, str(component)]
    for option in ("data", "limit"):
        if arguments.get(option) is not None:
            command += ["--" + option, str(arguments[option])]
    return command + (["--port", port] if port else [])


def board_port(global_args: Any, project: Path) -> str:
    """The port of -p or $ESPPORT, else the one that idf.py finds, as DEV@BAUD with the project's console rate.

    Raises Refused where there is none: never the simulator in silence.
    """
    port = getattr(global_args, "port", None) or os.environ.get("ESPPORT") or _found_port()
    if not port:
        raise Refused("no board's port was found", "name it: idf.py -p PORT .., or run with --simulator", ENVIRONMENT)
    baud = _console_baud(Path(getattr(global_args, "build_dir", None) or project / "build"))
    return port if baud is None or "@" in port else "{}@{}".format(port, baud)  # noqa: UP032


def _found_port() -> Optional[str]:  # noqa: UP045
    try:
        return str(importlib.import_module("idf_py_actions.tools").get_default_serial_port())
    except Exception as problem:  # idf.py's own: whatever it raises, there is no port
        print("no port by idf.py: {}".format(problem), file=sys.stderr)  # noqa: UP032
        return None


def _console_baud(build: Path) -> Optional[int]:  # noqa: UP045
    try:
        return int(json.loads((build / "project_description.json").read_text())["monitor_baud"])
    except (OSError, ValueError, KeyError, TypeError):
        return None  # not built yet: espgen's own default


def _only_component(project: Path) -> Path:
    found = sorted({manifest.parent.resolve() for manifest in _manifests(project)})
    if len(found) == 1:
        return found[0]
    what = "no compiled model" if not found else "{} compiled models".format(len(found))  # noqa: UP032
    raise Refused("{} has {}".format(project, what), "name the folder with --component", BAD_INPUT)  # noqa: UP032


def _manifests(project: Path) -> List[Path]:  # noqa: UP006
    for pattern in PLACES:
        matches = sorted(project.glob(pattern))
        if matches:
            return matches
    return []
