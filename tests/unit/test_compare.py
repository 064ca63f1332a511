"""Comparison and accuracy: what is reported about layers that differ."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest
from toy_reference import TOY, AgentProcess, toy_input, toy_reference

from espgen.errors import EspgenError
from espgen.verify.accuracy import Accuracy
from espgen.verify.build import build_host, build_host_agent
from espgen.verify.compare import Comparison, compare_device, compare_host
from espgen.verify.device import Device
from espgen.verify.host import HostModel
from espgen.verify.link import Link
from espgen.verify.model_info import LayerInfo
from espgen.verify.rows import hash_rows

LAYERS = (
    LayerInfo(0, "first", "conv", 10, 0, (1,), ("a",)),
    LayerInfo(1, "second", "split", 0, 1, (2, 3), ("b", "c")),
)


def values(**changes: np.ndarray) -> dict[str, np.ndarray]:
    base = {
        "a": np.arange(24, dtype=np.int8).reshape(1, 2, 3, 4),
        "b": np.array([[1000, -1000]], np.int16),
        "c": np.array([200, 3], np.uint8),
    }
    return {**base, **changes}


def test_equal_layers() -> None:
    comparison = Comparison(LAYERS)
    assert not comparison.equal  # nothing was compared yet
    for sample in range(3):
        comparison.add(sample, values(), values())
    assert comparison.equal and comparison.samples == 3
    assert comparison.to_json() == [
        {"name": "first", "equal": True, "max_abs_diff": 0, "first_diff": None},
        {"name": "second", "equal": True, "max_abs_diff": 0, "first_diff": None},
    ]


def test_the_first_difference_and_the_largest_are_kept() -> None:
    changed = values()["a"].copy()
    changed[0, 1, 2, 3] = 20
    worse = values()["a"].copy()
    worse[0, 0, 0, 0] = -128
    comparison = Comparison(LAYERS)
    comparison.add(0, values(), values())
    comparison.add(1, values(a=changed), values())
    comparison.add(2, values(a=worse, c=np.array([0, 3], np.uint8)), values())
    assert not comparison.equal
    first = {"sample": 1, "value": "a", "index": [0, 1, 2, 3], "expected": 23, "actual": 20}
    second = {"sample": 2, "value": "c", "index": [0], "expected": 200, "actual": 0}
    assert comparison.to_json() == [
        {"name": "first", "equal": False, "max_abs_diff": 128, "first_diff": first},
        {"name": "second", "equal": False, "max_abs_diff": 200, "first_diff": second},
    ]


def test_real_values_are_compared_by_their_bytes() -> None:
    layer = LayerInfo(0, "dequantize", "dequantize_linear", 0, 0, (1,), ("y",))
    comparison = Comparison((layer,))
    comparison.add(0, {"y": np.array([0.0, 1.5], np.float32)}, {"y": np.array([-0.0, 1.5], np.float32)})
    assert not comparison.equal
    assert comparison.to_json()[0]["first_diff"]["index"] == [0]


@pytest.mark.parametrize(
    ("actual", "reference", "message"),
    [
        (values(a=np.zeros((1, 2, 3, 5), np.int8)), values(), "of shape"),
        (values(a=values()["a"].astype(np.uint8)), values(), "uint8"),
        ({"a": values()["a"]}, values(), "nothing was computed for value 'b'"),
        (values(), {"a": values()["a"]}, "no value 'b'"),
    ],
)
def test_what_cannot_be_compared_is_an_error(
    actual: Mapping[str, np.ndarray], reference: Mapping[str, np.ndarray], message: str
) -> None:
    with pytest.raises(EspgenError, match=message):
        Comparison(LAYERS).add(0, actual, reference)


def test_host_and_device_give_the_same_verdict_on_a_wrong_reference() -> None:
    verdicts = []
    for place in ("host", "device"):
        if place == "host":
            with HostModel(build_host(TOY)) as model:
                comparison = Comparison(model.layers)
                for sample in range(2):
                    x = toy_input(sample)
                    outputs = compare_host(model, {"x": x}, _wrong(x, sample), comparison, sample)
                    assert set(outputs) == {"wide", "high"}
        else:
            with Link(AgentProcess(build_host_agent(TOY))) as link:
                device = Device.connect(link)
                comparison = Comparison(device.layers)
                for sample in range(2):
                    x = toy_input(sample)
                    outputs = compare_device(device, {"x": x}, _wrong(x, sample), comparison, sample)
                    np.testing.assert_array_equal(outputs["wide"], toy_reference(x)["wide"])
        verdicts.append(comparison.to_json())
    assert verdicts[0] == verdicts[1]
    assert [report["equal"] for report in verdicts[0]] == [False, True, False]
    assert verdicts[0][0]["first_diff"]["index"] == [0, 5, 2, 1]
    assert verdicts[0][0]["first_diff"]["sample"] == 1
    assert verdicts[0][2]["first_diff"]["value"] == "high"


def _wrong(x: np.ndarray, sample: int) -> dict[str, np.ndarray]:
    """The reference with an error in the ring-buffered layer and one in the second output of the last."""
    reference = toy_reference(x)
    if sample == 1:
        reference["doubled"][0, 5, 2, 1] ^= 4
        reference["high"][0, 119] += 1
    return reference


def test_row_hashes_depend_on_rows_not_on_their_order() -> None:
    data = bytes(range(60))
    assert hash_rows(data, 15) != hash_rows(data, 20)
    swapped = data[15:30] + data[:15] + data[30:]
    assert hash_rows(swapped, 15) != hash_rows(data, 15)
    assert hash_rows(data, 15) == sum(_row(data, row) for row in (3, 0, 2, 1)) & 0xFFFFFFFF
    assert hash_rows(b"", 0) == 0


def _row(data: bytes, row: int) -> int:
    import zlib

    return zlib.crc32(row.to_bytes(4, "little") + data[15 * row : 15 * row + 15])


def test_accuracy_counts_ranks_and_breaks_ties_by_class() -> None:
    accuracy = Accuracy()
    assert accuracy.to_json() is None
    accuracy.add(np.array([[1, 9, 3]], np.int8), 1)
    accuracy.add(np.array([5, 5, 1]), 1)  # class 0 is named first
    accuracy.add(np.array([5, 5, 1]), 0)
    accuracy.add(np.array([9, 8, 7, 6, 5, 4, 3]), 5)
    assert accuracy.to_json() == {"top1": 0.5, "top5": 0.75}
    with pytest.raises(ValueError, match="none of 3 classes"):
        accuracy.add(np.zeros(3), 3)
