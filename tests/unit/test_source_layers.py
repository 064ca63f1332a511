"""The node table of `espgen inspect`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx_models import model, node

from espgen import api
from espgen.frontend import load_onnx
from espgen.report.source_layers import source_layers
from espgen.resources import models_dir


def test_macs_of_the_nodes_are_those_of_the_compiled_layers() -> None:
    result = api.inspect(models_dir() / "digits_int8_qdq.onnx")
    assert sum(layer["macs"] for layer in result["layers"]) == result["macs"] > 40_000
    assert {entry["op"]: entry["macs"] for entry in result["operators"]}["Gemm"] == 10 * 32
    assert not {layer["op"] for layer in result["layers"]} & {"QuantizeLinear", "DequantizeLinear"}
    assert {layer["dtype"] for layer in result["layers"]} == {"int8"}


def test_a_float_model_has_the_same_table() -> None:
    """Its node names are those that the quantizer's options take; what it cannot compile does not keep it from the table."""
    result = api.inspect(models_dir() / "digits_float.onnx")
    quantized = api.inspect(models_dir() / "digits_int8_qdq.onnx")
    assert not result["unsupported"] and not result["quantized"] and result["macs"] == quantized["macs"]
    nodes = {entry.name for entry in load_onnx(models_dir() / "digits_float.onnx").nodes}
    assert [layer["name"] for layer in result["layers"]] == list(dict.fromkeys(layer["name"] for layer in result["layers"]))
    assert {layer["name"] for layer in result["layers"]} == nodes
    assert {layer["dtype"] for layer in result["layers"]} == {"float32"}
    assert result["layers"][0] == {"name": "stem", "op": "Conv", "shape": [1, 16, 8, 8], "dtype": "float32", "macs": 9216}


@pytest.mark.parametrize(
    ("op", "shapes", "attributes", "macs"),
    [
        ("Conv", ((1, 4, 6, 6), (8, 2, 3, 3)), {"group": 2}, 8 * 4 * 4 * 2 * 9),
        ("ConvTranspose", ((1, 4, 6, 6), (4, 3, 3, 3)), {"group": 2}, 4 * 6 * 6 * 3 * 9),
        ("Gemm", ((5, 1), (5, 7)), {"transA": 1}, 7 * 5),
        ("MatMul", ((2, 3, 4), (2, 4, 5)), {}, 2 * 3 * 5 * 4),
        ("AveragePool", ((1, 3, 6, 6),), {"kernel_shape": [2, 3]}, 3 * 5 * 4 * 6),
        ("GlobalAveragePool", ((1, 3, 6, 6),), {}, 3 * 36),
        ("Mul", ((1, 3, 6, 6), (3, 1, 1)), {}, 3 * 36),
        ("Add", ((1, 3, 6, 6), (3, 1, 1)), {}, 0),
    ],
)
def test_macs_by_definition(
    tmp_path: Path, op: str, shapes: tuple[tuple[int, ...], ...], attributes: dict[str, object], macs: int
) -> None:
    constants = dict.fromkeys(["w"] * (len(shapes) - 1), np.ones(shapes[-1], np.float32))
    single = model([node(op, "x w" if constants else "x", "y", **attributes)], {"x": shapes[0]}, ["y"], constants)
    onnx.save(single, tmp_path / "m.onnx")
    (layer,) = (row for row in source_layers(load_onnx(tmp_path / "m.onnx")) if row["op"] == op)
    assert layer["macs"] == macs
