"""The library behind the command line: the same verbs, plain dicts as results."""

from __future__ import annotations

import hashlib
import logging
import shlex
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from espgen import frontend
from espgen.calibrate.calibration import calibrate_board, calibrate_simulator, write_chip_file
from espgen.calibrate.project import write_project
from espgen.codegen.build import Options, generate, plan_graph
from espgen.codegen.calls import VIEW
from espgen.codegen.offers import Progress
from espgen.codegen.project import GRAPH, MANIFEST, check_target
from espgen.data.inputs import as_entries, component_inputs, model_inputs
from espgen.data.mapping import Mapped
from espgen.errors import EspgenError, environment_error
from espgen.frontend.inputs import Numbers
from espgen.interpret import run_layers
from espgen.interpret.store import load as load_graph
from espgen.ir import Extents, Graph, Value
from espgen.ir.layout import from_layout, onnx_shape
from espgen.ops.registry import spec_of
from espgen.passes.pipeline import lower_to_integer
from espgen.report.obstacles import is_quantized, obstacles
from espgen.report.source_layers import source_layers
from espgen.target.chips import CHIPS, DEFAULT, L2_KB, Chip, concrete, find_chip
from espgen.verify import vectors
from espgen.verify.accuracy import Accuracy
from espgen.verify.compare import Comparison, compare_device, compare_host
from espgen.verify.component import Component
from espgen.verify.data import Dataset, load_dataset, random_dataset
from espgen.verify.device import Device
from espgen.verify.expected import expected_info
from espgen.verify.host import HostModel
from espgen.verify.link import open_serial
from espgen.verify.simulator import Options as SimulatorOptions
from espgen.verify.simulator import Simulator
from espgen.verify.toolchain import Stored, build_firmware, build_host, firmware_compilers, stored_bytes
from espgen.verify.toolchain import doctor as find_tools

_LOG = logging.getLogger(__name__)


def inspect(
    model: Path,
    *,
    shapes: Mapping[str, Extents] | None = None,
    constants: Mapping[str, Numbers] | None = None,
    external_data: bool = False,
    member: str | None = None,
) -> dict[str, Any]:
    """What a model consists of and what of it espgen cannot compile, or of a float model quantize; raises EspgenError where it
    cannot be read. "next" is the command to go on with, "" where something is in the way.

    `member`: which model of a pack.
    `macs` are those of the compiled model, of a float or otherwise unsupported model those of its nodes.
    """
    source = frontend.load(
        model, shapes=shapes or {}, constants=constants or {}, allow_external_data=external_data, member=member
    )
    macs: dict[str, int] = {}
    counts = Counter(node.op for node in source.nodes)
    layers = source_layers(source)
    of_op: Counter[str] = Counter()
    for layer in layers:
        of_op[layer["op"]] += layer["macs"]
    unsupported, integer = obstacles(source)
    total = of_op.total()
    if integer is not None:
        for node in integer.nodes:
            macs[node.op] = macs.get(node.op, 0) + spec_of(node.op).macs(node, integer)
        total = sum(macs.values())
    quantized = is_quantized(source)
    return {
        "name": source.name,
        "inputs": [_port(source.value(name)) for name in source.inputs],
        "outputs": [_port(source.value(name)) for name in source.outputs],
        "operators": [
            {"op": op, "count": count, "macs": of_op[op], "supported": all(entry["op"] != op for entry in unsupported)}
            for op, count in sorted(counts.items())
        ],
        "layers": layers,
        "integer_operators": [{"op": op, "macs": count} for op, count in sorted(macs.items())],
        "macs": total,
        "parameters": sum(int(data.size) for data in source.constants.values()),
        "quantized": quantized,
        "unsupported": unsupported,
        "next": "" if unsupported else _after_inspection(Path(model), quantized),
    }


def _after_inspection(model: Path, quantized: bool) -> str:
    if quantized:
        return f"espgen compile {_quoted(model)} -o {_quoted(model.stem)}"
    return f"espgen quantize {_quoted(model)} --data calibration.npz -o {_quoted(model.stem + '_int8.onnx')}"


