"""The one error that a user's mistake raises, and how it is printed."""

from __future__ import annotations

import difflib
import re
import sys
from collections.abc import Iterable
from typing import Any

__all__ = ["UserError", "choose", "given", "print_error", "printable"]

LONGEST = 4000  # characters of a part of an error: a file can hold a name of any length
# What a terminal obeys instead of showing it (C0, C1), what changes the order in which text is
# shown, further ends of lines, and halves of surrogate pairs, which cannot be written.
UNSHOWN = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)


def printable(text: str) -> str:
    """Makes text from elsewhere safe to show on a terminal.

    Control characters are written out as Python writes them, such as \\x1b. Tabs and ends of lines
    become spaces.

    Example:
        >>> printable("a\\x1b[31mb")
        'a\\\\x1b[31mb'
    """
    text = re.sub("[\t\n\r]+", " ", text)
    return UNSHOWN.sub(lambda found: ascii(found[0])[1:-1], text)


def print_error(text: str) -> None:
    """Prints an error on standard error, as one line."""
    print(f"pyvae: {' '.join(printable(text).split())}", file=sys.stderr)


class UserError(Exception):
    """A mistake in what the user gave, or something that the machine lacks.

    The command line prints it as one line, without a traceback, and ends with exit code 2. The line
    reads *what is wrong. What to do.*, or, for a value out of its range, *what is wrong: expected
    these values. What to do.*

    Arguments:
        problem: What is wrong, with the value that was given.
        remedy: What to do about it, in the imperative. `run: COMMAND` gets no full stop, so that
            the command can be copied.
        expected: The values that are valid; empty if the problem is not about a value.

    Example:
        >>> print(UserError("--epochs 0", expected="1 or more"))
        --epochs 0: expected 1 or more
        >>> print(UserError("disk full while writing 'x'", "free some space"))
        disk full while writing 'x'. Free some space.
    """

    def __init__(self, problem: str, remedy: str = "", *, expected: str = "") -> None:
        self.problem, self.remedy, self.expected = problem, remedy, expected
        message = ": expected ".join(_line(part) for part in (problem, expected) if part)
        todo = _line(remedy)
        super().__init__(f"{message}. {_sentence(todo)}" if todo else message)

    def __reduce__(self) -> tuple[Any, tuple[str, str, str]]:
        """Pickles as a UserError: derived classes take other arguments."""
        return _again, (self.problem, self.remedy, self.expected)


def _again(problem: str, remedy: str, expected: str) -> UserError:
    return UserError(problem, remedy, expected=expected)


def _sentence(text: str) -> str:
    end = "" if text.endswith((".", "?", "!")) or text.startswith("run: ") else "."
    return f"{text[0].upper()}{text[1:]}{end}"


def _line(text: str) -> str:
    line = " ".join(printable(text).split())
    if len(line) <= LONGEST:
        return line
    return f"{line[: LONGEST // 2]} ... {line[-LONGEST // 2 :]}"


def given(value: object) -> str:
    """What a function was given in place of what it takes, in words.

    Example:
        >>> given("conv")
        "the text 'conv'"
        >>> given({})
        'a dict'
    """
    if isinstance(value, str):
        return f"the text '{value}'"
    if value is None:
        return "None"
    kind = f"the class {value.__name__}" if isinstance(value, type) else type(value).__name__
    if kind.startswith("the "):
        return kind
    return f"{'an' if kind[0].lower() in 'aeiou' else 'a'} {kind}"


def choose(kind: str, name: str, options: Iterable[str]) -> str:
    """Returns `name` if it is one of `options`.

    Raises:
        UserError: If it is not; the message lists the options and names the nearest.

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
        f"did you mean '{near[0]}'?" if near else "",
        expected=f"one of {', '.join(options)}",
    )
