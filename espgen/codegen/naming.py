"""Names and strings from a model, made safe for C++, CMake and file names: the one place where that happens."""

from __future__ import annotations

import keyword
import re
from collections.abc import Iterable

from espgen.ir import unused_name

_CPP_WORDS = frozenset(
    """alignas alignof and asm auto bool break case catch char class const constexpr continue default delete do double else
    enum explicit export extern false float for friend goto if inline int long mutable namespace new noexcept not nullptr
    operator or private protected public register return short signed sizeof static struct switch template this throw true
    try typedef typeid typename union unsigned using virtual void volatile while xor main espgen std""".split()
)
_LONGEST = 48


def identifier(text: str) -> str:
    """`text` as a C identifier: ASCII letters, digits and single underscores, never empty or a keyword."""
    cleaned = re.sub(r"[^0-9a-zA-Z]+", "_", text).strip("_").lower()[:_LONGEST].rstrip("_") or "unnamed"
    if cleaned[0].isdigit():
        cleaned = f"n{cleaned}"
    if cleaned in _CPP_WORDS or keyword.iskeyword(cleaned):
        cleaned = f"{cleaned}_"
    return cleaned


def identifiers(names: Iterable[str]) -> dict[str, str]:
    """A different identifier for every name, in order; clashes get a number."""
    result: dict[str, str] = {}
    taken: set[str] = set()
    for name in names:
        candidate = unused_name(identifier(name), taken)
        taken.add(candidate)
        result[name] = candidate
    return result


def c_string(text: str) -> str:
    """A C string literal with every byte outside printable ASCII escaped in octal."""
    out = []
    for byte in text.encode("utf-8", "replace"):
        char = chr(byte)
        if char in '"\\':
            out.append("\\" + char)
        elif char == "?" or not 32 <= byte < 127:
            out.append(f"\\{byte:03o}")
        else:
            out.append(char)
    return '"' + "".join(out) + '"'


def comment(text: str) -> str:
    """Text for a // comment: one line of printable ASCII that cannot continue onto the next."""
    line = "".join(char if 32 <= ord(char) < 127 else "?" for char in text)
    return line.rstrip("\\").replace("??/", "?? /")
