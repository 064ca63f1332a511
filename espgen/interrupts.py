"""Ctrl-C while a program of espgen starts: modules are being imported, nothing has begun that would have to be tidied up."""

from __future__ import annotations

import os
import signal

from espgen.errors import INTERRUPTED


def leave_at_once() -> None:
    """From here on Ctrl-C ends the process without a traceback, until somebody who tidies up takes over."""
    try:
        signal.signal(signal.SIGINT, _leave)
    except ValueError:  # not the main thread: signals are somebody else's business
        return


def _leave(_number: int, _frame: object) -> None:
    os.write(2, b"interrupted\n")
    os._exit(INTERRUPTED)
