"""The verbs of the quantizer: quantize, quantize-fallback, convert, evaluate."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from espgen.cli.options import (
    Command,
    chip_option,
    existing,
    input_option,
    model_options,
    output_options,
    progress,
    show,
)
from espgen.target.chips import DEFAULT

if TYPE_CHECKING:
    from espgen.data.images import Preprocess
    from espgen.quantize.commands import QuantizeOptions

Option = Callable[[Command], Command]


def _parse_numbers(_context: click.Context, _option: click.Parameter, text: str | None) -> tuple[float, ...] | None:
    if text is None:
        return None
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise click.BadParameter(f"{text!r} is not a list of numbers such as 0.485,0.456,0.406") from None


_SOURCE = "F.npz, a folder of images with val_list.txt, or a Python function module:name."

_DATA = click.option("--data", required=True, metavar="SOURCE", help=_SOURCE)

_PIXELS: tuple[Option, ...] = (
    click.option("--mean", callback=_parse_numbers, metavar="F,..", help="Mean per channel, subtracted from pixels."),
    click.option("--std", callback=_parse_numbers, metavar="F,..", help="Deviation per channel, pixels are divided by."),
    click.option("--divisor", type=click.FloatRange(min=0.0, min_open=True), metavar="F",
                 help="What pixels are divided by first, such as 255."),
    click.option("--resize", type=click.IntRange(min=0), metavar="N",
                 help="Length of the shorter side before the centre crop."),
    click.option("--limit", type=click.IntRange(min=1), metavar="N", help="Use the first N samples only."),
    click.option("--threads", type=click.IntRange(min=0), metavar="N", help="Threads of onnxruntime; 0 for all cores."),
)  # fmt: skip
"""How samples are read and turned into inputs."""

_CONVERSION: tuple[Option, ...] = (
    click.option("--scheme", type=click.Choice(["shift", "esp-dl", "affine"]), help="Which scales are allowed.  [shift]"),
    click.option("--correction", type=click.Choice(["auto", "float", "own", "none"]), help="Bias correction.  [auto]"),
    click.option("--rounding", type=click.Choice(["descent", "nearest"]), help="How weights are rounded.  [descent]"),
    click.option("--fuse/--no-fuse", default=None, help="Fold BatchNormalization and the like first.  [fuse]"),
    click.option("--seed", type=int, metavar="N", help="Seed of everything random.  [0]"),
)  # fmt: skip
"""What applies to a network that has its grids already, too."""

_METHODS: tuple[Option, ...] = (
    *_CONVERSION,
    click.option("--recipe", type=click.Choice(["minmax", "default", "auto"]),
                 help="Fast, thorough, or the best combination found within --budget.  [default]"),
    click.option("--budget", type=click.FloatRange(min=0.0), metavar="SECONDS", help="Time of --recipe auto.  [600]"),
    click.option("--int16", multiple=True, metavar="PATTERN", help="Layers to keep in int16; may be repeated."),
    click.option("--skip", multiple=True, metavar="PATTERN", help="Layers not to quantize to int8; may be repeated."),
    click.option("--skip-as", type=click.Choice(["int16", "float"]), help="What skipped layers are instead.  [int16]"),
    click.option("--config", type=existing("file"), metavar="F.json",
                 help="AMCT's configuration: quant_enable and num_bits of each layer."),
    click.option("--observer", type=click.Choice(["search", "weighted", "minmax", "percentile", "hist", "kl", "mse"]),
                 help="How activation ranges are found.  [search]"),
    click.option("--percentile", type=click.FloatRange(0.5, 1.0), metavar="F", help="For --observer percentile.  [0.9999]"),
    click.option("--hist-percent", type=click.FloatRange(0.5, 1.0), metavar="F", help="For --observer hist.  [0.99999]"),
    click.option("--upsample-bins", type=click.IntRange(min=1), metavar="N", help="For --observer hist.  [64]"),
    click.option("--equalize", metavar="auto|off|0..1", help="Cross-layer equalization and its exponent.  [auto]"),
    click.option("--split", type=click.FloatRange(0.0, 1.0), metavar="SHARE",
                 help="Share of a tensor's channels that may be split where they are outliers.  [0]"),
    click.option("--margin", type=click.FloatRange(min=1.0), metavar="F", help="Factor on the range of logits.  [1.15]"),
    click.option("--fuse-pair", "fuse_list", multiple=True, nargs=2, metavar="CONV BN",
                 help="Fold this pair only; may be repeated."),
)  # fmt: skip
"""What the quantizer is told about schemes, ranges and methods: fields of QuantizeOptions."""


_WORKERS: tuple[Option, ...] = (
    click.option("--jobs", type=click.IntRange(min=1), metavar="N", help="Processes for search and evaluation.  [1]"),
    click.option("--dask", metavar="ADDRESS", help="Run them on this Dask cluster."),
)
"""Who does the work."""

_EVALUATION = click.option("--evaluation", metavar="SOURCE", help="Labelled data to judge by, in the forms of --data.  [--data]")

_RECORD = click.option("--record", type=click.Path(dir_okay=False, path_type=Path), metavar="F.json",
                       help="Every scale and zero point.  [OUT.json]")  # fmt: skip


def _with(options: Sequence[Option]) -> Option:
    """One decorator for several options, listed in the help in their order."""

    def decorate(command: Command) -> Command:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


def _preprocess(given: dict[str, Any]) -> Preprocess | None:
    from espgen.data.images import Preprocess

    named = {name: given[name] for name in ("mean", "std", "divisor", "resize")}
    wanted = {name: value for name, value in named.items() if value is not None}
    return Preprocess(**wanted) if wanted else None


def _options(given: dict[str, Any], **more: Any) -> QuantizeOptions:
    """The quantizer's options that were given; it keeps its own defaults for the others."""
    from espgen.quantize.commands import QuantizeOptions

    known = {field.name for field in fields(QuantizeOptions)}
    chosen = {name: value for name, value in {**given, **more}.items() if value is not None and name in known}
    chosen["fuse_list"] = list(given.get("fuse_list", ())) or None
    return QuantizeOptions(**chosen)


