"""The idf.py commands: the structure ESP-IDF documents, and the espgen command each becomes."""

from __future__ import annotations

import ast
import subprocess
import sys
import tomllib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from espgen.cli import cli
from espgen.espgen_ext import MANIFEST, Refused, action_extensions, board_port, command_line

START = ["/bin/espgen"]


@pytest.fixture(autouse=True)
def program(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("espgen.espgen_ext.shutil.which", lambda name: f"/bin/{name}")


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
    assert command_line("profile", project, None, {})[2] == str(beside)
    assert command_line("profile", project, None, {"component": "elsewhere"})[2] == "elsewhere"


def test_no_component_and_several_are_refused(tmp_path: Path) -> None:
    project = tmp_path / "deep" / "application"
    project.mkdir(parents=True)
    with pytest.raises(Refused, match="no compiled model"):
        command_line("verify", project, None, {})
    component(project / "components" / "a")
    component(project / "components" / "b")
    with pytest.raises(Refused, match="2 compiled models"):
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
        callback(project, "espgen-profile")("espgen-profile", None, SimpleNamespace(port="/dev/x"))
    assert stopped.value.code == 2
    assert "remedy: name the folder with --component" in capsys.readouterr().err


def test_the_file_stands_alone_in_a_python_of_esp_idf(tmp_path: Path) -> None:
    """idf.py runs it in its own environment: Python 3.9 and nothing of espgen but the command."""
    source = Path(sys.modules[action_extensions.__module__].__file__ or "").read_text()
    tree = ast.parse(source, feature_version=(3, 9))
    imported = [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]
    names = {alias.name for node in imported if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module or "" for node in imported if isinstance(node, ast.ImportFrom)}
    assert names == {"json", "os", "shutil", "subprocess", "sys", "pathlib", "typing", "importlib"}
    (tmp_path / "idf_ext.py").write_text(source)
    code = "import idf_ext; print(sorted(idf_ext.action_extensions({}, '.')['actions']))"
    done = subprocess.run([sys.executable, "-I", "-S", "-c", f"import sys; sys.path.insert(0, '.'); {code}"],
                          cwd=tmp_path, capture_output=True, text=True, check=True)  # fmt: skip
    assert done.stdout.strip() == "['espgen-profile', 'espgen-verify']"


def test_the_port_is_the_named_one_or_what_idf_py_finds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ESPPORT", raising=False)
    assert board_port(SimpleNamespace(port="/dev/ttyUSB1"), tmp_path) == "/dev/ttyUSB1"
    (tmp_path / "build").mkdir()
    (tmp_path / "build" / "project_description.json").write_text('{"monitor_baud": "921600"}')
    assert board_port(SimpleNamespace(port="/dev/ttyUSB1"), tmp_path) == "/dev/ttyUSB1@921600"
    assert board_port(SimpleNamespace(port="/dev/ttyUSB1@9600"), tmp_path) == "/dev/ttyUSB1@9600"
    tools = SimpleNamespace(get_default_serial_port=lambda: "/dev/ttyACM7")
    monkeypatch.setitem(sys.modules, "idf_py_actions", SimpleNamespace(tools=tools))
    monkeypatch.setitem(sys.modules, "idf_py_actions.tools", tools)
    assert board_port(SimpleNamespace(port=None), tmp_path) == "/dev/ttyACM7@921600"


def test_no_port_is_no_simulator(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    component(tmp_path / "components" / "digits")
    monkeypatch.delenv("ESPPORT", raising=False)
    with pytest.raises(SystemExit) as stopped:
        callback(tmp_path, "espgen-verify")("espgen-verify", None, SimpleNamespace(port=None))
    assert stopped.value.code == 3
    assert "or run with --simulator" in capsys.readouterr().err


def test_a_missing_espgen_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    component(tmp_path / "components" / "digits")
    monkeypatch.setattr("espgen.espgen_ext.shutil.which", lambda name: None)
    with pytest.raises(Refused, match="pip install espgen"):
        command_line("verify", tmp_path, None, {})
