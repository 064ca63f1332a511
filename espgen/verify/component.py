"""A generated component as the verification needs it: its manifest, espgen_component.json."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from espgen.errors import EspgenError
from espgen.resources import MODEL_ABI

MANIFEST = "espgen_component.json"


@dataclass(frozen=True)
class Component:
    """Name, C++ namespace, hash of the integer graph (64 hex digits) and what is compiled how; paths are absolute."""

    path: Path
    name: str
    namespace: str
    hash: str
    sources: tuple[Path, ...]
    firmware_sources: tuple[Path, ...]
    host_sources: tuple[Path, ...]
    include_dirs: tuple[Path, ...]
    defines: tuple[str, ...]
    manifest: Mapping[str, Any]

    @staticmethod
    def load(root: Path | str) -> Component:
        """Read the manifest below `root`. EspgenError where it is missing, broken or names missing files."""
        folder = Path(root).resolve()
        path = folder / MANIFEST
        try:
            manifest = json.loads(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise EspgenError(
                "this is no component of espgen",
                place=str(path),
                hint="give the folder that `espgen compile -o` wrote",
            ) from error
        except ValueError as error:
            raise _broken(path, str(error)) from error
        if not isinstance(manifest, dict):
            raise _broken(path, "not an object")
        name, digest = manifest.get("name"), manifest.get("hash")
        if not isinstance(name, str) or not isinstance(digest, str) or len(digest) != 64:
            raise _broken(path, "no name or no hash")
        namespace = manifest.get("identifier")
        if not isinstance(namespace, str) or not namespace.isidentifier() or not namespace.isascii():
            raise _broken(path, "no identifier")
        if manifest.get("abi") != MODEL_ABI:
            raise EspgenError(
                "the component was made by another version of espgen", place=str(path), hint="compile the model again"
            )
        component = Component(
            path=folder,
            name=name,
            namespace=namespace,
            hash=digest.lower(),
            sources=_paths(folder, manifest, "sources"),
            firmware_sources=_paths(folder, manifest, "firmware_sources"),
            host_sources=_paths(folder, manifest, "host_sources"),
            include_dirs=_paths(folder, manifest, "include_dirs"),
            defines=tuple(_texts(manifest, "defines", path)),
            manifest=manifest,
        )
        for source in (*component.sources, *component.firmware_sources, *component.host_sources):
            if not source.is_file():
                raise _broken(path, f"{source.name} is missing")
        return component


def _texts(manifest: dict[str, Any], key: str, path: Path) -> list[str]:
    entries = manifest.get(key, [])
    if not isinstance(entries, list) or not all(isinstance(entry, str) for entry in entries):
        raise _broken(path, f"{key} is no list of texts")
    return entries


def _paths(folder: Path, manifest: dict[str, Any], key: str) -> tuple[Path, ...]:
    paths = tuple((folder / entry).resolve() for entry in _texts(manifest, key, folder / MANIFEST))
    for path in paths:
        if not path.is_relative_to(folder):
            raise _broken(folder / MANIFEST, f"{key} leaves the component: {path}")
    return paths


def _broken(path: Path, why: str) -> EspgenError:
    return EspgenError(f"the component's manifest is broken: {why}", place=str(path), hint="compile the model again")
