"""The one place where the end of a command becomes an exit code and what is told about it."""

from __future__ import annotations

import atexit
import json
import os
import platform
import shlex
import signal
import sys
import tempfile
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from importlib import metadata
from types import FrameType
from typing import Any, NoReturn

import click

from espgen.errors import BAD_INPUT, DEFECT, DONE, ENVIRONMENT, INTERRUPTED, EspgenError, environment_error

PACKAGES = ("espgen", "numpy", "onnx", "onnxruntime", "click")
"""Whose versions a report of a defect names."""


ASKING = frozenset({"-h", "--help", "--version"})
"""Options that only print."""


class Interrupts:
    """Remembers Ctrl-C: libraries turn the KeyboardInterrupt that meets them while they are imported into errors of theirs."""

    def __init__(self) -> None:
        self.seen = False

    def watch(self) -> None:
        """From here on, where this is the main thread of a program."""
        try:
            signal.signal(signal.SIGINT, self._note)
        except ValueError:  # another thread runs the command: signals are the caller's business
            return
        sys.unraisablehook = _without_interrupts(sys.unraisablehook)

    def _note(self, _number: int, _frame: FrameType | None) -> None:
        self.seen = True
        raise KeyboardInterrupt

    def leave(self) -> NoReturn:
        """End the process with INTERRUPTED.

        At an ordinary exit Python kills itself with the signal where one ever met an `exec`, as imports of dataclasses have it.
        """
        atexit._run_exitfuncs()
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError, ValueError):
                stream.flush()
        os._exit(INTERRUPTED)

    def ignore(self) -> None:
        """Nothing is left to be stopped."""
        try:
            signal.signal(signal.SIGINT, signal.SIG_IGN)
        except ValueError:
            return


def _without_interrupts(hook: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def quiet(found: Any) -> None:
        if found.exc_type is None or not issubclass(found.exc_type, KeyboardInterrupt):
            hook(found)

    return quiet


def ended(command: Callable[[], Any], arguments: Sequence[str], interrupts: Interrupts) -> int:
    """Run `command` and return its exit code (espgen.errors.EXIT_CODES), with everything told that is to be told."""
    as_json = "--json" in arguments
    debug = "--debug" in arguments or bool(os.environ.get("ESPGEN_DEBUG"))
    stdout = sys.stdout
    try:
        command()
        return DONE
    except click.exceptions.Exit as done:
        return done.exit_code
    except SystemExit as done:
        if sys.stdout is not stdout:  # click wraps it where nobody reads any more, and leaves with 1
            return DONE if not ASKING.isdisjoint(arguments) else ENVIRONMENT
        return done.code if isinstance(done.code, int) else DONE if done.code is None else BAD_INPUT
    except BaseException as error:
        if interrupts.seen or isinstance(error, click.Abort | KeyboardInterrupt):
            interrupts.ignore()
            click.echo("interrupted", err=True)
            return INTERRUPTED
        if debug:
            traceback.print_exc()
        return _told(error, arguments, as_json)


def _told(error: BaseException, arguments: Sequence[str], as_json: bool) -> int:
    if isinstance(error, click.ClickException):
        if as_json:
            _print_error(error.format_message())
        error.show()
        return BAD_INPUT
    known = _known(error)
    if known is not None:
        _tell(known, as_json)
        return known.exit_code
    _tell_defect(error, arguments, as_json)
    return DEFECT


def _known(error: BaseException) -> EspgenError | None:
    """The error as one that the user can act on; None for what only espgen's developers can mend."""
    if isinstance(error, EspgenError):
        return error
    if isinstance(error, MemoryError):
        hint = "close other programs, use fewer samples (--limit), or a machine with more memory"
        return environment_error("the machine has not enough memory for this", hint=hint)
    if isinstance(error, OSError):
        # A full disk, a missing permission, a file that vanished: the machine's fault, not the program's.
        place = None if error.filename is None else str(error.filename)
        return environment_error(
            error.strerror or str(error), place=place, hint="check the path, its permissions and the disk"
        )
    return None


def _tell(error: EspgenError, as_json: bool, prefix: str = "error") -> None:
    parts = {"node": error.node, "place": error.place, "remedy": error.hint}
    if as_json:
        _print_error(error.message, **parts)
    click.echo(f"{prefix}: {error.message}", err=True)
    for name, value in parts.items():
        if value:
            click.echo(f"  {name}: {value}", err=True)


def _print_error(message: str, **parts: str | None) -> None:
    """An error as JSON, with the same keys whatever it is."""
    error = {"message": message, "node": None, "place": None, "remedy": None, **parts}
    click.echo(json.dumps({"error": error}, indent=2, ensure_ascii=False))


def _tell_defect(error: BaseException, arguments: Sequence[str], as_json: bool) -> None:
    first_line = (str(error).splitlines() or [""])[0]
    report = defect_report(error, arguments)
    try:
        with tempfile.NamedTemporaryFile("w", prefix="espgen-defect-", suffix=".txt", delete=False, encoding="utf-8",
                                         errors="backslashreplace") as file:  # fmt: skip
            file.write(report)
        place = file.name
    except OSError:
        place = None
        click.echo(report, err=True)
    attach = "the report above" if place is None else "this file"
    problem = EspgenError(
        f"a defect of espgen: {type(error).__name__}: {first_line}",
        place=place,
        hint=f"please report it, with {attach} (versions, command, traceback) and the model if you may share it",
        exit_code=DEFECT,
    )
    _tell(problem, as_json, prefix="internal error")


def defect_report(error: BaseException, arguments: Sequence[str]) -> str:
    """What a report of a defect should hold: versions, the command and the traceback."""
    versions = ", ".join(f"{name} {_version(name)}" for name in PACKAGES)
    command = shlex.join(["espgen", *arguments])
    trace = "".join(traceback.format_exception(error))
    return f"{versions}\nPython {platform.python_version()} on {platform.platform()}\n$ {command}\n\n{trace}"


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"
