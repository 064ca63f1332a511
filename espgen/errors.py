"""What can go wrong, in three kinds: the user's input, a kernel that does not exist, and espgen itself. Exit codes."""

from __future__ import annotations

from dataclasses import dataclass

DONE = 0
MISMATCH = 1
BAD_INPUT = 2
ENVIRONMENT = 3
DEFECT = 70
INTERRUPTED = 130

EXIT_CODES = {
    DONE: "equal or done",
    MISMATCH: "a mismatch or a missed target",
    BAD_INPUT: "bad input or usage",
    ENVIRONMENT: "a missing tool or port, or a machine that is full or forbids it",
    DEFECT: "a defect of espgen (the message says what to attach to a report)",
    INTERRUPTED: "interrupted (Ctrl-C)",
}
"""What every command's exit code means; nothing else is ever returned."""


class EspgenError(Exception):
    """A problem the user can act on: what is wrong, where, and what to do about it.

    `node` names the model node, `place` the file, offset, tensor or option concerned, `hint` the remedy.
    `exit_code` is one of EXIT_CODES: 2 for bad input or usage, 3 for a missing tool, port or other fault of the machine, 1 for
    a target that was missed.
    """

    def __init__(
        self,
        message: str,
        *,
        node: str | None = None,
        place: str | None = None,
        hint: str | None = None,
        exit_code: int = BAD_INPUT,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.node = node
        self.place = place
        self.hint = hint
        self.exit_code = exit_code

    def __str__(self) -> str:
        parts = [self.message]
        if self.node:
            parts.append(f"node: {self.node}")
        if self.place:
            parts.append(f"place: {self.place}")
        if self.hint:
            parts.append(f"remedy: {self.hint}")
        return "; ".join(parts)


class Defect(Exception):
    """A broken invariant of espgen itself. Nothing catches it: the command ends with code 70 and says what to report."""


@dataclass(frozen=True)
class Refusal:
    """Why a family of kernels has none for a node: a value, for reports. Another family takes the node, or portable C++ does."""

    reason: str


class Refused(Exception):
    """How a generator leaves when it finds that a shape has no kernel; the border of its family makes it a Refusal."""


def environment_error(message: str, *, place: str | None = None, hint: str | None = None) -> EspgenError:
    """An error about the machine rather than the model (exit code 3)."""
    return EspgenError(message, place=place, hint=hint, exit_code=ENVIRONMENT)


def missed_target(message: str, *, place: str | None = None, hint: str | None = None) -> EspgenError:
    """All was in order, but what was asked for was not reached (exit code 1)."""
    return EspgenError(message, place=place, hint=hint, exit_code=MISMATCH)
