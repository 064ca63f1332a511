"""What may be evaluated together."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from espgen import api
from espgen.codegen.build import Options, generate
from espgen.errors import EspgenError
from espgen.evaluation import run
from espgen.ops.conv2d import conv_graph
from espgen.resources import models_dir
from espgen.target.chips import CHIPS

pytest.importorskip("onnxruntime", reason="onnxruntime is part of the `quantize` extra")


def test_a_component_of_another_model_is_refused(tmp_path: Path) -> None:
    graph = conv_graph("other", (1, 4, 4, 3), 5, (3, 3), pads=(1, 1, 1, 1))
    other = generate(graph, tmp_path / "other", options=Options(), name="other", extra={})
    assert api.component_graph(other).inputs != ("image",)
    np.savez(tmp_path / "data.npz", image=np.zeros((2, 1, 8, 8), np.float32))
    with pytest.raises(EspgenError, match="made from another model"):
        run(None, models_dir() / "digits_int8_qdq.onnx", str(tmp_path / "data.npz"), component=other, places=["host"])


@pytest.mark.parametrize(
    ("chip", "named"), [("esp32p4-v1", "revision 0.x and 1.x, 360 MHz"), ("esp32p4-v3", "revision 3.1 and later, 400 MHz")]
)
def test_a_row_names_the_chip_that_the_component_was_made_for_and_ran_on(chip: str, named: str, tmp_path: Path) -> None:
    model, component = models_dir() / "digits_int8_qdq.onnx", tmp_path / "component"
    api.compile(model, component, options=Options(chip=CHIPS[chip]))
    with np.load(models_dir() / "digits_test.npz") as data:
        np.savez(tmp_path / "data.npz", image=data["image"][:2], y=data["y"][:2])
    result = run(None, model, str(tmp_path / "data.npz"), component=component, places=["sim"])
    places = {row["model"]: row["place"] for row in result["rows"]}
    assert places["component"] == f"sim, {chip} ({named})"
