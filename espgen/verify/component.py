"""A generated component as the verification needs it: its manifest, espgen_component.json."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from espgen.codegen.seal import BUILT_FOLDERS, check_seal, lies_in
from espgen.errors import EspgenError
from espgen.resources import MODEL_ABI
from espgen.target.chips import CHIPS, DEFAULT, L2_KB, L2_SIZES, Chip

MANIFEST = "espgen_component.json"
_LONGEST_MANIFEST = 64 << 20  # bytes


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
        manifest = _read(path)
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
        for source in (*component.sources, *component.firmware_sources):
            if not source.is_file():
                raise _broken(path, f"{source.name} is missing")
        return component

    @staticmethod
    def load_sealed(root: Path | str) -> Component:
        """Read the manifest below `root`, and compare every file with it: what any verdict rests on.

        EspgenError where something is not as `espgen compile` wrote it.
        """
        component = Component.load(root)
        path = component.path / MANIFEST
        check_seal(component.manifest, component.path, path)
        for key, kinds in _ENTRIES.items():
            entries = component.manifest.get(key)
            for entry in entries if isinstance(entries, list) else [entries]:
                if not isinstance(entry, dict) or any(type(entry.get(name)) is not kind for name, kind in kinds.items()):
                    raise _broken(path, f"{key} is not as espgen writes it")
        return component

    def exercised(self, target: str) -> tuple[str, ...]:
        """The sealed files whose content decides what runs on `target`: "host", or "chip" (the simulator, a board)."""
        other = self.firmware_sources if target == "host" else self.host_sources
        # A weights file is assembled with the .S of its name.
        idle = {path for source in other for path in (source, source.with_suffix(".bin"))}
        return tuple(
            name for name in self.manifest.get("files", {}) if name.startswith(_BUILT) and self.path / name not in idle
        )

    @property
    def chip(self) -> Chip:
        """What it was compiled for."""
        made_for = self.manifest.get("chip", {})
        name = made_for.get("name") if isinstance(made_for, dict) else None
        if name is None:
            return DEFAULT
        if name not in CHIPS:
            raise _broken(self.path / MANIFEST, f"it names a chip {name!r} that there is not")
        return CHIPS[name]

    @property
    def l2_kb(self) -> int:
        """The second-level cache that its memory plan assumes."""
        size = self.manifest.get("l2_kb", L2_KB)
        if size not in L2_SIZES:
            raise _broken(self.path / MANIFEST, f"it names a cache of {size!r} KB")
        return int(size)

    def check_host_files(self) -> None:
        """Raise EspgenError where what a PC runs in place of assembly is missing: registry archives leave it out."""
        for source in self.host_sources:
            if not source.is_file():
                raise EspgenError(
                    f"the component has no files for a PC: {source.name} is missing",
                    place=str(self.path),
                    hint="verify it in the simulator or on a board, or compile the model again",
                )


_BUILT = tuple(f"{folder}/" for folder in BUILT_FOLDERS)
_ENTRIES: dict[str, dict[str, type]] = {
    "memory": {"internal": int, "psram": int, "weights": int, "tables": int, "arenas": dict, "planner": str},
    "kernels": {"layer": str, "op": str, "kernel": str, "candidates": list},
}
"""Entries of the manifest that others than this module read, and what is in them."""


def _read(path: Path) -> Any:
    remedy = "give the folder that `espgen compile -o` wrote"
    try:
        if not path.is_file():
            raise EspgenError("this is no component of espgen: it has no manifest", place=str(path), hint=remedy)
        if path.stat().st_size > _LONGEST_MANIFEST:
            raise _broken(path, f"{path.stat().st_size} bytes long")
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        told = f"the component's manifest cannot be read: {error.strerror or error}"
        raise EspgenError(told, place=str(path), hint=remedy) from error
    except (ValueError, RecursionError) as error:
        raise _broken(path, str(error)) from error


def _texts(manifest: dict[str, Any], key: str, path: Path) -> list[str]:
    entries = manifest.get(key, [])
    if not isinstance(entries, list) or not all(isinstance(entry, str) for entry in entries):
        raise _broken(path, f"{key} is no list of texts")
    return entries


def _paths(folder: Path, manifest: dict[str, Any], key: str) -> tuple[Path, ...]:
    names = _texts(manifest, key, folder / MANIFEST)
    for name in names:
        if not lies_in(folder, name):
            raise _broken(folder / MANIFEST, f"{key} leaves the component: {name}")
    return tuple(folder / name for name in names)


def _broken(path: Path, why: str) -> EspgenError:
    return EspgenError(f"the component's manifest is broken: {why}", place=str(path), hint="compile the model again")
