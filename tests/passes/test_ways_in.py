"""Quantized models as other tools write them, against onnxruntime: what is taken although it could be refused."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import ModelProto, NodeProto

sys.path += [str(Path(__file__).parent.parent / "unit"), str(Path(__file__).parent)]
from onnx_models import model, node, qdq
from steps_off import steps_off

from espgen.errors import EspgenError
from espgen.frontend import load_onnx

RNG = np.random.default_rng(11)


def network(nodes: list[NodeProto], shape: list[int], constants: dict[str, Any], step: float = 0.1) -> ModelProto:
    """`nodes` from x_dq to `real`, between quantized ends."""
    first, parameters = qdq("x", 0.05, np.int8(3))
    last, more = qdq("y", step, np.int8(-5), "real")
    return model([*first, *nodes, *last], {"x": shape}, ["y_dq"], {**parameters, **more, **constants}, 21)


def check(made: ModelProto, shape: list[int]) -> None:
    made.ir_version = 10
    feeds = {"x": RNG.uniform(-6, 6, shape).astype(np.float32)}
    assert max(steps_off(made.SerializeToString(), feeds).values()) <= 1


def weights(shape: tuple[int, ...]) -> np.ndarray:
    return RNG.integers(-127, 128, shape).astype(np.int8)


@pytest.mark.parametrize("auto_pad", ["SAME_UPPER", "SAME_LOWER"])
@pytest.mark.parametrize(("kernel", "stride", "extra"), [(3, 2, 1), (3, 2, 0), (4, 3, 2), (2, 2, 1), (5, 2, 1)])
def test_transposed_convolutions_of_the_same_extent(auto_pad: str, kernel: int, stride: int, extra: int) -> None:
    attrs = {"auto_pad": auto_pad, "strides": [stride] * 2, "output_padding": [extra] * 2}
    nodes = [node("DequantizeLinear", "w ws wz", "w_dq"), node("ConvTranspose", "x_dq w_dq", "real", **attrs)]
    constants = {"w": weights((2, 3, kernel, kernel)), "ws": np.float32(0.01), "wz": np.int8(0)}
    check(network(nodes, [1, 2, 4, 5], constants), [1, 2, 4, 5])


@pytest.mark.parametrize("kind", [np.int8, np.uint8])
@pytest.mark.parametrize("scales", [[0.0, 0.01, 0.02], [0.0, 0.0, 0.0], [0.02, 0.01, 0.0]])
def test_channels_of_scale_zero(kind: type[np.generic], scales: list[float]) -> None:
    nodes = [
        node("DequantizeLinear", "w ws wz", "w_dq", axis=0),
        node("DequantizeLinear", "b bs bz", "b_dq", axis=0),
        node("Conv", "x_dq w_dq b_dq", "real"),
    ]
    constants = {
        "w": RNG.integers(0, 127, (3, 2, 3, 3)).astype(kind), "ws": np.float32(scales), "wz": np.array([0, 5, 9], kind),
        "b": np.array([70, -3000, 900], np.int32), "bs": np.float32(scales) * np.float32(0.05), "bz": np.zeros(3, np.int32),
    }  # fmt: skip
    check(network(nodes, [1, 2, 5, 5], constants), [1, 2, 5, 5])


def test_float_weights_quantized_by_scale_zero() -> None:
    nodes = [
        node("QuantizeLinear", "w ws wz", "w_q", axis=0),
        node("DequantizeLinear", "w_q ws wz", "w_dq", axis=0),
        node("Conv", "x_dq w_dq", "real"),
    ]
    floats = RNG.normal(0, 1, (2, 2, 3, 3)).astype(np.float32)
    floats[1] = 0.0
    constants = {"w": floats, "ws": np.float32([0.02, 0.0]), "wz": np.zeros(2, np.int8)}
    graph = load_onnx(network(nodes, [1, 2, 5, 5], constants).SerializeToString())
    (integers,) = (data for data in graph.constants.values() if data.shape == (2, 2, 3, 3))
    assert not integers[1].any() and integers[0].any()


def test_a_scale_of_zero_is_refused_where_values_are_computed() -> None:
    nodes = [node("Relu", "x_dq", "real")]
    made = network(nodes, [1, 4], {}, step=0.0)
    with pytest.raises(EspgenError, match="positive and finite"):
        load_onnx(made.SerializeToString())


BLOCKS: dict[str, tuple[int, tuple[int, int], np.ndarray]] = {
    "one block": (0, (16, 6), np.linspace(0.002, 0.01, 6).reshape(1, 6)),
    "one larger block": (0, (16, 6), np.linspace(0.002, 0.01, 6).reshape(1, 6)),
    "equal blocks": (0, (16, 6), np.tile(np.linspace(0.002, 0.01, 6), (4, 1))),
    "blocks of outputs": (1, (16, 6), np.tile(np.array([0.003, 0.009]), (16, 1))),
    "all the same": (0, (16, 6), np.full((2, 6), 0.004)),
}


@pytest.mark.parametrize("name", BLOCKS)
def test_blocks_that_are_none(name: str) -> None:
    axis, shape, scales = BLOCKS[name]
    size = {"one larger block": 32}.get(name, -(-shape[axis] // scales.shape[axis]))
    nodes = [
        node("DequantizeLinear", "w ws wz", "w_dq", axis=axis, block_size=size),
        node("MatMul", "x_dq w_dq", "real"),
    ]
    constants = {"w": weights(shape), "ws": scales.astype(np.float32), "wz": np.zeros(scales.shape, np.int8)}
    check(network(nodes, [1, 16], constants), [1, 16])


def test_real_blocks_are_refused() -> None:
    nodes = [node("DequantizeLinear", "w ws", "w_dq", axis=0, block_size=8), node("MatMul", "x_dq w_dq", "real")]
    scales = RNG.uniform(0.01, 0.02, (2, 6)).astype(np.float32)
    with pytest.raises(EspgenError, match="in blocks") as error:
        load_onnx(network(nodes, [1, 16], {"w": weights((16, 6)), "ws": scales}).SerializeToString())
    assert "DequantizeLinear" in str(error.value) and error.value.hint == "quantize per tensor or per channel"
