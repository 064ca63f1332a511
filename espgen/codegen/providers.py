"""The families of fast kernels, asked in this order; among the offers for a node the cheapest is taken."""

from __future__ import annotations

from collections.abc import Sequence

from espgen.codegen import conv_offer, depthwise_offer, elementwise_offer, mean_offer, pool_offer, table_offer, take_offer
from espgen.codegen.offers import Provider

PROVIDERS: Sequence[Provider] = (
    conv_offer.offer,
    depthwise_offer.offer,
    elementwise_offer.offer,
    mean_offer.offer,
    pool_offer.offer,
    table_offer.offer,
    take_offer.offer,
)
