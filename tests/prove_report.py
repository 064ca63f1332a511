"""Turns the JUnit files of `make prove` into docs/proofs.md: what was proved, how often, and in which time."""

from __future__ import annotations

import sys
import xml.etree.ElementTree as ElementTree
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

HEAD = """# Proofs

The last report of `make prove`: every long proof, by the file that holds it. `make test` runs the short forms of the same
tests. A skipped proof says why in the run's output (a tool or the data folder is missing).

| proofs | passed | failed | skipped | seconds |
|---|---|---|---|---|
"""

LISTED = "test_reference_models"
"""The file whose proofs are listed one by one."""

KEPT = "## What they showed"
"""From this heading on the page is written by hand and stays."""


@dataclass
class Tally:
    """Results of one file."""

    passed: int = 0
    failed: int = 0
    skipped: int = 0
    seconds: float = 0.0

    def add(self, case: ElementTree.Element) -> None:
        self.seconds += float(case.get("time", "0"))
        if case.find("failure") is not None or case.find("error") is not None:
            self.failed += 1
        elif case.find("skipped") is not None:
            self.skipped += 1
        else:
            self.passed += 1


def report(paths: list[Path]) -> str:
    """The page for the given JUnit files."""
    tallies: dict[str, Tally] = defaultdict(Tally)
    listed = []
    for path in paths:
        for case in ElementTree.parse(path).getroot().iter("testcase"):
            name = case.get("classname", "").replace(".", "/") + ".py"
            tallies[name].add(case)
            if LISTED in name:
                failed = case.find("failure") is not None
                listed.append(f"| {case.get('name')} | {'failed' if failed else 'passed'} | {float(case.get('time', '0')):.0f} |")
    rows = [
        f"| {name} | {tally.passed} | {tally.failed} | {tally.skipped} | {tally.seconds:.0f} |"
        for name, tally in sorted(tallies.items())
    ]
    page = HEAD + "\n".join(rows) + "\n"
    if listed:
        page += "\nOn the real models:\n\n| proof | result | seconds |\n|---|---|---|\n" + "\n".join(sorted(listed)) + "\n"
    return page


def kept(page: Path) -> str:
    """The part of the page that is written by hand."""
    text = page.read_text(encoding="utf-8") if page.exists() else ""
    return f"\n{text[text.index(KEPT):]}" if KEPT in text else ""


if __name__ == "__main__":
    page = Path(sys.argv[1])
    page.write_text(report([Path(name) for name in sys.argv[2:]]) + kept(page), encoding="utf-8")
