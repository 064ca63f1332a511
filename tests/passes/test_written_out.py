"""Quantization written out in other operators, and QONNX's Quant, against onnxruntime."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import ModelProto, NodeProto, helper

sys.path += [str(Path(__file__).parent.parent / "unit"), str(Path(__file__).parent)]
from onnx_models import model, node
from steps_off import steps_off

from espgen.errors import EspgenError
from espgen.frontend import load_onnx
from espgen.passes.pipeline import lower_to_integer

RNG = np.random.default_rng(17)
SHAPE = [1, 3, 6, 6]
TYPES = {"int8": 3, "uint8": 2, "int16": 5, "int32": 6}
Part = tuple[list[NodeProto], dict[str, Any]]


def written_q(name: str, real: str, form: str, scale: float, zero: int, low: int, high: int, kind: str) -> Part:
    """`real` -> integers `name`_q, in one of the forms that exporters write."""
    first, constant = ("Mul", 1.0 / scale) if "mul" in form else ("Div", scale)
    nodes = [node(first, f"{real} {name}_f", f"{name}_1")]
    middle = [node("Round", f"{name}_1", f"{name}_2"), node("Add", f"{name}_2 {name}_z", f"{name}_3")]
    if "inside" in form:
        middle = [node("Add", f"{name}_1 {name}_z", f"{name}_2"), node("Round", f"{name}_2", f"{name}_3")]
    nodes += [*middle, node("Clip", f"{name}_3 {name}_l {name}_h", f"{name}_4")]
    nodes.append(node("Cast", f"{name}_4", f"{name}_q", to=TYPES[kind]))
    names = {"f": constant, "z": zero, "l": low, "h": high}
    return nodes, {f"{name}_{key}": np.float32(value) for key, value in names.items()}


def written_dq(name: str, scale: float, zero: int) -> Part:
    """Integers `name`_q -> `name`_dq."""
    nodes = [
        node("Cast", f"{name}_q", f"{name}_5", to=1),
        node("Sub", f"{name}_5 {name}_y", f"{name}_6"),
        node("Mul", f"{name}_6 {name}_s", f"{name}_dq"),
    ]
    return nodes, {f"{name}_y": np.float32(zero), f"{name}_s": np.float32(scale)}


def joined(*parts: Part) -> ModelProto:
    nodes = [item for part in parts for item in part[0]]
    constants = {key: value for part in parts for key, value in part[1].items()}
    return model(nodes, {"x": SHAPE}, ["y_dq"], constants, 21)


def weights(kind: str = "int8") -> Part:
    nodes = [
        node("Cast", "w", "w_1", to=1), node("Sub", "w_1 w_z", "w_2"), node("Mul", "w_2 w_s", "w_dq"),
        node("Conv", "x_dq w_dq", "real"),
    ]  # fmt: skip
    low, high = (0, 256) if kind == "uint8" else (-127, 128)
    points = np.full((4, 1, 1, 1), 128.0 if kind == "uint8" else 0.0, np.float32)
    scales = np.linspace(0.005, 0.02, 4, dtype=np.float32).reshape(4, 1, 1, 1)
    return nodes, {"w": RNG.integers(low, high, (4, 3, 3, 3)).astype(kind), "w_z": points, "w_s": scales}


FORMS: dict[str, tuple[str, int, int, int, str]] = {
    "as PT2E": ("mul", 3, -128, 127, "int8"),
    "uint8": ("mul", 131, 0, 255, "uint8"),
    "division": ("div", -5, -128, 127, "int8"),
    "zero point inside the rounding": ("div inside", -4, -128, 127, "int8"),
    "narrow": ("mul", 3, -127, 127, "int8"),
    "seven bits": ("mul", 60, 0, 127, "uint8"),
    "int16": ("mul", 0, -32768, 32767, "int16"),
    "held in int32": ("mul", 3, -128, 127, "int32"),
}


@pytest.mark.parametrize("name", FORMS)
def test_written_out(name: str) -> None:
    form, zero, low, high, kind = FORMS[name]
    step = 0.0002 if kind == "int16" else 0.05
    made = joined(
        written_q("x", "x", form, step, zero, low, high, kind),
        written_dq("x", step, zero),
        weights("uint8" if kind == "uint8" else "int8"),
        written_q("y", "real", form, step * 2, zero, low, high, kind),
        written_dq("y", step * 2, zero),
    )
    graph = load_onnx(made.SerializeToString())
    assert {"QuantizeLinear", "DequantizeLinear", "Conv"} <= {item.op for item in graph.nodes} <= {
        "QuantizeLinear", "DequantizeLinear", "Conv", "Clip", "Cast",
    }  # fmt: skip
    feeds = {"x": RNG.uniform(-6, 6, SHAPE).astype(np.float32)}
    assert max(steps_off(made.SerializeToString(), feeds).values()) <= 1


def test_without_casts() -> None:
    quantize, constants = written_q("x", "x", "mul", 0.05, 3, -128, 127, "int8")
    dequantize, more = written_dq("x", 0.05, 3)
    dequantize[1].input[0] = "x_4"
    last, rest = written_q("y", "real", "mul", 0.1, 3, -128, 127, "int8")
    end, final = written_dq("y", 0.1, 3)
    made = joined((quantize[:-1], constants), (dequantize[1:], more), weights(), (last, rest), (end, final))
    feeds = {"x": RNG.uniform(-6, 6, SHAPE).astype(np.float32)}
    assert max(steps_off(made.SerializeToString(), feeds).values()) <= 1


def test_float_networks_keep_their_products() -> None:
    """x * 2 - 3 of integers cast to float is arithmetic where nothing is quantized."""
    nodes = [node("Cast", "w", "w_1", to=1), node("Mul", "w_1 s", "w_2"), node("Conv", "x w_2", "y_dq")]
    made = joined((nodes, {"w": np.ones((4, 3, 3, 3), np.int8), "s": np.float32(0.5)}))
    assert [item.op for item in load_onnx(made.SerializeToString()).nodes] == ["Conv"]


def qonnx(
    name: str, real: str, width: int, *, scale: Any, zero: float = 0, signed: int = 1, narrow: int = 0
) -> tuple[Part, Part]:
    """Quant of `real` as QONNX writes it, and the same in ONNX's operators."""
    attrs = {"signed": signed, "narrow": narrow, "rounding_mode": "ROUND"}
    constants = {f"{name}_s": np.float32(scale), f"{name}_z": np.float32(zero), f"{name}_b": np.float32(width)}
    quant = node("Quant", f"{real} {name}_s {name}_z {name}_b", f"{name}_dq", "qonnx.custom_op.general", **attrs)
    low, high = (-(2 ** (width - 1)) + narrow, 2 ** (width - 1) - 1) if signed else (0, 2**width - 1 - narrow)
    plain = [
        node("Div", f"{real} {name}_s", f"{name}_1"), node("Add", f"{name}_1 {name}_z", f"{name}_2"),
        node("Round", f"{name}_2", f"{name}_3"), node("Clip", f"{name}_3 {name}_l {name}_h", f"{name}_4"),
        node("Sub", f"{name}_4 {name}_z", f"{name}_5"), node("Mul", f"{name}_5 {name}_s", f"{name}_dq"),
    ]  # fmt: skip
    return ([quant], constants), (plain, {**constants, f"{name}_l": np.float32(low), f"{name}_h": np.float32(high)})


