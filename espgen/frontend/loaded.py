"""What a model file holds: its graph, and test vectors where its maker put some in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

import numpy as np

from espgen.ir import Graph


@dataclass(frozen=True, eq=False)
class Loaded:
    """The source graph; `inputs` and the `outputs` that belong to them as integers, in the graph's order of axes."""

    graph: Graph
    inputs: Mapping[str, np.ndarray] = field(default_factory=lambda: MappingProxyType({}))
    outputs: Mapping[str, np.ndarray] = field(default_factory=lambda: MappingProxyType({}))
