"""Seconds that an environment variable sets."""

from __future__ import annotations

import math
import os

from pyvae.errors import UserError

__all__ = ["seconds_of"]


MOST = 2_000_000.0  # 23 days: what a socket can wait in 32 bits of milliseconds


def seconds_of(
    variable: str, default: float, *, or_zero: bool = False, most: float = MOST
) -> float:
    """The seconds that an environment variable holds.

    Arguments:
        variable: Its name.
        default: If it is not set.
        or_zero: Whether 0 is allowed, too.
        most: The most that is allowed.

    Raises:
        UserError: If it holds something else than a number above 0 and not above `most`.
    """
    given = os.environ.get(variable)
    try:
        seconds = default if given is None else float(given)
    except ValueError:
        seconds = -1.0
    if not (seconds > 0 or (or_zero and seconds == 0)) or seconds > most:
        expected = "seconds, 0 or more" if or_zero else "seconds above 0"
        if most < math.inf:
            expected += f", at most {most:,.0f}"
        raise UserError(f"{variable} is '{given}'", expected=expected)
    return seconds
