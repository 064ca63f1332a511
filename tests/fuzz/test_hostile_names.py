"""Models whose file, inputs, outputs and nodes have hostile names: compiled, built and verified on the host.

The fast part runs with the suite; `make prove` builds 200.
"""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from espgen import cli
from espgen.codegen.reserved_names import RESERVED_NAMES
from espgen.errors import DONE

FILES = ("stdint", "and", "time", "main", "served_model", "kws_io", "猫", "a" * 200, "model", "agent", "\udce9")
PORTS = (
    "x1", "x_1", "X1", "", "int", "y_real", "y", "猫", "é" * 300, "n" * 481, 'a"b', "a\\", "*/", "??/", "{{ x }}", "\n", "\x00z",
    "../x", "%s%n", "data", "run", "kModel", "espgen", "std::", "\u202eevil", "-1", "🎉",
)  # fmt: skip


def model(path: Path, ports: list[str], title: str) -> None:
    """Two inputs, each quantized, added with itself in int8, and given out."""
    constants = [
        numpy_helper.from_array(np.array(0.1, "float32"), "scale of all"),
        numpy_helper.from_array(np.array(0, "int8"), "zero of all"),
    ]
    nodes, inputs, outputs = [], [], []
    for number, (source, result) in enumerate(zip(ports[::2], ports[1::2], strict=True)):
        grid = ["scale of all", "zero of all"]
        names = [f"{title[:20]}.{number}.{step}" for step in range(4)]
        nodes += [
            helper.make_node("QuantizeLinear", [source, *grid], [names[0]], name=f"{title} {number} q"),
            helper.make_node("DequantizeLinear", [names[0], *grid], [names[1]], name=f"{title} {number} d"),
            helper.make_node("Add", [names[1], names[1]], [names[2]], name=f"{title} {number}"),
            helper.make_node("QuantizeLinear", [names[2], *grid], [names[3]], name=f"{title} {number} q2"),
            helper.make_node("DequantizeLinear", [names[3], *grid], [result], name=f"{title} {number} d2"),
        ]
        inputs.append(helper.make_tensor_value_info(source, TensorProto.FLOAT, [1, 6]))
        outputs.append(helper.make_tensor_value_info(result, TensorProto.FLOAT, [1, 6]))
    graph = helper.make_graph(nodes, title, inputs, outputs, constants)
    built = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    path.write_bytes(built.SerializeToString())


def verified(folder: Path, stem: str, ports: list[str], title: str, capsys: pytest.CaptureFixture[str]) -> None:
    path = folder / f"{stem}.onnx"
    model(path, ports, title)
    for arguments in (
        ["compile", str(path), "-o", str(folder / "component")],
        ["verify", str(folder / "component"), "--target", "host", "--limit", "1"],
    ):
        with pytest.raises(SystemExit) as done:
            cli.main(arguments)
        printed = capsys.readouterr()
        assert (done.value.code or DONE) == DONE, (stem, ports, printed.err)


def hostile(seed: int) -> tuple[str, list[str], str]:
    """A file's name, four different names of ports, and a title."""
    chance = random.Random(seed)
    pool = [name for name in PORTS if name]
    stem = chance.choice((*FILES, *chance.sample(sorted(RESERVED_NAMES), 20)))
    others = ["".join(chr(chance.choice((chance.randrange(32, 127), chance.randrange(0xA0, 0x3000)))) for _ in range(9))]
    ports = chance.sample([*pool, *others, *chance.sample(sorted(RESERVED_NAMES), 5)], 4)
    return stem[:80], ports, chance.choice([*pool, stem[:40].encode("ascii", "replace").decode()])


@pytest.mark.parametrize("stem", ["stdint", "xor", "a" * 80])
def test_hostile_files(tmp_path: Path, stem: str, capsys: pytest.CaptureFixture[str]) -> None:
    verified(tmp_path, stem, ["x1", "y", "x_1", "y_real"], "title", capsys)


@pytest.mark.parametrize("ports", [["n" * 481, 'a"b', "n" * 482, "??/"], ["猫", "\u202eevil", "犬", "\n"]])
def test_hostile_ports(tmp_path: Path, ports: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    verified(tmp_path, "errno", ports, "*/ \\", capsys)


@pytest.mark.prove
def test_200_hostile_names(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    done: Counter[str] = Counter()
    for seed in range(200):
        stem, ports, title = hostile(seed)
        folder = tmp_path / str(seed)
        folder.mkdir()
        verified(folder, stem, ports, title, capsys)
        done["equal"] += 1
    with capsys.disabled():
        print(f"\n{done['equal']} of 200 models with hostile names built and verified")
