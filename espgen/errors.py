"""The only exception a user of espgen ever sees."""

from __future__ import annotations

BAD_INPUT = 2
ENVIRONMENT = 3


class EspgenError(Exception):
    """A problem the user can act on: what is wrong, where, and what to do about it.

    `node` names the model node, `place` the file, offset, tensor or option concerned, `hint` the remedy.
    `exit_code` is 2 for bad input or usage and 3 for a missing tool, port or other environment fault.
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


def environment_error(message: str, *, place: str | None = None, hint: str | None = None) -> EspgenError:
    """An error about the machine rather than the model (exit code 3)."""
    return EspgenError(message, place=place, hint=hint, exit_code=ENVIRONMENT)
