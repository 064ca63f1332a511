"""What the README claims is what the program does."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from espgen import api
from espgen.cli import cli
from espgen.errors import EXIT_CODES
from espgen.report.operators import BEGIN, END, operator_table, with_table
from espgen.resources import models_dir
from espgen.verify.compilers import host_compiler

README = (Path(__file__).parents[2] / "README.md").read_text()


def test_the_table_of_operators_is_up_to_date() -> None:
    assert with_table(README) == README, "run `make readme`"


def test_a_readme_without_marks_is_refused() -> None:
    with pytest.raises(ValueError, match="marks"):
        with_table("text")
    assert with_table(f"a\n{BEGIN}{END}b") == f"a\n{BEGIN}\n{operator_table()}\n{END}b"


def test_every_command_and_option_in_the_readme_exists() -> None:
    used = re.findall(r"^    (?:\$ )?espgen ([a-z-]+)(.*)$", README, flags=re.MULTILINE)
    assert {verb for verb, _ in used} >= {"inspect", "compile", "verify", "profile", "doctor", "demo"}
    for verb, rest in used:
        command = cli.commands[verb]
        known = {option for parameter in command.params for option in parameter.opts}
        for option in re.findall(r"(?<=\s)--?[a-z][a-z-]*", rest.split("  ")[0]):
            assert option in known, f"espgen {verb} has no option {option}"


def test_every_link_leads_to_a_file() -> None:
    linked = re.findall(r"\]\(([^)#:]+)\)", README)
    assert len(linked) > 5
    for target in linked:
        assert (Path(__file__).parents[2] / target).is_file(), target


def test_the_program_in_the_readme_compiles(tmp_path: Path) -> None:
    found = re.search(r"^    #include.*_io\.h\"\n(?:(?:    .*)?\n)+", README, flags=re.MULTILINE)
    assert found
    (tmp_path / "main.cpp").write_text(found.group())
    compiled = api.compile(models_dir() / "digits_int8_qdq.onnx", tmp_path / "component")
    command = [*host_compiler(None, ()).command, "-std=c++17", "-Wall", "-Wextra", "-Werror"]
    files = ("-c", str(tmp_path / "main.cpp"), "-o", str(tmp_path / "main.o"))
    subprocess.run([*command, f"-I{tmp_path / 'component' / 'include'}", *files], check=True)
    assert (tmp_path / "component" / "include" / compiled["header"]).is_file()
    assert f"{compiled['name']}: {compiled['layers']} layers written" in README


def test_the_exit_codes_are_those_of_the_program() -> None:
    rows = re.findall(r"^\| (\d+) \| (.+) \|$", README, re.MULTILINE)
    assert {int(code): meaning for code, meaning in rows} == EXIT_CODES
