"""ONNX's own operator tests with 8- and 16-bit tensors: all pass but those excluded for a written reason."""

from __future__ import annotations

import node_cases
import operator_outcomes
import pytest

from espgen.errors import EspgenError


def test_no_case_fails() -> None:
    failed = [f"{item.name}: {item.reason}" for item in operator_outcomes.outcomes() if item.reason.startswith("FAILED")]
    assert not failed, "\n".join(failed)


def test_enough_cases_pass() -> None:
    """The selection itself must not go empty when onnx changes its tests."""
    passed = {item.op for item in operator_outcomes.outcomes() if not item.reason}
    assert {
        "QLinearConv",
        "QLinearMatMul",
        "QuantizeLinear",
        "DequantizeLinear",
        "ConvInteger",
        "MatMulInteger",
        "Clip",
    } <= passed


def test_exclusions_name_existing_cases_that_do_fail() -> None:
    """An exclusion nobody needs any more goes away."""
    cases = {case.name: case for case in node_cases.node_cases(operator_outcomes.OPERATORS)}
    for name in operator_outcomes.EXCLUDED:
        assert name in cases, f"{name} is no case of onnx any more"
        try:
            outcome = operator_outcomes.run(cases[name])
        except EspgenError:
            continue
        assert outcome, f"{name} passes: take it off the list"


def test_the_page_is_true() -> None:
    page = operator_outcomes.PAGE.read_text(encoding="utf-8")
    if f"Cases of onnx {operator_outcomes.VERSION}." not in page:
        pytest.skip(f"the page is about the cases of another onnx than {operator_outcomes.VERSION}")
    assert page == operator_outcomes.markdown(), "run python tests/oracles/operator_outcomes.py"