@click.command()
@click.argument("model", type=existing("file"))
@click.option("-o", "--output", type=click.Path(dir_okay=False, path_type=Path), required=True, metavar="OUT.onnx",
              help="The quantized model.")  # fmt: skip
@_DATA
@_with(_PIXELS)
@_with(_METHODS)
@click.option("--max-drop", type=click.FloatRange(min=0.0), metavar="POINTS",
              help="Make layers int16 for the fewest cycles that keep the loss of top-1 below this (needs labels).")  # fmt: skip
@_EVALUATION
@click.option("--cost", type=click.Choice(["simulator", "macs"]),
              help="What --max-drop weighs layers by: cycles in the simulator, or multiply-accumulates.  "
                   "[simulator, or macs where it cannot run]")  # fmt: skip
@chip_option
@_with(_WORKERS)
@click.option("--no-layerwise", is_flag=True, help="Leave the error of each layer alone out of the analysis.")
@_RECORD
@click.option("--report", type=click.Path(dir_okay=False, path_type=Path), metavar="F.html",
              help="Also write the error analysis as a page with plots.")  # fmt: skip
@click.option("--amct-record", "amct_record_path", type=click.Path(dir_okay=False, path_type=Path), metavar="F.txt",
              help="Also write the scales as AMCT's text record.")  # fmt: skip
@input_option
@model_options
@output_options
def quantize(model: Path, output: Path, data: str, as_json: bool, debug: bool, **given: Any) -> None:
    """Quantize a float model: QDQ ONNX out, with an error table."""
    from espgen.cycles import Measurement
    from espgen.quantize import commands
    from espgen.report import text

    if given["max_drop"] is None and (given["cost"] or given["evaluation"] or given["chip"]):
        raise click.UsageError("--cost, --evaluation and --chip belong to --max-drop")
    measurement = Measurement(chip=given["chip"] or DEFAULT)
    result = commands.quantize(
        model,
        data,
        output,
        _options(given, layerwise=not given["no_layerwise"]),
        preprocess=_preprocess(given),
        record_path=given["record"],
        report=given["report"],
        amct_record_path=given["amct_record_path"],
        evaluation=given["evaluation"],
        measure=None if given["cost"] == "macs" or given["max_drop"] is None else measurement,
        measured_at=measurement.place,
        insist=given["cost"] == "simulator",
        progress=progress(as_json),
    )
    show(result, text.quantization, as_json)


@click.command("quantize-fallback")
@click.argument("model", type=existing("file"))
@click.option("-o", "--output", type=click.Path(file_okay=False, path_type=Path), required=True, metavar="DIR",
              help="Folder of the models, the final configuration, the ranking and the history.")  # fmt: skip
@_DATA
@click.option("--by", type=click.Choice(["accuracy", "latency"]), default="accuracy", show_default=True,
              help="Roll layers back until --max-drop is met, or where int8 is measured not to be faster.")  # fmt: skip
@click.option("--max-drop", type=click.FloatRange(min=0.0), metavar="POINTS", help="Largest loss of top-1.")
@_EVALUATION
@click.option("--evaluator", metavar="MODULE:NAME",
              help="Python object with evaluate(outputs) and metric_eval(original, new), instead of --max-drop.")  # fmt: skip
@click.option("--strategy", type=click.Choice(["binary", "greedy"]), help="How the layers to roll back are searched.  [binary]")
@click.option("--sensitivity", type=click.Choice(["cosine", "noise"]), help="What layers are ranked by.  [cosine]")
@click.option("--port", metavar="DEV",
              help="Measure on the board at this serial port (flashed with idf.py) instead of in the simulator.")  # fmt: skip
