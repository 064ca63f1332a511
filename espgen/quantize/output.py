"""Writing results all or nothing: everything goes into a temporary folder first and is moved when complete."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from espgen.errors import EspgenError, environment_error


def check_targets(*targets: Path) -> None:
    """Raise EspgenError for files that could not be written, before any work is done for them."""
    for index, target in enumerate(targets):
        if target.is_dir():
            raise EspgenError("the output is a folder", place=str(target), hint="name a file")
        if any(target.absolute() == other.absolute() for other in targets[:index]):
            raise EspgenError("two outputs have the same name", place=str(target), hint="give them different names")
        check_folder(target.parent)


def check_folder(folder: Path) -> None:
    """Raise EspgenError where nothing could be written below `folder`, which need not exist yet."""
    nearest = folder.absolute()
    while not nearest.exists() and nearest != nearest.parent:
        nearest = nearest.parent
    if not nearest.is_dir():
        raise EspgenError("a file is in the way of the output folder", place=str(nearest), hint="name another folder")
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise environment_error("no permission to write", place=str(nearest), hint="check the folder and its permissions")


def write_all(files: Mapping[Path, bytes | str]) -> None:
    """Write every file or none. Raises EspgenError where a folder cannot be written."""
    moves: list[tuple[str, Path]] = []
    folders: list[str] = []
    try:
        for target, content in files.items():
            target.parent.mkdir(parents=True, exist_ok=True)
            folder = tempfile.mkdtemp(prefix=".espgen-", dir=target.parent)
            folders.append(folder)
            part = os.path.join(folder, target.name)
            with open(part, "wb") as stream:
                stream.write(content.encode("utf-8") if isinstance(content, str) else content)
            moves.append((part, target))
        for part, target in moves:
            os.replace(part, target)
    except OSError as error:
        raise environment_error(
            f"can't write: {error.strerror or error}",
            place=str(error.filename or ""),
            hint="check the folder and its permissions",
        ) from None
    finally:
        for folder in folders:
            shutil.rmtree(folder, ignore_errors=True)


def as_json(data: Any) -> str:
    """Stable JSON text."""
    return json.dumps(data, indent=1, sort_keys=False, default=_plain) + "\n"


def _plain(value: Any) -> Any:
    convert: Callable[[], Any] | None = getattr(value, "tolist", None)
    return convert() if convert is not None else str(value)
