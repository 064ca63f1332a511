"""What messages, the README and the docs tell people to type exists: every command and every option."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import espgen
from espgen.cli import cli

PACKAGE = Path(espgen.__file__).parent
ROOT = PACKAGE.parent
OPTION = re.compile(r"(?<![\w-])(--[a-z][a-z0-9-]*)")
COMMAND = re.compile(r"\bespgen ([a-z][a-z-]*)((?:[^`\n]|`{3})*)")
OPTIONS = {
    name: {text for option in command.params for text in (*option.opts, *option.secondary_opts)} | {"--help"}
    for name, command in cli.commands.items()
}
EVERY = frozenset().union(*OPTIONS.values())
# Options of other programs that messages name.
FOREIGN = {"--parameters", "--param", "--progress"}


def _strings(path: Path) -> Iterator[tuple[int, str]]:
    """Text of a module that people may see: string constants and the constant parts of f-strings, no docstrings."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    docs = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, documented) and node.body and isinstance(node.body[0], ast.Expr)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docs:
            yield node.lineno, node.value


def _hints(path: Path) -> Iterator[tuple[int, str]]:
    """Texts of `hint=`, `place=` and the first argument of errors: what names options of this program."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") in ("EspgenError", "environment_error"):
            for argument in (*node.args[:1], *(item.value for item in node.keywords)):
                yield from (
                    (part.lineno, part.value)
                    for part in ast.walk(argument)
                    if isinstance(part, ast.Constant) and isinstance(part.value, str)
                )


MODULES = sorted(path for path in PACKAGE.rglob("*.py"))
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md"), *(ROOT / "examples").rglob("*.md")])


def _wrong_commands(text: str) -> Iterator[str]:
    for command, rest in COMMAND.findall(text):
        if command not in OPTIONS:
            if OPTION.search(rest):
                yield f"espgen {command}"
            continue
        yield from (f"espgen {command} {option}" for option in OPTION.findall(rest) if option not in OPTIONS[command])


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_messages_name_commands_and_options_that_exist(path: Path) -> None:
    wrong = [f"line {line}: {found}" for line, text in _strings(path) for found in _wrong_commands(text)]
    if "verify/simulator" not in path.as_posix():
        wrong += [
            f"line {line}: {option}"
            for line, text in _hints(path)
            for option in OPTION.findall(text)
            if option not in EVERY | FOREIGN
        ]
    assert not wrong


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_pages_name_commands_and_options_that_exist(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert not list(_wrong_commands(text))


def test_the_check_sees_what_is_wrong() -> None:
    assert list(_wrong_commands("convert it with `espgen quantize --from-qdq`")) == ["espgen quantize --from-qdq"]
    assert list(_wrong_commands("`espgen teleport --far`")) == ["espgen teleport"]
    assert not list(_wrong_commands("`espgen quantize --no-fuse --int16 x` and espgen is fine"))
