"""Damage to a component folder, in a way that a seed repeats: what copying, editing, disks and strangers do to it."""

from __future__ import annotations

import json
import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from espgen.codegen.project import GRAPH, MANIFEST
from espgen.codegen.seal import sealed

_STRANGE: tuple[Any, ...] = (None, True, -1, 2**70, 1e308, "", "..", "/etc/passwd", "\udc80", [], [[]], {}, {"a": []}, ["x"])


def _delete(path: Path, _chance: random.Random) -> None:
    path.unlink()


def _cut(path: Path, chance: random.Random) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: chance.randrange(len(data))])


def _empty(path: Path, _chance: random.Random) -> None:
    path.write_bytes(b"")


def _flip(path: Path, chance: random.Random) -> None:
    data = bytearray(path.read_bytes())
    data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
    path.write_bytes(data)


def _append(path: Path, chance: random.Random) -> None:
    path.write_bytes(path.read_bytes() + chance.randbytes(chance.randrange(1, 300)))


def _noise(path: Path, chance: random.Random) -> None:
    path.write_bytes(chance.randbytes(path.stat().st_size))


def _folder(path: Path, _chance: random.Random) -> None:
    path.unlink()
    path.mkdir()


def _pipe(path: Path, _chance: random.Random) -> None:
    path.unlink()
    os.mkfifo(path)


def _endless(path: Path, _chance: random.Random) -> None:
    path.unlink()
    path.symlink_to("/dev/zero")


def _loop(path: Path, _chance: random.Random) -> None:
    path.unlink()
    path.symlink_to(path)


def _sparse(path: Path, _chance: random.Random) -> None:
    with path.open("ab") as file:
        file.truncate(1 << 40)


def _swapped(path: Path, chance: random.Random) -> None:
    others = [other for other in path.parent.iterdir() if other.is_file() and other.read_bytes() != path.read_bytes()]
    shutil.copyfile(chance.choice(others), path) if others else path.unlink()


DAMAGES: tuple[Callable[[Path, random.Random], None], ...] = (
    _delete, _cut, _empty, _flip, _append, _noise, _folder, _pipe, _endless, _loop, _sparse, _swapped,
)  # fmt: skip
"""What may happen to one file."""


def damage_a_file(folder: Path, chance: random.Random) -> str:
    """Damage one file of the component (one in four times the manifest or the graph); returns what was done."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    path = folder / chance.choice((MANIFEST, GRAPH)) if chance.random() < 0.25 else chance.choice(files)
    kind = chance.choice(DAMAGES)
    kind(path, chance)
    return f"{kind.__name__} {path.relative_to(folder)}"


def add_a_file(folder: Path, chance: random.Random) -> str:
    """Put a file of somebody else's where the build finds it; returns what was done."""
    place = folder / chance.choice(("src", "include", "include/espgen", "include/espgen/kernels"))
    name = chance.choice(("stdint.h", "string.h", "extra.cpp", "math.h", "a.txt"))
    (place / name).write_text("#error not from espgen\n")
    return f"added {place.relative_to(folder)}/{name}"


def edit_the_manifest(folder: Path, chance: random.Random, *, reseal: bool) -> str:
    """Change one value somewhere in the manifest, in a way that makes no sense; returns what was done."""
    path = folder / MANIFEST
    manifest = json.loads(path.read_text())
    if reseal:
        del manifest["seal"], manifest["files"]
    place: Any = manifest
    steps: list[str] = []
    while True:
        key = chance.choice(list(place)) if isinstance(place, dict) else chance.randrange(len(place))
        steps.append(str(key))
        inner = place[key]
        if isinstance(inner, dict | list) and inner and chance.random() < 0.7:
            place = inner
            continue
        value = chance.choice(_STRANGE)
        if value == inner:
            continue
        if chance.random() < 0.3:
            del place[key]
        else:
            place[key] = value
        break
    path.unlink()
    path.write_text(json.dumps(sealed(manifest, folder) if reseal else manifest))
    return f"manifest {'/'.join(steps)}{' (sealed again)' if reseal else ''}"


def write_nonsense(folder: Path, chance: random.Random) -> str:
    """A manifest that is no manifest; returns what was done."""
    texts = (b"", b"[" * 100_000, b"{}", b"null", b"\xff\xfe{}", b'{"abi": ' + b"9" * 5000 + b"}", b"\0" * 100, b"[]" * 3)
    text = chance.choice(texts)
    (folder / MANIFEST).write_bytes(text)
    return f"manifest {text[:12]!r}"
