"""The seal of a component: its manifest holds the size and SHA-256 of every file, and a digest of itself.

What is verified is only what was generated if nothing changed since: a half copied folder, a weights file of another run or
an edited manifest is told before anything of it is built, run or believed. (It is no signature: who can write the folder can
write the seal, too.)
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from espgen.errors import EspgenError

REMEDY = "compile the model again"
BUILT_FOLDERS = ("include", "src")
"""Where a file that espgen did not write would change what is built."""

_CHUNK = 1 << 20
_HOST_ONLY = re.compile(r"src/[^/]*_host\.[A-Za-z]+")
"""What the manifest for registries excludes (templates/project/idf_component.yml.j2): all of it is there, or nothing."""


def sealed(manifest: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """The manifest with `files` (what is in `folder` now, by relative path) and `seal` (the digest of all other entries)."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    files = {
        path.relative_to(folder).as_posix(): {"bytes": path.stat().st_size, "sha256": _digest(path)} for path in paths
    }
    full = {**manifest, "files": files}
    return {**full, "seal": _manifest_digest(full)}


def check_seal(manifest: Mapping[str, Any], folder: Path, place: Path) -> None:
    """EspgenError naming the first file that is not as it was generated; `place` is the manifest's own path."""
    if manifest.get("seal") != _manifest_digest({key: value for key, value in manifest.items() if key != "seal"}):
        raise EspgenError("the component's manifest is not as it was generated", place=str(place), hint=REMEDY)
    files = manifest.get("files")
    if not isinstance(files, dict) or not all(isinstance(entry, dict) for entry in files.values()):
        raise EspgenError("the component's manifest names no files", place=str(place), hint=REMEDY)
    left_out = _HOST_ONLY.fullmatch
    without = not any((folder / name).exists() for name in files if left_out(name))  # an archive from a registry
    for name, entry in sorted(files.items()):
        if not (without and left_out(name)):
            _check_file(folder, name, entry)
    for path in sorted(path for part in BUILT_FOLDERS for path in _all_below(folder / part)):
        if path.relative_to(folder).as_posix() not in files:
            hint = f"move it out of the component, or {REMEDY}"
            raise EspgenError("the component holds a file that espgen did not write", place=str(path), hint=hint)


def _check_file(folder: Path, name: str, entry: Mapping[str, Any]) -> None:
    path = folder / name
    if not lies_in(folder, name):
        raise EspgenError("the component names a file outside its folder", place=str(path), hint=REMEDY)
    try:
        if not path.is_file():
            raise EspgenError("a file of the component is missing", place=str(path), hint=REMEDY)
        size = path.stat().st_size
        if size != entry.get("bytes"):  # told first: a file may be longer than anybody wants to read
            told = f"has {size} bytes, {entry.get('bytes')} were generated"
            raise EspgenError(f"a file of the component {told}", place=str(path), hint=REMEDY)
        if _digest(path) != entry.get("sha256"):
            raise EspgenError("a file of the component is not as it was generated", place=str(path), hint=REMEDY)
    except OSError as problem:
        told = f"a file of the component cannot be read: {problem.strerror or problem}"
        raise EspgenError(told, place=str(path), hint=f"make it readable, or {REMEDY}") from problem


def lies_in(folder: Path, name: str) -> bool:
    """Whether the file `name` of `folder` is a path that lies in it, wherever links lead."""
    return "\0" not in name and Path(os.path.realpath(folder / name)).is_relative_to(os.path.realpath(folder))


def _all_below(folder: Path) -> list[Path]:
    """Everything below `folder` that is no folder itself, links to folders included (they are not followed)."""
    return [path for path in folder.rglob("*") if path.is_symlink() or not path.is_dir()]


def _digest(path: Path) -> str:
    total = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(_CHUNK):
            total.update(piece)
    return total.hexdigest()


def _manifest_digest(manifest: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(manifest, sort_keys=True).encode()).hexdigest()