@pytest.mark.parametrize(("width", "signed", "narrow"), [(8, 1, 0), (8, 0, 0), (4, 1, 1), (16, 1, 0), (3, 0, 0)])
def test_quant_nodes(width: int, signed: int, narrow: int) -> None:
    step, zero = 12.0 / 2**width, 0.0 if signed else 2.0 ** (width - 1)
    kinds = {"signed": signed, "narrow": narrow}
    scales = np.linspace(0.005, 0.02, 4).reshape(4, 1, 1, 1)
    parts = [
        qonnx("x", "x", width, scale=step, zero=zero, **kinds),
        qonnx("w", "w", min(width, 8), scale=scales * 2 ** (8 - min(width, 8)), narrow=1),
        (([node("Conv", "x_dq w_dq", "real")], {"w": RNG.uniform(-1, 1, (4, 3, 3, 3)).astype(np.float32)}),) * 2,
        qonnx("y", "real", width, scale=2 * step, zero=zero, **kinds),
    ]
    made, oracle = (joined(*(part[index] for part in parts)) for index in (0, 1))
    made.opset_import.append(helper.make_opsetid("qonnx.custom_op.general", 1))
    feeds = {"x": RNG.uniform(-6, 6, SHAPE).astype(np.float32)}
    assert max(steps_off(made.SerializeToString(), feeds, oracle.SerializeToString()).values()) <= 1


@pytest.mark.parametrize(
    ("attributes", "width", "scale", "problem"),
    [
        ({"rounding_mode": "FLOOR"}, 8, 0.1, "rounds by"),
        ({}, 32, 0.1, "has 32 bits"),
        ({}, 8, np.full((1, 3, 1, 1), 0.1), "per channel for an activation"),
    ],
)
def test_quant_nodes_that_are_refused(attributes: dict[str, Any], width: int, scale: Any, problem: str) -> None:
    (nodes, constants), _ = qonnx("y", "x", width, scale=scale)
    for key, value in attributes.items():
        next(item for item in nodes[0].attribute if item.name == key).s = value.encode()
    with pytest.raises(EspgenError, match=problem) as error:
        lower_to_integer(load_onnx(joined((nodes, constants)).SerializeToString()))
    assert error.value.node and error.value.hint