@chip_option
@_with(_PIXELS)
@_with(_METHODS)
@_with(_WORKERS)
@input_option
@model_options
@output_options
def quantize_fallback(model: Path, output: Path, data: str, by: str, as_json: bool, debug: bool, **given: Any) -> None:
    """Quantize, and roll back layers: until accuracy is met, or where int8 brings no speed."""
    from espgen.report import text

    if by == "latency":
        show(_by_latency(model, output, data, as_json, given), text.latency_fallback, as_json)
    else:
        show(_by_accuracy(model, output, data, as_json, given), text.fallback, as_json)


def _by_accuracy(model: Path, output: Path, data: str, as_json: bool, given: dict[str, Any]) -> dict[str, Any]:
    from espgen.quantize import commands

    for name in ("port", "chip"):
        if given[name]:
            raise click.UsageError(f"--{name} belongs to --by latency")
    if (given["max_drop"] is None) == (given["evaluator"] is None):
        raise click.UsageError("--by accuracy needs one of --max-drop and --evaluator")
    return commands.accuracy_fallback(
        model,
        data,
        output,
        _options({**given, "max_drop": None}),
        max_drop=given["max_drop"] or 0.0,
        preprocess=_preprocess(given),
        evaluation=given["evaluation"],
        strategy=given["strategy"] or "binary",
        sensitivity=given["sensitivity"] or "cosine",
        evaluator=given["evaluator"],
        progress=progress(as_json),
    )


def _by_latency(model: Path, output: Path, data: str, as_json: bool, given: dict[str, Any]) -> dict[str, Any]:
    from espgen.cycles import Measurement
    from espgen.quantize import commands

    for name in ("max_drop", "evaluation", "evaluator", "strategy", "sensitivity"):
        if given[name] is not None:
            raise click.UsageError(f"--{name.replace('_', '-')} belongs to --by accuracy")
    measurement = Measurement(given["port"], given["chip"] or DEFAULT)
    return commands.latency_fallback(
        model,
        data,
        output,
        _options(given),
        measure=measurement,
        place=measurement.place,
        preprocess=_preprocess(given),
        progress=progress(as_json),
    )


@click.command()
@click.argument("model", type=existing("file"))
@click.option("-o", "--output", type=click.Path(dir_okay=False, path_type=Path), required=True, metavar="OUT.onnx",
              help="The converted model.")  # fmt: skip
@click.option("--data", metavar="SOURCE", help=f"Calibration data for a model that is quantized already: {_SOURCE}")
@click.option("--amct-record", "amct", type=existing("file"), metavar="F.txt", help="Scales for a float model, by AMCT.")
@click.option("--esp-ppq", type=existing("file"), metavar="F.json", help="Scales for a float model, by ESP-PPQ.")
@_with(_PIXELS)
@_with(_CONVERSION)
@_RECORD
@input_option
@model_options
@output_options
def convert(
    model: Path,
    output: Path,
    data: str | None,
    amct: Path | None,
    esp_ppq: Path | None,
    as_json: bool,
    debug: bool,
    **given: Any,
) -> None:
    """Take over a model quantized elsewhere, or scales found elsewhere."""
    from espgen.quantize import commands
    from espgen.report import text

    result = commands.convert(
        model,
        data,
        output,
        _options(given),
        preprocess=_preprocess(given),
        amct=amct,
        esp_ppq=esp_ppq,
        record_path=given["record"],
        progress=progress(as_json),
    )
    show(result, text.conversion, as_json)


@click.command()
@click.option("--float", "float_model", type=existing("file"), metavar="F.onnx", help="The float model.")
@click.option("--quantized", "quantized_model", type=existing("file"), metavar="Q.onnx", help="The quantized model.")
@click.option("--component", type=existing("folder"), metavar="DIR",
              help="The quantized model compiled (compiled now where it is needed and not given).")  # fmt: skip
@click.option("--on", "places", type=click.Choice(["host", "sim"]), multiple=True,
              help="Also run the component as a host library, in the simulator; may be repeated.")  # fmt: skip
@click.option("--port", metavar="DEV", help="Also run the component on the board at this serial port.")
@click.option("--integer/--no-integer", default=True, help="Run the integer graph in the reference interpreter.")
@_DATA
@_with(_PIXELS)
@_with(_WORKERS)
@input_option
@model_options
@output_options
def evaluate(
    float_model: Path | None,
    quantized_model: Path | None,
    component: Path | None,
    places: tuple[str, ...],
    port: str | None,
    integer: bool,
    data: str,
    limit: int | None,
    as_json: bool,
    debug: bool,
    **given: Any,
) -> None:
    """Compare float, quantized and compiled model on labelled data."""
    from espgen import evaluation
    from espgen.report import text

    result = evaluation.run(
        float_model,
        quantized_model,
        data,
        component=component,
        places=places,
        port=port,
        preprocess=_preprocess(given),
        limit=limit,
        integer=integer,
        threads=given["threads"] or 0,
        jobs=given["jobs"] or 1,
        dask=given["dask"],
        shapes=given["shapes"],
        constants=given["constants"],
        inputs=given["inputs"],
        progress=progress(as_json),
    )
    show(result, text.evaluation, as_json)
