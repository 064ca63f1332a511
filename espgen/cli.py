"""The command line: parse, call espgen.api, print. Nothing else happens here."""

from __future__ import annotations

import json
import logging
import os
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

import click

from espgen.errors import EspgenError

INTERRUPTED = 130
MISMATCH = 1
ENVIRONMENT = 3
INTERNAL_ERROR = 70

Command = Callable[..., Any]
Progress = Callable[[str, int, int], None]
Inputs = Mapping[str, tuple[str, str]]


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="espgen")
def cli() -> None:
    """Quantized neural networks to ESP32-P4 firmware, verified byte for byte.

    Exit codes: 0 fine, 1 a mismatch or a missed target, 2 bad input or usage, 3 environment (tool or port missing).
    """


def output_options(command: Command) -> Command:
    """--json and --debug, which every command has."""
    command = click.option("--debug", is_flag=True, help="Show the traceback of an error.")(command)
    return click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")(command)


def shape_option(command: Command) -> Command:
    """--shape name=N, as a dict."""
    return click.option(
        "--shape",
        "shapes",
        multiple=True,
        metavar="NAME=N",
        callback=_parse_shapes,
        help="Value of a symbolic dimension; may be repeated.",
    )(command)


def input_option(command: Command) -> Command:
    """--input NAME=ARRAY[:NHWC], as a dict."""
    return click.option(
        "--input",
        "inputs",
        multiple=True,
        metavar="NAME=ARRAY[:NHWC]",
        callback=_parse_inputs,
        help="Which array of the data feeds which graph input, and its layout; may be repeated.",
    )(command)


def _parse_shapes(_context: click.Context, _option: click.Parameter, entries: Sequence[str]) -> dict[str, int]:
    shapes = {}
    for entry in entries:
        name, separator, extent = entry.rpartition("=")
        if not separator or not name or not extent.isdecimal() or int(extent) < 1:
            raise click.BadParameter(f"{entry!r} is not of the form name=N with N of 1 or more")
        shapes[name] = int(extent)
    return shapes


def _parse_inputs(_context: click.Context, _option: click.Parameter, entries: Sequence[str]) -> Inputs:
    inputs = {}
    for entry in entries:
        name, separator, array = entry.partition("=")
        array, layout = _split_layout(array)
        if not separator or not name or not array:
            raise click.BadParameter(f"{entry!r} is not of the form NAME=ARRAY or NAME=ARRAY:NHWC")
        inputs[name] = (array, layout)
    return inputs


def _parse_bytes(_context: click.Context, _option: click.Parameter, text: str | None) -> int | None:
    if text is None:
        return None
    number, unit = (text[:-1], text[-1].upper()) if text[-1:].upper() in _UNITS else (text, "")
    if not number.isdecimal():
        raise click.BadParameter(f"{text!r} is not a number of bytes such as 163840, 160K or 8M")
    return int(number) * _UNITS.get(unit, 1)


_UNITS = {"K": 1024, "M": 1024 * 1024}


def _split_layout(array: str) -> tuple[str, str]:
    name, _, layout = array.rpartition(":")
    return (name, layout) if layout in ("NCHW", "NHWC") else (array, "")


def existing(kind: str) -> click.Path:
    """A path that exists: a "file" or a "folder"."""
    return click.Path(exists=True, dir_okay=kind == "folder", file_okay=kind == "file", path_type=Path)


@cli.command()
@click.argument("model", type=existing("file"))
@shape_option
@output_options
def inspect(model: Path, shapes: dict[str, int], as_json: bool, debug: bool) -> None:
    """Show a model's operators, and what is unsupported and why."""
    from espgen import api
    from espgen.report import text

    show(api.inspect(model, shapes=shapes), text.inspection, as_json)


@cli.command("compile")
@click.argument("model", type=existing("file"))
@click.option("-o", "--output", type=click.Path(file_okay=False, path_type=Path), required=True, metavar="DIR",
              help="Folder of the component.")  # fmt: skip
@click.option("--project", type=click.Path(file_okay=False, path_type=Path), metavar="DIR",
              help="Also write an example ESP-IDF project that uses the component.")  # fmt: skip
@click.option("--dump-ir", type=click.Path(file_okay=False, path_type=Path), metavar="DIR",
              help="Write the graph before and after each pass.")  # fmt: skip
@click.option("--internal-ram", callback=_parse_bytes, metavar="BYTES",
              help="Internal RAM that activations may use, as 160K or 163840.")  # fmt: skip
@click.option("--psram", callback=_parse_bytes, metavar="BYTES", help="PSRAM that activations may use; 0 forbids it.")
@click.option("--kernels", type=click.Choice(["auto", "portable"]),
              help="The cheapest kernel of each layer (auto, the default), or portable C++ only.")  # fmt: skip
@shape_option
@output_options
def compile_(
    model: Path,
    output: Path,
    project: Path | None,
    dump_ir: Path | None,
    internal_ram: int | None,
    psram: int | None,
    kernels: str | None,
    shapes: dict[str, int],
    as_json: bool,
    debug: bool,
) -> None:
    """Compile a quantized model into an ESP-IDF component."""
    from espgen import api
    from espgen.report import text

    wanted: dict[str, Any] = {"internal_bytes": internal_ram, "psram_bytes": psram, "kernels": kernels}
    options = api.Options(**{name: value for name, value in wanted.items() if value is not None})
    result = api.compile(
        model, output, shapes=shapes, project=project, dump_ir=dump_ir, options=options, progress=progress(as_json)
    )
    show(result, text.compilation, as_json)


