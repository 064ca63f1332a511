"""A calibration for people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

FAR = 0.02
"""Errors above it are marked."""


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}" if value < 10_000 else f"{value:.0f}"


def _error(figure: Mapping[str, Any]) -> str:
    if figure["error"] is None:
        return ""
    mark = " *" if abs(figure["error"]) > FAR else ""
    return f"{100 * figure['error']:+.1f} %{mark}"


def written_project(result: Mapping[str, Any]) -> str:
    """What to do with the project."""
    folder, defaults = result["project"], '-D SDKCONFIG_DEFAULTS="sdkconfig.defaults;sdkconfig.esp32p4-v3"'
    return (
        f"written: {folder}\n"
        f"  cd {folder} && idf.py {defaults} set-target esp32p4 build flash   (sdkconfig.esp32p4-v1 for revisions below 3)\n"
        "  espgen calibrate --port PORT -o my_chip.json"
    )


def calibration(result: Mapping[str, Any]) -> str:
    """Measured beside modelled, what instructions mean, and what could not be told."""
    chip = result["chip"]
    lines = [f"{chip['name']} at {chip['clock_hz'] / 1e6:.0f} MHz, measured in the simulator" if result["place"] == "simulator"
             else f"{chip['name']} at {chip['clock_hz'] / 1e6:.0f} MHz, measured on the board at {result['place']}"]  # fmt: skip
    rows = [("", "measured", "modelled", "error", "")]
    for figure in result["figures"]:
        if figure["measured"] is not None:
            what = f"{figure['unit']}: {figure['measures']}"
            rows.append((figure["name"], _number(figure["measured"]), _number(figure["modelled"]), _error(figure), what))
    lines += [f"  {name:20}{found:>10}{model:>10}{error:>11}  {what}".rstrip() for name, found, model, error, what in rows]
    missing = [figure for figure in result["figures"] if figure["measured"] is None]
    if missing:
        lines += ["not measured:", *(f"  {figure['name']:20}{figure['reason']}" for figure in missing)]
    lines.append("what instructions do:")
    for said in result["meanings"]:
        answer = said["measured"] or f"not told: {said['reason']}"
        model = f" (the model: {said['modelled'] or 'not simulated'})" if said["modelled"] != said["measured"] else ""
        lines += [f"  {said['question']}", f"    {answer}{model}"]
    if "written" in result:
        lines.append(f"written: {result['written']} (espgen profile --chip {result['written']} COMPONENT)")
    return "\n".join(lines)
