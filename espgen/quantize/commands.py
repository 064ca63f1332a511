"""What `espgen quantize` and `espgen evaluate` do: plain functions over paths and options, plain dicts as results."""

from __future__ import annotations

import os
import shlex
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from espgen import frontend
from espgen.data.functions import imported
from espgen.data.images import Preprocess
from espgen.data.inputs import Grid
from espgen.data.mapping import Mapped
from espgen.data.meaning import saturation
from espgen.data.samples import Samples, load
from espgen.errors import EspgenError
from espgen.frontend.inputs import Numbers
from espgen.frontend.one_file import in_one_file
from espgen.ir import DType, Extents, Graph
from espgen.quantize import amct_flow, amct_record, latency
from espgen.quantize.adapt import Adapted, adapt
from espgen.quantize.analysis import analyse
from espgen.quantize.analysis_html import page
from espgen.quantize.analysis_text import tables
from espgen.quantize.checks import (
    check_folder,
    check_network,
    check_operators,
    check_real_outputs,
    check_targets,
    load_model,
    refusal,
)
from espgen.quantize.evaluate import ModelTask, Runner, Tell, as_dicts, evaluate, prediction, shared_runner
from espgen.quantize.exporter import float_model as float_bytes
from espgen.quantize.exporter import qdq_bytes
from espgen.quantize.fallback import Evaluator, TopOne, as_dict
from espgen.quantize.fold import FuseList, fold
from espgen.quantize.imports import completed, convert_qdq, from_amct, from_esp_ppq
from espgen.quantize.latency import Costs, Measure
from espgen.quantize.mixed import Mixed, Target, fewest, recipe_settings
from espgen.quantize.model import QuantizedModel, Scheme
from espgen.quantize.observers import ObserverOptions
from espgen.quantize.output import as_json, write_all
from espgen.quantize.parts import cut_alike
from espgen.quantize.pipeline import FAST_JUDGED, fidelity, quality, run_float, run_quantized
from espgen.quantize.recipes import Outcome, run_recipe
from espgen.quantize.record import record
from espgen.quantize.runtime import Session
from espgen.quantize.selection import select
from espgen.quantize.settings import AUTO_EXPONENT, Settings
from espgen.quantize.statistics import Progress

# Samples the error analysis runs on; the recipe minmax is for speed and gets a short one without the layerwise part.
ANALYSED = 16
# Samples after which a component that is evaluated reports.
COUNTED = 16


@dataclass(frozen=True)
class QuantizeOptions:
    """Options of `espgen quantize`; names as on the command line.

    split: share of channels for outlier channel splitting; equalize: "auto", "off" or an exponent; int16, skip: layer
    patterns (selection.py); skip_as: "int16" (what the chip does) or "float"; max_drop: largest loss of top-1 in
    percentage points, searched with int16 layers (needs labels); config: AMCT's configuration of layers, as a file; inputs:
    arrays, layouts and meanings by input, as `--input` says.
    """

    scheme: str = "shift"
    recipe: str = "default"
    observer: str = "search"
    percentile: float = 0.9999
    hist_percent: float = 0.99999
    upsample_bins: int = 64
    equalize: str = "auto"
    correction: str = "auto"
    rounding: str = "descent"
    split: float = 0.0
    margin: float = 1.15
    int16: tuple[str, ...] = ()
    skip: tuple[str, ...] = ()
    skip_as: str = "int16"
    fuse: bool = True
    fuse_list: FuseList | None = None
    max_drop: float | None = None
    budget: float = 600.0
    jobs: int = 1
    dask: str | None = None
    threads: int = 0
    seed: int = 0
    limit: int | None = None
    layerwise: bool = True
    config: Path | None = None
    shapes: Mapping[str, Sequence[int] | int] = field(default_factory=dict)
    constants: Mapping[str, Numbers] = field(default_factory=dict)
    external_data: bool = False
    inputs: Mapped = field(default_factory=dict)


