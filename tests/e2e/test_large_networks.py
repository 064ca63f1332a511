"""Networks larger than internal RAM: what compile accepts links on the chip that it was planned for, each arena in its piece."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from espgen import api, frontend
from espgen.quantize.commands import QuantizeOptions, quantize
from espgen.target.chips import CHIPS

pytest.importorskip("onnxruntime", reason="onnxruntime is part of the `quantize` extra")

FAST = QuantizeOptions(
    recipe="minmax", observer="minmax", equalize="off", correction="none", rounding="nearest", threads=1, layerwise=False
)
NETWORKS = ("pfld", "fastestdet", "ultraface_slim320_simpl", "nanodet_m")


@pytest.mark.prove
@pytest.mark.parametrize("name", NETWORKS)
def test_a_plan_that_compile_accepts_links_on_its_chip(name: str, tmp_path: Path) -> None:
    if "ESPGEN_ZOO" not in os.environ:
        pytest.skip("ESPGEN_ZOO does not name the folder of float networks")
    model, quantized = Path(os.environ["ESPGEN_ZOO"]) / "onnx" / f"{name}.onnx", tmp_path / "q.onnx"
    graph, random = frontend.load(model), np.random.default_rng(0)
    shapes = {name: (2, *graph.value(name).shape[1:]) for name in graph.inputs}
    np.savez(tmp_path / "data.npz", **{name: random.normal(size=shape).astype(np.float32) for name, shape in shapes.items()})
    quantize(model, str(tmp_path / "data.npz"), quantized, FAST)
    for chip in ("esp32p4-v1", "esp32p4-v3"):
        told = api.compile(quantized, tmp_path / chip, options=api.Options(chip=CHIPS[chip]), code_size=True)["memory"]
        assert told.get("code", 0) > 10_000, "the image links, or there would be no figure"
        assert told["internal"] <= sum(CHIPS[chip].internal_pieces())
