"""Names and strings from a model, made safe for C++, CMake and file names: the one place where that happens."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Callable, Iterable

from espgen.codegen.reserved_names import RESERVED_NAMES
from espgen.ir import unused_name

_LONGEST = 48
_OWN_ENDINGS = ("_io", "_layers", "_host", "_weights", "_internal", "_psram", "_t")
"""Files and symbols of a component end so (`kws_io.h` belongs to the model kws), and types of C."""
_OWN_BEGINNINGS = ("espgen", "std", "esp_", "pthread_")


def identifier(text: str) -> str:
    """`text` as part of a C identifier: lower-case ASCII letters, digits and single underscores, never empty.

    Letters lose their accents. What is generated puts `layer_000_`, `write_` and the like in front of it.
    """
    plain = "".join(char for char in unicodedata.normalize("NFKD", text) if not unicodedata.combining(char))
    cleaned = re.sub(r"[^0-9a-zA-Z]+", "_", plain).strip("_").lower()[:_LONGEST].rstrip("_") or "unnamed"
    return f"n{cleaned}" if cleaned[0].isdigit() else cleaned


def model_identifier(text: str) -> str:
    """The name of a model's namespace, header and symbols: `identifier`, made different from all that C++ knows.

    A name that C, C++, their libraries or another component's files have gets `_model` behind it. A name that is cut, or has
    no ASCII letter or digit at all, ends in eight digits of its SHA-256, so that two of them in one firmware stay apart.
    """
    name = identifier(text)
    digest = hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:8]
    if not re.search(r"[0-9a-zA-Z]", unicodedata.normalize("NFKD", text)):
        return f"model_{digest}"
    if len(text) > _LONGEST:
        name = f"{name[: _LONGEST - 9].rstrip('_')}_{digest}"
    taken = name in RESERVED_NAMES or name.endswith(_OWN_ENDINGS) or name.startswith(_OWN_BEGINNINGS)
    return f"{name}_model" if taken else name


def camel(symbol: str) -> str:
    """`image_data` as `ImageData`."""
    return "".join(part.capitalize() for part in symbol.split("_"))


def port_identifiers(names: Iterable[str], generated: Callable[[str], Iterable[str]]) -> dict[str, str]:
    """An identifier for every name, in order, so that nothing `generated` from one of them is generated from another.

    Clashes get a number: x1 and x_1 would share the constant kInputX1, y and y_real the function write_y_real.
    """
    result: dict[str, str] = {}
    taken: set[str] = set()
    for name in names:
        wanted, tried = identifier(name), set[str]()
        candidate = wanted
        while taken & (symbols := set(generated(candidate))):
            tried.add(candidate)
            candidate = unused_name(wanted, tried)
        taken |= symbols
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
