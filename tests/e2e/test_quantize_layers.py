"""The four float networks, quantized: what the integer graph computes is the exported QDQ model, layer by layer."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from espgen.frontend import load_onnx
from espgen.ir import Graph
from espgen.quantize.imports import strip_qdq
from espgen.quantize.model import QuantizedModel, Scheme
from espgen.quantize.pipeline import quantize
from espgen.quantize.settings import Settings
from espgen.quantize.units import is_product
from tests.e2e.layer_oracle import layer_differences

DATA = os.environ.get("ESPGEN_DATA")
SMALL, LARGE = ("kws", "resnet8"), ("mobilenet_v2", "mobilenet_v2_outliers")
MOST_DIFFERENT = 0.005

pytestmark = pytest.mark.skipif(not DATA, reason="ESPGEN_DATA is not set")


def _network(name: str) -> tuple[Graph, np.ndarray]:
    """A float network and inputs for it, float32 [samples, ...] in an order of their own."""
    folder = Path(str(DATA))
    if name == "kws":
        graph = load_onnx(folder / "kws" / "kws_dscnn_float_bn.onnx")
        x = ((np.load(folder / "kws" / "kws01_500.npz")["x_int8"].astype(np.float32) - 83) * np.float32(0.5847029))[:, None]
    elif name == "resnet8":
        graph = load_onnx(folder / "ic" / "resnet8_float_bn.onnx")
        x = np.load(folder / "ic" / "cifar10_500.npz")["x_uint8_nhwc"].transpose(0, 3, 1, 2).astype(np.float32)
    else:
        image = pytest.importorskip("PIL.Image", reason="needs the extra quantize")
        files = sorted((folder / "imagenet" / "jpeg").glob("*.jpg"))[::6]
        pixels = np.stack([np.asarray(image.open(file).convert("RGB")) for file in files])
        x = pixels.transpose(0, 3, 1, 2).astype(np.float32)
        if name == "mobilenet_v2":
            graph, x = load_onnx(folder / "mobilenet" / "mobilenet_v2_1.0_224_float.onnx"), (x - 128) / 128
        else:  # the network with activation outliers: ESP-DL's, its int8 weights dequantized
            graph = strip_qdq(load_onnx(folder / "mobilenet" / "espdl_mobilenetv2_p4_qdq.onnx")).graph
            mean, std = (np.array(c, np.float32).reshape(1, 3, 1, 1) for c in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
            x = (x / 255 - mean) / std
    return graph, np.ascontiguousarray(x[np.random.default_rng(7).permutation(len(x))], np.float32)


def _quantized(name: str, scheme: Scheme, mixed: bool) -> tuple[QuantizedModel, np.ndarray]:
    """The network on few samples (ranges as seen, means corrected), and other samples. `mixed`: every third layer int16."""
    graph, x = _network(name)
    layers = [node.name for node in graph.nodes if is_product(graph, node) or node.op in ("Add", "GlobalAveragePool")]
    settings = Settings(
        scheme=scheme, observer="minmax", correction="float", rounding="nearest", threads=1,
        bits=dict.fromkeys(layers[1::3], 16) if mixed else {},
    )  # fmt: skip
    count = 32 if name in SMALL else 8
    return quantize(graph, {graph.inputs[0]: x[:count]}, settings), x[count:]


def _check(name: str, scheme: Scheme, mixed: bool, samples: int, folder: Path) -> None:
    model, test = _quantized(name, scheme, mixed)
    _, differences = layer_differences(model, test[:samples], folder)
    assert len(differences) >= len(model.layers) - 1, "layers were left out"
    if mixed:
        assert {layer.bits for layer in model.layers.values()} == {8, 16}
    elements = {name: float(np.prod(value.shape)) for name, value in load_onnx(folder / "model.onnx").values.items()}
    total = sum(share * elements[layer] for layer, (_, share) in differences.items())
    everything = total / sum(elements[layer] for layer in differences)
    print(f"{name} {scheme.value} {'mixed' if mixed else 'int8'}: {100 * everything:.4f} % of all elements")
    for layer, (most, share) in sorted(differences.items(), key=lambda item: -item[1][1])[:3]:
        print(f"    {layer} {most} LSB, {100 * share:.3f} % of elements")
    assert max(most for most, _ in differences.values()) <= 1
    assert everything < MOST_DIFFERENT
    # A dozen logits are few elements: a share says little about them.
    large = {layer: share for layer, (_, share) in differences.items() if elements[layer] * samples > 1000}
    assert {layer: share for layer, share in large.items() if share >= MOST_DIFFERENT} == {}


@pytest.mark.parametrize("mixed", [False, True], ids=["int8", "mixed"])
@pytest.mark.parametrize("scheme", list(Scheme))
@pytest.mark.parametrize("name", SMALL)
def test_small_networks(name: str, scheme: Scheme, mixed: bool, tmp_path: Path) -> None:
    _check(name, scheme, mixed, 12, tmp_path)


@pytest.mark.prove
@pytest.mark.parametrize("mixed", [False, True], ids=["int8", "mixed"])
@pytest.mark.parametrize("scheme", list(Scheme))
@pytest.mark.parametrize("name", LARGE)
def test_large_networks(name: str, scheme: Scheme, mixed: bool, tmp_path: Path) -> None:
    _check(name, scheme, mixed, 2, tmp_path)