def _quoted(path: Path | str) -> str:
    return shlex.quote(str(path))


def compile(
    model: Path,
    output: Path,
    *,
    shapes: Mapping[str, Extents] | None = None,
    constants: Mapping[str, Numbers] | None = None,
    external_data: bool = False,
    member: str | None = None,
    project: Path | None = None,
    dump_ir: Path | None = None,
    options: Options | None = None,
    code_size: bool = False,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Compile a quantized model (or `member` of a pack) into a component folder; else EspgenError, and `output` is untouched.

    code_size  also build the simulator's image, which `verify` and `profile` take from the cache then, and tell what of flash is
               code; no such figure where there is no compiler for it, or the component is for any chip
    """
    from espgen.codegen.example_project import check_example_project, write_example_project

    started = time.monotonic()
    check_target(Path(output))
    if project is not None:
        check_example_project(Path(output), Path(project))
    loaded = frontend.load_all(
        model, shapes=shapes or {}, constants=constants or {}, allow_external_data=external_data, member=member
    )
    graph = lower_to_integer(loaded.graph, dump_ir)
    chosen = options or Options()
    name = Path(model if member is None else member).stem
    taken = {"takes": as_entries(model_inputs(loaded.graph)), **vectors.as_entries(loaded.inputs, loaded.outputs)}
    source = {"model": Path(model).name, **taken}
    folder = generate(graph, Path(output), options=chosen, name=name, extra=source, progress=progress)
    if project is not None:
        write_example_project(folder, Path(project))
    component = Component.load(folder)
    return {
        "component": str(folder),
        "name": component.name,
        "header": f"{component.namespace}.h",
        "layers": sum(entry["kernel"] != VIEW for entry in component.manifest["kernels"]),
        "chip": chosen.chip.to_json(),
        "seconds": round(time.monotonic() - started, 3),
        "memory": _memory(component, _stored(component) if code_size else None),
        "next": f"espgen verify {_quoted(folder)}",
    }


def _stored(component: Component) -> Stored | None:
    """What the component adds to an image of its chip (of several the last).

    None where there is no compiler, or none that works (its message is logged), or the memory of the chip is not known.
    """
    if not component.chip.fixed_memory or not firmware_compilers():
        return None
    (chip,), l2_kb = concrete(component.chip), component.l2_kb
    try:
        return stored_bytes(build_firmware(component.path, chip=chip, l2_kb=l2_kb), chip=chip, l2_kb=l2_kb)
    except EspgenError as problem:
        _LOG.warning("the size of the code is not known: %s", problem)
        return None


def _memory(component: Component, stored: Stored | None = None) -> dict[str, Any]:
    """Bytes by kind of memory; `stored` where an image told it, else constants and read-only tables, without code."""
    memory = component.manifest["memory"]
    return {
        "internal": memory["internal"],
        "psram": memory["psram"],
        "arenas": memory["arenas"],
        "flash": memory["weights"] + memory["tables"] if stored is None else stored.total,
        **({} if stored is None else {"code": stored.code}),
        "planner": memory["planner"],
    }


def verify(
    component: Path,
    *,
    data: Path | None = None,
    target: str = "sim",
    port: str | None = None,
    chip: Chip | None = None,
    limit: int | None = None,
    inputs: Mapped | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Run a component and compare every layer with the reference interpreter, byte for byte.

    target  "sim": the simulator over its serial port; "host": a host library; ignored where `port` names a board
    inputs  array, layout ("NHWC", "NCHW", "") and meaning ("real", "codes", "") by input, as `--input` says
    chip    what the simulator is; None: the component's own, and where that stands for several, each of them

    "chips" of the result has a verdict per chip; the other entries are the first one's that differs, or else the first's.
    """
    loaded = Component.load_sealed(component)
    graph = component_graph(component)
    if inputs and not data:
        raise EspgenError("there is no data to map to inputs", place="--input", hint="give --data F.npz too")
    if data:
        samples = _samples(loaded, graph, data, inputs, limit)
    else:
        embedded = vectors.embedded_dataset(graph, loaded.manifest, str(loaded.path / MANIFEST))
        samples = embedded or random_dataset(graph, limit or 4)
    if target == "host" and port is None:
        return _verify_host(loaded, graph, samples, progress)
    if port is not None:
        with ExitStack() as stack:
            verdict = _compare_on([(None, connect(stack, port, loaded, graph))], graph, samples, progress)
        return {**verdict, "files": _files(loaded, ())}  # what was flashed cannot be read back: no file of the folder was run
    return {**_verify_simulated(loaded, graph, samples, chip, progress), "files": _files(loaded, loaded.exercised("chip"))}


def _verify_simulated(
    component: Component, graph: Graph, samples: Dataset, chip: Chip | None = None, progress: Progress | None = None
) -> dict[str, Any]:
    """The verdict of each chip that `chip` (None: the component's own) stands for, each sample on one after the other."""
    with ExitStack() as stack:
        devices: list[tuple[Chip | None, Device]] = []
        for one in _chips(component, chip):
            options = SimulatorOptions(memory_model=False, l2_kb=component.l2_kb, chip=one)
            image = build_firmware(component.path, chip=one, l2_kb=component.l2_kb)
            simulator = stack.enter_context(Simulator(image, options))
            devices.append((one, connect(stack, simulator.port, component, graph)))
        return _compare_on(devices, graph, samples, progress)


def _chips(component: Component, chip: Chip | None) -> tuple[Chip, ...]:
    """The chips to be simulated. EspgenError where the component was not made for the one asked for."""
    made_for = component.chip
    wanted = made_for if chip is None else chip
    for name in wanted.runs_on:
        if name not in made_for.runs_on:
            raise EspgenError(
                f"the component was compiled for {made_for.name}, which {wanted.name} is not",
                place=str(component.path),
                hint=f"compile the model again with --chip {wanted.name}, or with esp32p4 for both chips",
            )
    return concrete(wanted, all_of_them=True)


def _samples(component: Component, graph: Graph, data: Path, mapping: Mapped | None, limit: int | None) -> Dataset:
    inputs = component_inputs(graph, component.manifest.get("takes"), str(component.path / MANIFEST))
    return load_dataset(data, graph, mapping or {}, limit, inputs)


def component_graph(component: Path) -> Graph:
    """The integer graph that a component was generated from. EspgenError where it is missing, damaged or another's."""
    loaded, path = Component.load_sealed(component), Path(component) / GRAPH
    if not path.is_file():
        hint = f"compile the model again ({MANIFEST} and {GRAPH} belong together)"
        raise EspgenError("the component has no graph", place=str(path), hint=hint)
    saved = path.read_bytes()
    if hashlib.sha256(saved).hexdigest() != loaded.hash:
        hint = "compile the model again: nothing proves that this is the network that the component was made from"
        raise EspgenError("the component's graph is not the one that its manifest names", place=str(path), hint=hint)
    return load_graph(saved)


def _verify_host(component: Component, graph: Graph, samples: Dataset, progress: Progress | None) -> dict[str, Any]:
    accuracy = Accuracy()
    expected = expected_info(graph, component)
    with HostModel(build_host(component.path), expected) as model:
        comparison = Comparison(model.layers, model.outputs)
        for index, sample in enumerate(samples):
            outputs = compare_host(model, sample, run_layers(graph, sample), comparison, index)
            _score(accuracy, graph, outputs, samples, index)
            if progress:
                progress("verify", index + 1, len(samples))
    return {**_verdict(comparison, accuracy, samples, "host"), "files": _files(component, component.exercised("host"))}


def _files(component: Component, exercised: Sequence[str]) -> dict[str, list[str]]:
    """Which files of the component were built and run, and which were only compared with their hash."""
    hashed = [name for name in component.manifest.get("files", {}) if name not in exercised]
    return {"exercised": list(exercised), "hashed_only": hashed}


def connect(stack: ExitStack, port: str, component: Component, graph: Graph) -> Device:
    """The component's firmware at `port`, until `stack` ends.

    EspgenError (exit code 3) where nothing answers, where another model runs, or where the chip is another one."""
    link = stack.enter_context(open_serial(port))
    device = Device.connect(link, expected_hash=component.hash, expected=expected_info(graph, component))
    revision, chip = device.hello.revision, component.chip
    if revision and not chip.least_revision <= revision <= chip.most_revision:
        raise environment_error(
            f"the board's chip is revision {revision // 100}.{revision % 100}, the component was compiled for {chip.label()}",
            place=port,
            hint="compile the model again with --chip esp32p4, or with the chip of this board, and flash it",
        )
    return device


def _compare_on(
    devices: Sequence[tuple[Chip | None, Device]], graph: Graph, samples: Dataset, progress: Progress | None
) -> dict[str, Any]:
    """Each sample on one device after the other: simulators with their chips, or a board, which tells its own."""
    accuracies = [Accuracy() for _ in devices]
    comparisons = [Comparison(device.layers, device.info.outputs) for _, device in devices]
    for index, sample in enumerate(samples):
        reference = run_layers(graph, sample)
        for (_, device), comparison, accuracy in zip(devices, comparisons, accuracies, strict=True):
            outputs = compare_device(device, sample, reference, comparison, index)
            _score(accuracy, graph, outputs, samples, index)
        if progress:
            progress("verify", index + 1, len(samples))
    verdicts = []
    for (chip, device), comparison, accuracy in zip(devices, comparisons, accuracies, strict=True):
        shown = board(device) if chip is None else chip.to_json()
        verdicts.append({**_verdict(comparison, accuracy, samples, device.hello.target), "chip": shown})
    worst = next((verdict for verdict in verdicts if not verdict["equal"]), verdicts[0])
    return {**worst, "chips": verdicts}


def board(device: Device) -> dict[str, object]:
    """What a board says about its chip, as a chip's own record does."""
    hello = device.hello
    revision = f"{hello.revision // 100}.{hello.revision % 100}" if hello.revision else ""
    return {"name": hello.target, "revisions": revision, "clock_hz": hello.clock_hz}


def _score(accuracy: Accuracy, graph: Graph, outputs: Mapping[str, Any], samples: Dataset, index: int) -> None:
    if samples.labels is None:
        return
    batch = len(samples.labels) // len(samples)
    labels = samples.labels[index * batch : (index + 1) * batch]
    value = graph.value(graph.outputs[0])
    found = from_layout(outputs[value.name].reshape(value.shape), value.layout)
    for scores, label in zip(found.reshape(batch, -1), labels, strict=True):
        accuracy.add(scores, int(label))


def _verdict(comparison: Comparison, accuracy: Accuracy, samples: Dataset, target: str) -> dict[str, Any]:
    return {
        "equal": comparison.equal,
        "samples": len(samples),
        "layers": comparison.to_json(),
        "accuracy": accuracy.to_json(),
        "target": target,
        "data": list(samples.notes),
    }


def profile(
    component: Path,
    *,
    data: Path | None = None,
    port: str | None = None,
    chip: Chip | None = None,
    explain: bool = False,
    cold: bool = True,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Cycles, instructions and memory stalls of every layer, in the simulator or on a board.

    chip  what the simulator is; None: the component's own, and where that stands for several, the last of them
    cold  caches empty at the start and memory modelled; else compute only (the simulator without its memory model)

    `memory.flash` is all that the component adds to the simulator's image, and `memory.code` its code alone; on a board, whose
    image is not at hand, there is no `code`, and `flash` is constants and read-only tables, as `compile` counts it.
    """
    loaded = Component.load_sealed(component)
    graph = component_graph(component)
    samples = _samples(loaded, graph, data, None, 1) if data else random_dataset(graph, 1)
    sample = next(iter(samples))
    if port is not None:
        return {**_profile_on(port, loaded, graph, sample, explain, cold), "memory": _memory(loaded)}
    one, l2_kb = _chips(loaded, chip)[-1], loaded.l2_kb
    image = build_firmware(loaded.path, chip=one, l2_kb=l2_kb)
    memory = _memory(loaded, stored_bytes(image, chip=one, l2_kb=l2_kb))
    with Simulator(image, SimulatorOptions(memory_model=cold, l2_kb=l2_kb, chip=one)) as simulator:
        shown = {"chip": one.to_json(), "l2_kb": l2_kb, "memory": memory}
        return {**_profile_on(simulator.port, loaded, graph, sample, explain, cold), **shown}


def _profile_on(
    port: str, component: Component, graph: Graph, sample: Mapping[str, Any], explain: bool, cold: bool
) -> dict[str, Any]:
    with ExitStack() as stack:
        device = connect(stack, port, component, graph)
        result = device.profile(sample, cold=cold)
    layers = [
        {
            "name": layer.name,
            "op": layer.op,
            "cycles": layer.cycles,
            "instructions": layer.instructions,
            "macs": layer.macs,
            "stall_cycles": layer.stalls,
        }
        for layer in result.layers
    ]
    if explain:
        _explain(layers, component)
    return {
        "cycles": result.cycles,
        "instructions": result.instructions,
        "macs": sum(int(layer.macs) for layer in result.layers),
        "clock_hz": result.clock_hz,
        "ms": result.cycles / result.clock_hz * 1e3,
        "chip": board(device),
        "layers": layers,
    }


def _explain(layers: list[dict[str, Any]], component: Component) -> None:
    kernels = {entry["layer"]: entry for entry in component.manifest["kernels"]}
    for layer in layers:
        entry = kernels.get(layer["name"])
        if entry is not None:
            layer["kernel"] = entry["kernel"]
            layer["candidates"] = [
                {**candidate, "chosen": candidate["kernel"] == entry["kernel"]} for candidate in entry["candidates"]
            ]


def calibrate(
    *,
    port: str | None = None,
    chip: Chip | str | None = None,
    l2_kb: int | None = None,
    output: Path | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """A chip's cycle counts, sizes and rates as micro-benchmarks find them, beside the model's.

    port: a board that runs the calibration firmware; None: the simulated `chip` (default: the one that figures are shown
    for). output: the chip file to write. EspgenError: exit code 3 where the board or a tool is missing.
    """
    size = L2_KB if l2_kb is None else l2_kb
    if port is not None:
        result = calibrate_board(port, size, progress)
    else:
        result = calibrate_simulator(_chip(chip) or DEFAULT, size, progress)
    if output is not None:
        write_chip_file(result, output)
        result["written"] = str(output)
    return result


def calibration_project(folder: Path) -> dict[str, Any]:
    """Write the firmware that `calibrate(port=..)` talks to as an ESP-IDF project into a new folder."""
    return {"project": str(folder), "files": write_project(folder)}


def _chip(chip: Chip | str | None) -> Chip | None:
    return find_chip(chip) if isinstance(chip, str) else chip


def doctor() -> dict[str, Any]:
    """Which tools were found and what to install."""
    findings = find_tools()
    tools = [
        {"name": f.name, "found": f.found, "path": f.path and str(f.path), "version": f.version, "remedy": f.remedy}
        for f in findings
    ]
    able = any(f.found and f.firmware for f in findings) and any(f.found and f.host for f in findings)
    return {"ok": able, "tools": tools, "chips": [_described(chip) for chip in CHIPS.values()]}


def _described(chip: Chip) -> dict[str, Any]:
    """A chip as `doctor` lists it; internal RAM as components may use it by default."""
    pieces = chip.internal_pieces()
    return {**chip.to_json(), "espv": list(chip.espv), "internal": list(pieces), "l2_kb": L2_KB, "idf": chip.idf}


def _port(value: Value) -> dict[str, Any]:
    return {"name": value.name, "shape": list(onnx_shape(value.shape, value.layout)), "dtype": value.dtype.value}


__all__ = [
    "Chip",
    "Options",
    "Progress",
    "compile",
    "component_graph",
    "doctor",
    "find_chip",
    "inspect",
    "plan_graph",
    "profile",
    "verify",
]
