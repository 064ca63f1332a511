"""Liveness: from a static list of steps to the buffers it needs and how long it needs them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from espgen.errors import Defect
from espgen.schedule.buffers import Buffer


@dataclass(frozen=True)
class Use:
    """One step: the values it reads and writes.

    name      the node it belongs to; a node may take several steps
    scratch   bytes of working memory that the node needs from its first step to its last
    in_place  pairs (written, read): the written value may take over the storage of the read one, if nothing
              needs that any more
    """

    name: str
    reads: tuple[str, ...]
    writes: tuple[str, ...]
    scratch: int = 0
    in_place: tuple[tuple[str, str], ...] = ()


def scratch_name(node: str) -> str:
    """Name of the buffer that holds a node's working memory."""
    return f"{node}.scratch"


def liveness(
    steps: Sequence[Use],
    sizes: Mapping[str, int],
    *,
    inputs: Iterable[str] = (),
    outputs: Iterable[str] = (),
    keep: Iterable[str] = (),
    aliases: Mapping[str, str] | None = None,
    align: int = 64,
) -> tuple[Buffer, ...]:
    """Buffers of all values, in order of first use, then one per node that needs scratch memory.

    sizes    bytes of every value that needs memory; values absent from it (constants) get no buffer
    inputs   live from step 0 to their last reader
    outputs  live from their writer to the last step
    keep     live throughout
    aliases  value -> the value that it is a part or another view of; both share the latter's buffer

    Raises Defect where a value is read before it is written.
    """
    roots = _roots(aliases or {})
    final = max(len(steps) - 1, 0)
    first: dict[str, int] = {roots.get(name, name): 0 for name in (*inputs, *keep)}
    last: dict[str, int] = dict(first)
    accesses: dict[str, int] = dict.fromkeys(first, 0)
    written = set(first)
    counted: set[tuple[str, str]] = set()
    for index, step in enumerate(steps):
        for name in dict.fromkeys((*step.reads, *step.writes)):
            root = roots.get(name, name)
            if root not in sizes:
                continue
            if name in step.writes:
                written.add(root)
            elif root not in written:
                raise Defect(f"{step.name}: value {name!r} is read before it is written")
            first.setdefault(root, index)
            last[root] = index
            uses = (name in step.reads) + (name in step.writes)
            if (step.name, name) not in counted:
                counted.add((step.name, name))
                accesses[root] = accesses.get(root, 0) + uses * sizes.get(name, sizes[root])
    for name in (*outputs, *keep):
        root = roots.get(name, name)
        if root in sizes and root not in first:
            raise Defect(f"output {name!r} is never written")
        last[root] = final
    buffers = {
        name: Buffer(name, sizes[name], first[name], last[name], align, accesses=accesses[name])
        for name in first
        if name in sizes
    }
    _mark_in_place(buffers, steps, roots)
    return (*buffers.values(), *_scratch(steps, align))


def _scratch(steps: Sequence[Use], align: int) -> list[Buffer]:
    """Working memory of the nodes that need some, in the order of their first steps."""
    own: dict[str, list[int]] = {}
    for index, step in enumerate(steps):
        if step.scratch:
            own.setdefault(step.name, []).append(index)
    sizes = {step.name: step.scratch for step in steps}
    return [
        Buffer(scratch_name(name), sizes[name], indices[0], indices[-1], align, accesses=2 * sizes[name])
        for name, indices in own.items()
    ]


def _roots(aliases: Mapping[str, str]) -> dict[str, str]:
    """Every alias -> the value at the end of its chain."""
    roots = {}
    for name in aliases:
        root, seen = aliases[name], {name}
        while root in aliases:
            if root in seen:
                raise Defect(f"value {name!r} is an alias of itself")
            seen.add(root)
            root = aliases[root]
        roots[name] = root
    return roots


def _mark_in_place(buffers: dict[str, Buffer], steps: Sequence[Use], roots: Mapping[str, str]) -> None:
    """Set `replaces` where a step may write over a value that dies with it."""
    taken: set[str] = set()
    for index, step in enumerate(steps):
        for new, old in step.in_place:
            new, old = roots.get(new, new), roots.get(old, old)
            if new not in buffers or old not in buffers or new == old or old in taken:
                continue
            made, read = buffers[new], buffers[old]
            if made.first == index == read.last and made.replaces is None:
                buffers[new] = replace(made, replaces=old)
                taken.add(old)
