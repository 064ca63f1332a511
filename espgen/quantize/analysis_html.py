"""Error analysis as one self-contained HTML page: inline SVG, no scripts, no network."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence

from espgen.quantize.analysis import Analysis, LayerError

_STYLE = (
    "body{font:14px/1.5 system-ui,sans-serif;margin:2em auto;max-width:72em;color:#222;padding:0 1em}"
    "table{border-collapse:collapse;width:100%}td,th{padding:.25em .6em;text-align:right;border-bottom:1px solid #ddd}"
    "td:first-child,th:first-child{text-align:left;font-family:monospace}h1,h2{font-weight:600}"
    "details{margin:.3em 0}summary{cursor:pointer;font-family:monospace}"
)


def page(analysis: Analysis, title: str, weighed_by: str = "") -> str:
    """The whole page; weighed_by: by what layers were chosen for int16 ("cycles (simulator, ..chip..)"), where any were."""
    weighed = f"<p>Layers in int16 were chosen by {html.escape(weighed_by)}.</p>" if weighed_by else ""
    advice = "".join(f"<li>{html.escape(line)}</li>" for line in analysis.advice)
    rows = "".join(_row(layer) for layer in analysis.layers)
    details = "".join(_details(layer) for layer in analysis.layers)
    return (
        f"<!doctype html><html lang='en'><head><meta charset='utf-8'><title>{html.escape(title)}</title>"
        f"<style>{_STYLE}</style></head><body><h1>{html.escape(title)}</h1>{weighed}<ul>{advice}</ul>"
        f"<h2>Error per layer</h2>{_error_plot(analysis.layers)}"
        "<p>Dark: accumulated (graphwise); light: the layer alone, at the output (layerwise). Logarithmic.</p>"
        "<table><tr><th>layer</th><th>op</th><th>bits</th><th>graphwise</th><th>layerwise</th><th>cosine</th>"
        f"<th>cut off</th><th>range</th><th>worst channels</th></tr>{rows}</table>"
        f"<h2>Histograms</h2><p>Filled: float, line: quantized; logarithmic counts.</p>{details}</body></html>\n"
    )


def _row(layer: LayerError) -> str:
    alone = "-" if layer.layerwise is None else f"{100 * layer.layerwise:.3f} %"
    worst = ", ".join(f"{channel} ({100 * ratio:.1f} %)" for channel, ratio in layer.worst[:3])
    return (
        f"<tr><td>{html.escape(layer.name)}</td><td>{html.escape(layer.op)}</td><td>{layer.bits}</td>"
        f"<td>{100 * layer.graphwise:.3f} %</td><td>{alone}</td><td>{layer.cosine:.5f}</td>"
        f"<td>{100 * layer.cut:.3f} %</td><td>{layer.low:.3g} .. {layer.high:.3g}</td><td>{html.escape(worst)}</td></tr>"
    )


def _details(layer: LayerError) -> str:
    return f"<details><summary>{html.escape(layer.name)}</summary>{_histogram(layer)}</details>"


def _error_plot(layers: Sequence[LayerError]) -> str:
    width, height, floor = 960.0, 220.0, -6.0
    step = width / max(len(layers), 1)

    def tall(ratio: float | None) -> float:
        if ratio is None or ratio <= 0.0:
            return 0.0
        return height * min(max((math.log10(ratio) - floor) / -floor, 0.0), 1.0)

    bars = []
    for index, layer in enumerate(layers):
        for offset, ratio, colour in ((0.1, layer.graphwise, "#2b5d8a"), (0.5, layer.layerwise, "#9cc3e4")):
            size = tall(ratio)
            bars.append(
                f"<rect x='{index * step + offset * step:.1f}' y='{height - size:.1f}' width='{0.4 * step:.1f}' "
                f"height='{size:.1f}' fill='{colour}'>"
                f"<title>{html.escape(layer.name)}: {100 * (ratio or 0.0):.4f} %</title></rect>"
            )
    lines = "".join(
        f"<line x1='0' x2='{width}' y1='{height - tall(limit):.1f}' y2='{height - tall(limit):.1f}' stroke='#bbb' "
        f"stroke-dasharray='4'/><text x='2' y='{height - tall(limit) - 3:.1f}' font-size='11' fill='#666'>{label}</text>"
        for limit, label in ((0.1, "10 %"), (0.01, "1 %"), (0.0001, "0.01 %"))
    )
    return f"<svg viewBox='0 0 {width} {height}' width='100%' role='img'>{lines}{''.join(bars)}</svg>"


def _histogram(layer: LayerError) -> str:
    width, height = 600.0, 120.0
    real, quantized = layer.histogram
    top = math.log1p(max([1, *real, *quantized]))
    step = width / max(len(real), 1)
    bars = "".join(
        f"<rect x='{index * step:.1f}' y='{height - height * math.log1p(count) / top:.1f}' width='{step:.1f}' "
        f"height='{height * math.log1p(count) / top:.1f}' fill='#9cc3e4'/>"
        for index, count in enumerate(real)
    )
    points = " ".join(
        f"{(index + 0.5) * step:.1f},{height - height * math.log1p(count) / top:.1f}" for index, count in enumerate(quantized)
    )
    line = f"<polyline points='{points}' fill='none' stroke='#c0392b' stroke-width='1.5'/>"
    ends = f"<p>{layer.low:.4g} .. {layer.high:.4g}, mean {layer.mean:.4g}, standard deviation {layer.std:.4g}</p>"
    return f"<svg viewBox='0 0 {width} {height}' width='600'>{bars}{line}</svg>{ends}"
