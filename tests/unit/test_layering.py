"""Who may import whom: a module imports only lower ranks, and each outside package has its one place."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

import espgen

ROOT = Path(espgen.__file__).parent

LAYERS: tuple[frozenset[str], ...] = (
    frozenset({"errors", "resources"}),
    frozenset({"arith", "interrupts", "ir", "target"}),
    frozenset({"ops"}),
    frozenset({"data", "frontend", "passes", "interpret"}),
    frozenset({"quantize", "schedule"}),
    frozenset({"codegen"}),
    frozenset({"verify", "report"}),
    frozenset({"calibrate"}),
    frozenset({"api"}),
    # espgen itself, whose attributes are the library's verbs, and what uses them
    frozenset({"", "cycles", "demo", "evaluation", "espgen_ext"}),
    frozenset({"cli"}),
    frozenset({"__main__"}),
)
RANK = {name: rank for rank, names in enumerate(LAYERS) for name in names}

# Outside packages and the only places that may import them (a name stands for everything below it).
OUTSIDE: dict[str, tuple[str, ...]] = {
    "numpy": ("espgen",),
    "onnx": ("espgen.frontend", "espgen.quantize.exporter"),
    "google": ("espgen.frontend",),  # protobuf comes with onnx: its errors are caught where files are read
    "flatbuffers": ("espgen.frontend",),
    "jinja2": ("espgen.codegen", "espgen.report"),
    "serial": ("espgen.verify.link",),
    "click": ("espgen.cli",),
    "onnxruntime": ("espgen.quantize",),
    "PIL": ("espgen.data",),
    "dask": ("espgen.quantize",),
    "distributed": ("espgen.quantize",),
}
EXTRAS = frozenset({"onnxruntime", "PIL", "dask", "distributed"})
"""Not installed by a plain ``pip install``: imported where they are used, never at the top of a module."""


@dataclass(frozen=True)
class Import:
    """One imported module: its dotted name, and whether the statement runs when the importer is imported."""

    target: str
    line: int
    at_import: bool


def _is_type_checking(test: ast.expr) -> bool:
    return "TYPE_CHECKING" in (getattr(test, "id", ""), getattr(test, "attr", ""))


def _imports(tree: ast.AST, package: str, at_import: bool = True) -> Iterator[Import]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import):
            yield from (Import(alias.name, node.lineno, at_import) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parents = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*parents, *([base] if base else [])])
            if base == "espgen":  # `from espgen import x` names the module x
                yield from (Import(f"espgen.{alias.name}", node.lineno, at_import) for alias in node.names)
            else:
                yield Import(base, node.lineno, at_import)
        else:
            lazy = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) or (
                isinstance(node, ast.If) and _is_type_checking(node.test)
            )
            yield from _imports(node, package, at_import and not lazy)


def _unit(module: str) -> str:
    """Return the part of a dotted name that has a rank: "espgen.ir.graph" -> "ir"; "" for espgen itself."""
    name = module.split(".")[1] if "." in module else ""
    return "" if name.startswith("__") and name != "__main__" else name  # espgen.__version__


def _below(module: str, place: str) -> bool:
    return module == place or module.startswith(place + ".")


def violations(module: str, source: str, is_package: bool = False) -> list[str]:
    """Return what a module's imports break, as "module:line: reason"."""
    package = module if is_package else module.rpartition(".")[0]
    found: list[str] = []
    for item in _imports(ast.parse(source), package):
        where = f"{module}:{item.line}: imports {item.target}"
        top = item.target.split(".")[0]
        if top == "espgen":
            unit, own = _unit(item.target), _unit(module)
            if unit not in RANK:
                found.append(f"{where}, which has no rank")
            elif unit != own and RANK[unit] >= RANK[own]:
                found.append(f"{where}: rank {RANK[unit]} is not below {RANK[own]}")
        elif top not in sys.stdlib_module_names:
            if not any(_below(module, place) for place in OUTSIDE.get(top, ())):
                found.append(f"{where}: {top} belongs in {', '.join(OUTSIDE.get(top, ())) or 'no module'}")
            if top in EXTRAS and item.at_import:
                found.append(f"{where} at the top of a module, but {top} is an extra")
    return found


def _modules() -> dict[str, Path]:
    return {
        ".".join(("espgen", *path.relative_to(ROOT).with_suffix("").parts)).removesuffix(".__init__"): path
        for path in sorted(ROOT.rglob("*.py"))
        if path.relative_to(ROOT).parts[0] != "models"
    }


def test_every_module_has_a_rank() -> None:
    assert sorted({_unit(module) for module in _modules()} - set(RANK)) == []


@pytest.mark.parametrize("module", sorted(_modules()))
def test_imports_go_down(module: str) -> None:
    path = _modules()[module]
    assert violations(module, path.read_text(encoding="utf-8"), path.name == "__init__.py") == []


@pytest.mark.parametrize(
    ("module", "source", "reason"),
    [
        ("espgen.ir.graph", "from espgen.ops import conv2d", "rank 2 is not below 1"),
        ("espgen.ir.graph", "def f():\n    import espgen.cli", "rank 10 is not below 1"),
        ("espgen.frontend.qdq", "from espgen.passes import run", "rank 3 is not below 3"),
        ("espgen.frontend.qdq", "from ..passes import run", "rank 3 is not below 3"),
        ("espgen.ops.conv2d", "from espgen import verify", "rank 6 is not below 2"),
        ("espgen.ops.conv2d", "import espgen", "rank 9 is not below 2"),
        ("espgen.ops.conv2d", "from espgen import novelty", "has no rank"),
        ("espgen.ir.graph", "import onnx.helper", "onnx belongs in espgen.frontend"),
        ("espgen.quantize.model", "from onnx import helper", "onnx belongs in"),
        ("espgen.ops.conv2d", "import jinja2", "jinja2 belongs in espgen.codegen"),
        ("espgen.verify.compare", "import serial.tools", "serial belongs in espgen.verify.link"),
        ("espgen.api", "import click", "click belongs in espgen.cli"),
        ("espgen.ops.conv2d", "import scipy", "scipy belongs in no module"),
        ("espgen.quantize.runtime", "import onnxruntime", "is an extra"),
    ],
)
def test_the_check_sees(module: str, source: str, reason: str) -> None:
    assert len(found := violations(module, source)) == 1
    assert reason in found[0]


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("espgen.frontend.qdq", "import onnx\nfrom .importer import read\nfrom espgen.ir.graph import Graph"),
        ("espgen.quantize.runtime", "def f():\n    import onnxruntime"),
        ("espgen.quantize.runtime", "if TYPE_CHECKING:\n    import onnxruntime"),
        ("espgen.verify.link", "import serial\nimport os.path\nimport numpy as np"),
        ("espgen.cli.main", "import click\nfrom espgen import __version__, api"),
    ],
)
def test_the_check_allows(module: str, source: str) -> None:
    assert violations(module, source) == []