def quantize(model: Path, data: str, output: Path, options: QuantizeOptions = QuantizeOptions(), *,
             preprocess: Preprocess | None = None, record_path: Path | None = None, report: Path | None = None,
             amct_record_path: Path | None = None, evaluation: str | None = None, costs: Costs | None = None,
             measure: Measure | None = None, measured_at: str = "simulator", insist: bool = False,
             progress: Progress | None = None) -> dict[str, Any]:  # fmt: skip
    """Quantize `model` with samples from `data` (see data.load) and write the QDQ model and its JSON record.

    record_path: default `output` with .json; report: an HTML page with the error analysis; amct_record_path: scales in
    AMCT's form. For `max_drop`: evaluation: labelled samples that judge (default: `data`); costs, measure, measured_at,
    insist: see mixed.Target. Raises EspgenError and writes nothing where anything is wrong.
    """
    start = time.monotonic()
    record_path = record_path or output.with_suffix(".json")
    check_targets(*(path for path in (output, record_path, report, amct_record_path) if path is not None))
    graph = load_model(model, options.shapes, options.constants)
    check_network(graph, options.fuse_list)
    judging = options.max_drop is not None and evaluation is None
    samples = _load(data, graph, preprocess, options, judging=judging)
    adapted = adapt(graph, samples.arrays, make_settings(graph, options), progress, cut=options.max_drop is None)
    graph, settings = adapted.graph, adapted.settings
    mixed: Mixed | None = None
    if options.max_drop is None:
        if evaluation is not None:
            raise EspgenError("--evaluation belongs to --max-drop", place="usage", hint="judge a model with `espgen evaluate`")
        outcome = run_recipe(
            options.recipe, graph, samples.arrays, settings, options.budget, options.jobs, options.dask, progress
        )
    else:
        judges = samples if evaluation is None else _load(evaluation, graph, preprocess, options, lazy=True)
        if judges.labels is None:
            raise EspgenError("--max-drop needs labels", place="--data", hint="add labels `y`, or choose layers with --int16")
        target = Target(judges.arrays, judges.labels, options.max_drop / 100.0, costs, measure, measured_at, insist)
        mixed = fewest(graph, samples.arrays, settings, options.recipe, target, budget=options.budget, jobs=options.jobs,
                       dask=options.dask, progress=progress)  # fmt: skip
        outcome = mixed.outcome
    quantized = outcome.model
    fast = options.recipe == "minmax"
    few = {name: array[: FAST_JUDGED if fast else ANALYSED] for name, array in samples.arrays.items()}
    analysis = analyse(quantized, few, options.layerwise and not fast, settings.threads, progress)
    near = quality(quantized, samples.arrays, samples.labels, settings.threads, fast)
    result: dict[str, Any] = {
        "model": str(output),
        "record": str(record_path),
        "scheme": settings.scheme.value,
        "recipe": options.recipe,
        "samples": len(samples),
        "data": [*samples.notes, *_cut(quantized, samples)],
        "changes": list(adapted.notes),
        "fidelity": asdict(near),
        "prediction": first_prediction(quantized, samples.arrays, settings.threads),
        "reasons": list(outcome.reasons),
        "trials": outcome.history(),
        "int16": sorted(name for name, layer in quantized.layers.items() if layer.bits == 16),
        "analysis": analysis.as_dict(),
        "tables": tables(analysis),
        "seconds": round(time.monotonic() - start, 2),
    }
    if mixed is not None:
        result["max_drop"] = mixed.report
    stored = qdq_bytes(quantized)
    result["refused"] = None if settings.float_nodes else refusal(stored)
    result["next"] = "" if settings.float_nodes or result["refused"] else _compile_next(output)
    files: dict[Path, bytes | str] = {output: stored, record_path: as_json(_record(graph, quantized, outcome))}
    if report is not None:
        files[report] = page(analysis, f"{Path(model).name}: quantization error", mixed.report["weighed_by"] if mixed else "")
        result["report"] = str(report)
    if amct_record_path is not None:
        files[amct_record_path] = amct_record.write(amct_record.of_model(quantized))
        result["amct_record"] = str(amct_record_path)
    write_all(files)
    return result


def _load(source: str, graph: Graph, preprocess: Preprocess | None, options: QuantizeOptions, *, judging: bool = True,
          lazy: bool = False) -> Samples:  # fmt: skip
    """Samples for calibration (the first `limit` of them), or all that judge, read when they are needed."""
    return load(source, graph, preprocess, None if lazy else options.limit, lazy, judging, mapping=options.inputs)


