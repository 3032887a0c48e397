"""Two schedules of the learning rate, held against each other over the steps that were recorded."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import groupby, pairwise

__all__ = ["schedule_difference"]

CLOSE = 1e-6  # relative: two rates that are one
LEAST = 3  # steps in which a schedule shows


def schedule_difference(names: tuple[str, str], a: Sequence[float], b: Sequence[float]) -> str:
    """How the second side's learning rates follow from the first side's, in words; empty if that is
    not known.

    Arguments:
        names: Of the two sides.
        a, b: The rates of steps that follow each other, from the same step on.
    """
    if len(a) != len(b) or len(a) < LEAST or _alike(a, b):
        return ""
    if _constant(b):
        missing = " (is step() of the schedule missing?)" if _same(a[0], b[0]) else ""
        return "" if _constant(a) else f"it stays the same, {names[0]}'s does not{missing}"
    if _constant(a):
        found = _shape(b)
        return f"it follows {found}, {names[0]}'s stays the same" if found else ""
    return _shifted(names, a, b) or _paced(names, a, b) or _factor(a, b) or _shapes(names, a, b)


def _same(x: float, y: float) -> bool:
    return math.isclose(x, y, rel_tol=CLOSE, abs_tol=1e-15)


def _alike(a: Sequence[float], b: Sequence[float]) -> bool:
    return all(map(_same, a, b))


def _constant(x: Sequence[float]) -> bool:
    return _alike(x, [x[0]] * len(x))


def _shifted(names: tuple[str, str], a: Sequence[float], b: Sequence[float]) -> str:
    """One step, or several, behind or ahead."""
    for by in range(1, len(a) - 1):
        for behind, (late, early) in ((True, (b, a)), (False, (a, b))):
            there, here = early[: len(early) - by], late[by:]
            if _alike(there, here) and not _constant(here):
                steps = "step before" if behind else "step after"
                steps = steps if by == 1 else f"{by} steps {'before' if behind else 'after'}"
                return f"it is that of the {steps} in {names[0]}{_warm_up(a, b)}"
    return ""


def _warm_up(a: Sequence[float], b: Sequence[float]) -> str:
    """Which step of how many, where both rise by the same from zero."""
    rise = a[1] - a[0]
    if rise <= 0 or not _same(b[1] - b[0], rise):
        return ""
    at = [round(x[0] / rise) for x in (a, b)]
    if not all(_same(n * rise, x[0]) for n, x in zip(at, (a, b), strict=True)):
        return ""
    length = ""
    if max(a) == a[-1] and _same(a[-1], a[-2]):
        length = f" of {round(a[-1] / rise)}"
    return f" (warm-up: the first step is step {at[1]}{length}, where it is step {at[0]}{length})"


def _paced(names: tuple[str, str], a: Sequence[float], b: Sequence[float]) -> str:
    """The same rates, each for another number of steps."""
    runs = [[(key, len(list(group))) for key, group in groupby(x)] for x in (a, b)]
    values = [[key for key, _ in one] for one in runs]
    shorter = min(map(len, values))
    if shorter < 2 or not _alike(values[0][:shorter], values[1][:shorter]):
        return ""
    paces = [{length for _, length in one[: shorter - 1]} for one in runs]
    if any(len(pace) > 1 for pace in paces) or paces[0] == paces[1]:
        return ""
    here, there = paces[1].pop(), paces[0].pop()
    epochs = " (per batch where it is per epoch, or the other way round)"
    return f"it changes after every {_steps(here)}, {names[0]}'s after every {_steps(there)}" + (
        epochs if 1 in (here, there) else ""
    )


def _steps(count: int) -> str:
    return "step" if count == 1 else f"{count} steps"


def _factor(a: Sequence[float], b: Sequence[float]) -> str:
    if any(x == 0 for x in a):
        return ""
    factors = [y / x for x, y in zip(a, b, strict=True)]
    return f"times {factors[0]:.4g} in all {len(a)} recorded steps" if _constant(factors) else ""


def _shapes(names: tuple[str, str], a: Sequence[float], b: Sequence[float]) -> str:
    first, second = _shape(a), _shape(b)
    if not first or not second or first == second:
        return ""
    return f"it follows {second}, {names[0]}'s {first}"


def _shape(x: Sequence[float]) -> str:
    """What a schedule's rates follow; empty of too few to tell."""
    if len(x) < 4:
        return ""
    steps = [later - earlier for earlier, later in pairwise(x)]
    if _equal(steps, x):
        return f"a straight line ({'up' if steps[0] > 0 else 'down'} by {abs(steps[0]):.4g} a step)"
    if all(one > 0 for one in x):
        ratios = [later / earlier for earlier, later in pairwise(x)]
        if _constant(ratios):
            return f"a power (times {ratios[0]:.4g} a step)"
        if all(_same(one * math.sqrt(t), x[0]) for t, one in enumerate(x, 1)):
            return "the inverse root of the step"
    return _cosine(x)


def _equal(steps: Sequence[float], x: Sequence[float]) -> bool:
    most = max(map(abs, x))
    return all(abs(one - steps[0]) <= CLOSE * most for one in steps)


def _cosine(x: Sequence[float]) -> str:
    """Half a cosine from the first step on: x = m + h cos(w t)."""
    if len(x) < 5 or _same(x[0], x[1]):
        return ""
    cosine = (x[0] - x[2]) / (2 * (x[0] - x[1])) - 1
    if not -1 < cosine < 1:
        return ""
    w = math.acos(cosine)
    half = (x[0] - x[1]) / (1 - cosine)
    fits = [x[0] - half * (1 - math.cos(w * t)) for t in range(len(x))]
    near = all(abs(u - v) <= 1e-4 * max(map(abs, x)) for u, v in zip(fits, x, strict=True))
    return f"a cosine over {math.pi / w:.4g} steps" if near else ""
