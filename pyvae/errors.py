"""The one error that a user's mistake raises, and the words it is told in."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

__all__ = ["UserError", "choose"]


class UserError(Exception):
    """Something the user gave, or the machine lacks, that a run cannot work with.

    The command line prints it as one line and ends with exit code 2, without a traceback.

    Arguments:
        given: What was given or found.
        expected: What was expected instead.
        remedy: What to do about it.
    """

    def __init__(self, given: str, expected: str = "", remedy: str = "") -> None:
        self.given, self.expected, self.remedy = given, expected, remedy
        parts = [given, f"expected {expected}" if expected else "", remedy]
        super().__init__("; ".join(" ".join(part.split()) for part in parts if part))

    def __reduce__(self) -> tuple[type[UserError], tuple[str, str, str]]:
        """From one process to another: those derived from it take other arguments."""
        return UserError, (self.given, self.expected, self.remedy)


def choose(kind: str, name: str, options: Iterable[str]) -> str:
    """Returns `name` if it is one of `options`.

    Raises:
        UserError: Otherwise, naming the nearest option.

    Example:
        >>> choose("objective", "emae", ["vae", "emae"])
        'emae'
    """
    options = list(options)
    if name in options:
        return name
    near = difflib.get_close_matches(name.lower(), options, n=1, cutoff=0.5)
    raise UserError(
        f"unknown {kind} '{name}'",
        f"one of {', '.join(options)}",
        f"did you mean '{near[0]}'?" if near else "",
    )
