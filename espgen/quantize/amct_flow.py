"""AMCT's accuracy-based automatic calibration with its file names, and its performance-based sibling."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from espgen.errors import EspgenError
from espgen.ir import Graph
from espgen.quantize import amct_record, latency
from espgen.quantize.exporter import qdq_bytes
from espgen.quantize.fallback import Evaluator, Fallback, accuracy_fallback, as_dict
from espgen.quantize.latency import Latency, Measure, latency_fallback
from espgen.quantize.model import QuantizedModel
from espgen.quantize.output import as_json, write_all
from espgen.quantize.settings import Settings
from espgen.quantize.statistics import Progress
from espgen.quantize.units import is_product

ACCURACY = "accuracy_based_auto_calibration"
PERFORMANCE = "perf_based_auto_calibration"


@dataclass(frozen=True)
class Paths:
    """Where AMCT's users look for results of a model called `name`, below `root`. flow: ACCURACY or PERFORMANCE."""

    root: Path
    name: str
    flow: str = ACCURACY

    @property
    def log(self) -> Path:
        return self.root / "amct_log" / "amct_espgen.log"

    @property
    def history(self) -> Path:
        return self.root / "amct_log" / f"{self.flow}_record.json"

    @property
    def fake_quant(self) -> Path:
        return self.root / "results" / f"{self.name}_fake_quant_model.onnx"

    @property
    def deploy(self) -> Path:
        return self.root / "results" / f"{self.name}_deploy_model.onnx"

    @property
    def final_config(self) -> Path:
        return self.root / "results" / f"{self.flow}_final_config.json"

    @property
    def ranking(self) -> Path:
        return self.root / "results" / f"{self.flow}_ranking_info.json"

    @property
    def config(self) -> Path:
        return self.root / "tmp" / "config.json"

    @property
    def record(self) -> Path:
        return self.root / "tmp" / "scale_offset_record.txt"


def accuracy_based_auto_calibration(graph: Graph, calibration: Mapping[str, np.ndarray], evaluation: Mapping[str, np.ndarray],
                                    evaluator: Evaluator, settings: Settings, paths: Paths, strategy: str = "binary",
                                    sensitivity: str = "cosine", progress: Progress | None = None, jobs: int = 1,
                                    dask: str | None = None) -> Fallback:  # fmt: skip
    """accuracy_fallback, with every file AMCT writes: models, final configuration, ranking, history, record, log.

    Raises EspgenError, and writes nothing, where only the unquantized model meets the evaluator's target.
    """
    result = accuracy_fallback(
        graph, calibration, evaluation, evaluator, settings, strategy, sensitivity, progress, jobs, dask
    )
    details = as_dict(result)
    ranking = {layer["name"]: layer for layer in details["ranking"]}
    models = (result.fake_quant, result.deploy)
    _write(paths, models, result.rolled_back, settings, ranking, details["history"], accuracy_lines(details, paths))
    return result


def perf_based_auto_calibration(graph: Graph, calibration: Mapping[str, np.ndarray], measure: Measure, settings: Settings,
                                paths: Paths, place: str, progress: Progress | None = None) -> Latency:  # fmt: skip
    """latency_fallback, with the files of the flow driven by accuracy; the ranking holds the cycles of every layer.

    measure, place: cycles of a QDQ model by node name, and where they are measured.
    """
    result = latency_fallback(graph, calibration, settings, measure, progress)
    details = latency.as_dict(result, place)
    ranking = {layer["name"]: layer for layer in sorted(details["layers"], key=lambda layer: layer["int8"] - layer["int16"])}
    models = (result.fake_quant, result.deploy)
    _write(paths, models, result.rolled_back, settings, ranking, details["history"], performance_lines(details, paths))
    return result


def _write(paths: Paths, models: tuple[QuantizedModel, QuantizedModel], rolled_back: Sequence[str], settings: Settings,
           ranking: Mapping[str, Any], history: Sequence[Any], lines: Sequence[str]) -> None:  # fmt: skip
    fake_quant, deploy = models
    write_all(
        {
            paths.fake_quant: qdq_bytes(fake_quant),
            paths.deploy: qdq_bytes(deploy),
            paths.final_config: as_json(configuration(fake_quant, rolled_back, settings)),
            paths.config: as_json(configuration(fake_quant, (), settings)),
            paths.ranking: as_json(ranking),
            paths.history: as_json(history),
            paths.record: amct_record.write(amct_record.of_model(fake_quant)),
            paths.log: log_text(lines),
        }
    )


