"""The verbs of the quantizer: quantize, evaluate."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from espgen.cli.options import Command, existing, output_options, progress, shape_option, show

if TYPE_CHECKING:
    from espgen.quantize.data import Preprocess


def data_options(command: Command) -> Command:
    """Where samples come from, and how pixels become inputs."""
    options = (
        click.option("--data", required=True, metavar="SOURCE",
                     help="F.npz, a folder of images with val_list.txt, or a Python function module:name."),
        click.option("--mean", callback=_parse_numbers, metavar="F,..", help="Mean per channel, subtracted from pixels."),
        click.option("--std", callback=_parse_numbers, metavar="F,..", help="Deviation per channel, pixels are divided by."),
        click.option("--divisor", type=click.FloatRange(min=0.0, min_open=True), metavar="F",
                     help="What pixels are divided by first, such as 255."),
        click.option("--resize", type=click.IntRange(min=0), metavar="N",
                     help="Length of the shorter side before the centre crop."),
        click.option("--limit", type=click.IntRange(min=1), metavar="N", help="Use the first N samples only."),
        click.option("--threads", type=click.IntRange(min=0), metavar="N", help="Threads of onnxruntime; 0 for all cores."),
    )  # fmt: skip
    for option in reversed(options):
        command = option(command)
    return command


def _parse_numbers(
    _context: click.Context, _option: click.Parameter, text: str | None
) -> tuple[float, ...] | None:
    if text is None:
        return None
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise click.BadParameter(f"{text!r} is not a list of numbers such as 0.485,0.456,0.406") from None


def _preprocess(given: dict[str, Any]) -> Preprocess | None:
    from espgen.quantize.data import Preprocess

    named = {name: given.pop(name) for name in ("mean", "std", "divisor", "resize")}
    wanted = {name: value for name, value in named.items() if value is not None}
    return Preprocess(**wanted) if wanted else None


@click.command()
@click.argument("model", type=existing("file"))
@click.option("-o", "--output", type=click.Path(dir_okay=False, path_type=Path), required=True, metavar="OUT.onnx",
              help="The quantized model.")  # fmt: skip
@data_options
@click.option("--scheme", type=click.Choice(["shift", "esp-dl", "affine"]), help="Which scales are allowed.  [shift]")
@click.option("--recipe", type=click.Choice(["minmax", "default", "auto"]),
              help="Fast, thorough, or the best combination found within --budget.  [default]")  # fmt: skip
@click.option("--budget", type=click.FloatRange(min=0.0), metavar="SECONDS", help="Time of --recipe auto.  [600]")
@click.option("--max-drop", type=click.FloatRange(min=0.0), metavar="POINTS",
              help="Make the fewest layers int16 that keep the loss of top-1 below this (needs labels).")  # fmt: skip
@click.option("--int16", multiple=True, metavar="PATTERN", help="Layers to keep in int16; may be repeated.")
@click.option("--skip", multiple=True, metavar="PATTERN", help="Layers not to quantize to int8; may be repeated.")
@click.option("--skip-as", type=click.Choice(["int16", "float"]), help="What skipped layers are instead.  [int16]")
@click.option("--observer", type=click.Choice(["search", "weighted", "minmax", "percentile", "hist", "kl", "mse"]),
              help="How activation ranges are found.  [search]")  # fmt: skip
@click.option("--percentile", type=click.FloatRange(0.5, 1.0), metavar="F", help="For --observer percentile.  [0.9999]")
@click.option("--hist-percent", type=click.FloatRange(0.5, 1.0), metavar="F", help="For --observer hist.  [0.99999]")
@click.option("--upsample-bins", type=click.IntRange(min=1), metavar="N", help="For --observer hist.  [64]")
@click.option("--equalize", metavar="auto|off|0..1", help="Cross-layer equalization and its exponent.  [auto]")
@click.option("--correction", type=click.Choice(["auto", "float", "own", "none"]), help="Bias correction.  [auto]")
@click.option("--rounding", type=click.Choice(["descent", "nearest"]), help="How weights are rounded.  [descent]")
@click.option("--margin", type=click.FloatRange(min=1.0), metavar="F", help="Factor on the range of logits.  [1.15]")
@click.option("--fuse/--no-fuse", default=None, help="Fold BatchNormalization and the like first.  [fuse]")
@click.option("--fuse-pair", "fuse_list", multiple=True, nargs=2, metavar="CONV BN",
              help="Fold this pair only; may be repeated.")  # fmt: skip
@click.option("--jobs", type=click.IntRange(min=1), metavar="N", help="Processes for search and evaluation.  [1]")
@click.option("--dask", metavar="ADDRESS", help="Run them on this Dask cluster.")
@click.option("--seed", type=int, metavar="N", help="Seed of everything random.  [0]")
@click.option("--no-layerwise", is_flag=True, help="Leave the error of each layer alone out of the analysis.")
@click.option("--record", type=click.Path(dir_okay=False, path_type=Path), metavar="F.json",
              help="Every scale and zero point.  [OUT.json]")  # fmt: skip
@click.option("--report", type=click.Path(dir_okay=False, path_type=Path), metavar="F.html",
              help="Also write the error analysis as a page with plots.")  # fmt: skip
@shape_option
@output_options
def quantize(model: Path, output: Path, data: str, as_json: bool, debug: bool, **given: Any) -> None:
    """Quantize a float model: QDQ ONNX out, with an error table."""
    from espgen.quantize import commands
    from espgen.report import text

    preprocess = _preprocess(given)
    paths = {"record_path": given.pop("record"), "report": given.pop("report")}
    given["layerwise"] = not given.pop("no_layerwise")
    given["fuse_list"] = list(given["fuse_list"]) or None
    known = {field.name for field in fields(commands.QuantizeOptions)}
    chosen = {name: value for name, value in given.items() if value is not None and name in known}
    options = commands.QuantizeOptions(**chosen)
    result = commands.quantize(
        model, data, output, options, preprocess=preprocess, progress=progress(as_json), **paths
    )
    show(result, text.quantization, as_json)


@click.command()
@click.option("--float", "float_model", type=existing("file"), metavar="F.onnx", help="The float model.")
@click.option("--quantized", "quantized_model", type=existing("file"), metavar="Q.onnx", help="The quantized model.")
@click.option("--component", type=existing("folder"), metavar="DIR",
              help="The quantized model compiled (compiled now where it is needed and not given).")  # fmt: skip
@click.option("--on", "places", type=click.Choice(["host", "sim"]), multiple=True,
              help="Also run the component as a host library, in the simulator; may be repeated.")  # fmt: skip
@click.option("--port", metavar="DEV", help="Also run the component on the board at this serial port.")
@click.option("--integer/--no-integer", default=True, help="Run the integer graph in the reference interpreter.")
@data_options
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
        progress=progress(as_json),
    )
    show(result, text.evaluation, as_json)
