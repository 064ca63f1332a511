"""Coverage-guided fuzzing of model files: `python atheris_models.py CORPUS [libFuzzer options]`.

What a file may do: compile, or raise EspgenError with a remedy. Any other exception, more than 60 seconds or 3 GB ends the
run with the file that did it (libFuzzer writes `crash-*`, `timeout-*`, `oom-*`). Mutations are those of mutations.py where
the bytes still are a model, else libFuzzer's own. At the end, what became of the files is written to `outcomes.json`.
"""

from __future__ import annotations

import json
import sys
import warnings
from collections import Counter
from pathlib import Path

import atheris

sys.path += [str(Path(__file__).parent), str(Path(__file__).parents[2])]
with atheris.instrument_imports(include=["espgen.frontend", "espgen.passes", "espgen.ops"]):
    from espgen.codegen.build import Options, plan_graph
    from espgen.errors import EspgenError
    from espgen.frontend import load_onnx
    from espgen.passes.pipeline import lower_to_integer

from google.protobuf.message import DecodeError
from mutations import mutated
from onnx import ModelProto

LIMITS = ("-timeout=60", "-rss_limit_mb=3072", "-max_len=65536")

outcomes: Counter[str] = Counter()


def one(data: bytes) -> None:
    """A file that is neither compiled nor refused with a remedy raises."""
    outcomes["files"] += 1
    if outcomes["files"] % 500 == 0:
        save()
    try:
        plan_graph(lower_to_integer(load_onnx(data)), Options())
    except EspgenError as error:
        assert error.message and error.hint and (error.node or error.place), f"no remedy or place: {error}"
        assert "defect of espgen" not in error.hint, f"espgen's own rule broken: {error}"
        outcomes["refused"] += 1
    else:
        outcomes["compiled"] += 1


def mutate(data: bytes, largest: int, seed: int) -> bytes:
    """Half of the time a change to the model that `data` is, else to its bytes."""
    if seed % 2:
        try:
            return mutated(ModelProto.FromString(data), seed)[:largest]
        except (DecodeError, ValueError, IndexError, TypeError):
            pass
    return bytes(atheris.Mutate(data, largest))


def save() -> None:
    Path("outcomes.json").write_text(json.dumps(outcomes), encoding="utf-8")


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    atheris.Setup([sys.argv[0], *LIMITS, *sys.argv[1:]], one, custom_mutator=mutate)
    atheris.Fuzz()
