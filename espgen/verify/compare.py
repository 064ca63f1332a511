"""Layer by layer: what a build computed against what the reference interpreter says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from espgen.errors import MISMATCH, EspgenError
from espgen.verify.device import Device, LayerHash
from espgen.verify.host import HostModel
from espgen.verify.model_info import LayerInfo, TensorInfo
from espgen.verify.rows import hash_rows


@dataclass(frozen=True)
class FirstDifference:
    """Where a layer first differs: which sample, which value, at which index (of the logical shape)."""

    sample: int
    value: str
    index: tuple[int, ...]
    expected: int | float
    actual: int | float


@dataclass(frozen=True)
class LayerReport:
    """What was found about one layer over all samples."""

    name: str
    equal: bool
    max_abs_diff: float
    first_diff: FirstDifference | None

    def to_json(self) -> dict[str, Any]:
        first = None
        if self.first_diff is not None:
            first = {
                "sample": self.first_diff.sample,
                "value": self.first_diff.value,
                "index": list(self.first_diff.index),
                "expected": self.first_diff.expected,
                "actual": self.first_diff.actual,
            }
        largest = int(self.max_abs_diff) if float(self.max_abs_diff).is_integer() else self.max_abs_diff
        return {"name": self.name, "equal": self.equal, "max_abs_diff": largest, "first_diff": first}


class Comparison:
    """Collects the verdict over samples. Values are found by the names in LayerInfo.values.

    outputs  the model's: those that no layer makes (views of other values) are compared as layers of their own
    """

    def __init__(self, layers: Sequence[LayerInfo], outputs: Sequence[TensorInfo] = ()) -> None:
        made = {name for layer in layers for name in layer.values}
        views = [tensor for tensor in outputs if tensor.name not in made]
        self.compared = (
            *layers,
            *(
                LayerInfo(len(layers) + number, tensor.name, "output", 0, 0, (tensor.index,), (tensor.name,))
                for number, tensor in enumerate(views)
            ),
        )
        self._reports = {
            layer.index: LayerReport(layer.name, equal=True, max_abs_diff=0, first_diff=None) for layer in self.compared
        }
        self.samples = 0

    def add(
        self,
        sample: int,
        actual: Mapping[str, np.ndarray],
        reference: Mapping[str, np.ndarray],
    ) -> None:
        """Compare every layer of one sample. EspgenError where a value is missing on either side."""
        for layer in self.compared:
            self.add_layer(sample, layer, actual, reference)
        self.samples += 1

    def add_layer(
        self,
        sample: int,
        layer: LayerInfo,
        actual: Mapping[str, np.ndarray],
        reference: Mapping[str, np.ndarray],
    ) -> bool:
        """Compare one layer of one sample (without counting the sample); True where it is equal."""
        equal = True
        for name in layer.values:
            expected = expected_value(reference, name, layer)
            if name not in actual:
                raise EspgenError(f"nothing was computed for value {name!r}", node=layer.name)
            equal &= self._note(sample, layer, name, actual[name], expected)
        return equal

    def _note(
        self, sample: int, layer: LayerInfo, name: str, actual: np.ndarray, expected: np.ndarray
    ) -> bool:
        if actual.shape != expected.shape or actual.dtype != expected.dtype:
            raise EspgenError(
                f"value {name!r} is {actual.dtype} of shape {actual.shape}, the reference {expected.dtype} of shape "
                f"{expected.shape}",
                node=layer.name,
                hint="component and graph do not belong together: compile the model again",
            )
        if actual.tobytes() == expected.tobytes():
            return True
        before = self._reports[layer.index]
        place, largest = _difference(actual, expected)
        first = before.first_diff or FirstDifference(
            sample, name, place, expected[place].item(), actual[place].item()
        )
        self._reports[layer.index] = LayerReport(layer.name, False, max(before.max_abs_diff, largest), first)
        return False

    @property
    def equal(self) -> bool:
        """True where no layer of any sample differed, and there was a sample."""
        return self.samples > 0 and all(report.equal for report in self._reports.values())

    @property
    def layers(self) -> tuple[LayerReport, ...]:
        """The reports in the layers' order."""
        return tuple(self._reports[layer.index] for layer in self.compared)

    def to_json(self) -> list[dict[str, Any]]:
        """The reports as `espgen verify --json` gives them."""
        return [report.to_json() for report in self.layers]


