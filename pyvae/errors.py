"""The one error that a user's mistake raises, and the words it is told in."""

from __future__ import annotations

import difflib
import re
import sys
from collections.abc import Iterable

__all__ = ["UserError", "choose", "print_error", "printable"]

LONGEST = 4000  # characters of a part of an error: a file can hold a name of any length
# What a terminal obeys instead of showing it (C0, C1), what changes the order in which text is
# shown, further ends of lines, and halves of surrogate pairs, which cannot be written.
UNSHOWN = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)


def printable(text: str) -> str:
    """A text from elsewhere as it may be shown on a terminal: control characters as Python writes
    them, such as \\x1b. Tabs and ends of lines become spaces.

    Example:
        >>> printable("a\\x1b[31mb")
        'a\\\\x1b[31mb'
    """
    text = re.sub("[\t\n\r]+", " ", text)
    return UNSHOWN.sub(lambda found: ascii(found[0])[1:-1], text)


def print_error(text: str) -> None:
    """Says on standard error, in a line, what went wrong."""
    print(f"pyvae: {' '.join(printable(text).split())}", file=sys.stderr)


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
        super().__init__("; ".join(_line(part) for part in parts if part))

    def __reduce__(self) -> tuple[type[UserError], tuple[str, str, str]]:
        """From one process to another: those derived from it take other arguments."""
        return UserError, (self.given, self.expected, self.remedy)


def _line(text: str) -> str:
    line = " ".join(printable(text).split())
    if len(line) <= LONGEST:
        return line
    return f"{line[: LONGEST // 2]} ... {line[-LONGEST // 2 :]}"


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
