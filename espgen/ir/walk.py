"""Walks over what shares its parts: every part once, without recursion, however deep and however often it is shared."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

Part = TypeVar("Part")


def operands_first(root: Part, operands: Callable[[Part], Sequence[Part]]) -> list[Part]:
    """Every different part of `root` (by identity) once, its operands before it, `root` at the end."""
    ordered: list[Part] = []
    seen: set[int] = set()
    waiting = [(root, False)]
    while waiting:
        part, complete = waiting.pop()
        if complete:
            ordered.append(part)
        elif id(part) not in seen:
            seen.add(id(part))
            waiting.append((part, True))
            waiting += [(operand, False) for operand in reversed(operands(part))]
    return ordered
