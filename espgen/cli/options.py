"""Options, their parsers and printing, shared by all commands."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from espgen.data.mapping import FORM, Wanted, parse
from espgen.target.chips import CHIPS, Chip, find_chip

if TYPE_CHECKING:
    from espgen.ir import Extents

Command = Callable[..., Any]
Progress = Callable[[str, int, int], None]
Inputs = Mapping[str, Wanted]


def output_options(command: Command) -> Command:
    """--json and --debug, which every command has."""
    command = click.option("--debug", is_flag=True, help="Show the traceback of an error.")(command)
    return click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")(command)


def shape_option(command: Command) -> Command:
    """--shape name=N or name=N,N,.. as a dict."""
    return click.option(
        "--shape",
        "shapes",
        multiple=True,
        metavar="NAME=N[,N..]",
        callback=_parse_shapes,
        help="Value of a symbolic dimension, or all extents of an input; may be repeated.",
    )(command)


def model_options(command: Command) -> Command:
    """--shape, --const and --external-data: what a model file leaves open."""
    command = click.option("--external-data", is_flag=True,
                           help="Read weights from files in the model's folder (float models: always).")(command)  # fmt: skip
    command = click.option(
        "--const", "constants", multiple=True, metavar="NAME=F[,F..]", callback=_parse_constants,
        help="Make an input a constant: one number, or one per element; may be repeated.",
    )(command)  # fmt: skip
    return shape_option(command)


def member_option(command: Command) -> Command:
    """--member, for files that hold several models."""
    return click.option("--member", metavar="NAME", help="Which model of a pack of ESP-DL's .espdl files.")(command)


def input_option(command: Command) -> Command:
    """--input, as a dict."""
    return click.option(
        "--input",
        "inputs",
        multiple=True,
        metavar=FORM,
        callback=_parse_inputs,
        help="Which array of the data feeds which input of the model, its layout, and whether it holds real values or the "
        "quantized input's codes (default: what one would feed the ONNX model); may be repeated.",
    )(command)


def _parse_shapes(_context: click.Context, _option: click.Parameter, entries: Sequence[str]) -> dict[str, Extents]:
    shapes: dict[str, Extents] = {}
    for entry in entries:
        name, separator, text = entry.rpartition("=")
        extents = text.split(",")
        if not separator or not name or not all(extent.isdecimal() and int(extent) > 0 for extent in extents):
            raise click.BadParameter(f"{entry!r} is not of the form name=N or name=N,N,.. with N of 1 or more")
        if name in shapes:
            raise click.BadParameter(f"{name!r} is named twice")
        shapes[name] = int(text) if len(extents) == 1 else tuple(int(extent) for extent in extents)
    return shapes


def _parse_constants(_context: click.Context, _option: click.Parameter, entries: Sequence[str]) -> dict[str, list[float | int]]:
    constants: dict[str, list[float | int]] = {}
    for entry in entries:
        name, _, text = entry.rpartition("=")
        try:
            numbers: list[float | int] = [int(part) if part.lstrip("+-").isdecimal() else float(part) for part in text.split(",")]
        except ValueError:
            numbers = []
        if not name or not numbers:
            raise click.BadParameter(f"{entry!r} is not of the form name=F or name=F,F,.. with numbers")
        if name in constants:
            raise click.BadParameter(f"{name!r} is named twice")
        constants[name] = numbers
    return constants


def _parse_inputs(_context: click.Context, _option: click.Parameter, entries: Sequence[str]) -> Inputs:
    inputs = {}
    for entry in entries:
        try:
            name, wanted = parse(entry)
        except ValueError as problem:
            raise click.BadParameter(str(problem)) from None
        if name in inputs:
            raise click.BadParameter(f"{name!r} is named twice")
        inputs[name] = wanted
    return inputs


def chip_option(command: Command) -> Command:
    """--chip NAME|FILE, as the chip's record or None."""
    return click.option(
        "--chip", metavar="NAME|FILE", callback=_parse_chip,
        help=f"What it is for: {', '.join(CHIPS)}, or a chip file that `espgen calibrate` wrote.",
    )(command)  # fmt: skip


def _parse_chip(_context: click.Context, _option: click.Parameter, text: str | None) -> Chip | None:
    return None if text is None else find_chip(text)


def parse_bytes(_context: click.Context, _option: click.Parameter, text: str | None) -> int | None:
    if text is None:
        return None
    number, unit = (text[:-1], text[-1].upper()) if text[-1:].upper() in _UNITS else (text, "")
    if not number.isdecimal():
        raise click.BadParameter(f"{text!r} is not a number of bytes such as 163840, 160K or 8M")
    return int(number) * _UNITS.get(unit, 1)


_UNITS = {"K": 1024, "M": 1024 * 1024}


def existing(kind: str) -> click.Path:
    """A path that exists: a "file" or a "folder"."""
    return click.Path(exists=True, dir_okay=kind == "folder", file_okay=kind == "file", path_type=Path)


CELLS = 24
"""Width of a progress bar."""


def progress(as_json: bool) -> Progress | None:
    """What long work reports to: a bar on the terminal's last line, or nothing where nobody watches."""
    if as_json or not sys.stderr.isatty():
        return None

    def tell(what: str, done: int, total: int) -> None:
        click.echo(bar(what, done, total), err=True, nl=False)

    return tell


def bar(what: str, done: int, total: int) -> str:
    """One state of a progress bar, which overwrites the one before; `total` of 0: nobody knows how much there will be."""
    if total <= 0:
        return f"\r{what} {done}\033[K\n"
    filled = CELLS * min(done, total) // total
    line = f"\r{what} [{'#' * filled}{'.' * (CELLS - filled)}] {done}/{total}\033[K"
    return line + ("\n" if done >= total else "")


def show(result: Mapping[str, Any], as_text: Callable[[Any], str], as_json: bool) -> None:
    """Print a result for people or for programs; how the data was taken comes first, the next command last.

    A reader that leaves (`| head`) is no error, and changes nothing in the exit code.
    """
    notes = [f"note: {note}" for note in result.get("data", ())]
    following = [f"next: {result['next']}"] if result.get("next") else []
    told = json.dumps(result, indent=2, ensure_ascii=False) if as_json else "\n".join([*notes, as_text(result), *following])
    try:
        click.echo(told)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
