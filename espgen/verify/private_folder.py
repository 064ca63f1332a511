"""The folder of what espgen builds and runs: nobody else may have put anything there."""

from __future__ import annotations

import atexit
import logging
import os
import shutil
import stat
import tempfile
from functools import cache
from pathlib import Path

from espgen.errors import environment_error

_LOG = logging.getLogger(__name__)

OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH


def private_folder() -> Path:
    """$ESPGEN_CACHE, else `espgen` in the user's cache folder, made if it is missing; both only where nobody else can write.

    Where the user's cache folder cannot serve, a folder of this process alone, of a name that nobody can foresee.
    EspgenError (exit code 3) where $ESPGEN_CACHE cannot serve.
    """
    if chosen := os.environ.get("ESPGEN_CACHE"):
        folder = Path(chosen).absolute()
        if problem := _prepared(folder):
            hint = f"chmod go-w {folder}, or set ESPGEN_CACHE to a folder of your own, with room, that you may write to"
            raise environment_error(f"build results cannot be kept: {problem}", place=str(folder), hint=hint)
        return folder
    base = os.environ.get("XDG_CACHE_HOME") or os.environ.get("LOCALAPPDATA")
    try:
        folder = (Path(base) if base else Path.home() / ".cache").absolute() / "espgen"
        problem = _prepared(folder)
    except RuntimeError as error:  # no home
        folder, problem = Path("~/.cache/espgen"), str(error)
    return folder if problem is None else _passing_folder(str(folder), problem)


@cache
def _passing_folder(wanted: str, problem: str) -> Path:
    _LOG.warning("build results are not kept: %s: %s (set ESPGEN_CACHE to a folder of your own)", wanted, problem)
    folder = Path(tempfile.mkdtemp(prefix="espgen-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def _prepared(folder: Path) -> str | None:
    """Make the folder where it is missing; what is wrong with it, or None."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        folder.mkdir(mode=0o700, exist_ok=True)
        return unsafe(folder)
    except OSError as error:
        return error.strerror or str(error)


def unsafe(folder: Path) -> str | None:
    """Who else could put something at this path; None where nobody but its user and root can."""
    if not hasattr(os, "getuid"):
        return None
    found = folder.stat()
    if not stat.S_ISDIR(found.st_mode):
        return "it is no folder"
    if found.st_uid != os.geteuid():
        return "it belongs to somebody else"
    if found.st_mode & OTHERS_WRITE:
        return "others may write there"
    if not os.access(folder, os.W_OK | os.X_OK):
        return "it cannot be written to"
    # A folder above it that all may write to lets them put another in its place, unless only owners may rename (sticky).
    for above in folder.resolve().parents:
        mode = above.stat().st_mode
        if mode & stat.S_IWOTH and not mode & stat.S_ISVTX:
            return f"others may write to {above}"
    return None
