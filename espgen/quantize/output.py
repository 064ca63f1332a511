"""Writing results all or nothing: everything goes into a temporary folder first and is moved when complete."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from espgen.errors import environment_error


def write_all(files: Mapping[Path, bytes | str]) -> None:
    """Write every file or none. Raises EspgenError (exit code 3) where a folder cannot be written."""
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
