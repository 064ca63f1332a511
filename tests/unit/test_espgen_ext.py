"""The idf.py commands: the structure ESP-IDF documents, and the espgen command each becomes."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from espgen.cli import cli
from espgen.errors import EspgenError
from espgen.espgen_ext import MANIFEST, action_extensions, command_line

START = [sys.executable, "-m", "espgen"]


def component(folder: Path) -> Path:
    folder.mkdir(parents=True)
    (folder / MANIFEST).write_text("{}")
    return folder.resolve()


def callback(project: Path, name: str) -> Any:
    return action_extensions({}, str(project))["actions"][name]["callback"]


def test_the_extension_has_the_documented_form(tmp_path: Path) -> None:
    extension = action_extensions({}, str(tmp_path))
    assert extension["version"] == "1"
    assert set(extension["actions"]) == {"espgen-verify", "espgen-profile"}
    for name, action in extension["actions"].items():
        assert callable(action["callback"])
        assert action["help"]
        accepted = {option for parameter in cli.commands[name.removeprefix("espgen-")].params for option in parameter.opts}
        own = {"--component", "--simulator"}
        assert {name for option in action["options"] for name in option["names"]} - own <= accepted


def test_commands_are_registered_once(tmp_path: Path) -> None:
    first = action_extensions({"actions": {"build": {}}}, str(tmp_path))
    assert action_extensions({"actions": first["actions"]}, str(tmp_path)) == {"version": "1"}


def test_the_entry_point_names_the_function() -> None:
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    assert project["entry-points"]["idf_extension"] == {"espgen_ext": "espgen.espgen_ext:action_extensions"}


def test_commands_carry_port_data_and_limit(tmp_path: Path) -> None:
    inside = component(tmp_path / "components" / "digits")
    given = {"data": "t.npz", "limit": 3, "component": None}
    command = command_line("verify", tmp_path, "/dev/ttyACM0", given)
    assert command == [*START, "verify", str(inside), "--data", "t.npz", "--limit", "3", "--port", "/dev/ttyACM0"]
    assert command_line("profile", tmp_path, None, {}) == [*START, "profile", str(inside)]


def test_the_component_is_found_beside_the_project_or_named(tmp_path: Path) -> None:
    project = tmp_path / "application"
    project.mkdir()
    beside = component(tmp_path / "model")
    assert command_line("profile", project, None, {})[4] == str(beside)
    assert command_line("profile", project, None, {"component": "elsewhere"})[4] == "elsewhere"


def test_no_component_and_several_are_refused(tmp_path: Path) -> None:
    project = tmp_path / "deep" / "application"
    project.mkdir(parents=True)
    with pytest.raises(EspgenError, match="no compiled model"):
        command_line("verify", project, None, {})
    component(project / "components" / "a")
    component(project / "components" / "b")
    with pytest.raises(EspgenError, match="2 compiled models"):
        command_line("verify", project, None, {})


def test_the_exit_code_is_passed_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    component(tmp_path / "components" / "digits")
    monkeypatch.delenv("ESPPORT", raising=False)
    seen: list[list[str]] = []

    def fake(command: list[str], check: bool) -> SimpleNamespace:
        seen.append(command)
        return SimpleNamespace(returncode=len(seen) - 1)

    monkeypatch.setattr(subprocess, "run", fake)
    run = callback(tmp_path, "espgen-verify")
    board = SimpleNamespace(port="/dev/ttyUSB1")
    run("espgen-verify", None, board, simulator=True)
    assert "--port" not in seen[0]
    with pytest.raises(SystemExit) as stopped:
        run("espgen-verify", None, board)
    assert stopped.value.code == 1
    assert seen[1][-2:] == ["--port", "/dev/ttyUSB1"]


def test_a_project_without_a_model_exits_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    project = tmp_path / "deep" / "application"
    project.mkdir(parents=True)
    with pytest.raises(SystemExit) as stopped:
        callback(project, "espgen-profile")("espgen-profile", None, SimpleNamespace(port=None))
    assert stopped.value.code == 2
    assert "remedy: name the folder with --component" in capsys.readouterr().err
