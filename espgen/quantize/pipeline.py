"""Float graph and calibration data in, quantized model out: one run with given settings, or the better of two."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from espgen.errors import EspgenError
from espgen.ir import DType, Graph
from espgen.quantize.exporter import qdq_model
from espgen.quantize.model import QuantizedModel
from espgen.quantize.prepare import Calibrated, calibrate, prepare
from espgen.quantize.probe import multiply_accumulates
from espgen.quantize.runtime import Session, can_batch, graph_session
from espgen.quantize.sequential import quantize_layers
from espgen.quantize.settings import Settings
from espgen.quantize.statistics import Progress

HELD_BACK = 4
FAST_JUDGED = 4
# Multiply-accumulates to spend on judging a trial of the default recipe, and the samples it gets at least.
JUDGED_WORK = 5e9
LEAST_JUDGED = 12


@dataclass(frozen=True)
class Fidelity:
    """How near a quantized model's outputs are to the float model's, over some samples.

    judged: error of the logits in front of a final Softmax (of the outputs where there is none), which varies less from
    sample to sample: what recipes are chosen by; error: mean |q - f|^2 / |f|^2 of the outputs; agreement: share of samples
    with the same top-1 (of the first output); samples: how many these are; accuracy, float_accuracy: share of right top-1,
    None without labels; labelled: how many samples these are of.
    """

    judged: float
    error: float
    agreement: float
    accuracy: float | None = None
    float_accuracy: float | None = None
    samples: int = 0
    labelled: int = 0


def check_quantizable(graph: Graph) -> None:
    """EspgenError for graphs this quantizer cannot start from."""
    quantized = [node for node in graph.nodes if node.op in ("QuantizeLinear", "DequantizeLinear", "FakeQuant")]
    if quantized:
        raise EspgenError(
            "the model is quantized already", node=quantized[0].name,
            hint="give the float model, or convert this one with `espgen convert`",
        )  # fmt: skip
    if not graph.nodes:
        raise EspgenError("the model holds no operators", place=graph.name)
    taken = [name for name in graph.inputs if not graph.value(name).dtype.is_integer]
    strange = [name for name in (*taken, *graph.outputs) if graph.value(name).dtype is not DType.FLOAT32]
    if strange:
        raise EspgenError(
            f"{strange[0]!r} is {graph.value(strange[0]).dtype.value}, not float32", place="graph inputs and outputs",
            hint="only networks with float32 outputs, from float32 or integers, are quantized",
        )  # fmt: skip


def quantize(
    graph: Graph, data: Mapping[str, np.ndarray], settings: Settings, progress: Progress | None = None
) -> QuantizedModel:
    """Quantize `graph` with exactly these settings; `data`: float32 [samples, ...] by input name.

    With correction "auto" both targets of the bias correction are tried, without the slow rounding, on part of the data,
    judged on a held-back quarter, and the better one is used on all of it.
    """
    check_quantizable(graph)
    calibrated = calibrate(graph, data, settings, progress)
    return quantize_calibrated(calibrated, data, settings, progress)


def quantize_calibrated(calibrated: Calibrated, data: Mapping[str, np.ndarray], settings: Settings,
                        progress: Progress | None = None) -> QuantizedModel:  # fmt: skip
    """As `quantize`, on statistics collected before."""
    prepared = prepare(calibrated, settings, progress)
    if settings.correction != "auto":
        return quantize_layers(prepared, data, settings, progress)
    training, held_back = split(data)
    if not len(next(iter(held_back.values()))):
        return quantize_layers(prepared, data, settings.but(correction="float"), progress)
    # Means need few samples: half of them decide which target is right as surely as all.
    training = {name: array[::2] for name, array in training.items()} if len(next(iter(training.values()))) >= 32 else training
    macs = sum(multiply_accumulates(calibrated.graph, node) for node in calibrated.graph.nodes)
    most = max(LEAST_JUDGED, int(JUDGED_WORK / max(macs, 1)))
    held_back = {name: array[:most] for name, array in held_back.items()}
    errors: dict[str, float] = {}
    for choice in ("float", "own"):
        trial = quantize_layers(prepared, training, settings.but(correction=choice, rounding="nearest"), progress)
        errors[choice] = fidelity(calibrated.graph, trial, held_back, settings.threads).judged
    chosen = min(errors, key=lambda choice: errors[choice])
    note = ", ".join(f"{choice} {100 * error:.3f} %" for choice, error in errors.items())
    model = quantize_layers(prepared, data, settings.but(correction=chosen), progress)
    return model.with_notes(f"bias correction towards {chosen!r} (error on held-back samples: {note})")


def split(data: Mapping[str, np.ndarray]) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """(three quarters, one quarter) of the samples: every fourth one is held back."""
    count = len(next(iter(data.values())))
    held = np.arange(count) % HELD_BACK == HELD_BACK - 1
    return {name: array[~held] for name, array in data.items()}, {name: array[held] for name, array in data.items()}


def run_float(graph: Graph, data: Mapping[str, np.ndarray], threads: int = 1, batch: int = 8) -> dict[str, np.ndarray]:
    """Outputs of the float graph, by name."""
    return graph_session(graph, graph.outputs, threads, batch).run(data)


def run_quantized(model: QuantizedModel, data: Mapping[str, np.ndarray], threads: int = 1, batch: int = 8,
                  extra: Sequence[str] = ()) -> dict[str, np.ndarray]:  # fmt: skip
    """Outputs (and `extra` inner values) of the QDQ model under onnxruntime, all optimizations off."""
    batched = can_batch(model.graph)
    proto = qdq_model(model, batched, [name for name in extra if name not in model.graph.outputs])
    names = {output.name: output.name.removesuffix(".dequantized") for output in proto.graph.output}
    session = Session(proto.SerializeToString(), list(names), threads, batch if batched else 1)
    return {names[name]: value for name, value in session.run(data).items()}


def fidelity(graph: Graph, model: QuantizedModel, data: Mapping[str, np.ndarray], threads: int = 1,
             labels: np.ndarray | None = None) -> Fidelity:  # fmt: skip
    """The exported model against the float graph on `data`."""
    logits = judged_values(graph)
    names = list(dict.fromkeys([*graph.outputs, *logits]))
    real = graph_session(graph, names, threads, 8).run(data)
    return compare_outputs(graph, real, run_quantized(model, data, threads, extra=logits), labels)


def quality(model: QuantizedModel, data: Mapping[str, np.ndarray], labels: np.ndarray | None, threads: int = 1,
            fast: bool = False) -> Fidelity:  # fmt: skip
    """Against the float network, on a quarter of the samples (FAST_JUDGED where speed counts); top-1 on all with labels."""
    _, judged = split(data)
    judged = judged if len(next(iter(judged.values()))) else dict(data)
    if fast:
        judged = {name: array[:FAST_JUDGED] for name, array in judged.items()}
    near = fidelity(model.reference, model, judged, threads)
    if labels is None:
        return near
    right = fidelity(model.reference, model, data, threads, labels)
    return replace(near, accuracy=right.accuracy, float_accuracy=right.float_accuracy, labelled=right.labelled)


def judged_values(graph: Graph) -> list[str]:
    """Per graph output the value in front of its Softmax, or the output itself."""
    producers = graph.producers()
    return [
        producers[name].inputs[0] if name in producers and producers[name].op in ("Softmax", "LogSoftmax") else name
        for name in graph.outputs
    ]


def compare_outputs(graph: Graph, real: Mapping[str, np.ndarray], quantized: Mapping[str, np.ndarray],
                    labels: np.ndarray | None = None) -> Fidelity:  # fmt: skip
    """Error, agreement and accuracy of two sets of outputs."""
    errors = [_relative(real[name], quantized[name]) for name in graph.outputs]
    judged = []
    for name in judged_values(graph):
        soft = name not in graph.outputs
        judged.append(_relative(real.get(name, real[graph.outputs[0]]), quantized.get(name, quantized[graph.outputs[0]]), soft))
    first = graph.outputs[0]
    wanted = real[first].reshape(len(real[first]), -1)
    found = quantized[first].reshape(len(wanted), -1)
    top, expected = found.argmax(axis=1), wanted.argmax(axis=1)
    right = None if labels is None else float(np.mean(top == labels))
    float_right = None if labels is None else float(np.mean(expected == labels))
    agreement, count = float(np.mean(top == expected)), len(top)
    return Fidelity(
        float(np.mean(judged)), float(np.mean(errors)), agreement, right, float_right, count, 0 if labels is None else count
    )


def _relative(real: np.ndarray, quantized: np.ndarray, centred: bool = False) -> float:
    """Mean over samples of |q - f|^2 / |f|^2; `centred` leaves out what a Softmax ignores."""
    wanted = real.reshape(len(real), -1).astype(np.float64)
    found = quantized.reshape(len(wanted), -1).astype(np.float64)
    if centred:
        wanted, found = wanted - wanted.mean(axis=1, keepdims=True), found - found.mean(axis=1, keepdims=True)
    power = np.maximum((wanted**2).sum(axis=1), 1e-30)
    return float(np.mean(((found - wanted) ** 2).sum(axis=1) / power))
