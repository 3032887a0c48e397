"""Settings that are read from environment variables."""

from __future__ import annotations

import math
import os

from pyvae.errors import UserError

__all__ = ["read_seconds"]


MOST = 2_000_000.0  # 23 days: what a socket can wait in 32 bits of milliseconds


def read_seconds(
    variable: str, default: float, *, or_zero: bool = False, most: float = MOST
) -> float:
    """Reads a number of seconds from an environment variable.

    Arguments:
        variable: The variable's name.
        default: Returned if the variable is not set.
        or_zero: Whether 0 is allowed.
        most: The largest value that is allowed.

    Raises:
        UserError: If the value is not a number in the allowed range.
    """
    given = os.environ.get(variable)
    try:
        seconds = default if given is None else float(given)
    except ValueError:
        seconds = -1.0
    if not (seconds > 0 or (or_zero and seconds == 0)) or seconds > most:
        expected = "a number of seconds, 0 or more" if or_zero else "a number of seconds above 0"
        if most < math.inf:
            expected += f", at most {most:,.0f}"
        raise UserError(f"{variable} is '{given}'", expected=expected)
    return seconds
