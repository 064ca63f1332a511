"""The same bytes whichever compiler and whichever flags: host and firmware compilers, and builds with sanitizers."""

from __future__ import annotations

from pathlib import Path

import pytest

from espgen import api
from espgen.interpret import run_layers
from espgen.resources import models_dir
from espgen.verify.build import build_firmware, build_host
from espgen.verify.compare import Comparison, compare_device, compare_host
from espgen.verify.compilers import firmware_compilers, has_sanitizers, host_compilers
from espgen.verify.data import load_dataset, random_dataset
from espgen.verify.device import Device
from espgen.verify.host import HostModel
from espgen.verify.link import open_serial
from espgen.verify.simulator import Simulator
from tests.e2e.reference_models import MODELS, ReferenceModel

HOST = [compiler.name for compiler in host_compilers()]
FIRMWARE = [compiler.name for compiler in firmware_compilers()]
SANITIZED = [
    (compiler.name, sanitize)
    for compiler in host_compilers()
    for sanitize in (("undefined",), ("address", "undefined"))
    if has_sanitizers(compiler, sanitize) and (compiler.kind == "zig" or "address" in sanitize)
]


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("digits") / "component"
    api.compile(models_dir() / "digits_int8_qdq.onnx", folder)
    return folder


def host_verdict(component: Path, compiler: str, sanitize: tuple[str, ...], count: int) -> Comparison:
    graph = api.component_graph(component)
    with HostModel(build_host(component, sanitize=sanitize, compiler=compiler)) as model:
        comparison = Comparison(model.layers)
        for index, sample in enumerate(random_dataset(graph, count)):
            compare_host(model, sample, run_layers(graph, sample), comparison, index)
    return comparison


@pytest.mark.parametrize("compiler", HOST)
def test_host_compilers_agree(digits: Path, compiler: str) -> None:
    comparison = host_verdict(digits, compiler, (), 5)
    assert comparison.equal, comparison.to_json()


@pytest.mark.parametrize(("compiler", "sanitize"), SANITIZED)
def test_sanitizers_find_nothing_in_the_demo_model(digits: Path, compiler: str, sanitize: tuple[str, ...]) -> None:
    comparison = host_verdict(digits, compiler, sanitize, 5)
    assert comparison.equal, comparison.to_json()


@pytest.mark.prove
@pytest.mark.parametrize(("compiler", "sanitize"), SANITIZED)
@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.name)
def test_sanitizers_find_nothing_in_real_models(
    model: ReferenceModel, compiler: str, sanitize: tuple[str, ...], tmp_path: Path
) -> None:
    api.compile(model.path, tmp_path / "component")
    comparison = host_verdict(tmp_path / "component", compiler, sanitize, 1)
    assert comparison.equal, comparison.to_json()


@pytest.mark.parametrize("compiler", FIRMWARE)
def test_firmware_compilers_agree(digits: Path, compiler: str) -> None:
    graph = api.component_graph(digits)
    samples = load_dataset(models_dir() / "digits_test.npz", graph, {}, 3)
    with Simulator(build_firmware(digits, compiler=compiler)) as simulator, open_serial(simulator.port) as link:
        device = Device.connect(link, expected_hash=api.Component.load(digits).hash)
        comparison = Comparison(device.layers)
        for index, sample in enumerate(samples):
            compare_device(device, sample, run_layers(graph, sample), comparison, index)
    assert comparison.equal and comparison.samples == 3, comparison.to_json()