@cli.command()
@click.argument("component", type=existing("folder"))
@click.option("--data", type=existing("file"), metavar="F.npz",
              help="Arrays named after the graph inputs, and optional labels y.")  # fmt: skip
@click.option("--target", type=click.Choice(["sim", "host"]), default="sim", show_default=True,
              help="Where the component runs: the P4 simulator or a host library.")  # fmt: skip
@click.option("--port", metavar="DEV", help="Serial port of a board to run on instead.")
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="Use the first N samples only.")
@input_option
@output_options
def verify(
    component: Path,
    data: Path | None,
    target: str,
    port: str | None,
    limit: int | None,
    inputs: Inputs,
    as_json: bool,
    debug: bool,
) -> None:
    """Prove that a component computes what the network says."""
    from espgen import api
    from espgen.report import text

    result = api.verify(
        component, data=data, target=target, port=port, limit=limit, inputs=inputs, progress=progress(as_json)
    )
    show(result, text.verification, as_json)
    if not result["equal"]:
        sys.exit(MISMATCH)


@cli.command()
@click.argument("component", type=existing("folder"))
@click.option("--port", metavar="DEV", help="Serial port of a board to run on instead of the simulator.")
@click.option("--explain", is_flag=True, help="Show the kernels each layer could have had, and their predicted cycles.")
@output_options
def profile(component: Path, port: str | None, explain: bool, as_json: bool, debug: bool) -> None:
    """Show cycles and stalls per layer, and the memory plan."""
    from espgen import api
    from espgen.report import text

    result = api.profile(component, port=port, explain=explain, progress=progress(as_json))
    show(result, text.profiling, as_json)


@cli.command()
@output_options
def doctor(as_json: bool, debug: bool) -> None:
    """Say which tools were found, and what to install."""
    from espgen import api
    from espgen.report import text

    result = api.doctor()
    show(result, text.diagnosis, as_json)
    if not result["ok"]:
        sys.exit(ENVIRONMENT)


@cli.command()
@click.option("-o", "--output", type=click.Path(file_okay=False, path_type=Path), metavar="DIR",
              help="Keep the component here.  [default: a temporary folder]")  # fmt: skip
@click.option("--limit", type=click.IntRange(min=1), default=None, metavar="N", help="Verify the first N digits only.")
@output_options
def demo(output: Path | None, limit: int | None, as_json: bool, debug: bool) -> None:
    """Compile, verify and profile the bundled digits model."""
    from espgen import demo as demonstration
    from espgen.report import text

    tell = None if as_json else click.echo
    show(demonstration.run(output, limit, tell, progress(as_json)), text.demonstration, as_json)


def progress(as_json: bool) -> Progress | None:
    """What long work reports to: a counter on the terminal's last line, or nothing where nobody watches."""
    if as_json or not sys.stderr.isatty():
        return None

    def tell(what: str, done: int, total: int) -> None:
        click.echo(f"\r{what} {done}/{total}" + ("\n" if done >= total else ""), err=True, nl=False)

    return tell


def show(result: Mapping[str, Any], as_text: Callable[[Any], str], as_json: bool) -> None:
    """Print a result for people or for programs."""
    click.echo(json.dumps(result, indent=2, ensure_ascii=False) if as_json else as_text(result))


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and exit. Every failure is a clear message and an exit code, never a traceback."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in given or bool(os.environ.get("ESPGEN_DEBUG"))
    logging.basicConfig(format="%(message)s")
    logging.getLogger("espgen").setLevel(logging.WARNING if "--json" in given else logging.INFO)
    try:
        cli.main(given, prog_name="espgen", standalone_mode=False)
        code = 0
    except click.exceptions.Exit as done:
        code = done.exit_code
    except click.ClickException as usage:
        usage.show()
        code = usage.exit_code
    except (click.Abort, KeyboardInterrupt):
        click.echo("interrupted", err=True)
        code = INTERRUPTED
    except EspgenError as error:
        _tell(error, debug, "--json" in given)
        code = error.exit_code
    except Exception as error:
        _tell_internal(error, debug)
        code = INTERNAL_ERROR
    sys.exit(code)


def _tell(error: EspgenError, debug: bool, as_json: bool) -> None:
    if debug:
        traceback.print_exc()
    parts = {"node": error.node, "place": error.place, "remedy": error.hint}
    if as_json:
        click.echo(json.dumps({"error": {"message": error.message, **parts}}, indent=2, ensure_ascii=False))
    click.echo(f"error: {error.message}", err=True)
    for name, value in parts.items():
        if value:
            click.echo(f"  {name}: {value}", err=True)


def _tell_internal(error: Exception, debug: bool) -> None:
    if debug:
        traceback.print_exc()
    first_line = (str(error).splitlines() or [""])[0]
    where = "" if debug else " (--debug shows where)"
    message = f"{type(error).__name__}: {first_line}"
    click.echo(f"internal error, please report it with the model: {message}{where}", err=True)
