"""The families of assembly kernels, asked in this order; among the offers for a node the cheapest is taken."""

from __future__ import annotations

from espgen.codegen.conv_offer import CONVOLUTION, DEPTHWISE
from espgen.codegen.elementwise_offer import ELEMENTWISE
from espgen.codegen.family import Family
from espgen.codegen.mean_offer import MEAN
from espgen.codegen.pool_offer import AVERAGE_POOL, GLOBAL_MAX_POOL, MAX_POOL
from espgen.codegen.table_offer import TABLE
from espgen.codegen.take_offer import MOVEMENT

FAMILIES: tuple[Family, ...] = (
    CONVOLUTION,
    DEPTHWISE,
    ELEMENTWISE,
    MEAN,
    MAX_POOL,
    GLOBAL_MAX_POOL,
    AVERAGE_POOL,
    TABLE,
    MOVEMENT,
)
