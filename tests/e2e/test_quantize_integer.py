"""What the quantizer exports and what the integer graph computes are the same thing, layer by layer."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from espgen.frontend import load_onnx
from espgen.ir import Graph
from espgen.quantize.exporter import float_model
from espgen.quantize.model import QuantizedModel, Scheme
from espgen.quantize.pipeline import fidelity, quantize
from espgen.quantize.record import record
from espgen.quantize.settings import Settings
from tests.e2e.layer_oracle import layer_differences
from tests.unit.quantize_nets import HARD, images, operator_zoo, upsampling

MOST_DIFFERENT = 0.005


def _ties(model: QuantizedModel, scheme: Scheme) -> float:
    """A shift by k makes one sum in 2^k an exact tie, which float scales that are no powers of two break either way."""
    if scheme is not Scheme.SHIFT:
        return 0.0
    shifts = [entry["shift"] for entry in record(model)["layers"].values()]
    return max(0.5 * float(np.mean(2.0 ** -np.array(shift))) for shift in shifts)


@pytest.mark.parametrize("scheme", list(Scheme))
@pytest.mark.parametrize("net", sorted(HARD))
def test_integer_graph_computes_the_exported_model(net: str, scheme: Scheme, tmp_path: Path) -> None:
    model = quantize(HARD[net](), {"input": images(32, seed=1)}, Settings(scheme=scheme, correction="float"))
    graph, layers = layer_differences(model, images(6, seed=2), tmp_path)
    assert len(layers) >= len(model.layers) - 1
    for name, (most, share) in layers.items():
        assert most <= 1, name
        assert share < MOST_DIFFERENT + _ties(model, scheme), name
    if scheme is not Scheme.AFFINE:
        products = [
            node
            for node in graph.nodes
            if "requant" in node.attrs and node.op in ("conv2d", "depthwise_conv2d", "fully_connected")
        ]
        assert all(type(node.attrs["requant"]).__name__ == "Shift" for node in products)


def test_sixteen_bit_layers_compile(tmp_path: Path) -> None:
    graph = HARD["spread_variances"]()
    name = next(node.name for node in graph.nodes if node.op == "Conv" and node.attrs["group"] > 1)
    model = quantize(graph, {"input": images(32, seed=1)}, Settings(bits={name: 16}, correction="float"))
    _, layers = layer_differences(model, images(6, seed=2), tmp_path)
    assert max(most for most, _ in layers.values()) <= 1


@pytest.mark.parametrize("scheme", list(Scheme))
@pytest.mark.parametrize("first", range(3))
def test_sixteen_bits_behind_equalized_bounds_compile(first: int, scheme: Scheme, tmp_path: Path) -> None:
    # The top code of an int16 grid lies above ReLU6's bound: equalized, it would differ by channel.
    graph = HARD["spread_variances"]()
    names = [node.name for node in graph.nodes if node.op == "Conv"][first::3]
    settings = Settings(scheme, bits=dict.fromkeys(names, 16), observer="minmax", correction="float", rounding="nearest")
    model = quantize(graph, {"input": images(32, seed=1)}, settings)
    _, layers = layer_differences(model, images(4, seed=2), tmp_path)
    assert {layer.bits for layer in model.layers.values()} == {8, 16}
    assert max(most for most, _ in layers.values()) <= 1


@pytest.mark.parametrize("scheme", list(Scheme))
@pytest.mark.parametrize("make", [operator_zoo, upsampling])
def test_every_kind_of_operator_compiles(make: Callable[[], Graph], scheme: Scheme, tmp_path: Path) -> None:
    # Through a file, so that the graph has the attributes the frontend gives it.
    source = load_onnx(float_model(make()))
    model = quantize(source, {"input": images(32, seed=1)}, Settings(scheme=scheme, correction="float"))
    assert fidelity(model.reference, model, {"input": images(32, seed=2)}).judged < 0.002
    _, layers = layer_differences(model, images(6, seed=3), tmp_path)
    # Gates are small tensors and full of exact ties: one element in them is more than a percent.
    for name, (most, share) in layers.items():
        assert most <= 1, name
        assert share < 0.1, name


DATA = os.environ.get("ESPGEN_DATA")


@pytest.mark.skipif(not DATA, reason="ESPGEN_DATA is not set")
@pytest.mark.parametrize(
    ("scheme", "error", "agreement"), [(Scheme.SHIFT, 0.0025, 0.97), (Scheme.AFFINE, 0.0020, 0.97), (Scheme.ESP_DL, 0.016, 0.955)]
)
def test_keyword_spotting(scheme: Scheme, error: float, agreement: float) -> None:
    folder = Path(str(DATA)) / "kws"
    file = np.load(folder / "kws01_500.npz")
    x = ((file["x_int8"].astype(np.float32) - 83) * np.float32(0.5847029))[:, None]
    order = np.random.default_rng(7).permutation(len(x))
    calibration, test = {"input": x[order[:256]]}, {"input": x[order[256:]]}
    model = quantize(load_onnx(folder / "kws_dscnn_float_bn.onnx"), calibration, Settings(scheme=scheme))
    found = fidelity(model.reference, model, test)
    assert found.error < error
    assert found.agreement >= agreement
