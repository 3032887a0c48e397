"""Which distribution random numbers look like, where the two sides' are of two."""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import numpy as np
from torch import Tensor

__all__ = ["not_normal", "other_distribution"]

NORMAL = "normal"
FEWEST = 40  # numbers: of so many, normal ones are not all in [-1, 1)
LIKELY = 0.01  # by chance, if they are of the distribution
FAR = math.log(1e4)  # of likelihoods
SEVERAL = 3  # values that discrete numbers have at most


def other_distribution(names: tuple[str, str], a: Tensor, b: Tensor) -> list[str]:
    """Whether two sides draw from two distributions of which both are known.

    Arguments:
        names: Of the two sides.
        a, b: What they draw.

    Returns:
        Words; none if one is not known, or both may be of one.
    """
    if min(a.numel(), b.numel()) < FEWEST:
        return []
    few = [_few_values(x) for x in (a, b)]
    for side, words in enumerate(few):
        if words and not few[1 - side]:
            other = _name(_likely(_numbers((a, b)[1 - side])))
            if other:
                return [f"{names[side]}'s noise is {words}, {names[1 - side]}'s {other}"]
    if any(few):
        return []
    x, y = _numbers(a), _numbers(b)
    likely = _likely(x), _likely(y)
    first, second = _name(likely[0]), _name(likely[1])
    if not first or not second or set(likely[0]) & set(likely[1]):
        return []
    for numbers, right, wrong in ((x, first, second), (y, second, first)):
        if _likelihood(numbers, right) - _likelihood(numbers, wrong) < FAR:
            return []
    return [f"{names[1]}'s noise is {second}, {names[0]}'s {first}"]


def _name(likely: list[str]) -> str:
    """The one that the numbers are taken to be of: normal, if they may be."""
    if NORMAL in likely:
        return NORMAL
    return likely[0] if len(likely) == 1 else ""


def not_normal(x: Tensor) -> str:
    """The distribution that numbers look like, where it is not the standard normal one; empty if
    it may be, or is not known."""
    if x.numel() < FEWEST:
        return ""
    few = _few_values(x)
    if few:
        return few
    numbers = _numbers(x)
    name = _name(_likely(numbers))
    far = name and _likelihood(numbers, name) - _likelihood(numbers, NORMAL) >= FAR
    return name if far and name != NORMAL else ""


@cache
def _distributions() -> dict[str, Any]:
    """The known ones, by name, as scipy has them: whose import takes a second, where none is asked
    for."""
    from scipy import stats

    return {
        "normal": stats.norm(),
        "uniform in [0, 1)": stats.uniform(0, 1),
        "uniform in [-1, 1)": stats.uniform(-1, 2),
        "uniform in [-0.5, 0.5)": stats.uniform(-0.5, 1),
        "uniform with deviation 1": stats.uniform(-math.sqrt(3), 2 * math.sqrt(3)),
        "normal, cut off at two deviations": stats.truncnorm(-2, 2),
        "Laplace": stats.laplace(),
        "logistic": stats.logistic(),
        "Gumbel": stats.gumbel_r(),
        "exponential": stats.expon(),
        "Cauchy": stats.cauchy(),
        "|x| of normal x": stats.halfnorm(),
        "x^2 of normal x": stats.chi2(1),
        "exp(x) of normal x": stats.lognorm(1),
    }


def _numbers(x: Tensor) -> np.ndarray:
    return x.flatten().numpy()


def _likelihood(x: np.ndarray, name: str) -> float:
    """The logarithm of it."""
    return float(_distributions()[name].logpdf(x).sum())


def _likely(x: np.ndarray) -> list[str]:
    """The distributions that the numbers may be of; of those that nearly coincide, the likeliest
    by far."""
    from scipy import stats

    inside = {
        name: _likelihood(x, name)
        for name, one in _distributions().items()
        if stats.kstest(x, one.cdf).pvalue >= LIKELY
    }
    best = max(inside.values(), default=0.0)
    return [name for name, value in inside.items() if value > best - FAR]


def _few_values(x: Tensor) -> str:
    """Discrete numbers in words; empty if there are many."""
    values = sorted({float(one) for one in x.flatten().unique()[: SEVERAL + 1]})
    if not 2 <= len(values) <= SEVERAL:
        return ""
    return f"{', '.join(f'{one:g}' for one in values[:-1])} and {values[-1]:g} alone"
