"""Error tables in the bar-chart form ESP-PPQ's users know."""

from __future__ import annotations

from collections.abc import Iterable

from espgen.quantize.analysis import Analysis

CELLS = 20


def tables(analysis: Analysis) -> str:
    """Graphwise and layerwise tables, worst layer first, then the advice."""
    parts = [_table("Graphwise quantization error (accumulated)", ((layer.name, layer.graphwise) for layer in analysis.layers))]
    if any(layer.layerwise is not None for layer in analysis.layers):
        rows = ((layer.name, layer.layerwise or 0.0) for layer in analysis.layers)
        parts.append(_table("Layerwise quantization error (one layer at a time, at the output)", rows))
    return "\n".join([*parts, *analysis.advice]) + "\n"


def _table(title: str, rows: Iterable[tuple[str, float]]) -> str:
    ordered = sorted(rows, key=lambda row: -row[1])
    top = max((ratio for _, ratio in ordered), default=0.0)
    width = max([len("Layer"), *(len(name) for name, _ in ordered)])
    lines = [title, f"{'Layer':<{width}} | NOISE:SIGNAL POWER RATIO"]
    for name, ratio in ordered:
        filled = round(CELLS * ratio / top) if top > 0.0 else 0
        bar = "\u2588" * filled + " " * (CELLS - filled)
        lines.append(f"{name:<{width}} | {bar} | {100 * ratio:.3f}%")
    return "\n".join(lines) + "\n"
