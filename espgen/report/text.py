"""Results as text for people: one function per verb, each from the verb's dict to lines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from espgen.target.chips import ANY_CHIP, labelled

Result = Mapping[str, Any]


def inspection(result: Result) -> str:
    """Inputs, outputs, nodes, operators with MACs, and what is unsupported."""
    lines = [f"model {result['name']}"]
    for kind in ("inputs", "outputs"):
        lines += [
            f"  {kind[:-1]:6} {value['name']}  {value['dtype']} {_shape(value['shape'])}" for value in result[kind]
        ]
    layers = [
        (layer["name"], layer["op"], _shape(layer["shape"]), layer["dtype"], layer["macs"]) for layer in result["layers"]
    ]
    lines += ["", *table(("node", "operator", "output", "type", "MACs"), layers)]
    rows = [
        (op["op"], op["count"], op["macs"], "" if op["supported"] else "unsupported") for op in result["operators"]
    ]
    lines += ["", *table(("operator", "count", "MACs", ""), rows), ""]
    kernels = [(op["op"], op["macs"]) for op in result.get("integer_operators", ())]
    lines += [*table(("integer operator", "MACs"), kernels), ""] if kernels else []
    lines.append(f"{result['macs']:,} MACs, {result['parameters']:,} parameters")
    for problem in result["unsupported"]:
        what = " ".join(part for part in (problem["op"], problem["node"] and f"(node {problem['node']})") if part)
        lines.append(f"unsupported: {what}: {problem['reason']}" if what else f"unsupported: {problem['reason']}")
    if "quantized" in result and not result["unsupported"]:
        lines.append("quantized: can be compiled" if result["quantized"] else "float: can be quantized, then compiled")
    return "\n".join(lines)


def compilation(result: Result) -> str:
    """Where the component is, what its header is called, and its memory."""
    written = f"{_counted(result['layers'], 'layer')} written to {result['component']} in {result['seconds']:.2f} s"
    header = f'#include "{result["header"]}"'
    return "\n".join([f"{result['name']}: {written}", header, f"for {chip(result['chip'])}", memory(result["memory"])])


def chip(described: Result) -> str:
    """A chip, or what a board says about its own, on one line."""
    return labelled(described)


def verification(result: Result) -> str:
    """One line per layer, then accuracy and the verdict on each chip."""
    rows = [
        (layer["name"], _EQUAL[layer["equal"]], layer["max_abs_diff"], _difference(layer["first_diff"]))
        for layer in result["layers"]
    ]
    lines = table(("layer", "bytes", "max diff", "first difference"), rows)
    lines += ["", *(_verdict(one) for one in result.get("chips", [result]))]
    files = result.get("files")
    if files:
        lines += _files(files["exercised"], files["hashed_only"])
    accuracy = result.get("accuracy")
    if accuracy:
        lines.append(f"accuracy: top-1 {100 * accuracy['top1']:.2f} %, top-5 {100 * accuracy['top5']:.2f} %")
    return "\n".join(lines)


def _verdict(result: Result) -> str:
    differing = sum(not layer["equal"] for layer in result["layers"])
    verdict = "every layer equal, byte for byte" if result["equal"] else f"not equal in {_counted(differing, 'layer')}"
    described = result.get("chip")
    place = ""
    if described is None or described["name"] != result["target"]:
        place = result["target"] + (", " if described else "")
    return f"{_counted(result['samples'], 'sample')} on {place}{chip(described) if described else ''}: {verdict}"


def _files(exercised: Sequence[str], hashed: Sequence[str]) -> list[str]:
    """Which files of the component the verdict is about: those with code or constants by name, the others by their number."""
    if not exercised:
        return ["files: all as generated; the board ran what was flashed, which cannot be read back"]
    told = [name.removeprefix("src/") for name in exercised if name.endswith((".cpp", ".bin"))]
    rest = len(exercised) - len(told)
    lines = [f"files run: {', '.join(told)} and {_counted(rest, 'other')}"]
    idle = [name.removeprefix("src/") for name in hashed if name.startswith("src/")]
    if idle:
        assembly = sum(name.endswith(".S") for name in idle)
        shown = [name for name in idle if not name.endswith(".S")]
        lines.append(f"not run here, only hashed: {', '.join(shown)} and {_counted(assembly, 'file')} of assembly")
    return lines


def _counted(count: int, what: str) -> str:
    return f"{count:,} {what}" + ("" if count == 1 else "s")


def profiling(result: Result) -> str:
    """One line per layer, totals, memory."""
    rows = [_profile_row(layer) for layer in result["layers"]]
    total = {"name": "total", "op": "", "stall_cycles": sum(layer["stall_cycles"] for layer in result["layers"])}
    rows.append(_profile_row({**result, **total}))
    lines = table(("layer", "operator", "cycles", "MACs", "MAC/cycle", "instructions", "stalls"), rows)
    for layer in result["layers"]:
        lines += _candidates(layer)
    lines += ["", f"{result['cycles']:,} cycles = {result['ms']:.3f} ms on {chip(result['chip'])}"]
    return "\n".join([*lines, memory(result["memory"])])


def diagnosis(result: Result) -> str:
    """One line per tool; what is missing comes with its remedy."""
    rows = [
        (tool["name"], (tool["version"] or "found") if tool["found"] else "missing", tool["path"] or "")
        for tool in result["tools"]
    ]
    lines = table(("tool", "version", "path"), rows)
    remedies = [f"{tool['name']}: {tool['remedy']}" for tool in result["tools"] if not tool["found"] and tool["remedy"]]
    verdict = "ready" if result["ok"] else "not ready: install what is named above"
    return "\n".join([*lines, "", *remedies, verdict, "", *_chips(result["chips"])])


def _chips(chips: Sequence[Result]) -> list[str]:
    """What --chip takes."""
    rows = [
        (one["name"], one["revisions"] or ANY_CHIP, f"{one['clock_hz'] / 1e6:.0f}" if one["clock_hz"] else "",
         _level(one["espv"]), " + ".join(f"{size:,}" for size in one["internal"]), one["idf"])
        for one in chips
    ]  # fmt: skip
    internal = f"internal RAM for activations ({chips[0]['l2_kb']} KB L2 cache)"
    return table(("chip", "revisions", "MHz", "vector unit", internal, "ESP-IDF from"), rows)


def _level(levels: Sequence[int]) -> str:
    return " and ".join(f"ESPV {level // 10}.{level % 10}" for level in levels) or "none"


def quantization(result: Result) -> str:
    """The error tables, what was chosen and why, and how near the model is to the float one."""
    lines = [result["tables"].rstrip(), "", *result.get("changes", ()), *result["reasons"]]
    if result["int16"]:
        lines.append(f"int16 layers: {', '.join(result['int16'])}")
    lines += _against_float(result)
    if result.get("refused"):
        lines.append(f"note: `espgen compile` would refuse this model: {result['refused']}")
    written = f"{result['model']} and {result['record']} written in {result['seconds']:.1f} s"
    return "\n".join([*lines, f"{written} ({result['scheme']}, recipe {result['recipe']}, {result['samples']} samples)"])


def _against_float(result: Result) -> list[str]:
    """Error, agreement, top-1 and the first prediction of a quantized model beside its float original."""
    fidelity, first = result["fidelity"], result.get("prediction")
    error, agreement = 100 * fidelity["error"], 100 * fidelity["agreement"]
    lines = [f"on {_counted(fidelity['samples'], 'sample')}: error {error:.3f} %, top-1 agreement {agreement:.2f} %"]
    if fidelity.get("accuracy") is not None:
        was, now = 100 * fidelity["float_accuracy"], 100 * fidelity["accuracy"]
        lines.append(f"top-1 of {fidelity['labelled']} labelled: float {was:.2f} %, quantized {now:.2f} %")
    return lines + predictions(first)


def predictions(first: Mapping[str, Any] | None) -> list[str]:
    """Class and probability of the first sample by both models."""
    if first is None:
        return []
    shown = (f"{kind} class {value['class']}, probability {value['probability']:.3f}" for kind, value in first.items())
    return [f"first sample: {'; '.join(shown)}"]


def fallback(result: Result) -> str:
    """The metric before and after, and which layers were rolled back."""
    evaluated = _counted(len(result["history"]), "configuration")
    lines = [*result["log"], f"rolled back: {', '.join(result['rolled_back']) or 'nothing'} ({evaluated} evaluated)"]
    return "\n".join([*lines, f"{result['fake_quant']} and {result['deploy']} written"])


def latency_fallback(result: Result) -> str:
    """Cycles of every layer in both widths, and which layers stay wide."""
    rows = [
        (layer["name"], int(layer["int8"]), int(layer["int16"]), "int16" if layer["rolled_back"] else "int8")
        for layer in result["layers"]
    ]
    lines = [*table(("layer", "int8 cycles", "int16 cycles", "kept"), rows), "", *result["log"]]
    lines.append(f"rolled back: {', '.join(result['rolled_back']) or 'nothing: int8 is faster everywhere'}")
    return "\n".join([*lines, *_against_float(result), f"{result['fake_quant']} and {result['deploy']} written"])


def conversion(result: Result) -> str:
    """Where the converted model is, and how near it is to the original."""
    lines = list(result.get("notes", ()))
    fidelity = result.get("fidelity")
    if fidelity and not any(line.startswith("against") for line in lines):
        error, agreement = 100 * fidelity["error"], 100 * fidelity["agreement"]
        lines.append(f"against the original: error {error:.3f} %, top-1 agreement {agreement:.2f} %")
    lines += predictions(result.get("prediction"))
    if result.get("refused"):
        lines.append(f"note: `espgen compile` would refuse this model: {result['refused']}")
        lines += [] if fidelity else ["      with --data, tensors without a scale get one from samples"]
    written = f"{result['model']} and {result['record']} written"
    return "\n".join([*lines, f"{written} ({result['scheme']}, {result['layers']} layers)"])


def evaluation(result: Result) -> str:
    """One line per model and place."""
    rows = [
        (row["model"], row["place"], row["samples"], *(_percent(row[key]) for key in ("top1", "top5", "agreement", "error")))
        for row in result["rows"]
    ]
    heads = ("model", "place", "samples", "top-1 %", "top-5 %", "agreement %", "error %")
    return "\n".join(table(heads, rows))


def _percent(share: float | None) -> str | None:
    return None if share is None else f"{100 * share:.2f}"


def memory(usage: Result) -> str:
    """Bytes per memory and the planner's statement, on one line."""
    sizes = [f"{usage[name]:,} bytes {label}" for name, label in _MEMORIES if name in usage]
    if "code" in usage:
        sizes[-1] += f" ({usage['code']:,} of them code)"
    pieces = [size for name, size in usage.get("arenas", {}).items() if name.startswith("internal")]
    if len(pieces) > 1:
        sizes[0] += f" in {len(pieces)} pieces ({' + '.join(f'{size:,}' for size in pieces)})"
    return f"memory: {', '.join(sizes)}; plan: {usage['planner']}"


