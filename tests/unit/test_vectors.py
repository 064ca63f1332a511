"""Test vectors in a component's manifest: read back as they were, compared, and refused where they make no sense."""

from __future__ import annotations

import numpy as np
import pytest
from espdl_files import File, tensor

from espgen.errors import EspgenError
from espgen.frontend.espdl import load_espdl
from espgen.passes.pipeline import lower_to_integer
from espgen.verify.vectors import as_entries, embedded_dataset

X = np.arange(-24, 24, dtype=np.int8).reshape(1, 4, 4, 3)


def _loaded(output: np.ndarray):  # type: ignore[no-untyped-def]
    file = File()
    file.input("x", X.shape, -2)
    file.node("MaxPool", "x", "y", (1, 2, 2, 3), -2, kernel_shape=(2, 2), strides=(2, 2), pads=(0, 0, 0, 0))
    file.tests = {"test_inputs_value": [tensor("x", X)], "test_outputs_value": [tensor("y", output)]}
    return load_espdl(file.data("y"), "file")


def test_vectors_are_read_back_and_compared() -> None:
    right = X.reshape(1, 2, 2, 2, 2, 3).max(axis=(2, 4))
    for output, told in ((right, "every byte"), (right + np.int8(2), "12 of 12 elements, by 2 at most")):
        loaded = _loaded(output)
        graph = lower_to_integer(loaded.graph)
        found = embedded_dataset(graph, as_entries(loaded.inputs, loaded.outputs), "manifest")
        assert found is not None and len(found) == 1
        np.testing.assert_array_equal(found.arrays["x"], X[None])
        assert found.notes[1].endswith(told)


def test_a_manifest_without_vectors_has_none_and_a_broken_one_is_refused() -> None:
    loaded = _loaded(np.zeros((1, 2, 2, 3), np.int8))
    graph = lower_to_integer(loaded.graph)
    assert as_entries({}, {}) == {} and embedded_dataset(graph, {}, "manifest") is None
    entry = as_entries(loaded.inputs, loaded.outputs)["vectors"]
    x = entry["inputs"]["x"]
    for broken in (7, {}, {"inputs": {}, "outputs": {}}, {**entry, "inputs": {"x": {**x, "data": "?"}}},
                   {**entry, "inputs": {"x": {**x, "shape": [1, 3, 4, 5]}}}, {**entry, "outputs": {"y": x}}):  # fmt: skip
        with pytest.raises(EspgenError, match="make no sense") as caught:
            embedded_dataset(graph, {"vectors": broken}, "manifest")
        assert caught.value.hint == "compile the model again"
