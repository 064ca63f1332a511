"""fuse_pad: padding goes into windows that pad with the same value, and nowhere else."""

from __future__ import annotations

import numpy as np
import pytest
from quantized_oracle import simulate

from espgen.ir import DType, Graph, Node, QuantParams, Value, constant_value, verify
from espgen.passes import fuse_pad

RNG = np.random.default_rng(5)
PADS = (0, 0, 1, 0, 0, 0, 2, 1)


def pool(op: str, value: float, own: tuple[int, ...] = (0, 0, 0, 0), **attrs: int) -> Graph:
    quant = QuantParams.tensor(0.5, -7)
    window = {"kernel_shape": (3, 3), "strides": (1, 1), "dilations": (1, 1), "pads": own, "ceil_mode": 0, **attrs}
    constants = {}
    inputs: tuple[str, ...] = ("p",)
    if op == "Conv":
        window = {key: window[key] for key in ("kernel_shape", "strides", "dilations", "pads")} | {"group": 1}
        constants = {"w": RNG.integers(-9, 9, (4, 4, 3, 3)).astype(np.int8)}
        inputs = ("p", "w")
    height, width = 6 + 3 + own[0] + own[2] - 2, 5 + 1 + own[1] + own[3] - 2
    values = {
        "x": Value("x", (1, 4, 6, 5), DType.INT8, quant),
        "p": Value("p", (1, 4, 9, 6), DType.INT8, quant),
        "y": Value("y", (1, 4, height, width), DType.INT8, QuantParams.tensor(0.5 if op != "Conv" else 9.0, -7)),
        **{name: constant_value(name, data, QuantParams.tensor(0.1)) for name, data in constants.items()},
    }
    nodes = (
        Node("pad", "Pad", ("x",), ("p",), {"pads": PADS, "mode": "constant", "value": value}),
        Node("window", op, inputs, ("y",), window),
    )
    return Graph("g", ("x",), ("y",), nodes, values, constants)


TAKEN = [
    pool("Conv", 0.0),
    pool("Conv", 0.0, (1, 0, 0, 2)),
    pool("AveragePool", 0.0, count_include_pad=0),
    pool("AveragePool", 0.0, (1, 1, 0, 1), count_include_pad=1),
    pool("MaxPool", (-128 + 7) * 0.5),
    pool("MaxPool", float("-inf"), (1, 1, 0, 1)),
]
LEFT = [
    pool("Conv", 1.0),
    pool("AveragePool", 0.0, (1, 1, 1, 1), count_include_pad=0),
    pool("AveragePool", 0.5, count_include_pad=1),
    pool("MaxPool", 0.0),
    pool("MaxPool", float("inf")),
    pool("MaxPool", float("-inf"), (1, 1, 1, 1)),
]


@pytest.mark.parametrize("graph", TAKEN, ids=lambda graph: graph.nodes[1].op)
def test_padding_is_taken_over(graph: Graph) -> None:
    after = fuse_pad.run(graph)
    verify(after, "fuse_pad")
    assert [node.op for node in after.nodes] == [graph.nodes[1].op]
    x = RNG.integers(-128, 128, (1, 4, 6, 5)).astype(np.int8)
    if graph.nodes[0].attrs["value"] == float("-inf"):
        x = np.maximum(x, -120)  # the oracle pads with the number, not with minus infinity
        graph = graph.updated(nodes=[graph.nodes[0].with_attrs(value=(-128 + 7) * 0.5), graph.nodes[1]])
    np.testing.assert_array_equal(simulate(after, {"x": x})["y"], simulate(graph, {"x": x})["y"])


@pytest.mark.parametrize("graph", LEFT, ids=lambda graph: graph.nodes[1].op)
def test_padding_with_another_meaning_stays(graph: Graph) -> None:
    assert fuse_pad.run(graph) is graph


def test_padding_that_is_an_output_or_has_other_readers_stays() -> None:
    graph = pool("Conv", 0.0)
    assert fuse_pad.run(graph.updated(outputs=("y", "p"))).nodes[0].op == "Pad"
    copy = Node("copy", "Requantize", ("p",), ("z",))
    both = graph.updated(nodes=[*graph.nodes, copy], values=[Value("z", (1, 4, 9, 6), DType.INT8)], outputs=("y", "z"))
    assert fuse_pad.run(both) is both
