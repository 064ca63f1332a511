"""The networks of benchmarks/ in the simulator: equal to the interpreter byte for byte, and within their limits."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

from make_models import MODELS
from networks import NETWORKS, measure, table, write_models

from espgen import api
from espgen.target.chips import V3
from tests.e2e.reference_models import data_folder

pytest.importorskip("ziglang")


@pytest.mark.parametrize("name", sorted(MODELS))
def test_made_networks_keep_their_limits(name: str, tmp_path: Path) -> None:
    (network,) = (network for network in NETWORKS if network.source == name)
    row = measure(network, write_models(tmp_path)[name], V3, "auto", tmp_path, samples=1)
    assert row.exact
    assert row.within, (row.warm, row.cold, row.limits)
    assert row.layers_cycles == row.warm_cycles
    assert row.portable_layers == ("softmax/Softmax",)
    assert row.title in table([row])


REAL_INPUTS = {
    "kws_shift": ("kws/kws01_500.npz", "x_int8", lambda data: data[:, None]),
    "resnet8_shift": ("ic/cifar10_500.npz", "x_uint8_nhwc", lambda data: data.astype(np.int16).transpose(0, 3, 1, 2) - 128),
    "vww_shift": (
        "imagenet/imagenet100_128_u8.npz",
        "x_uint8_nhwc",
        lambda data: data[:, 16:112, 16:112].astype(np.int16).transpose(0, 3, 1, 2) - 128,
    ),
}
"""Where inputs of each network's shape are, and how they become int8 in ONNX layout."""


@pytest.mark.prove
@pytest.mark.parametrize("name", sorted(MODELS))
def test_made_networks_equal_the_interpreter_on_real_inputs(name: str, tmp_path: Path) -> None:
    file, array, arrange = REAL_INPUTS[name]
    samples = arrange(np.load(data_folder() / file)[array][:20]).astype(np.int8)
    np.savez(tmp_path / "inputs.npz", input=samples)
    api.compile(write_models(tmp_path)[name], tmp_path / "component")
    codes = {"input": ("input", "", "codes")}
    verdict = api.verify(tmp_path / "component", data=tmp_path / "inputs.npz", inputs=codes)
    assert verdict["equal"], [layer for layer in verdict["layers"] if not layer["equal"]]
    assert verdict["samples"] == 20
