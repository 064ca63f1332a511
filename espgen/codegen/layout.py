"""Where lines of generated C++ break: within 100 columns, where clang-format with the project's style breaks them."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

COLUMNS = 100


def comment_lines(text: str) -> tuple[str, ...]:
    """The text of a // comment as lines without the slashes; continued lines are indented two more."""
    body = text.lstrip(" ")
    indent = " " * (len(text) - len(body))
    wrapped = textwrap.wrap(
        body,
        COLUMNS - len("// "),
        initial_indent=indent,
        subsequent_indent=f"{indent}  ",
        break_long_words=False,
        break_on_hyphens=False,
    )
    return tuple(wrapped) or ("",)


def filled(items: Sequence[str], indent: int, end: str = ",", columns: int = COLUMNS) -> tuple[str, ...]:
    """As many items per line as fit, separated by commas; `end` follows the last. Lines come without their indent."""
    lines: list[str] = []
    for number, item in enumerate(items):
        piece = item + ("," if number + 1 < len(items) else end)
        if lines and indent + len(lines[-1]) + 1 + len(piece) <= columns:
            lines[-1] += f" {piece}"
        else:
            lines.append(piece)
    return tuple(lines)


def include(header: str) -> str:
    """The line that includes a header; an empty line for none."""
    return f'#include "{header}"' if header else ""


def call(head: str, arguments: Sequence[object]) -> tuple[str, ...]:
    """A statement of a function, two columns in: `head` ends before the parenthesis; lines come without the indent."""
    return _parenthesized(head, [str(argument) for argument in arguments], ");", 2)


def declaration(head: str, parameters: Sequence[str], end: str) -> tuple[str, ...]:
    """The head of a function, from column 0 to `end`, which begins with the closing parenthesis."""
    return _parenthesized(head, parameters, end, 0)


def function(head: str, body: Sequence[str]) -> tuple[str, ...]:
    """A whole function; a body of at most one statement that fits stands on its head's line."""
    if not body:
        return (f"{head} {{}}",)
    short = f"{head} {{ {body[0]} }}"
    if len(body) == 1 and len(short) <= COLUMNS:
        return (short,)
    return (f"{head} {{", *(f"  {line}" for line in body), "}")


def _parenthesized(head: str, arguments: Sequence[str], end: str, indent: int) -> tuple[str, ...]:
    """Arguments continue below the first, or where that takes more lines or does not fit, four columns further in."""
    opening = f"{head}("
    aligned = filled(arguments, indent + len(opening), end)
    below = (opening + aligned[0], *(" " * len(opening) + line for line in aligned[1:]))
    hanging = filled(arguments, indent + 4, end)
    if indent + max(map(len, below)) <= COLUMNS and len(below) <= len(hanging) + 1:
        return below
    return (opening, *(f"    {line}" for line in hanging))
