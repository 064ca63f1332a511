"""The ESP-IDF application around a component: what is written, what is kept, what is refused."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from espgen import api
from espgen.codegen.example_project import AGENT, OWN, write_example_project
from espgen.codegen.project import MANIFEST
from espgen.errors import EspgenError
from espgen.resources import models_dir


def component(folder: Path, weights: int = 4736) -> Path:
    folder.mkdir(parents=True)
    (folder / MANIFEST).write_text(json.dumps({"identifier": "digits", "memory": {"weights": weights}}))
    return folder


def test_the_project_names_the_component_beside_it(tmp_path: Path) -> None:
    project = write_example_project(component(tmp_path / "digits_model"), tmp_path / "application")
    top = (project / "CMakeLists.txt").read_text()
    assert 'set(EXTRA_COMPONENT_DIRS "${CMAKE_CURRENT_LIST_DIR}/../digits_model")' in top
    assert "project(digits_example)" in top
    assert "digits_model" in (project / "main" / "CMakeLists.txt").read_text()
    assert "digits" not in (project / AGENT / "CMakeLists.txt").read_text()  # the agent serves any model
    assert "espgen_board_serve(digits::kModel);" in (project / "main" / "main.cpp").read_text()
    assert "const espgen::Status status = digits::run();" in (project / "main" / "main.cpp").read_text()
    assert set(OWN) <= {path.relative_to(project).as_posix() for path in project.rglob("*")}


@pytest.mark.parametrize(("weights", "app", "flash"), [(0, 2, 16), (1, 3, 16), (13 << 20, 15, 16), (14 << 20, 16, 32)])
def test_the_partition_holds_the_weights(tmp_path: Path, weights: int, app: int, flash: int) -> None:
    project = write_example_project(component(tmp_path / "digits", weights), tmp_path / "application")
    assert f"{app}M" in (project / "partitions.csv").read_text()
    assert f"FLASHSIZE_{flash}MB=y" in (project / "sdkconfig.defaults").read_text()


def test_weights_beyond_any_flash_are_refused(tmp_path: Path) -> None:
    with pytest.raises(EspgenError, match="fits no flash"):
        write_example_project(component(tmp_path / "digits", 1 << 30), tmp_path / "application")


def test_a_component_inside_the_project_needs_no_further_directory(tmp_path: Path) -> None:
    project = tmp_path / "application"
    write_example_project(component(project / "components" / "digits"), project)
    assert "EXTRA_COMPONENT_DIRS" not in (project / "CMakeLists.txt").read_text()


def test_the_agent_holds_every_header_it_includes(tmp_path: Path) -> None:
    project = write_example_project(component(tmp_path / "digits"), tmp_path / "application")
    agent = project / AGENT
    roots = (agent, agent / "include")
    for source in (*agent.rglob("*.cpp"), *agent.rglob("*.h")):
        for line in source.read_text().splitlines():
            if line.startswith('#include "') and (name := line.split('"')[1]).split("/")[0] in ("agent", "espgen", "boards"):
                assert any((root / name).is_file() for root in roots), f"{source.name} includes {name}"
    assert not list(agent.rglob("host_*"))


def test_the_users_files_are_kept_and_the_agent_is_renewed(tmp_path: Path) -> None:
    model, project = component(tmp_path / "digits"), tmp_path / "application"
    write_example_project(model, project)
    (project / "main" / "main.cpp").write_text("// mine\n")
    (project / AGENT / "agent" / "stale.cpp").write_text("")
    write_example_project(model, project)
    assert (project / "main" / "main.cpp").read_text() == "// mine\n"
    assert not (project / AGENT / "agent" / "stale.cpp").exists()


def test_a_folder_with_something_else_is_refused_and_left_alone(tmp_path: Path) -> None:
    project = tmp_path / "application"
    project.mkdir()
    (project / "thesis.txt").write_text("x")
    with pytest.raises(EspgenError, match="holds something else"):
        write_example_project(component(tmp_path / "digits"), project)
    assert [path.name for path in project.iterdir()] == ["thesis.txt"]


@pytest.mark.parametrize("project", ["model", "model/app"])
def test_a_project_does_not_lie_in_its_component(tmp_path: Path, project: str) -> None:
    with pytest.raises(EspgenError, match="lies in the component's folder"):
        api.compile(models_dir() / "digits_int8_qdq.onnx", tmp_path / "model", project=tmp_path / project)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["main", "my model", "a+b", AGENT.name])
def test_names_that_esp_idf_cannot_use_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(EspgenError, match="as the name of a component"):
        write_example_project(component(tmp_path / name), tmp_path / "application")


@pytest.mark.skipif(shutil.which("g++") is None, reason="g++ is not installed")
def test_the_application_compiles_against_the_documented_signatures(tmp_path: Path) -> None:
    project = write_example_project(component(tmp_path / "digits"), tmp_path / "application")
    stubs = tmp_path / "stubs"
    (stubs / "boards" / "esp32p4").mkdir(parents=True)
    (stubs / "boards" / "esp32p4" / "board.h").write_text(
        "namespace espgen { struct Model; }\nvoid espgen_board_serve(const espgen::Model& model);\n"
    )
    (stubs / "esp_timer.h").write_text('#include <stdint.h>\nextern "C" int64_t esp_timer_get_time(void);\n')
    (stubs / "digits.h").write_text(
        "namespace espgen { struct Model; enum class Status { kOk }; const char* status_text(Status); }\n"
        "namespace digits { extern const espgen::Model kModel; espgen::Status run(); }\n"
    )
    command = ["g++", "-std=c++17", "-Wall", "-Wextra", "-Werror", "-fsyntax-only", f"-I{stubs}"]
    done = subprocess.run([*command, str(project / "main" / "main.cpp")], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
