"""Whether one side is the other times a constant, or plus one."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from comparisons.diagnosis.closeness import magnitude, same
from comparisons.diagnosis.relations.names_of_factors import EXACT, named_factors
from comparisons.diagnosis.relations.normalisations import normalisation
from comparisons.diagnosis.relations.two_values import FEWEST, TwoValues

__all__ = ["affine", "factor"]

COARSE = 1e-7  # a tolerance that is not float64's
NEAR = 1e-3  # relative: names that may be a factor's
MOST_NAMES = 3


def factor(
    two: TwoValues, factors: Mapping[str, float], numbers: Mapping[int, str] | None
) -> list[str]:
    """Whether b is a times a constant.

    Arguments:
        two: The values.
        factors: Constants with a name, such as 1/batch size.
        numbers: Numbers that may have been multiplied or divided by, and what they count. Without
            them, a single number has no other factor than those with a name.
    """
    names = two.names
    largest = [magnitude(x) for x in (two.a, two.b)]
    if not all(largest):
        return [f"{names[largest.index(0.0)]} is zero throughout"]
    found = _slope(two.a, two.b)
    if not two.is_b(found * two.a):
        return []
    minus = "-" if found < 0 else ""
    for label, known in factors.items():
        for (one, other), value in ((names, known), (names[::-1], 1 / known)):
            if _is_near(abs(found), value) and two.is_b(_signed(value, found) * two.a):
                return [f"{other} is {one} times {minus}{label}"]
    dtype = "float64" if two.rtol < COARSE else "float32"
    named = () if numbers is None else named_factors(abs(found), numbers, dtype)
    labels = [label for label, value in named if two.is_b(_signed(value, found) * two.a)]
    if labels:
        return [f"{names[1]} is {names[0]} times {minus}{', or '.join(labels[:MOST_NAMES])}"]
    if two.are_constant:
        return []  # one number is always a multiple of another
    for (one, other), value in ((names, found), (names[::-1], 1 / found)):
        words = normalisation(value, 0.0, EXACT[dtype] * 10)
        if words:
            return [f"{other} is {words}, where x is {one}"]
    return [f"{names[1]} is {names[0]} times {number(found)}"]


def affine(two: TwoValues) -> list[str]:
    """Whether a constant was added, to the one or to a multiple of it."""
    a, b, names = two.a, two.b, two.names
    if a.numel() < FEWEST or any(same(x, x.mean().expand_as(x), two.rtol) for x in (a, b)):
        return []
    exact = 1e-6 if two.rtol < COARSE else 1e-5
    shift = float((b - a).median())
    if two.is_b(a + shift):
        for (one, other), value in ((names, shift), (names[::-1], -shift)):
            known = normalisation(1.0, value, exact)
            if known:
                return [f"{other} is {known}, where x is {one}"]
        return [f"{names[1]} is {names[0]} {added(shift)}"]
    times = _slope(a - a.mean(), b - b.mean())
    shift = float(b.mean()) - times * float(a.mean())
    if times == 0 or not two.is_b(times * a + shift):
        return []
    for (one, other), how in ((names, (times, shift)), (names[::-1], (1 / times, -shift / times))):
        known = normalisation(*how, exact)
        if known:
            return [f"{other} is {known}, where x is {one}"]
    return [f"{names[1]} is {names[0]} times {number(times)} {added(shift)}"]


def _slope(a: Tensor, b: Tensor) -> float:
    """The factor of b = factor a by least squares, of numbers whose squares neither vanish nor
    overflow."""
    largest = magnitude(a), magnitude(b)
    u, v = a / largest[0], b / largest[1]
    return float((u * v).sum()) / float((u * u).sum()) * (largest[1] / largest[0])


def _is_near(found: float, known: float) -> bool:
    return abs(found - known) <= NEAR * known


def _signed(value: float, like: float) -> float:
    return -value if like < 0 else value


def added(shift: float) -> str:
    return f"{'plus' if shift > 0 else 'minus'} {abs(shift):.4g}"


def number(factor: float) -> str:
    """With six digits, of what it is away from 1 as well."""
    if 1e-12 < abs(abs(factor) - 1) < 1e-3:
        return f"{'-' if factor < 0 else ''}(1 {abs(factor) - 1:+.6g})"
    return f"{factor:.6g}"
