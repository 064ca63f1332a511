"""Limits on untrusted model files, checked in Python integers before anything is allocated."""

from __future__ import annotations

from collections.abc import Sequence

from espgen.errors import EspgenError

MAX_FILE_BYTES = 1 << 30
MAX_NODES = 50_000
MAX_RANK = 8
MAX_ELEMENTS = 1 << 28
# All constants that folding makes, together: far above any real shape arithmetic, far below what would hurt a laptop.
MAX_FOLDED_ELEMENTS = 1 << 26
MAX_NAME = 4096
MIN_OPSET = 11


def check_shape(shape: Sequence[int], what: str, node: str | None = None, *, allow_empty: bool = False) -> tuple[int, ...]:
    """`shape` as a tuple; EspgenError where the rank, an extent or the number of elements is out of bounds."""
    if len(shape) > MAX_RANK:
        raise EspgenError(
            f"{what} has {len(shape)} dimensions; at most {MAX_RANK} are supported", node=node, place=what,
            hint="reshape the tensor to fewer dimensions before export",
        )  # fmt: skip
    elements = 1
    for extent in shape:
        if extent < 0 or (extent == 0 and not allow_empty):
            raise EspgenError(
                f"{what} has shape {list(shape)}; every extent must be positive", node=node, place=what,
                hint="export the model with static, non-empty shapes",
            )  # fmt: skip
        elements *= extent
    if elements > MAX_ELEMENTS:
        raise EspgenError(
            f"{what} has {elements} elements; at most {MAX_ELEMENTS} are supported", node=node, place=what,
            hint="check the shape: no tensor of this size fits the chip",
        )  # fmt: skip
    return tuple(int(extent) for extent in shape)
