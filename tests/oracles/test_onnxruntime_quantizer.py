"""Models as onnxruntime's own quantizer writes them: QDQ and QOperator, 8 and 16 bits, folded and unfolded normalization."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from espgen.frontend import load_onnx
from espgen.interpret.integer import run_integer
from espgen.ir.layout import from_layout, to_layout
from espgen.passes.pipeline import lower_to_integer

DATA = os.environ.get("ESPGEN_DATA")
pytestmark = pytest.mark.skipif(DATA is None, reason="ESPGEN_DATA is not set")

SAMPLES = 12
KWS, RESNET, FOLDED = "kws/kws_dscnn_float_bn.onnx", "ic/resnet8_float_bn.onnx", "ic/resnet8_float_folded.onnx"

# model, format, activations, weights, per channel
FEW = [
    (KWS, "QDQ", "QInt8", "QInt8", True),
    (KWS, "QDQ", "QInt16", "QInt8", True),
    (RESNET, "QDQ", "QUInt8", "QUInt8", False),
    (RESNET, "QOperator", "QUInt8", "QInt8", True),
    (FOLDED, "QOperator", "QInt8", "QInt8", False),
    # The quantizer leaves the last normalization and the pool behind it float here.
    (KWS, "QOperator", "QUInt8", "QInt8", False),
]
MORE = [
    (model, form, activations, weights, per_channel)
    for model in (KWS, RESNET, FOLDED)
    for form in ("QDQ", "QOperator")
    for activations, weights in (("QUInt8", "QInt8"), ("QInt8", "QInt8"), ("QUInt8", "QUInt8"), ("QInt16", "QInt8"))
    for per_channel in (False, True)
    if form == "QDQ" or activations != "QInt16"  # the quantizer has no 16-bit QOperator form
]


def _samples(model: str) -> np.ndarray:
    folder = Path(DATA or "")
    if model == KWS:
        data = np.load(folder / "kws/kws01_500.npz")["x_int8"].reshape(-1, 1, 49, 10)
        return (data.astype(np.float32) - 83) * np.float32(0.5847029)
    return np.load(folder / "ic/cifar10_500.npz")["x_uint8_nhwc"].transpose(0, 3, 1, 2).astype(np.float32)


def agreement(model: str, form: str, activations: str, weights: str, per_channel: bool, path: Path) -> float:
    """Share of samples on which espgen's integers and onnxruntime choose the same class."""
    quantization = pytest.importorskip("onnxruntime.quantization")
    runtime = pytest.importorskip("onnxruntime")
    samples = _samples(model)

    class Reader(quantization.CalibrationDataReader):  # type: ignore[misc,name-defined]
        def __init__(self) -> None:
            self.rows: Iterator[np.ndarray] = iter(samples[100 + index : 101 + index] for index in range(12))

        def get_next(self) -> dict[str, np.ndarray] | None:
            row = next(self.rows, None)
            return None if row is None else {"input": row}

    logging.disable(logging.WARNING)
    try:
        quantization.quantize_static(
            str(Path(DATA or "") / model), str(path), Reader(), quant_format=quantization.QuantFormat[form],
            activation_type=quantization.QuantType[activations], weight_type=quantization.QuantType[weights],
            per_channel=per_channel,
        )  # fmt: skip
    finally:
        logging.disable(logging.NOTSET)
    options = runtime.SessionOptions()
    options.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    session = runtime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    graph = lower_to_integer(load_onnx(path))
    source, result = graph.value(graph.inputs[0]), graph.value(graph.outputs[0])
    same = 0
    for row in (samples[index : index + 1] for index in range(SAMPLES)):
        steps = np.rint(row / np.float32(source.scale)) + source.zero_point
        integers = np.clip(steps, source.dtype.minimum, source.dtype.maximum).astype(source.dtype.numpy)
        ours = from_layout(run_integer(graph, {source.name: to_layout(integers, source.layout)})[result.name], result.layout)
        same += int(ours.argmax() == session.run(None, {"input": row})[0].argmax())
    return same / SAMPLES


@pytest.mark.parametrize("case", FEW, ids=lambda case: "-".join(str(item) for item in case))
def test_some_forms(case: tuple[str, str, str, str, bool], tmp_path: Path) -> None:
    assert agreement(*case, tmp_path / "model.onnx") >= 0.9


@pytest.mark.prove
@pytest.mark.parametrize("case", MORE, ids=lambda case: "-".join(str(item) for item in case))
def test_all_forms(case: tuple[str, str, str, str, bool], tmp_path: Path) -> None:
    assert agreement(*case, tmp_path / "model.onnx") >= 0.8
