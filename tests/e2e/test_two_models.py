"""Several models in one program: each runs beside the others, with an arena of its own or in a shared one."""

from __future__ import annotations

import ctypes
import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from espgen import api
from espgen.codegen.build import Options, generate
from espgen.interpret import run_layers
from espgen.ir import Graph
from espgen.ops.conv2d import conv_graph
from espgen.resources import models_dir
from espgen.verify.build import build_firmware, build_host
from espgen.verify.compare import Comparison, compare_device
from espgen.verify.compilers import firmware_compilers
from espgen.verify.component import MANIFEST
from espgen.verify.data import random_dataset
from espgen.verify.device import Device
from espgen.verify.link import open_serial
from espgen.verify.simulator import Simulator

CALLS = """
#include "{name}.h"
extern "C" void infer_{name}(const int8_t* input, int8_t* output) {{
  {name}::write_{input}(input);
  if ({name}::run() == espgen::Status::kOk) {name}::read_{output}(output);
}}
"""
SHARED = """
#include "espgen/arena.h"
ESPGEN_ARENA(shared_arena, {size}, ESPGEN_IN_INTERNAL);
"""


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three components: the digits, the same network under another name (equal vector kernels), a single convolution."""
    folder = tmp_path_factory.mktemp("models")
    for name in ("digits", "digits_again"):
        shutil.copy(models_dir() / "digits_int8_qdq.onnx", folder / f"{name}.onnx")
        api.compile(folder / f"{name}.onnx", folder / name)
    graph = conv_graph("small conv", (1, 9, 7, 3), 5, (3, 3), pads=(1, 1, 1, 1))
    generate(graph, folder / "small_conv", options=Options(), name="small conv", extra={})
    return folder


def together(models: Path, names: Sequence[str], folder: Path, shared: bool = False) -> Path:
    """The components as one, whose agent serves the first of them; with a function per model to run it."""
    parts = {name: json.loads((models / name / MANIFEST).read_text()) for name in names}
    lists = {
        key: [f"{name}/{entry}" for name, part in parts.items() for entry in part[key]]
        for key in ("sources", "firmware_sources", "host_sources", "include_dirs")
    }
    text = ""
    for name in names:
        shutil.copytree(models / name, folder / name)
        graph = api.component_graph(models / name)
        ports = (port.lower() for port in (graph.inputs[0], graph.outputs[0]))
        text += CALLS.format(name=name, **dict(zip(("input", "output"), ports, strict=True)))
    if shared:
        text += SHARED.format(size=max(part["memory"]["internal"] for part in parts.values()))
    (folder / "calls.cpp").write_text(text)
    defines = ["ESPGEN_SHARED_INTERNAL=shared_arena"] if shared else []
    lists["sources"].append("calls.cpp")
    (folder / MANIFEST).write_text(json.dumps({**parts[names[0]], **lists, "defines": defines}))
    return folder


def infer(library: ctypes.CDLL, name: str, graph: Graph, sample: dict[str, np.ndarray]) -> np.ndarray:
    (output,) = graph.outputs
    result = np.zeros(graph.value(output).shape, np.int8)
    data = np.ascontiguousarray(sample[graph.inputs[0]])
    getattr(library, f"infer_{name}")(ctypes.c_void_p(data.ctypes.data), ctypes.c_void_p(result.ctypes.data))
    return result


@pytest.mark.parametrize("shared", [False, True])
def test_models_in_one_program_run_beside_each_other(models: Path, tmp_path: Path, shared: bool) -> None:
    names = ("digits", "small_conv")
    library = ctypes.CDLL(str(build_host(together(models, names, tmp_path, shared))))
    graphs = {name: api.component_graph(models / name) for name in names}
    samples = {name: list(random_dataset(graph, 3)) for name, graph in graphs.items()}
    for index in range(3):
        for name, graph in graphs.items():
            sample = samples[name][index]
            expected = run_layers(graph, sample)[graph.outputs[0]]
            np.testing.assert_array_equal(infer(library, name, graph, sample), expected)


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("names", [("digits", "digits_again", "small_conv"), ("small_conv", "digits")], ids="+".join)
def test_the_agent_serves_the_model_it_is_given(models: Path, tmp_path: Path, names: Sequence[str], shared: bool) -> None:
    component = together(models, names, tmp_path, shared)
    graph = api.component_graph(models / names[0])
    for compiler in firmware_compilers():
        image = build_firmware(component, compiler=compiler.name)
        with Simulator(image) as simulator, open_serial(simulator.port) as link:
            device = Device.connect(link, expected_hash=api.Component.load(models / names[0]).hash)
            comparison = Comparison(device.layers)
            for index, sample in enumerate(random_dataset(graph, 2)):
                compare_device(device, sample, run_layers(graph, sample), comparison, index)
        assert comparison.equal and comparison.samples == 2, comparison.to_json()