def _cut(model: QuantizedModel, samples: Samples) -> list[str]:
    """Notes on inputs whose calibration data does not all fit the grid that was chosen."""
    notes: list[str] = []
    for name, data in samples.arrays.items():
        grid = model.activations.get(name)
        if grid is not None and data.dtype.kind == "f":
            dtype = DType.INT8 if grid.bits == 8 else DType.INT16
            notes += saturation(data, name, Grid(grid.scale, grid.zero_point, dtype))
    return notes


def first_prediction(model: QuantizedModel, data: Mapping[str, np.ndarray], threads: int = 1) -> dict[str, Any] | None:
    """Class and probability of the first sample, original and quantized; None where the output is no vector of scores."""
    first = _first(data)
    return _two_predictions(run_float(model.reference, first, threads), run_quantized(model, first, threads), model.graph)


def _first(data: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {name: array[:1] for name, array in data.items()}


def _two_predictions(original: Mapping[str, np.ndarray], quantized: Mapping[str, np.ndarray],
                     graph: Graph) -> dict[str, Any] | None:  # fmt: skip
    name = graph.outputs[0]
    if original[name].ndim != 2 or original[name].shape[1] < 2:
        return None
    return {"original": prediction(original[name]), "quantized": prediction(quantized[name])}


def make_settings(graph: Graph, options: QuantizeOptions) -> Settings:
    """Settings from command-line options; EspgenError for values out of range and for layers that do not exist."""
    scheme = _scheme(options.scheme)
    if options.correction not in ("auto", "float", "own", "none") or options.rounding not in ("descent", "nearest"):
        raise EspgenError("--correction is auto, float, own or none; --rounding is descent or nearest", place="usage")
    if options.skip_as not in ("int16", "float"):
        raise EspgenError("--skip-as is int16 or float", place="usage")
    folded = fold(graph, options.fuse, options.fuse_list)
    wide = set(select(folded, options.int16)) if options.int16 else set()
    skipped = set(select(folded, options.skip)) if options.skip else set()
    if options.skip_as == "int16":
        wide, skipped = wide | skipped, set()
    settings = Settings(
        scheme=scheme,
        observer=options.observer,
        observer_options=ObserverOptions(options.percentile, options.hist_percent, options.upsample_bins),
        equalize=_exponent(options.equalize),
        correction=options.correction,
        rounding=options.rounding,
        split=options.split,
        margin=options.margin,
        bits=dict.fromkeys(sorted(wide), 16),
        float_nodes=frozenset(skipped),
        fuse=options.fuse,
        fuse_list=options.fuse_list,
        threads=options.threads or max(1, (os.cpu_count() or 1) // max(options.jobs, 1)),
        seed=options.seed,
    )
    if options.config is not None:
        content = amct_flow.read_configuration(options.config)
        settings = amct_flow.settings_of_configuration(content, settings, {node.name for node in folded.nodes}, options.skip_as)
    check_operators(folded, settings.float_nodes)
    return settings


def _exponent(text: str) -> float | None:
    if text == "auto":
        return AUTO_EXPONENT
    if text == "off":
        return None
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0.0 <= value <= 1.0:
        raise EspgenError(f"--equalize {text}: auto, off or a number from 0 to 1", place="--equalize")
    return value


def _record(graph: Graph, model: QuantizedModel, outcome: Outcome) -> dict[str, Any]:
    settings = outcome.settings
    chosen = {
        "observer": settings.observer, "equalize": settings.equalize, "correction": settings.correction,
        "rounding": settings.rounding, "margin": settings.margin, "seed": settings.seed,
    }  # fmt: skip
    return {**record(model, graph), "settings": chosen, "trials": outcome.history()}


def accuracy_fallback(model: Path, data: str, output: Path, options: QuantizeOptions, *, max_drop: float = 0.0,
                      preprocess: Preprocess | None = None, evaluation: str | None = None, strategy: str = "binary",
                      sensitivity: str = "cosine", evaluator: str | None = None,
                      progress: Progress | None = None) -> dict[str, Any]:  # fmt: skip
    """AMCT's accuracy-based automatic calibration: `output` is a folder that gets AMCT's files.

    max_drop: percentage points of top-1; evaluator: `module:name` of an object (or of a function without arguments that
    returns one) with `evaluate` and `metric_eval` to judge by instead; evaluation: another labelled set (default: the
    calibration data). Raises EspgenError, writing nothing, where only the unquantized model meets the target.
    """
    paths = amct_flow.Paths(output, Path(model).stem)
    check_folder(output)
    graph = load_model(model, options.shapes, options.constants)
    check_network(graph, options.fuse_list)
    judging = evaluation is None and evaluator is None
    samples = _load(data, graph, preprocess, options, judging=judging)
    judged = samples if evaluation is None else _load(evaluation, graph, preprocess, options, lazy=True)
    if evaluator is None and judged.labels is None:
        raise EspgenError("the accuracy fallback needs labels", place="--data", hint="add labels `y` or image_label.txt")
    adapted = adapt(graph, samples.arrays, make_settings(graph, options), progress, cut=False)
    graph = adapted.graph
    settings = _recipe(adapted, samples, options, progress)
    judge = TopOne(_labels(judged), max_drop / 100.0) if evaluator is None else load_evaluator(evaluator)
    result = amct_flow.accuracy_based_auto_calibration(
        graph, samples.arrays, judged.arrays, judge, settings, paths, strategy, sensitivity, progress, options.jobs, options.dask
    )
    details = as_dict(result)
    log = amct_flow.accuracy_lines(details, paths)
    named = {"fake_quant": str(paths.fake_quant), "deploy": str(paths.deploy), "log": [*adapted.notes, *log]}
    return {**named, "data": list(samples.notes), **details}


def _recipe(adapted: Adapted, samples: Samples, options: QuantizeOptions, progress: Progress | None) -> Settings:
    """The settings the recipe quantizes with."""
    arrays = samples.arrays
    return recipe_settings(
        options.recipe, adapted.graph, arrays, adapted.settings, options.budget, options.jobs, options.dask, progress
    ).settings


def _labels(samples: Samples) -> np.ndarray:
    return np.zeros(0, np.int64) if samples.labels is None else samples.labels


def load_evaluator(source: str) -> Evaluator:
    """The evaluator `module:name` names: an object, or a function or class that makes one. Raises EspgenError."""
    found = imported(source, "--evaluator")
    ready = hasattr(found, "evaluate") and not isinstance(found, type)
    try:
        made: Any = found() if callable(found) and not ready else found
    except (Exception, SystemExit) as error:  # it is the user's
        raise EspgenError(f"{source} fails: {type(error).__name__}: {error}", place="--evaluator", hint="correct it") from error
    missing = [name for name in ("evaluate", "metric_eval") if not callable(getattr(made, name, None))]
    if missing:
        raise EspgenError(
            f"{source!r} has no {missing[0]}()", place="--evaluator",
            hint="evaluate(outputs) -> number; metric_eval(original, new) -> (satisfied, loss)",
        )  # fmt: skip
    evaluator: Evaluator = made
    return evaluator


def latency_fallback(model: Path, data: str, output: Path, options: QuantizeOptions, *, measure: Measure, place: str,
                     preprocess: Preprocess | None = None, progress: Progress | None = None) -> dict[str, Any]:  # fmt: skip
    """AMCT's performance-based automatic calibration: layers that `measure` does not find faster in int8 stay int16.

    measure, place: cycles by node name of a QDQ model, and where they are measured. `output` is a folder that gets AMCT's
    files. Needs no labels; with them, the accuracy of both models is reported. Raises EspgenError.
    """
    paths = amct_flow.Paths(output, Path(model).stem, amct_flow.PERFORMANCE)
    check_folder(output)
    graph = load_model(model, options.shapes, options.constants)
    check_network(graph, options.fuse_list)
    samples = _load(data, graph, preprocess, options, judging=False)
    adapted = adapt(graph, samples.arrays, make_settings(graph, options), progress)
    graph = adapted.graph
    settings = _recipe(adapted, samples, options, progress)
    result = amct_flow.perf_based_auto_calibration(graph, samples.arrays, measure, settings, paths, place, progress)
    details = latency.as_dict(result, place)
    return {
        "fake_quant": str(paths.fake_quant),
        "deploy": str(paths.deploy),
        "log": [*adapted.notes, *amct_flow.performance_lines(details, paths)],
        "data": list(samples.notes),
        "fidelity": asdict(quality(result.deploy, samples.arrays, samples.labels, settings.threads)),
        "prediction": first_prediction(result.deploy, samples.arrays, settings.threads),
        **details,
    }


def convert(model: Path, data: str | None, output: Path, options: QuantizeOptions, *, preprocess: Preprocess | None = None,
            amct: Path | None = None, esp_ppq: Path | None = None, record_path: Path | None = None,
            progress: Progress | None = None) -> dict[str, Any]:  # fmt: skip
    """A deploy model from what others made; exactly one of three sources.

    A QDQ or quantization-aware trained `model` on the grids of `options.scheme` (needs `data`), or a float `model` with
    AMCT's record (`amct`) or ESP-PPQ's .json (`esp_ppq`), which need none. Reports error and the change of the top
    probability where there is data.
    """
    if amct is not None and esp_ppq is not None:
        raise EspgenError("--amct-record and --esp-ppq exclude each other", place="usage")
    record_path = record_path or output.with_suffix(".json")
    check_targets(output, record_path)
    quantized_already = amct is None and esp_ppq is None
    if quantized_already and data is None:
        raise EspgenError("converting a quantized model needs calibration data", place="--data")
    outside = options.external_data or not quantized_already
    graph = frontend.load(model, shapes=options.shapes, constants=options.constants, allow_external_data=outside)
    if quantized_already:
        check_real_outputs(graph)
    loaded = None if data is None else _load(data, graph, preprocess, options, judging=False)
    arrays = None if loaded is None else loaded.arrays
    result: dict[str, Any] = {"model": str(output), "data": [] if loaded is None else list(loaded.notes)}
    if quantized_already and arrays is not None:
        settings = make_settings_for_conversion(options)
        stored = in_one_file(Path(model), options.shapes, options.constants)
        original = Session(stored, graph.outputs, settings.threads, 1).run(arrays)
        converted = convert_qdq(graph, original, arrays, settings, progress)
        quantized = converted.model
        result |= {"fidelity": asdict(converted.fidelity), "probability_gap": converted.gap, "notes": list(converted.notes)}
        result["prediction"] = _two_predictions(original, run_quantized(quantized, _first(arrays), settings.threads), graph)
    else:
        check_network(graph)
        text = "" if amct is None else _text(amct)
        fuse = options.fuse
        quantized = from_amct(graph, text, str(amct), fuse) if amct is not None else from_esp_ppq(graph, esp_ppq or Path(), fuse)
        if arrays is not None:
            quantized = completed(quantized, arrays, make_settings_for_conversion(options))
            result["fidelity"] = asdict(fidelity(quantized.reference, quantized, arrays))
            result["prediction"] = first_prediction(quantized, arrays)
            result["notes"] = list(quantized.notes)
    stored = qdq_bytes(quantized)
    result["refused"] = refusal(stored)
    write_all({output: stored, record_path: as_json(record(quantized))})
    result["next"] = "" if result["refused"] else _compile_next(output)
    return {**result, "record": str(record_path), "scheme": quantized.scheme.value, "layers": len(quantized.layers)}


def _compile_next(model: Path) -> str:
    """What to type behind a model that was made."""
    return f"espgen compile {shlex.quote(str(model))} -o {shlex.quote(model.stem)}"


def make_settings_for_conversion(options: QuantizeOptions) -> Settings:
    """The options that make sense for a model that has its grids already."""
    return Settings(
        scheme=_scheme(options.scheme), correction=options.correction, rounding=options.rounding,
        fuse=options.fuse, threads=options.threads or os.cpu_count() or 1, seed=options.seed,
    )  # fmt: skip


def _scheme(name: str) -> Scheme:
    try:
        return Scheme(name)
    except ValueError:
        raise EspgenError(
            f"unknown scheme {name!r}", place="--scheme", hint=f"one of {', '.join(item.value for item in Scheme)}"
        ) from None


def _text(path: Path) -> str:
    try:
        return Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise EspgenError(f"can't read the record: {error}", place=str(path)) from None


def evaluate_models(float_model: Path | None, quantized_model: Path | None, data: str, *, preprocess: Preprocess | None = None,
                    limit: int | None = None, integer: bool = True, threads: int = 0, jobs: int = 1, dask: str | None = None,
                    shapes: Mapping[str, Extents] | None = None, constants: Mapping[str, Numbers] | None = None,
                    runners: Mapping[tuple[str, str], Runner] | None = None,
                    inputs: Mapped | None = None, progress: Progress | None = None) -> dict[str, Any]:  # fmt: skip
    """Accuracy of the float model, the quantized model under onnxruntime, its integer graph in numpy, and `runners`.

    `runners`: further (model, place) -> Runner, such as a component on the host, in the simulator or on a board. With
    `jobs` or `dask` the samples of the first three are shared out; the results are the same. Images of a large folder are
    read as they are needed, by whoever needs them. shapes: values of symbolic dimensions; constants: inputs of the float
    model that are none; inputs: as `--input` says.
    """
    if float_model is None and quantized_model is None:
        raise EspgenError("no model to evaluate", place="usage", hint="give a float model, a quantized one, or both")
    fixed, numbers = dict(shapes or {}), dict(constants or {})
    graphs: dict[Path, Graph] = {}
    if float_model is not None:
        graphs[float_model] = load_model(float_model, fixed, numbers)
    if quantized_model is not None and quantized_model not in graphs:
        graphs[quantized_model] = frontend.load(quantized_model)
    cut = False
    if float_model is not None and quantized_model is not None:
        whole = graphs[float_model]
        graphs[float_model] = cut_alike(whole, graphs[quantized_model].outputs)
        cut = graphs[float_model] is not whole
    first, last = next(iter(graphs.values())), list(graphs.values())[-1]
    if set(first.inputs) != set(last.inputs) or [first.value(name).shape for name in first.inputs] != [
        last.value(name).shape for name in first.inputs
    ]:
        raise EspgenError(
            f"the models have different inputs: {_shapes(first)} and {_shapes(last)}", place=str(quantized_model),
            hint="give a model and its own quantized form",
        )  # fmt: skip
    samples = load(data, last, preprocess, limit, lazy=True, mapping=inputs)
    models: dict[tuple[str, str], ModelTask] = {}
    count = threads or max(1, (os.cpu_count() or 1) // max(jobs, 1))
    if float_model is not None:
        whole = graphs[float_model]
        stored = float_bytes(whole) if cut else _in_one_file(Path(float_model), whole, fixed, numbers)
        models["float", "onnxruntime"] = ModelTask(stored, False, count, fixed)
    if quantized_model is not None:
        stored = in_one_file(Path(quantized_model), {}, {})
        models["fake-quant", "onnxruntime"] = ModelTask(stored, False, count)
        if integer:
            models["integer", "numpy"] = ModelTask(stored, True, count)
    every: dict[tuple[str, str], Runner] = {
        key: shared_runner(task, jobs, dask, _teller(f"evaluating {key[0]} ({key[1]})", progress)) for key, task in models.items()
    }
    for key, runner in (runners or {}).items():
        every[key] = _counted(runner, _teller(f"evaluating {key[0]} ({key[1]})", progress))
    return {"samples": len(samples), "data": list(samples.notes), "rows": as_dicts(evaluate(every, samples))}


def _shapes(graph: Graph) -> str:
    return ", ".join(f"{name} {graph.value(name).shape}" for name in graph.inputs)


def _teller(what: str, progress: Progress | None) -> Tell | None:
    if progress is None:
        return None
    report = progress
    return lambda done, total: report(what, done, total)


def _in_one_file(model: Path, graph: Graph, shapes: Mapping[str, Extents], constants: Mapping[str, Numbers]) -> bytes:
    """The model as onnxruntime runs it, or its graph where that is no ONNX file."""
    try:
        stored = in_one_file(model, shapes, constants)
        frontend.load_onnx(stored, shapes=shapes)
    except EspgenError:
        return float_bytes(graph)
    return stored


def _counted(runner: Runner, tell: Tell | None) -> Runner:
    """A runner of other places, which gets a few samples at a time."""

    def run(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        count = len(next(iter(arrays.values())))
        results = []
        for start in range(0, count, COUNTED):
            results.append(runner({name: data[start : start + COUNTED] for name, data in arrays.items()}))
            if tell is not None:
                tell(min(start + COUNTED, count), count)
        return {name: np.concatenate([result[name] for result in results]) for name in results[0]}

    return run
