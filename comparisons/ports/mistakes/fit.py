"""Which of several mistakes a wrong value looks like: only those that explain all of it."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from comparisons.ports.judging.judged import EPSILON
from comparisons.ports.judging.own import distance

__all__ = ["alike", "fitting", "holding", "joined"]

Value = tuple[str, NDArray]  # a mistake in words, and what is returned with it

REST = 1e-3  # of a mistake's size: what a mistake may leave unexplained
ROUNDINGS = 32  # units in the last place of the largest number: what rounding leaves of any stage
LARGEST_REST = 0.05  # of a mistake's size, where rounding is nearly as large as the mistake
FEW = 3  # numbers: many mistakes come near to fewer
MOST = 4  # names: where more than these fit, the values say too little


def fitting(
    found: NDArray, right: NDArray, values: Iterable[Value], precision: str, rtol: float
) -> list[str]:
    """The mistakes that give what was found; none if too many do.

    Arguments:
        found: What was recorded.
        right: What it should be.
        values: What it would be with each mistake.
        precision: The type of number that the program computed with.
        rtol: How near numbers of another shape than the right ones have to be.
    """
    found = found.astype(np.float64)
    rounding = ROUNDINGS * EPSILON[precision] * largest(found)
    size = distance(right, found) if right.shape == found.shape else math.inf
    if math.isinf(size):
        size = largest(found)
        allowed = min(rtol * size, REST * size)
    else:
        allowed = max(REST * size, min(rounding, LARGEST_REST * size))
        if found.size < FEW:
            allowed = min(allowed, rounding)
    off: dict[str, float] = {}
    for words, value in values:
        apart = distance(value, found) if value.shape == found.shape else math.inf
        off[words] = min(apart, off.get(words, math.inf))
    best = min(off.values(), default=math.inf)
    if not best <= allowed:
        return []
    near = min(allowed, max(10 * best, rounding))
    names = [words for words, apart in off.items() if apart <= near]
    return names if len(_by_setting(names)) <= MOST else []


def holding(
    names: list[str],
    found: NDArray,
    right: NDArray,
    values: Iterable[Value],
    precision: str,
    allowed: float,
) -> list[str]:
    """Those of the mistakes that give what was found in another step, too, and of these the ones
    that come nearest.

    Arguments:
        names: In words.
        found: What was recorded there.
        right: What it should be there.
        values: What it would be there with each mistake.
        precision: The type of number that the program computed with.
        allowed: What rounding may leave there.
    """
    found = found.astype(np.float64)
    size = distance(right, found) if right.shape == found.shape else largest(found)
    rounding = ROUNDINGS * EPSILON[precision] * largest(found)
    allowed = max(allowed, REST * size, min(rounding, LARGEST_REST * size))
    off: dict[str, float] = {}
    for words, value in values:
        for name in names:
            if value.shape == found.shape and alike(name, words):
                off[name] = min(distance(value, found), off.get(name, math.inf))
    best = min(off.values(), default=math.inf)
    near = min(allowed, max(10 * best, rounding))
    return [name for name in names if off.get(name, math.inf) <= near]


def alike(a: str, b: str) -> bool:
    """Whether two names are one, but for the last digits of constants that were fitted."""
    number = r"\d+\.?\d*(?:e[-+]?\d+)?"
    if re.sub(number, "0", a) != re.sub(number, "0", b):
        return False
    pairs = zip(re.findall(number, a), re.findall(number, b), strict=True)
    return all(math.isclose(float(x), float(y), rel_tol=REST) for x, y in pairs)


def joined(names: list[str], following: str = "") -> str:
    """Several names as one, with what would tell them apart, if that is known.

    Example:
        >>> joined(["eps = 0 where it is 0.01", "eps = 1e-08 where it is 0.01", "no weight"])
        'eps = 0 or 1e-08 where it is 0.01, or no weight'
    """
    words = ", or ".join(_by_setting(names))
    return f"{words}: {following} would tell them apart" if following and len(names) > 1 else words


def _by_setting(names: list[str]) -> list[str]:
    """Names, those that differ in the value of a setting alone as one."""
    found: dict[tuple[str, str], list[str]] = {}
    for name in names:
        setting = re.fullmatch(r"(\w+ = )(\S+)( where it is \S+)", name)
        key = (setting[1], setting[3]) if setting else (name, "")
        found.setdefault(key, []).append(setting[2] if setting else "")
    words = []
    for (start, end), values in found.items():
        first = ", ".join(values[:-1])
        words.append(f"{start}{first} or {values[-1]}{end}" if first else start + values[0] + end)
    return words


def largest(x: NDArray) -> float:
    finite = np.abs(x[np.isfinite(x)])
    return float(finite.max(initial=0.0))
