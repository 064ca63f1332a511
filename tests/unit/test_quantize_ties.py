"""Shifts whose ties a float engine would take otherwise: few enough in every layer, none where weights are even."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from espgen.ir import Graph
from espgen.quantize.model import Scheme
from espgen.quantize.pipeline import quantize
from espgen.quantize.settings import Settings
from espgen.quantize.ties import MOST_TIES, channels_to_spare, odd
from tests.unit.quantize_nets import Net, images


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 20), st.floats(0.0, 1.0)), min_size=1, max_size=40))
def test_as_few_channels_as_bring_the_share_down(channels: list[tuple[int, float]]) -> None:
    shifts, unbounded = (np.array(column, float) for column in zip(*channels, strict=True))
    share = np.where(shifts > 0, 0.5 * 2.0**-shifts, 0.0) * unbounded
    spared = channels_to_spare(shifts, unbounded)
    if spared is None:
        assert share.mean() <= MOST_TIES
        return
    assert share.mean() > MOST_TIES
    # A shift by 1 makes every odd sum a tie: an odd bias would not help there.
    assert not spared[shifts < 2].any()
    left = np.where(spared | (shifts == 1), 0.0, share)
    assert left.mean() <= MOST_TIES + 1e-12
    if spared.any() and not (shifts == 1).any():
        smallest = share[spared].min()
        assert (share[~spared].sum() + smallest) / share.size > MOST_TIES - 1e-12


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=20))
def test_nearest_odd(values: list[float]) -> None:
    found = odd(np.array(values))
    assert (np.abs(found) % 2 == 1).all()
    assert (np.abs(found - values) <= 1.0).all()


def test_even_weights_and_an_odd_bias_never_tie() -> None:
    """A layer with coarse weights and a fine output: a shift by two or three."""
    net = Net((1, 3, 16, 16), 4)
    net.conv(8)
    alike = net.constants[net.nodes[0].inputs[1]]
    alike[:] = alike[:1] + 0.02 * alike
    net.conv(6)
    cancelling = net.constants[net.nodes[1].inputs[1]]
    cancelling[:, ::2], cancelling[:, 1::2] = 1.0, -1.0
    model = quantize(net.graph(), {"input": images(32)}, Settings(scheme=Scheme.SHIFT, correction="float", equalize=None))
    found = [layer for layer in model.layers.values() if layer.odd_bias is not None]
    assert found
    for name, layer in model.layers.items():
        shifts = np.log2(model.activations[_output(model.graph, name)].scale / (layer.input_scale * layer.scale.astype(float)))
        assert np.allclose(shifts, np.rint(shifts), atol=1e-4)
        if layer.odd_bias is None:
            continue
        assert layer.bias is not None
        assert (np.abs(layer.weights[layer.odd_bias]) % 2 == 0).all()
        assert (np.abs(layer.bias[layer.odd_bias]) % 2 == 1).all()
        assert (shifts[layer.odd_bias] > 1.5).all()


def _output(graph: Graph, name: str) -> str:
    return next(node.outputs[0] for node in graph.nodes if node.name == name)
