"""The demonstration: the bundled digits model from ONNX to a verdict, accuracy and cycles on the simulator."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from espgen import api
from espgen.resources import models_dir

MODEL = "digits_int8_qdq.onnx"
DATA = "digits_test.npz"


def run(
    output: Path | None,
    limit: int | None,
    tell: Callable[[str], Any] | None = None,
    progress: api.Progress | None = None,
) -> dict[str, Any]:
    """Compile, verify and profile; the result of each under its verb.

    `output` keeps the component, None works in a temporary folder; `limit` verifies fewer digits; `tell` is given
    a line before each step, `progress` the counts of long work. Raises EspgenError like the verbs themselves.
    """
    say = tell or (lambda _line: None)
    with tempfile.TemporaryDirectory() as scratch:
        component = output or Path(scratch) / "component"
        say(f"$ espgen compile {MODEL} -o component/")
        compiled = api.compile(models_dir() / MODEL, component)
        say(f"$ espgen verify component/ --data {DATA}")
        verified = api.verify(component, data=models_dir() / DATA, limit=limit, progress=progress)
        say("$ espgen profile component/")
        return {"compile": compiled, "verify": verified, "profile": api.profile(component)}