def compare_host(
    model: HostModel,
    inputs: Mapping[str, np.ndarray],
    reference: Mapping[str, np.ndarray],
    comparison: Comparison,
    sample: int,
) -> dict[str, np.ndarray]:
    """Run one sample in the host library and compare all layers; returns the model's outputs."""
    values = model.run(inputs)
    comparison.add(sample, values, reference)
    return {tensor.name: values[tensor.name] for tensor in model.outputs}


def compare_device(
    device: Device,
    inputs: Mapping[str, np.ndarray],
    reference: Mapping[str, np.ndarray],
    comparison: Comparison,
    sample: int,
) -> dict[str, np.ndarray]:
    """Run one sample on a device and compare all layers by their hashes; returns the model's outputs.

    For the first sample, bytes that no buffer holds are guarded as well (Device.layer_hashes).
    The outputs themselves are read and compared byte for byte. The bytes of other layers are fetched only where
    their hash differs, by running the sample again.
    """
    hashes = device.layer_hashes(inputs, check_memory=comparison.samples == 0)
    outputs = device.outputs()
    for layer in comparison.compared:
        made = layer.index < len(device.layers)  # else an output that no layer makes: it has no hash
        differing = made and any(
            _differs(tensor, hashes[tensor.name], expected_value(reference, tensor.name, layer))
            for tensor in device.info.outputs_of(layer)
        )
        if all(name in outputs for name in layer.values):
            if comparison.add_layer(sample, layer, outputs, reference) and differing:
                raise _fickle(layer, "the model's outputs")
        elif differing:
            _fetch(device, inputs, reference, comparison, sample, layer)
    comparison.samples += 1
    return outputs


def _fetch(
    device: Device,
    inputs: Mapping[str, np.ndarray],
    reference: Mapping[str, np.ndarray],
    comparison: Comparison,
    sample: int,
    layer: LayerInfo,
) -> None:
    values = device.read_layer(inputs, layer)
    if comparison.add_layer(sample, layer, values, reference):
        raise _fickle(layer, "its bytes in a second run")


def _differs(tensor: TensorInfo, found: LayerHash, expected: np.ndarray) -> bool:
    packed = np.ascontiguousarray(expected, expected.dtype.newbyteorder("<")).tobytes()
    return found.rows != tensor.rows or found.hash != hash_rows(packed, tensor.row_bytes)


def _fickle(layer: LayerInfo, equal: str) -> EspgenError:
    return EspgenError(
        f"the layer's hash differs from the reference, {equal} do not",
        node=layer.name,
        hint="the result changes from run to run or rows are made twice: report this with the model",
        exit_code=MISMATCH,
    )


def expected_value(reference: Mapping[str, np.ndarray], name: str, layer: LayerInfo) -> np.ndarray:
    """The reference's value. EspgenError where it has none."""
    if name not in reference:
        raise EspgenError(f"the reference has no value {name!r}", node=layer.name)
    return reference[name]


def _difference(actual: np.ndarray, expected: np.ndarray) -> tuple[tuple[int, ...], float]:
    """Index of the first element whose bytes differ, and the largest difference of values."""
    width = actual.dtype.itemsize
    left = np.frombuffer(actual.tobytes(), np.uint8).reshape(-1, width)
    right = np.frombuffer(expected.tobytes(), np.uint8).reshape(-1, width)
    first = int(np.argmax((left != right).any(axis=1)))
    place = tuple(int(index) for index in np.unravel_index(first, actual.shape))
    distance = np.abs(actual.astype(np.float64) - expected.astype(np.float64))
    return place, float(np.nanmax(distance, initial=0.0))
