"""Exact ties of a shift: where they are many, weights and biases of which no sum is one.

A shift by k makes one sum in 2^k an exact tie. The integer graph rounds it to even; onnxruntime, whose float scales are no
powers of two, by the noise of its own sum, so half of the ties differ by one step. Where k is small that is more than one
element in 200. Even weights and an odd bias have odd sums only, and for k > 1 no odd number is a tie. It costs the weights
a bit, which rounding against the layer's inputs mostly makes good.
"""

from __future__ import annotations

import numpy as np

# Share of a layer's elements that may differ from a float engine.
MOST_TIES = 0.0045
# Of a handful of logits every one counts for accuracy, and none for the share.
LEAST_ELEMENTS = 64


def channels_to_spare(shifts: np.ndarray, unbounded: np.ndarray | float) -> np.ndarray | None:
    """The channels, as few as possible, without whose ties at most MOST_TIES of the layer's elements differ; None for none.

    shifts: k per channel; unbounded: share of each channel's elements that neither its bound nor the grid's ends cut.
    """
    share = np.where(shifts > 0.5, 0.5 * 2.0**-shifts, 0.0) * unbounded
    if share.mean() <= MOST_TIES:
        return None
    order = np.argsort(-share, kind="stable")
    count = int(np.searchsorted(np.cumsum(share[order]), share.sum() - MOST_TIES * share.size)) + 1
    chosen = np.zeros(share.size, bool)
    chosen[order[:count]] = True
    return chosen & (shifts > 1.5)


def odd(values: np.ndarray) -> np.ndarray:
    """The odd integers nearest to float `values`."""
    return np.asarray(2.0 * np.floor(values / 2.0) + 1.0)
