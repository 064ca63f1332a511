"""The demonstration, from ONNX to a verdict over the simulator's serial port."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from espgen import demo
from espgen.report import text
from espgen.resources import models_dir


def test_the_demo_is_equal_byte_for_byte_and_recognises_digits(tmp_path: Path) -> None:
    told: list[object] = []
    result = demo.run(tmp_path / "component", 6, told.append, lambda verb, found: told.append((verb, found)))
    assert told == [
        "espgen compile digits_int8_qdq.onnx -o component/",
        ("compile", result["compile"]),
        "espgen verify component/ --data digits_test.npz",
        ("verify", result["verify"]),
        "espgen profile component/",
        ("profile", result["profile"]),
    ]
    verified, profiled = result["verify"], result["profile"]
    assert verified["equal"]
    assert verified["samples"] == 6
    assert verified["accuracy"]["top1"] > 0.8
    assert [layer["name"] for layer in verified["layers"]] == [layer["name"] for layer in profiled["layers"]]
    assert profiled["cycles"] >= sum(layer["cycles"] for layer in profiled["layers"]) > 0
    assert profiled["macs"] == 41_536
    assert "every layer equal, byte for byte" in text.verification(verified)
    assert "plan: optimal" in text.profiling(profiled)


def test_the_bundled_test_set_is_what_it_says() -> None:
    with np.load(models_dir() / demo.DATA) as data:
        assert data["image"].shape == (360, 1, 8, 8)
        assert np.bincount(data["y"]).min() > 20
