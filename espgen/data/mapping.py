"""`--input NAME=ARRAY[:NHWC|:NCHW][:real|:codes]`: which array feeds which input, and how it is meant."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from espgen.errors import EspgenError

FORM = "NAME=ARRAY[:NHWC|:NCHW][:real|:codes]"
LAYOUTS = ("NHWC", "NCHW")
MEANINGS = ("real", "codes")


class Wanted(NamedTuple):
    """`array` of the data, its `layout` ("NHWC", "NCHW", "" for the model's), its `meaning` ("real", "codes", "" by the rule)."""

    array: str
    layout: str = ""
    meaning: str = ""


Mapped = Mapping[str, Wanted | tuple[str, str] | tuple[str, str, str]]
"""What `--input` says, by input."""


def parse(entry: str) -> tuple[str, Wanted]:
    """(input, what feeds it). ValueError for what is not of FORM."""
    name, separator, array = entry.partition("=")
    layout = meaning = ""
    while ":" in array:
        rest, _, word = array.rpartition(":")
        if not layout and word.upper() in LAYOUTS:
            array, layout = rest, word.upper()
        elif not meaning and word.lower() in MEANINGS:
            array, meaning = rest, word.lower()
        else:
            break
    if not separator or not name or not array:
        raise ValueError(f"{entry!r} is not of the form {FORM}")
    return name, Wanted(array, layout, meaning)


def checked(mapping: Mapped | None, inputs: Iterable[str]) -> dict[str, Wanted]:
    """The mapping with all its fields. EspgenError for inputs that the model does not have and for unknown words."""
    known = list(inputs)
    found = {}
    for name, given in (mapping or {}).items():
        wanted = Wanted(*given)
        if name not in known:
            raise EspgenError(f"the model has no input {name!r}", place="--input", hint=f"its inputs: {', '.join(known)}")
        if wanted.layout not in ("", *LAYOUTS) or wanted.meaning not in ("", *MEANINGS):
            raise EspgenError(f"{tuple(wanted)} is no array of the form {FORM}", place="--input", hint="write it like this")
        found[name] = wanted
    return found
