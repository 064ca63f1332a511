"""What a quantization run is asked to do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from espgen.quantize.fold import FuseList
from espgen.quantize.model import Scheme
from espgen.quantize.observers import ObserverOptions

AUTO_EXPONENT = -1.0


@dataclass(frozen=True)
class Settings:
    """Options of one run; every accuracy method can be switched off.

    observer: see observers.py; equalize: exponent for tensors read by full convolutions, AUTO_EXPONENT to choose it per
    tensor, None for no equalization; correction: "none", "float" (towards the float network), "own" (towards the float
    layer on its quantized input) or "auto" (both are tried); rounding: "nearest" or "descent"; split: share of a
    tensor's channels that may be split where they are outliers; margin: factor on the range of logits; bits: node name
    -> 16 for int16; float_nodes: nodes kept in float; floors: value name -> the least that what reads it can tell apart
    (masks.py); fuse, fuse_list: folding; threads: of onnxruntime; batch: images per run.
    """

    scheme: Scheme = Scheme.SHIFT
    observer: str = "search"
    observer_options: ObserverOptions = field(default_factory=ObserverOptions)
    equalize: float | None = AUTO_EXPONENT
    correction: str = "auto"
    rounding: str = "descent"
    sweeps: int = 5
    split: float = 0.0
    margin: float = 1.15
    bits: Mapping[str, int] = field(default_factory=dict)
    float_nodes: frozenset[str] = frozenset()
    floors: Mapping[str, float] = field(default_factory=dict)
    fuse: bool = True
    fuse_list: FuseList | None = None
    threads: int = 1
    batch: int = 8
    seed: int = 0

    def but(self, **changes: Any) -> Settings:
        """A copy with some options changed."""
        return replace(self, **changes)
