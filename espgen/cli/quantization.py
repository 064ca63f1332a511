"""The verbs of the quantizer: quantize, quantize-fallback, convert, evaluate."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from espgen.cli.options import Command, existing, output_options, progress, shape_option, show

if TYPE_CHECKING:
    from espgen.quantize.commands import QuantizeOptions
    from espgen.quantize.data import Preprocess

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

_METHODS: tuple[Option, ...] = (
    click.option("--scheme", type=click.Choice(["shift", "esp-dl", "affine"]), help="Which scales are allowed.  [shift]"),
    click.option("--recipe", type=click.Choice(["minmax", "default", "auto"]),
                 help="Fast, thorough, or the best combination found within --budget.  [default]"),
    click.option("--budget", type=click.FloatRange(min=0.0), metavar="SECONDS", help="Time of --recipe auto.  [600]"),
    click.option("--int16", multiple=True, metavar="PATTERN", help="Layers to keep in int16; may be repeated."),
    click.option("--skip", multiple=True, metavar="PATTERN", help="Layers not to quantize to int8; may be repeated."),
    click.option("--skip-as", type=click.Choice(["int16", "float"]), help="What skipped layers are instead.  [int16]"),
    click.option("--observer", type=click.Choice(["search", "weighted", "minmax", "percentile", "hist", "kl", "mse"]),
                 help="How activation ranges are found.  [search]"),
    click.option("--percentile", type=click.FloatRange(0.5, 1.0), metavar="F", help="For --observer percentile.  [0.9999]"),
    click.option("--hist-percent", type=click.FloatRange(0.5, 1.0), metavar="F", help="For --observer hist.  [0.99999]"),
    click.option("--upsample-bins", type=click.IntRange(min=1), metavar="N", help="For --observer hist.  [64]"),
    click.option("--equalize", metavar="auto|off|0..1", help="Cross-layer equalization and its exponent.  [auto]"),
    click.option("--correction", type=click.Choice(["auto", "float", "own", "none"]), help="Bias correction.  [auto]"),
    click.option("--rounding", type=click.Choice(["descent", "nearest"]), help="How weights are rounded.  [descent]"),
    click.option("--split", type=click.FloatRange(0.0, 1.0), metavar="SHARE",
                 help="Share of a tensor's channels that may be split where they are outliers.  [0]"),
    click.option("--margin", type=click.FloatRange(min=1.0), metavar="F", help="Factor on the range of logits.  [1.15]"),
    click.option("--fuse/--no-fuse", default=None, help="Fold BatchNormalization and the like first.  [fuse]"),
    click.option("--fuse-pair", "fuse_list", multiple=True, nargs=2, metavar="CONV BN",
                 help="Fold this pair only; may be repeated."),
    click.option("--seed", type=int, metavar="N", help="Seed of everything random.  [0]"),
)  # fmt: skip
"""What the quantizer is told about schemes, ranges and methods: fields of QuantizeOptions."""


_WORKERS: tuple[Option, ...] = (
    click.option("--jobs", type=click.IntRange(min=1), metavar="N", help="Processes for search and evaluation.  [1]"),
    click.option("--dask", metavar="ADDRESS", help="Run them on this Dask cluster."),
)
"""Who does the work."""

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
    from espgen.quantize.data import Preprocess

    named = {name: given[name] for name in ("mean", "std", "divisor", "resize")}
    wanted = {name: value for name, value in named.items() if value is not None}
    return Preprocess(**wanted) if wanted else None


def _options(given: dict[str, Any], **more: Any) -> QuantizeOptions:
    """The quantizer's options that were given; it keeps its own defaults for the others."""
    from espgen.quantize.commands import QuantizeOptions

    known = {field.name for field in fields(QuantizeOptions)}
    chosen = {name: value for name, value in {**given, **more}.items() if value is not None and name in known}
    chosen["fuse_list"] = list(given["fuse_list"]) or None
    return QuantizeOptions(**chosen)


