"""The README's table of operators, made from the operator specs.

`python -m espgen.report.operators README.md` brings the table in a file up to date; a test holds it to that.
"""

from __future__ import annotations

import sys
from pathlib import Path

from espgen.ops.registry import specs

BEGIN = "<!-- operators: made by `make readme`, do not edit -->"
END = "<!-- end of operators -->"


def operator_table() -> str:
    """Markdown: one line per integer operator, with the ONNX operators that become it."""
    lines = ["| ONNX | becomes | activations | what |", "|---|---|---|---|"]
    for spec in sorted(specs().values(), key=lambda spec: (spec.onnx == (), spec.onnx, spec.name)):
        onnx = ", ".join(spec.onnx) or "-"
        what = f"{spec.summary}; {spec.notes}" if spec.notes else spec.summary
        lines.append(f"| {onnx} | `{spec.name}` | {', '.join(spec.dtypes)} | {what} |")
    return "\n".join(lines)


def with_table(text: str) -> str:
    """`text` with everything between the two marks replaced by the table; ValueError where a mark is missing."""
    before, _, rest = text.partition(BEGIN)
    _, mark, after = rest.partition(END)
    if not mark:
        raise ValueError("the marks of the table of operators are missing")
    return f"{before}{BEGIN}\n{operator_table()}\n{END}{after}"


if __name__ == "__main__":
    path = Path(sys.argv[1])
    path.write_text(with_table(path.read_text()))
