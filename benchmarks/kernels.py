"""Single layers: cycles of the PIE kernels in the simulator, beside what others need for the same layer.

    python benchmarks/kernels.py [--json]

One core, memory model off, 360 MHz, call included. Every output is compared with numpy. The columns of ESP-DL and of
the prototype loops are measurements in an instruction-set simulator with the same core model (docs/performance.md
says how); the prototypes take padded input, power-of-two scales and, for the first layer, pay nothing for misaligned
loads, which the model charges one cycle each.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "ops"))

from pie_conv_cases import random_case
from pie_harness import run_calls

from espgen.codegen.pie.depthwise import depthwise_kernel

_DEPTHWISE = {"kernel": (3, 3), "depthwise": True}

LAYERS: dict[str, tuple[dict[str, Any], int | None, int | None]] = {
    "conv1x1 20x20 16->32": ({"channels": 16, "outputs": 32, "size": (20, 20)}, 44_005, 19_783),
    "conv1x1 28x28 32->192 ReLU": ({"channels": 32, "outputs": 192, "size": (28, 28), "low": 0}, 516_796, 390_249),
    "conv1x1 14x14 64->384 ReLU": ({"channels": 64, "outputs": 384, "size": (14, 14), "low": 0}, 410_802, 357_429),
    "conv1x1 7x7 960->160": ({"channels": 960, "outputs": 160, "size": (7, 7)}, 511_666, 504_427),
    "conv3x3 32x32 16->16": ({"kernel": (3, 3), "channels": 16, "outputs": 16, "size": (32, 32)}, 278_675, 166_359),
    "stem 3x3 s2 224x224x3->32 ReLU": (
        {"kernel": (3, 3), "channels": 3, "outputs": 32, "size": (112, 112), "stride": (2, 2), "in_pitch": 3, "low": 0},
        7_520_170,
        1_056_674,
    ),
    "KWS first 10x4 s2 49x10x1->64": (
        {"kernel": (10, 4), "channels": 1, "outputs": 64, "size": (25, 5), "stride": (2, 2), "in_pitch": 1},
        None,
        None,
    ),
    "conv3x3 8x8 64->64": ({"kernel": (3, 3), "channels": 64, "outputs": 64, "size": (8, 8)}, None, None),
    "conv3x3 19x23 22->33": ({"kernel": (3, 3), "channels": 22, "outputs": 33, "size": (19, 23)}, 588_703, None),
    "dw3x3 28x28x192": (_DEPTHWISE | {"channels": 192, "size": (28, 28)}, 349_448, 213_247),
    "dw3x3 s2 112x112x96": (_DEPTHWISE | {"channels": 96, "size": (56, 56), "stride": (2, 2)}, 703_636, 420_133),
    "dw3x3 25x5x64": (_DEPTHWISE | {"channels": 64, "size": (25, 5)}, None, None),
    "dw3x3 25x5x64 scale": (_DEPTHWISE | {"channels": 64, "size": (25, 5), "requant": "scale"}, None, None),
    "dense 1280->1000": ({"channels": 1280, "outputs": 1000, "size": (1, 1)}, None, None),
    "conv1x1 20x20 16->32 scale": ({"channels": 16, "outputs": 32, "size": (20, 20), "requant": "scale"}, None, 46_988),
    "conv1x1 14x14 64->384 scale": ({"channels": 64, "outputs": 384, "size": (14, 14), "requant": "scale"}, None, 517_370),
    "conv1x1 7x7 320->1280 scale": ({"channels": 320, "outputs": 1280, "size": (7, 7), "requant": "scale"}, None, 1_502_131),
    "conv3x3 8x8 64->64 scale": (
        {"kernel": (3, 3), "channels": 64, "outputs": 64, "size": (8, 8), "requant": "scale"},
        None,
        167_671,
    ),
    "conv1x1 8x8 64->64 scale, weight zero point": (
        {"channels": 64, "outputs": 64, "size": (8, 8), "requant": "scale", "weight_zero": 20},
        None,
        None,
    ),
}
"""Layer -> (arguments of random_case, ESP-DL cycles, prototype cycles); None: nobody measured it."""


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    layer: str
    macs: int
    cycles: int
    predicted: int
    code_bytes: int
    espdl: int | None
    prototype: int | None

    @property
    def rate(self) -> float:
        """Multiply-accumulates per cycle."""
        return self.macs / self.cycles


def measure() -> list[Row]:
    """Run every layer; raises AssertionError where an output differs from numpy's."""
    rng = np.random.default_rng(5)
    rows = []
    for name, (arguments, espdl, prototype) in LAYERS.items():
        given = dict(arguments)
        depthwise = given.pop("depthwise", False)
        if depthwise:
            given |= {"outputs": given["channels"], "groups": given["channels"]}
        case = random_case(rng, **given)
        kernel = depthwise_kernel(case.spec) if depthwise else case.kernel()
        with tempfile.TemporaryDirectory() as folder:
            (outcome,) = run_calls([kernel.assembly], [case.call(kernel)], Path(folder))
        case.check(outcome, kernel)
        pixels = case.out_height * case.spec.out_width
        macs = pixels * int(np.prod(case.spec.weights.shape))
        predicted = round(kernel.cycles(case.out_height))
        rows.append(Row(name, macs, outcome.cycles, predicted, kernel.function.code_bytes, espdl, prototype))
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    given = parser.parse_args()
    rows = measure()
    if given.json:
        print(json.dumps([asdict(row) | {"mac_per_cycle": row.rate} for row in rows], indent=1))
        return
    print("| layer | espgen cycles | MAC/cycle | predicted | code bytes | ESP-DL | prototype loops | ESP-DL / espgen |")
    print("|---|---|---|---|---|---|---|---|")
    for row in rows:
        espdl = f"{row.espdl:,}" if row.espdl else "-"
        prototype = f"{row.prototype:,}" if row.prototype else "-"
        factor = f"{row.espdl / row.cycles:.2f}" if row.espdl else "-"
        print(
            f"| {row.layer} | {row.cycles:,} | {row.rate:.1f} | {row.predicted:,} | {row.code_bytes} | {espdl} "
            f"| {prototype} | {factor} |"
        )


if __name__ == "__main__":
    main()
