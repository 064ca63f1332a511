"""More inputs than a frame of the protocol can name: the agent tells them in several answers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from espgen import api
from espgen.codegen.build import Options, generate
from espgen.ops.concat import concat_graph
from espgen.target.chips import CHIPS
from espgen.verify.build import build_host
from espgen.verify.data import random_dataset
from espgen.verify.host import HostModel
from espgen.verify.protocol import MAX_DATA

INPUTS = 600


@pytest.fixture(scope="module")
def component(tmp_path_factory: pytest.TempPathFactory) -> Path:
    graph = concat_graph([(1, 3)] * INPUTS, 1)
    assert len(graph.inputs) == INPUTS > MAX_DATA // 2
    return generate(graph, tmp_path_factory.mktemp("many") / "component", options=Options(), name="many", extra={})


def test_a_model_with_many_inputs_is_verified_over_the_serial_port(component: Path) -> None:
    assert api.verify(component, target="sim", chip=CHIPS["esp32p4-v3"], limit=1)["equal"]


def test_a_worker_tells_them_all(component: Path) -> None:
    graph = api.component_graph(component)
    sample = next(iter(random_dataset(graph, 1)))
    with HostModel(build_host(component, sanitize=("undefined",))) as model:
        assert [tensor.name for tensor in model.inputs] == list(graph.inputs)
        result = model.run(sample)[graph.outputs[0]]
    np.testing.assert_array_equal(result, np.concatenate([sample[name] for name in graph.inputs], axis=1))
