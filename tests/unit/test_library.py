"""The verbs as functions of the package, whatever was imported before."""

from __future__ import annotations

import subprocess
import sys

import pytest

import espgen


def run(script: str) -> str:
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_importing_the_package_imports_nothing_heavy() -> None:
    script = "import sys, espgen; print([n for n in ('numpy', 'onnx', 'click', 'espgen.api') if n in sys.modules])"
    assert run(script) == "[]"


@pytest.mark.parametrize("before", ["", "import espgen.verify.framing", "from espgen import api"])
def test_every_verb_can_be_called_whatever_was_imported_before(before: str) -> None:
    script = (
        f"{before}\nimport espgen\nfirst = [getattr(espgen, verb) for verb in espgen.VERBS]\n"
        "print(all(map(callable, first)), all(callable(getattr(espgen, verb)) for verb in espgen.VERBS))"
    )
    assert run(script) == "True True"


def test_the_verb_that_is_a_package_too_can_be_called() -> None:
    script = (
        "import espgen, espgen.verify.framing\nimport espgen.api as api\n"
        "api.verify = lambda *a, **k: (a, k)\nprint(espgen.verify('c', data='d'))\n"
        "from espgen.verify import framing\nprint(framing.__name__)"
    )
    assert run(script).splitlines() == ["(('c',), {'data': 'd'})", "espgen.verify.framing"]


def test_other_names_are_unknown() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = espgen.nonsense