@click.command()
@click.argument("model", type=existing("file"))
@click.option("-o", "--output", type=click.Path(dir_okay=False, path_type=Path), required=True, metavar="OUT.onnx",
              help="The quantized model.")  # fmt: skip
@_DATA
@_with(_PIXELS)
@_with(_METHODS)
@click.option("--max-drop", type=click.FloatRange(min=0.0), metavar="POINTS",
              help="Make the fewest layers int16 that keep the loss of top-1 below this (needs labels).")  # fmt: skip
@_with(_WORKERS)
@click.option("--no-layerwise", is_flag=True, help="Leave the error of each layer alone out of the analysis.")
@_RECORD
@click.option("--report", type=click.Path(dir_okay=False, path_type=Path), metavar="F.html",
              help="Also write the error analysis as a page with plots.")  # fmt: skip
@shape_option
@output_options
def quantize(model: Path, output: Path, data: str, as_json: bool, debug: bool, **given: Any) -> None:
    """Quantize a float model: QDQ ONNX out, with an error table."""
    from espgen.quantize import commands
    from espgen.report import text

    result = commands.quantize(
        model,
        data,
        output,
        _options(given, layerwise=not given["no_layerwise"]),
        preprocess=_preprocess(given),
        record_path=given["record"],
        report=given["report"],
        progress=progress(as_json),
    )
    show(result, text.quantization, as_json)


@click.command("quantize-fallback")
@click.argument("model", type=existing("file"))
@click.option("-o", "--output", type=click.Path(file_okay=False, path_type=Path), required=True, metavar="DIR",
              help="Folder of the models, the final configuration, the ranking and the history.")  # fmt: skip
@_DATA
@click.option("--evaluation", metavar="SOURCE", help="Labelled data to judge by, in the forms of --data.  [--data]")
@click.option("--max-drop", type=click.FloatRange(min=0.0), required=True, metavar="POINTS", help="Largest loss of top-1.")
@click.option("--strategy", type=click.Choice(["binary", "greedy"]), default="binary", show_default=True,
              help="How the layers to roll back are searched.")  # fmt: skip
@click.option("--sensitivity", type=click.Choice(["cosine", "noise"]), default="cosine", show_default=True,
              help="What layers are ranked by.")  # fmt: skip
@_with(_PIXELS)
@_with(_METHODS)
@shape_option
@output_options
def quantize_fallback(
    model: Path,
    output: Path,
    data: str,
    evaluation: str | None,
    max_drop: float,
    strategy: str,
    sensitivity: str,
    as_json: bool,
    debug: bool,
    **given: Any,
) -> None:
    """Quantize, and roll back layers until the accuracy target is met."""
    from espgen.quantize import commands
    from espgen.report import text

    result = commands.accuracy_fallback(
        model,
        data,
        output,
        _options(given),
        max_drop=max_drop,
        preprocess=_preprocess(given),
        evaluation=evaluation,
        strategy=strategy,
        sensitivity=sensitivity,
        progress=progress(as_json),
    )
    show(result, text.fallback, as_json)


@click.command()
@click.argument("model", type=existing("file"))
@click.option("-o", "--output", type=click.Path(dir_okay=False, path_type=Path), required=True, metavar="OUT.onnx",
              help="The converted model.")  # fmt: skip
@click.option("--data", metavar="SOURCE", help=f"Calibration data for a model that is quantized already: {_SOURCE}")
@click.option("--amct-record", "amct", type=existing("file"), metavar="F.txt", help="Scales for a float model, by AMCT.")
@click.option("--esp-ppq", type=existing("file"), metavar="F.json", help="Scales for a float model, by ESP-PPQ.")
@_with(_PIXELS)
@_with(_METHODS)
@_RECORD
@shape_option
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
        progress=progress(as_json),
    )
    show(result, text.evaluation, as_json)
