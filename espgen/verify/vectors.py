"""Test vectors that came with the model: kept in the component's manifest, and what `verify` uses where no data is given."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from espgen.errors import EspgenError
from espgen.interpret import run_integer
from espgen.ir import Graph
from espgen.ir.layout import to_layout
from espgen.verify.data import Dataset

Array = npt.NDArray[Any]


def as_entries(inputs: Mapping[str, Array], outputs: Mapping[str, Array]) -> dict[str, Any]:
    """The manifest's entry; inputs and outputs are integers in the order of axes of the source graph."""
    if not inputs:
        return {}
    return {"vectors": {part: {name: _entry(data) for name, data in arrays.items()}
                        for part, arrays in (("inputs", inputs), ("outputs", outputs))}}  # fmt: skip


def embedded_dataset(graph: Graph, manifest: Mapping[str, Any], place: str) -> Dataset | None:
    """The one sample that came with the model, None where there is none.

    Its notes tell whether the integer graph gives the outputs that came with it. EspgenError where the entry makes no sense.
    """
    entry = manifest.get("vectors")
    if entry is None:
        return None
    try:
        sample = {name: _array(graph, name, entry["inputs"][name]) for name in graph.inputs}
        expected = {name: _array(graph, name, item) for name, item in entry["outputs"].items() if name in graph.outputs}
    except (KeyError, TypeError, ValueError, AttributeError, binascii.Error):
        raise EspgenError("the manifest's test vectors make no sense", place=place, hint="compile the model again") from None
    found = run_integer(graph, sample)
    told = [_compared(name, found[name], expected[name]) for name in expected]
    notes = ("the test vectors of the model's file are used", *told)
    return Dataset({name: data[None] for name, data in sample.items()}, None, notes)


def _entry(data: Array) -> dict[str, Any]:
    return {"type": data.dtype.name, "shape": list(data.shape), "data": base64.b64encode(data.tobytes()).decode("ascii")}


def _array(graph: Graph, name: str, entry: Mapping[str, Any]) -> Array:
    """In the layout of the integer graph."""
    value = graph.value(name)
    if entry["type"] != value.dtype.value:
        raise ValueError(name)
    flat = np.frombuffer(base64.b64decode(entry["data"], validate=True), value.dtype.numpy)
    held = to_layout(flat.reshape(entry["shape"]), value.layout)
    if held.shape != value.shape:
        raise ValueError(name)
    return held


def _compared(name: str, found: Array, expected: Array) -> str:
    steps = np.abs(found.astype(np.int64) - expected.astype(np.int64))
    if not steps.any():
        return f"output {name!r} is the one in the file, every byte"
    return f"output {name!r} differs from the one in the file in {np.count_nonzero(steps)} of {steps.size} elements, " \
        f"by {steps.max()} at most"  # fmt: skip
