"""The command line: parse, call the library, print. Nothing else happens here."""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from io import TextIOWrapper
from typing import NoReturn

import click

from espgen.cli import calibration, commands, quantization
from espgen.cli.exits import Interrupts, ended
from espgen.errors import EXIT_CODES, INTERRUPTED

_CODES = "\n".join(f"{code}: {meaning}" for code, meaning in EXIT_CODES.items())


@click.group(
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    epilog=f"\b\nExit codes:\n{_CODES}",
    help="Quantized neural networks to ESP32-P4 firmware, verified byte for byte.",
)
@click.version_option(package_name="espgen")
def cli() -> None:
    """The verbs are below."""


for command in (
    commands.inspect,
    quantization.quantize,
    quantization.quantize_fallback,
    quantization.convert,
    commands.compile_,
    commands.verify,
    commands.profile,
    quantization.evaluate,
    calibration.calibrate,
    commands.doctor,
    commands.demo,
):
    cli.add_command(command)


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and exit. Every failure is a clear message and an exit code, never a traceback."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):  # a name that the terminal cannot show is no reason to stop
            stream.reconfigure(errors="backslashreplace")
    logging.basicConfig(format="%(message)s")
    logging.getLogger("espgen").setLevel(logging.WARNING if "--json" in given else logging.INFO)
    interrupts = Interrupts()
    if arguments is None:
        interrupts.watch()
    code = ended(lambda: cli.main(given, prog_name="espgen", standalone_mode=False), given, interrupts)
    if arguments is None and code == INTERRUPTED:
        interrupts.leave()
    sys.exit(code)