_EQUAL = {True: "equal", False: "DIFFERS"}
_MEMORIES = (("internal", "internal RAM"), ("psram", "PSRAM"), ("flash", "flash"))


def table(heads: Sequence[str], rows: Sequence[Sequence[object]]) -> list[str]:
    """Aligned columns: numbers to the right, text to the left."""
    cells = [[_cell(value) for value in row] for row in rows]
    widths = [max(len(head), *(len(row[i]) for row in cells), 0) for i, head in enumerate(heads)]
    numeric = [bool(cells) and all(_is_number(row[i]) for row in cells) for i in range(len(heads))]
    lines = []
    for row in (list(heads), ["-" * width for width in widths], *cells):
        columns = zip(row, widths, numeric, strict=True)
        lines.append("  ".join(cell.rjust(w) if right else cell.ljust(w) for cell, w, right in columns).rstrip())
    return lines


def _cell(value: object) -> str:
    if value is None:
        return "-"
    return f"{value:,}" if isinstance(value, int) else str(value)


def _is_number(cell: str) -> bool:
    return cell == "-" or cell.replace(",", "").replace(".", "").isdecimal()


def _shape(shape: Sequence[int]) -> str:
    return "x".join(str(extent) for extent in shape) or "scalar"


def _difference(first: Mapping[str, Any] | None) -> str:
    if not first:
        return ""
    return ", ".join(f"{key} {value}" for key, value in first.items())


def _profile_row(layer: Result) -> tuple[object, ...]:
    rate = f"{layer['macs'] / layer['cycles']:.3f}" if layer["cycles"] else "-"
    keys = ("instructions", "stall_cycles")
    return (layer["name"], layer["op"], layer["cycles"], layer["macs"], rate, *(layer[key] for key in keys))


def _candidates(layer: Result) -> list[str]:
    lines = [
        f"    {'*' if candidate['chosen'] else ' '} {candidate['kernel']}: {_prediction(candidate)}"
        for candidate in layer.get("candidates", ())
    ]
    return [f"{layer['name']}:", *lines] if lines else []


def _prediction(candidate: Result) -> str:
    """Cycles and how they were found, or why the kernel cannot do the layer (its cycles are None)."""
    note = candidate.get("note", "predicted")
    return f"not possible: {note}" if candidate["cycles"] is None else f"{candidate['cycles']:,} cycles {note}"
