"""The coverage-guided fuzzer on model files, for as long as ESPGEN_FUZZ_SECONDS says, up to 200,000 files."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parent))

FILES = 200_000
SECONDS = int(os.environ.get("ESPGEN_FUZZ_SECONDS", "600"))
LEAST_PER_SECOND = 2


@pytest.mark.prove
def test_no_file_ends_in_anything_but_a_component_or_a_refusal(tmp_path: Path, record_property: pytest.RecordProperty) -> None:
    pytest.importorskip("atheris", reason="install espgen[fuzz]")
    from test_models import bases

    corpus = tmp_path / "corpus"
    corpus.mkdir()
    for index, model in enumerate(bases()):
        (corpus / f"base{index}").write_bytes(model.SerializeToString())
    script = Path(__file__).parent / "atheris_models.py"
    options = [f"-runs={FILES}", f"-max_total_time={SECONDS}", "-seed=1", "-verbosity=0"]
    done = subprocess.run(
        [sys.executable, str(script), str(corpus), *options], cwd=tmp_path, capture_output=True, text=True,
        timeout=SECONDS + 300, check=False,
    )  # fmt: skip
    outcomes = json.loads((tmp_path / "outcomes.json").read_text(encoding="utf-8"))
    for name, count in outcomes.items():
        record_property(name, count)
    left = [path.name for path in tmp_path.iterdir() if path.name.startswith(("crash-", "timeout-", "oom-"))]
    assert done.returncode == 0 and not left, f"{left}: {done.stderr[-3000:]}"
    assert outcomes["files"] >= min(FILES, LEAST_PER_SECOND * SECONDS) and outcomes["compiled"] > 0, outcomes
