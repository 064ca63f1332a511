"""The command line: parse, call the library, print. Nothing else happens here."""

from __future__ import annotations

import json
import logging
import os
import sys
import traceback
from collections.abc import Sequence
from typing import NoReturn

import click

from espgen.cli import commands, quantization
from espgen.errors import ENVIRONMENT, EspgenError, environment_error

INTERRUPTED = 130
INTERNAL_ERROR = 70


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="espgen")
def cli() -> None:
    """Quantized neural networks to ESP32-P4 firmware, verified byte for byte.

    Exit codes: 0 fine, 1 a mismatch or a missed target, 2 bad input or usage, 3 environment (tool or port missing).
    """


for command in (
    commands.inspect,
    quantization.quantize,
    quantization.quantize_fallback,
    quantization.convert,
    commands.compile_,
    commands.verify,
    commands.profile,
    quantization.evaluate,
    commands.doctor,
    commands.demo,
):
    cli.add_command(command)


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
        if "--json" in given:
            _print_error(usage.format_message())
        usage.show()
        code = usage.exit_code
    except (click.Abort, KeyboardInterrupt):
        click.echo("interrupted", err=True)
        code = INTERRUPTED
    except EspgenError as error:
        _tell(error, debug, "--json" in given)
        code = error.exit_code
    except OSError as error:
        _tell(_environment(error), debug, "--json" in given)
        code = ENVIRONMENT
    except Exception as error:
        _tell_internal(error, debug, "--json" in given)
        code = INTERNAL_ERROR
    sys.exit(code)


def _tell(error: EspgenError, debug: bool, as_json: bool) -> None:
    if debug:
        traceback.print_exc()
    parts = {"node": error.node, "place": error.place, "remedy": error.hint}
    if as_json:
        _print_error(error.message, **parts)
    click.echo(f"error: {error.message}", err=True)
    for name, value in parts.items():
        if value:
            click.echo(f"  {name}: {value}", err=True)


def _print_error(message: str, **parts: str | None) -> None:
    """An error as JSON, with the same keys whatever it is."""
    error = {"message": message, "node": None, "place": None, "remedy": None, **parts}
    click.echo(json.dumps({"error": error}, indent=2, ensure_ascii=False))


def _environment(error: OSError) -> EspgenError:
    """A full disk, a missing permission, a file that vanished: the machine's fault, not the program's."""
    place = None if error.filename is None else str(error.filename)
    return environment_error(error.strerror or str(error), place=place, hint="check the path, its permissions and the disk")


def _tell_internal(error: Exception, debug: bool, as_json: bool) -> None:
    if debug:
        traceback.print_exc()
    first_line = (str(error).splitlines() or [""])[0]
    where = "" if debug else " (--debug shows where)"
    message = f"{type(error).__name__}: {first_line}"
    if as_json:
        _print_error(f"internal error: {message}")
    click.echo(f"internal error, please report it with the model: {message}{where}", err=True)
