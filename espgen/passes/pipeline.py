"""The ordered list of passes, and the one function that runs it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from espgen.ir import Graph, dump, verify
from espgen.passes import absorb_qdq, fold_batch_norm, fold_requantize, fuse_functions, fuse_pad, lower, remove_identity

Pass = Callable[[Graph], Graph]

PASSES: Sequence[tuple[str, Pass]] = (
    ("fold_batch_norm", fold_batch_norm.run),
    ("absorb_qdq", absorb_qdq.run),
    ("fuse_pad", fuse_pad.run),
    ("remove_identity", remove_identity.run),
    ("fold_requantize", fold_requantize.run),
    ("fuse_functions", fuse_functions.run),
    ("lower", lower.run),
)


def lower_to_integer(graph: Graph, dump_dir: Path | None = None) -> Graph:
    """Source graph to integer graph through every pass, verified after each.

    With `dump_dir` the text of the graph is written before the first and after each pass. Raises EspgenError.
    """
    _write(dump_dir, 0, "source", graph)
    for index, (name, run) in enumerate(PASSES, start=1):
        graph = run(graph)
        verify(graph, name)
        _write(dump_dir, index, name, graph)
    return graph


def _write(dump_dir: Path | None, index: int, name: str, graph: Graph) -> None:
    if dump_dir is None:
        return
    dump_dir.mkdir(parents=True, exist_ok=True)
    (dump_dir / f"{index:02d}_{name}.txt").write_text(dump(graph), encoding="utf-8")
