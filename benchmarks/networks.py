"""Whole networks in the simulator: milliseconds warm and cold, beside the peer's figures and this project's limits.

    ESPGEN_DATA=... python benchmarks/networks.py [--only TEXT] [--schedule NAME] [--json] [--verify N] [--write]

Each network is compiled for revision 1 and for revision 3 of the chip and measured on it. One core; milliseconds are cycles
at 360 MHz on both, so that they compare. Warm: memory model off. Cold: memory model on, L2 cache of 256 KB, caches empty at
the start of the inference and carried through it, weights in PSRAM. Every operator and the call overhead count; the sum
over layers is compared with the measured total. Networks of the data folder run as they are, the others come from
make_models.py. `--schedule layers` takes the networks layer by layer, as the first edition of the chip model saw them;
`--only` takes those whose title holds TEXT. `--verify N` compares N random inputs with the reference interpreter, layer by
layer; `--write` puts the table into docs/performance.md.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from make_models import write_models

from espgen import api
from espgen.codegen.build import Options
from espgen.target.chips import V1, V3, Chip

DOCUMENT = Path(__file__).parent.parent / "docs" / "performance.md"
BEGIN, END = "<!-- networks: written by benchmarks/networks.py -->", "<!-- end of networks -->"


@dataclass(frozen=True)
class Network:
    """A network of the table.

    Attributes:
        source: file below ESPGEN_DATA, or name of a made model.
        peer: ESP-DL's (warm, cold) milliseconds for convolution and dense layers only, caches emptied per layer.
        limits: (warm, cold) milliseconds that espgen must not exceed.
        first: (warm, cold) milliseconds by the first edition of the chip model, layer by layer.
    """

    title: str
    source: str
    peer: tuple[float, float] | None
    limits: tuple[float, float]
    first: tuple[float, float]


CHIPS = (V1, V3)
MHZ = 360  # of all milliseconds

NETWORKS = (
    Network(
        "MobileNetV2 1.0 224, shift",
        "mobilenet/espdl_mobilenetv2_p4_qdq.onnx",
        (122.9, 316.0),
        (72.0, 145.0),
        (67.92, 117.00),
    ),
    Network("ResNet-8, shift", "resnet8_shift", (4.2, 5.0), (2.6, 3.0), (2.48, 2.79)),
    Network("KWS DS-CNN, shift with zero points", "kws_shift", (2.3, 2.8), (0.75, 0.95), (0.68, 0.78)),
    # 3.1 cold was the limit of the first edition; since then lines come from PSRAM in 165 cycles instead of 90, code's lines too.
    Network("MobileNetV1 0.25 96 (VWW), shift", "vww_shift", (13.8, 16.0), (2.3, 3.45), (1.99, 2.75)),
    Network("ResNet-8, scale", "ic/resnet8_int8_qdq.onnx", None, (3.2, 3.7), (2.99, 3.31)),
    Network("KWS DS-CNN, scale", "kws/kws_dscnn_int8_qdq.onnx", None, (1.2, 1.4), (1.10, 1.20)),
    Network(
        "MobileNetV1 0.25 128, scale, weight zero points",
        "mobilenet/mobilenet_v1_0.25_128_uint8_qdq.onnx",
        None,
        (8.0, 10.0),
        (6.10, 8.10),
    ),
)


@dataclass(frozen=True)
class Row:
    """Measured figures of a network; `exact` is None where nothing was verified."""

    title: str
    chip: str
    macs: int
    warm: float
    cold: float
    warm_cycles: int
    layers_cycles: int
    stall_cycles: int
    portable_layers: tuple[str, ...]
    peer: tuple[float, float] | None
    limits: tuple[float, float]
    first: tuple[float, float]
    exact: bool | None

    @property
    def within(self) -> bool:
        """Whether both limits are kept."""
        return self.warm <= self.limits[0] and self.cold <= self.limits[1]


def measure(network: Network, model: Path, chip: Chip, schedule: str, folder: Path, samples: int) -> Row:
    """Compile and run one network for one chip."""
    component = folder / "component" / chip.name / model.stem
    api.compile(model, component, options=Options(chip=chip, schedule=schedule))
    warm = api.profile(component, cold=False, explain=True)
    cold = api.profile(component, cold=True)
    verdict = api.verify(component, limit=samples) if samples else None
    return Row(
        title=network.title,
        chip=chip.name,
        macs=warm["macs"],
        warm=warm["cycles"] / (1000 * MHZ),
        cold=cold["cycles"] / (1000 * MHZ),
        warm_cycles=warm["cycles"],
        layers_cycles=sum(layer["cycles"] for layer in warm["layers"]),
        stall_cycles=sum(layer["stall_cycles"] for layer in cold["layers"]),
        portable_layers=tuple(layer["name"] for layer in warm["layers"] if layer.get("kernel") == "portable"),
        peer=network.peer,
        limits=network.limits,
        first=network.first,
        exact=None if verdict is None else bool(verdict["equal"]),
    )


def table(rows: list[Row]) -> str:
    """The rows as a table in Markdown: first edition, then each chip beside its ratio to it."""
    heads = "".join(f" {chip.name} warm / cold ms | ratio |" for chip in CHIPS)
    lines = [
        "| network | MMAC | ESP-DL warm / cold ms | limit warm / cold ms | first edition warm / cold ms |"
        f"{heads} MAC/cycle warm |",
        "|---|---|---|---|---|" + "---|---|" * len(CHIPS) + "---|",
    ]
    for title in dict.fromkeys(row.title for row in rows):
        found = [row for row in rows if row.title == title]
        row = found[0]
        peer = f"{row.peer[0]} / {row.peer[1]}" if row.peer else "-"
        first = f"{row.first[0]:.2f} / {row.first[1]:.2f}"
        cells = [title, f"{row.macs / 1e6:.1f}", peer, f"{row.limits[0]} / {row.limits[1]}", first]
        for each in found:
            cells.append(f"{each.warm:.2f} / {each.cold:.2f}")
            cells.append(f"{each.warm / each.first[0]:.3f} / {each.cold / each.first[1]:.3f}")
        cells.append(f"{found[-1].macs / found[-1].warm_cycles:.1f}")
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def write(text: str) -> None:
    """Replace the table in the document."""
    page = DOCUMENT.read_text()
    before, rest = page.split(BEGIN)
    _, after = rest.split(END)
    DOCUMENT.write_text(f"{before}{BEGIN}\n{text}\n{END}{after}")


def run(samples: int, only: str = "", schedule: str = "auto") -> list[Row]:
    """Measure every network that is there; those of the data folder only where ESPGEN_DATA is set."""
    data = os.environ.get("ESPGEN_DATA")
    rows = []
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        chosen = [network for network in NETWORKS if only in network.title]
        made = write_models(folder / "models") if any("/" not in network.source for network in chosen) else {}
        for network in chosen:
            model = made.get(network.source) or (Path(data) / network.source if data else None)
            if model is None:
                print(f"{network.title}: ESPGEN_DATA is not set", file=sys.stderr)
                continue
            for chip in CHIPS:
                rows.append(measure(network, model, chip, schedule, folder, samples))
                print(f"{network.title}, {chip.name}: {rows[-1].warm:.2f} / {rows[-1].cold:.2f} ms", file=sys.stderr, flush=True)
    return rows


def _problems(rows: list[Row]) -> list[str]:
    found = [f"{row.title}, {row.chip}: over its limit" for row in rows if not row.within]
    found += [f"{row.title}: layers sum to {row.layers_cycles}" for row in rows if row.layers_cycles != row.warm_cycles]
    found += [f"{row.title}: differs from the interpreter" for row in rows if row.exact is False]
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument("--verify", type=int, default=0, metavar="N", help="compare N random inputs per network")
    parser.add_argument("--write", action="store_true", help=f"put the table into {DOCUMENT.name}")
    parser.add_argument("--only", default="", metavar="TEXT", help="networks whose title holds TEXT")
    parser.add_argument("--schedule", default="auto", choices=("auto", "bands", "layers"), help="as espgen compile takes it")
    given = parser.parse_args()
    rows = run(given.verify, given.only, given.schedule)
    result: Any = [asdict(row) for row in rows]
    print(json.dumps(result, indent=1) if given.json else table(rows))
    if given.write and len(rows) == len(NETWORKS) * len(CHIPS):
        write(table(rows))
    problems = _problems(rows)
    print("\n".join(problems), file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    raise SystemExit(main())