def accuracy_lines(details: Mapping[str, Any], paths: Paths) -> list[str]:
    """What AMCT says at the end of the flow driven by accuracy."""
    return [
        f"Accuracy of original model is {details['original']:.6f}",
        f"Accuracy of global quantized model is {details['global_quantized']:.6f}",
        f"Accuracy of saved model is {details['saved']:.6f}",
        f"Accuracy of deploy model is {details['deployed']:.6f}",
        *_stored(paths),
    ]


def performance_lines(details: Mapping[str, Any], paths: Paths) -> list[str]:
    """The same for the flow driven by latency: cycles of the network instead of accuracy."""
    cycles = details["cycles"]
    return [
        f"Cycles of int16 model are {cycles['int16']:.0f} ({details['measured']})",
        f"Cycles of global quantized model are {cycles['int8']:.0f}",
        f"Cycles of saved model are {cycles['saved']:.0f}",
        *_stored(paths),
    ]


def _stored(paths: Paths) -> list[str]:
    return [
        f"The generated model is stored in dir: {paths.fake_quant.parent}",
        f"The records is stored in dir: {paths.record.parent}",
    ]


def configuration(model: QuantizedModel, rolled_back: Sequence[str], settings: Settings) -> dict[str, Any]:
    """AMCT's configuration: quant_enable and the parameters of every layer."""
    layers = {}
    for node in model.reference.nodes:
        if not is_product(model.reference, node):
            continue
        bits = settings.bits.get(node.name, 8)
        layers[node.name] = {
            "quant_enable": node.name not in rolled_back and node.name not in settings.float_nodes,
            "activation_quant_params": {"num_bits": bits, "act_algo": settings.observer},
            "weight_quant_params": {"wts_algo": settings.rounding, "channel_wise": True, "num_bits": bits},
        }
    return {"version": 1, "activation_offset": not settings.scheme.symmetric, "do_fusion": settings.fuse, **layers}


def settings_of_configuration(content: Mapping[str, Any], settings: Settings, names: Collection[str],
                              skip_as: str = "float") -> Settings:  # fmt: skip
    """Settings with what a configuration says of layers: quant_enable false keeps them float (or int16, by `skip_as`).

    num_bits 16 makes them int16; do_fusion switches folding. names: the layers there are; EspgenError for any other.
    """
    layers = {name: entry for name, entry in content.items() if isinstance(entry, Mapping)}
    unknown = sorted(set(layers) - set(names))
    if unknown:
        raise EspgenError(
            f"the model has no layer {unknown[0]!r}", place="--config", hint="`espgen inspect` lists the names of the nodes"
        )
    disabled = {name for name, entry in layers.items() if entry.get("quant_enable") is False}
    wide = {name for name, entry in layers.items() if 16 in (_bits(entry, "activation"), _bits(entry, "weight"))}
    floats = disabled if skip_as == "float" else set()
    bits = {**settings.bits, **dict.fromkeys(sorted((wide | disabled) - floats), 16)}
    return settings.but(
        bits=bits, float_nodes=settings.float_nodes | floats, fuse=bool(content.get("do_fusion", settings.fuse))
    )


def _bits(entry: Mapping[str, Any], what: str) -> int:
    parameters = entry.get(f"{what}_quant_params")
    return int(parameters.get("num_bits", 8)) if isinstance(parameters, Mapping) else 8


def read_configuration(path: Path) -> dict[str, Any]:
    """A configuration file's content. Raises EspgenError where it is none."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        for entry in content.values():
            if isinstance(entry, Mapping):
                _bits(entry, "activation"), _bits(entry, "weight")
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise EspgenError(
            f"this is no configuration: {error}", place=str(path), hint="`espgen quantize-fallback` writes one to start from"
        ) from None
    return dict(content)


def log_text(lines: Sequence[str]) -> str:
    """Lines in AMCT's log format (without a time stamp: same input, same bytes)."""
    return "".join(f"INFO - [AMCT]:[espgen]: {line}\n" for line in lines)
