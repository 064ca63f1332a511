"""A broken invariant of a generator is a defect: it is never taken for a shape without a kernel, nor for the user's fault."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from espgen.cli.exits import Interrupts, ended
from espgen.codegen import families
from espgen.codegen.build import Options, plan_graph
from espgen.codegen.pie import asm
from espgen.errors import DEFECT, Defect, EspgenError, Refusal, Refused
from espgen.ops.registry import specs

FAMILIES = {family.name: family for family in families.FAMILIES}


@pytest.mark.parametrize("name", sorted(FAMILIES))
def test_a_generator_that_breaks_a_rule_ends_in_a_defect(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every instruction that a generator adds is checked; one that fails its check stops the compiler."""

    def broken(*_: object, **__: object) -> None:
        raise Defect("esp.vld.128.ip: immediate 7 is not a multiple of 16")

    graph = next(
        case.graph
        for operator in FAMILIES[name].ops
        for case in specs()[operator].cases()
        if any(plan.kernel == name for plan in plan_graph(case.graph, Options()).nodes)
    )
    clear_caches()
    monkeypatch.setattr(asm, "check_portable", broken)
    with pytest.raises(Defect, match="immediate 7"):
        plan_graph(graph, Options())
    clear_caches()


def clear_caches() -> None:
    from espgen.codegen.pie.conv import conv_kernel
    from espgen.codegen.pie.depthwise import depthwise_kernel

    for generator in (conv_kernel, depthwise_kernel):
        generator.cache_clear()


def test_defects_and_refusals_are_nobodys_input(capsys: pytest.CaptureFixture[str]) -> None:
    assert not issubclass(Defect, EspgenError) and not issubclass(Refused, EspgenError)

    def command() -> None:
        raise Defect("registers a0 and a0 are the same")

    assert ended(command, [], Interrupts()) == DEFECT
    assert "registers a0 and a0" in capsys.readouterr().err
    assert Refusal("reason") == Refusal("reason")


def test_nothing_catches_a_defect() -> None:
    root = Path(__file__).parents[2] / "espgen"
    for path in sorted(root.rglob("*.py")):
        assert not re.search(r"except[^\n]*\bDefect\b", path.read_text()), path
