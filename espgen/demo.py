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
    announce: Callable[[str], Any] = lambda command: None,
    report: Callable[[str, dict[str, Any]], Any] = lambda verb, result: None,
    progress: api.Progress | None = None,
) -> dict[str, Any]:
    """Compile, verify and profile; the result of each under its verb.

    `output` keeps the component, None works in a temporary folder; `limit` verifies fewer digits; `announce` is given
    each command before it runs, `report` its verb and result after; `progress` the counts of long work. Raises
    EspgenError like the verbs themselves.
    """
    results: dict[str, Any] = {}

    def step(command: str, verb: str, call: Callable[[], dict[str, Any]]) -> None:
        announce(command)
        results[verb] = call()
        report(verb, results[verb])

    data = models_dir() / DATA
    with tempfile.TemporaryDirectory() as scratch:
        folder = output or Path(scratch) / "component"
        step(f"espgen compile {MODEL} -o component/", "compile", lambda: api.compile(models_dir() / MODEL, folder))
        step(
            f"espgen verify component/ --data {DATA}",
            "verify",
            lambda: api.verify(folder, data=data, limit=limit, progress=progress),
        )
        step("espgen profile component/", "profile", lambda: api.profile(folder))
    return results
