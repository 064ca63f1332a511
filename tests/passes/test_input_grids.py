"""Graph inputs read in several grids, integer products of quantized values: espgen against onnxruntime."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import NodeProto, TensorProto

sys.path += [str(Path(__file__).parent.parent / name) for name in ("unit", "fuzz")]
from onnx_models import node, qdq, serialized
from steps_off import steps_off

from espgen.errors import EspgenError
from espgen.ir import DType, QuantParams
from espgen.passes.absorb_inputs import joint_grid

RNG = np.random.default_rng(5)


GRIDS: dict[str, list[tuple[str, float, Any]]] = {
    "other scale": [("x", 0.021, np.uint8(131)), ("x", 0.047, np.uint8(120))],
    "other zero point": [("x", 0.021, np.int8(3)), ("x", 0.021, np.int8(-90))],
    "other sign": [("x", 0.021, np.int8(3)), ("x", 0.021, np.uint8(131))],
    "8 and 16 bits": [("x", 0.031, np.int8(4)), ("x", 0.00013, np.int16(-25))],
    "16 and 8 bits": [("x", 0.00013, np.int16(-25)), ("x", 0.031, np.int8(4))],
    "16 bits, apart": [("x", 0.00013, np.int16(9000)), ("x", 0.00011, np.int16(-9000))],
    "behind a transpose": [("x", 0.021, np.int8(3)), ("turned", 0.05, np.int8(0))],
    "three": [("x", 0.021, np.int8(3)), ("turned", 0.05, np.int8(0)), ("x", 0.03, np.uint8(9))],
}


@pytest.mark.parametrize("name", GRIDS)
def test_every_branch_has_its_own_grid(name: str) -> None:
    nodes: list[NodeProto] = [node("Transpose", "x", "turned", perm=[0, 2, 3, 1])]
    constants: dict[str, Any] = {}
    outputs = []
    for index, (source, scale, zero_point) in enumerate(GRIDS[name]):
        more, parameters = qdq(f"branch{index}", scale, zero_point, source)
        nodes += more
        constants |= parameters
        outputs.append(f"branch{index}_dq")
    model = serialized(nodes, {"x": [1, 3, 5, 4]}, outputs, constants, opset=21)
    for _ in range(4):
        found = steps_off(model, {"x": RNG.uniform(-5, 5, (1, 3, 5, 4)).astype(np.float32)})
        assert max(found.values()) <= 1, found


def test_equal_scales_share_their_steps_exactly() -> None:
    """Ties and all: nothing is rounded twice."""
    grids = [(QuantParams.tensor(0.25, 3), DType.INT8), (QuantParams.tensor(0.25, -90), DType.INT8)]
    quant, dtype = joint_grid("x", grids)
    assert (quant.scale[0], dtype) == (0.25, DType.INT16)


def test_the_finest_scale_is_divided_by_an_odd_number() -> None:
    grids = [(QuantParams.tensor(0.02, 0), DType.INT8), (QuantParams.tensor(0.05, 0), DType.UINT8)]
    quant, _ = joint_grid("x", grids)
    divisor = 0.02 / quant.scale[0]
    assert divisor == pytest.approx(round(divisor)) and round(divisor) % 2 == 1


def test_grids_too_far_apart_are_refused() -> None:
    grids = [(QuantParams.tensor(1e-4, 0), DType.INT16), (QuantParams.tensor(1.0, 0), DType.INT8)]
    with pytest.raises(EspgenError, match="more than 16 bits hold") as caught:
        joint_grid("img", grids)
    assert caught.value.place == "tensor 'img'" and caught.value.hint


def integer_product(op: str, weights: np.ndarray, zero: Any, after: list[NodeProto], **constants: Any) -> bytes:
    """x -> QuantizeLinear -> op -> `after`, from `product` to `real`."""
    quantize, parameters = qdq("x", 0.043, np.uint8(117))
    results, outputs = qdq("y", 0.4, np.uint8(128), "real")
    nodes = [quantize[0], node(op, "x_q w zero", "product"), *after, *results]
    shape = [1, 6] if op == "MatMulInteger" else [1, 6, 4, 3]
    constants = {"w": weights, "zero": zero, "factor": np.float32(0.043 * 0.02), **parameters, **outputs, **constants}
    return serialized(nodes, {"x": shape}, ["y_dq"], constants, opset=21)


CAST = node("Cast", "product", "float", to=TensorProto.FLOAT)
SCALED = [CAST, node("Mul", "float factor", "real")]
TAILS: dict[str, tuple[list[NodeProto], dict[str, Any]]] = {
    "scaled": (SCALED, {}),
    "bias and relu": (
        [CAST, node("Mul", "float factor", "s"), node("Add", "s b", "t"), node("Relu", "t", "real")],
        {"b": np.linspace(-1, 1, 4, dtype=np.float32)},
    ),
    "dequantized": ([node("DequantizeLinear", "product factor", "real")], {}),
    "read twice": ([CAST, node("Mul", "float factor", "s"), node("Add", "s s", "real")], {}),
}


@pytest.mark.parametrize("op", ["MatMulInteger", "ConvInteger"])
@pytest.mark.parametrize("tail", TAILS)
@pytest.mark.parametrize("zero", [np.uint8(117), np.uint8(90)], ids=["own zero point", "other zero point"])
def test_integer_products_of_quantized_values(op: str, tail: str, zero: Any) -> None:
    # Seven bits: with eight, onnxruntime's own kernel saturates pairs of products on some processors.
    weights = RNG.integers(-63, 64, (6, 4) if op == "MatMulInteger" else (4, 6, 1, 1)).astype(np.int8)
    nodes, constants = TAILS[tail]
    if op == "ConvInteger" and "b" in constants:
        constants = {"b": constants["b"].reshape(1, 4, 1, 1)}
    model = integer_product(op, weights, zero, nodes, **constants)
    shape = (1, 6) if op == "MatMulInteger" else (1, 6, 4, 3)
    found = steps_off(model, {"x": RNG.uniform(-5, 5, shape).astype(np.float32)})
    assert max(found.values()) <= 1
