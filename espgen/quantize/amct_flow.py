"""AMCT's accuracy-based automatic calibration with its file names, and its performance-based sibling."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from espgen.ir import Graph
from espgen.quantize import amct_record
from espgen.quantize.exporter import qdq_bytes
from espgen.quantize.fallback import Costs, Evaluator, Fallback, accuracy_fallback, as_dict, latency_fallback
from espgen.quantize.fold import fold
from espgen.quantize.model import QuantizedModel
from espgen.quantize.output import as_json, write_all
from espgen.quantize.pipeline import quantize
from espgen.quantize.settings import Settings
from espgen.quantize.statistics import Progress
from espgen.quantize.units import is_product


@dataclass(frozen=True)
class Paths:
    """Where AMCT's users look for results of a model called `name`, below `root`."""

    root: Path
    name: str

    @property
    def log(self) -> Path:
        return self.root / "amct_log" / "amct_espgen.log"

    @property
    def history(self) -> Path:
        return self.root / "amct_log" / "accuracy_based_auto_calibration_record.json"

    @property
    def fake_quant(self) -> Path:
        return self.root / "results" / f"{self.name}_fake_quant_model.onnx"

    @property
    def deploy(self) -> Path:
        return self.root / "results" / f"{self.name}_deploy_model.onnx"

    @property
    def final_config(self) -> Path:
        return self.root / "results" / "accuracy_based_auto_calibration_final_config.json"

    @property
    def ranking(self) -> Path:
        return self.root / "results" / "accuracy_based_auto_calibration_ranking_info.json"

    @property
    def config(self) -> Path:
        return self.root / "tmp" / "config.json"

    @property
    def record(self) -> Path:
        return self.root / "tmp" / "scale_offset_record.txt"


def accuracy_based_auto_calibration(graph: Graph, calibration: Mapping[str, np.ndarray], evaluation: Mapping[str, np.ndarray],
                                    evaluator: Evaluator, settings: Settings, paths: Paths, strategy: str = "binary",
                                    sensitivity: str = "cosine", progress: Progress | None = None) -> Fallback:  # fmt: skip
    """accuracy_fallback, with every file AMCT writes: models, final configuration, ranking, history, record, log.

    Raises EspgenError, and writes nothing, where only the unquantized model meets the evaluator's target.
    """
    result = accuracy_fallback(graph, calibration, evaluation, evaluator, settings, strategy, sensitivity, None, progress)
    lines = [
        f"Accuracy of original model is {result.original:.6f}",
        f"Accuracy of global quantized model is {result.global_quantized:.6f}",
        f"Accuracy of saved model is {result.saved:.6f}",
        f"The generated model is stored in dir: {paths.fake_quant.parent}",
        f"The records is stored in dir: {paths.record.parent}",
    ]
    details = as_dict(result)
    everything = configuration(result.fake_quant, (), settings)
    write_all(
        {
            paths.fake_quant: qdq_bytes(result.fake_quant),
            paths.deploy: qdq_bytes(result.deploy),
            paths.final_config: as_json(configuration(result.fake_quant, result.rolled_back, settings)),
            paths.config: as_json(everything),
            paths.ranking: as_json({layer["name"]: layer for layer in details["ranking"]}),
            paths.history: as_json(details["history"]),
            paths.record: amct_record.write(amct_record.of_model(result.fake_quant)),
            paths.log: log_text(lines),
        }
    )
    return result


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


def settings_of_configuration(content: Mapping[str, Any], settings: Settings) -> Settings:
    """Settings with the layers a configuration disables kept in float."""
    disabled = {
        name for name, entry in content.items() if isinstance(entry, Mapping) and entry.get("quant_enable") is False
    }
    return settings.but(float_nodes=settings.float_nodes | disabled, fuse=bool(content.get("do_fusion", settings.fuse)))


def perf_based_auto_calibration(graph: Graph, calibration: Mapping[str, np.ndarray], costs: Costs, settings: Settings,
                                progress: Progress | None = None) -> tuple[QuantizedModel, tuple[str, ...]]:  # fmt: skip
    """Quantize, but leave layers in int16 for which `costs` (cycles in int8, in int16; measured) show no gain from int8.

    Returns the model and those layers.
    """
    folded = fold(graph, settings.fuse, settings.fuse_list)
    names = latency_fallback([node.name for node in folded.nodes if is_product(folded, node)], costs)
    chosen = settings.but(bits={**settings.bits, **dict.fromkeys(names, 16)})
    return quantize(graph, calibration, chosen, progress), names


def log_text(lines: Sequence[str]) -> str:
    """Lines in AMCT's log format (without a time stamp: same input, same bytes)."""
    return "".join(f"INFO - [AMCT]:[espgen]: {line}\n" for line in lines)
