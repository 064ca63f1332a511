"""Whole networks in the simulator: milliseconds warm and cold, beside the peer's figures and this project's limits.

    ESPGEN_DATA=... python benchmarks/networks.py [--json] [--verify N] [--write]

One core, 360 MHz. Warm: memory model off. Cold: memory model on, L2 cache of 256 KB, caches empty at the start of the
inference and carried through it, weights in PSRAM. Every operator and the call overhead count; the sum over layers is
compared with the measured total. Networks of the data folder run as they are, the others come from make_models.py.
`--verify N` compares N random inputs with the reference interpreter, layer by layer; `--write` puts the table into
docs/performance.md.
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

DOCUMENT = Path(__file__).parent.parent / "docs" / "performance.md"
BEGIN, END = "<!-- networks: written by benchmarks/networks.py -->", "<!-- end of networks -->"


@dataclass(frozen=True)
class Network:
    """A network of the table.

    Attributes:
        source: file below ESPGEN_DATA, or name of a made model.
        peer: ESP-DL's (warm, cold) milliseconds for convolution and dense layers only, caches emptied per layer.
        limits: (warm, cold) milliseconds that espgen must not exceed.
    """

    title: str
    source: str
    peer: tuple[float, float] | None
    limits: tuple[float, float]


NETWORKS = (
    Network("MobileNetV2 1.0 224, shift", "mobilenet/espdl_mobilenetv2_p4_qdq.onnx", (122.9, 316.0), (72.0, 145.0)),
    Network("ResNet-8, shift", "resnet8_shift", (4.2, 5.0), (2.6, 3.0)),
    Network("KWS DS-CNN, shift with zero points", "kws_shift", (2.3, 2.8), (0.75, 0.95)),
    Network("MobileNetV1 0.25 96 (VWW), shift", "vww_shift", (13.8, 16.0), (2.3, 3.1)),
    Network("ResNet-8, scale", "ic/resnet8_int8_qdq.onnx", None, (3.2, 3.7)),
    Network("KWS DS-CNN, scale", "kws/kws_dscnn_int8_qdq.onnx", None, (1.2, 1.4)),
    Network(
        "MobileNetV1 0.25 128, scale, weight zero points",
        "mobilenet/mobilenet_v1_0.25_128_uint8_qdq.onnx",
        None,
        (8.0, 10.0),
    ),
)


@dataclass(frozen=True)
class Row:
    """Measured figures of a network; `exact` is None where nothing was verified."""

    title: str
    macs: int
    warm: float
    cold: float
    warm_cycles: int
    layers_cycles: int
    stall_cycles: int
    portable_layers: tuple[str, ...]
    peer: tuple[float, float] | None
    limits: tuple[float, float]
    exact: bool | None

    @property
    def within(self) -> bool:
        """Whether both limits are kept."""
        return self.warm <= self.limits[0] and self.cold <= self.limits[1]


def measure(network: Network, model: Path, folder: Path, samples: int) -> Row:
    """Compile and run one network."""
    component = folder / "component" / model.stem
    api.compile(model, component)
    warm = api.profile(component, cold=False, explain=True)
    cold = api.profile(component, cold=True)
    verdict = api.verify(component, limit=samples) if samples else None
    return Row(
        title=network.title,
        macs=warm["macs"],
        warm=warm["ms"],
        cold=cold["ms"],
        warm_cycles=warm["cycles"],
        layers_cycles=sum(layer["cycles"] for layer in warm["layers"]),
        stall_cycles=sum(layer["stall_cycles"] for layer in cold["layers"]),
        portable_layers=tuple(layer["name"] for layer in warm["layers"] if layer.get("kernel") == "portable"),
        peer=network.peer,
        limits=network.limits,
        exact=None if verdict is None else bool(verdict["equal"]),
    )


def table(rows: list[Row]) -> str:
    """The rows as a table in Markdown."""
    lines = [
        "| network | MMAC | ESP-DL warm / cold ms | limit warm / cold ms | espgen warm ms | espgen cold ms | MAC/cycle warm |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        peer = f"{row.peer[0]} / {row.peer[1]}" if row.peer else "-"
        rate = row.macs / row.warm_cycles
        lines.append(
            f"| {row.title} | {row.macs / 1e6:.1f} | {peer} | {row.limits[0]} / {row.limits[1]} "
            f"| {row.warm:.2f} | {row.cold:.2f} | {rate:.1f} |"
        )
    return "\n".join(lines)


def write(text: str) -> None:
    """Replace the table in the document."""
    page = DOCUMENT.read_text()
    before, rest = page.split(BEGIN)
    _, after = rest.split(END)
    DOCUMENT.write_text(f"{before}{BEGIN}\n{text}\n{END}{after}")


def run(samples: int) -> list[Row]:
    """Measure every network that is there; those of the data folder only where ESPGEN_DATA is set."""
    data = os.environ.get("ESPGEN_DATA")
    rows = []
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        made = write_models(folder / "models")
        for network in NETWORKS:
            model = made.get(network.source) or (Path(data) / network.source if data else None)
            if model is None:
                print(f"{network.title}: ESPGEN_DATA is not set", file=sys.stderr)
                continue
            rows.append(measure(network, model, folder, samples))
            print(f"{network.title}: {rows[-1].warm:.2f} / {rows[-1].cold:.2f} ms", file=sys.stderr)
    return rows


def _problems(rows: list[Row]) -> list[str]:
    found = [f"{row.title}: over its limit" for row in rows if not row.within]
    found += [f"{row.title}: layers sum to {row.layers_cycles}" for row in rows if row.layers_cycles != row.warm_cycles]
    found += [f"{row.title}: differs from the interpreter" for row in rows if row.exact is False]
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument("--verify", type=int, default=0, metavar="N", help="compare N random inputs per network")
    parser.add_argument("--write", action="store_true", help=f"put the table into {DOCUMENT.name}")
    given = parser.parse_args()
    rows = run(given.verify)
    result: Any = [asdict(row) for row in rows]
    print(json.dumps(result, indent=1) if given.json else table(rows))
    if given.write and len(rows) == len(NETWORKS):
        write(table(rows))
    problems = _problems(rows)
    print("\n".join(problems), file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    raise SystemExit(main())
