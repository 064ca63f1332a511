"""The component folder as a whole: written completely or not at all, and read back only where it belongs together."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from espgen import api
from espgen.codegen.project import GRAPH, MANIFEST
from espgen.codegen.seal import sealed
from espgen.errors import BAD_INPUT, ENVIRONMENT, EspgenError
from espgen.resources import models_dir

MODEL = models_dir() / "digits_int8_qdq.onnx"


def test_an_output_that_cannot_be_written_is_the_environments_fault(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(EspgenError, match="cannot be written") as caught:
        api.compile(MODEL, tmp_path / "file" / "component")
    assert caught.value.exit_code == ENVIRONMENT


def test_a_folder_with_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(EspgenError, match="holds something else") as caught:
        api.compile(MODEL, tmp_path)
    assert caught.value.exit_code == BAD_INPUT
    assert [entry.name for entry in tmp_path.iterdir()] == ["thesis.txt"]


def test_what_somebody_put_into_a_component_is_left_alone(tmp_path: Path) -> None:
    api.compile(MODEL, tmp_path / "component")
    (tmp_path / "component" / "thesis.txt").write_text("mine")
    with pytest.raises(EspgenError, match=r"something else: thesis\.txt"):
        api.compile(MODEL, tmp_path / "component")
    assert (tmp_path / "component" / "thesis.txt").read_text() == "mine"


@pytest.mark.parametrize("output", [".", ".."])
def test_a_component_that_one_stands_in_is_not_replaced(
    output: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    api.compile(MODEL, tmp_path / "component")
    monkeypatch.chdir(tmp_path / "component" / ("" if output == "." else "src"))
    with pytest.raises(EspgenError, match="the folder you are in"):
        api.compile(MODEL, Path(output))
    assert api.component_graph(tmp_path / "component").nodes


def test_a_link_to_a_component_stays_one(tmp_path: Path) -> None:
    api.compile(MODEL, tmp_path / "component")
    (tmp_path / "link").symlink_to(tmp_path / "component")
    api.compile(MODEL, tmp_path / "link")
    assert (tmp_path / "link").is_symlink()
    assert api.component_graph(tmp_path / "component").nodes
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["component", "link"]


def test_the_layers_that_are_counted_are_those_that_are_verified(tmp_path: Path) -> None:
    compiled = api.compile(MODEL, tmp_path / "component")
    verified = api.verify(tmp_path / "component", target="host", limit=1)
    assert compiled["layers"] == len(verified["layers"])


@pytest.mark.parametrize("budget", [1024, 1855, 1856])
def test_an_arena_fits_its_budget(budget: int, tmp_path: Path) -> None:
    result = api.compile(MODEL, tmp_path / "component", options=api.Options(internal_bytes=budget))
    assert 0 < result["memory"]["internal"] <= budget


def test_compiling_tells_how_far_it_is(tmp_path: Path) -> None:
    told: list[tuple[str, int, int]] = []
    api.compile(MODEL, tmp_path / "component", progress=lambda *step: told.append(step))
    total = told[-1][2]
    assert told == [("plan", done, total) for done in range(1, total + 1)]


def test_a_project_that_cannot_be_written_leaves_no_component(tmp_path: Path) -> None:
    (tmp_path / "project").mkdir()
    (tmp_path / "project" / "thesis.txt").write_text("mine")
    with pytest.raises(EspgenError, match="holds something else"):
        api.compile(MODEL, tmp_path / "component", project=tmp_path / "project")
    assert [entry.name for entry in tmp_path.iterdir()] == ["project"]


def test_a_graph_that_is_not_the_manifests_proves_nothing(tmp_path: Path) -> None:
    api.compile(MODEL, tmp_path / "component")
    path = tmp_path / "component" / GRAPH
    saved = bytearray(path.read_bytes())
    saved[-1] ^= 1
    path.write_bytes(saved)
    with pytest.raises(EspgenError, match="not as it was generated") as problem:
        api.component_graph(tmp_path / "component")
    assert problem.value.place == str(path)
    manifest = tmp_path / "component" / MANIFEST
    entries = json.loads(manifest.read_text())
    manifest.write_text(json.dumps({**entries, "seal": ""}))  # an old seal, or none
    with pytest.raises(EspgenError, match="manifest is not as it was generated"):
        api.component_graph(tmp_path / "component")
    del entries["seal"]
    manifest.unlink()
    manifest.write_text(json.dumps(sealed(entries, manifest.parent)))
    with pytest.raises(EspgenError, match="not the one that its manifest names"):
        api.component_graph(tmp_path / "component")


def test_inputs_need_data(tmp_path: Path) -> None:
    api.compile(MODEL, tmp_path / "component")
    with pytest.raises(EspgenError, match="no data to map"):
        api.verify(tmp_path / "component", target="host", inputs={"image": ("pixels", "")})
