"""Accuracy of a float model, its quantized form and its compiled component on one labelled set, in one table."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from espgen import api, frontend
from espgen.data.images import Preprocess
from espgen.data.mapping import Mapped
from espgen.errors import EspgenError
from espgen.frontend.inputs import Numbers
from espgen.ir import Extents
from espgen.quantize.commands import evaluate_models
from espgen.quantize.evaluate import Runner, integer_runner
from espgen.target.chips import concrete, labelled
from espgen.verify.build import build_firmware, build_host
from espgen.verify.component import Component
from espgen.verify.expected import expected_info
from espgen.verify.host import HostModel
from espgen.verify.simulator import Options, Simulator


def run(
    float_model: Path | None,
    quantized_model: Path | None,
    data: str,
    *,
    component: Path | None = None,
    places: Iterable[str] = (),
    port: str | None = None,
    preprocess: Preprocess | None = None,
    limit: int | None = None,
    integer: bool = True,
    threads: int = 0,
    jobs: int = 1,
    dask: str | None = None,
    shapes: Mapping[str, Extents] | None = None,
    constants: Mapping[str, Numbers] | None = None,
    inputs: Mapped | None = None,
    progress: api.Progress | None = None,
) -> dict[str, Any]:
    """One row per model and place; agreement and error are relative to the first row.

    `places` ("host", "sim") and `port` run the compiled `quantized_model`: `component`, or one compiled now. `shapes`:
    symbolic dimensions of the float model; `inputs`: as `--input` says. Raises EspgenError where a place is asked for and
    there is no quantized model.
    """
    wanted = list(dict.fromkeys(places))
    with ExitStack() as stack:
        runners: dict[tuple[str, str], Runner] = {}
        if wanted or port:
            if quantized_model is None:
                raise EspgenError("no quantized model to run", place="usage", hint="give the model that was compiled")
            compiled = component or stack.enter_context(_compiled(quantized_model))
            for place in (*wanted, *([port] if port else [])):
                named, runner = stack.enter_context(_runner(quantized_model, compiled, place))
                runners["component", named] = runner
        return evaluate_models(
            float_model,
            quantized_model,
            data,
            preprocess=preprocess,
            limit=limit,
            integer=integer,
            threads=threads,
            jobs=jobs,
            dask=dask,
            shapes=shapes,
            constants=constants,
            runners=runners,
            inputs=inputs,
            progress=progress,
        )


@contextmanager
def _compiled(model: Path) -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        api.compile(model, Path(folder) / "component")
        yield Path(folder) / "component"


@contextmanager
def _runner(model: Path, folder: Path, place: str) -> Iterator[tuple[str, Runner]]:
    """The component on the host, in the simulator ("sim") or at the port `place`: that place with its chip, and what runs it."""
    component, graph = Component.load(folder), api.component_graph(folder)
    source = frontend.load(model)
    if (source.inputs, source.outputs) != (graph.inputs, graph.outputs):
        hint = f"the component reads {', '.join(graph.inputs)} and gives {', '.join(graph.outputs)}: compile the model again"
        raise EspgenError("the component was made from another model", place=str(folder), hint=hint)
    with ExitStack() as stack:
        if place == "host":
            host = stack.enter_context(HostModel(build_host(component.path), expected_info(graph, component)))

            yield place, integer_runner(source, lambda feeds: host.run(feeds, keep="outputs"), graph)
            return
        named, port = place, place
        if place == "sim":
            chip, l2_kb = concrete(component.chip)[0], component.l2_kb
            image = build_firmware(component.path, chip=chip, l2_kb=l2_kb)
            named, port = f"sim, {chip.label()}", stack.enter_context(Simulator(image, Options(l2_kb=l2_kb, chip=chip))).port
        device = api.connect(stack, port, component, graph)
        if place != "sim":
            named = f"{place}, {labelled(api.board(device))}"
        yield named, integer_runner(source, lambda feeds: device.run(feeds), graph)
