r"""The arithmetic of agreement between two sets of numbers.

For elements a (under test) and b (reference):

- absolute difference :math:`|a - b|`;
- relative difference :math:`|a - b| / \max(|a|, |b|)`, 0 where both are 0, so that zero
  against non-zero is 1 and nothing divides by zero;
- ULP difference: how many representable numbers of the run's precision lie between the two
  (Goldberg 1991, "What every computer scientist should know about floating-point arithmetic");
- the tolerance that would have sufficed, `required_rtol`: the difference over a *scale*,
  worst over all elements or tensors (see `Rule`).

Shapes that differ, NaN or infinity on either side, and having nothing to compare, are
disagreements with words of their own; they are never a pass.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from comparisons.agreement.tolerances import Rule

__all__ = ["Agreement", "compare_arrays", "ulp_difference"]


@dataclass(frozen=True)
class Agreement:
    """How far two sets of arrays agree.

    Attributes:
        max_abs, max_rel, max_ulp: The largest differences over all elements.
        required_rtol: The tolerance that would have sufficed, under the rule's scale.
        rule: What it was held against.
        worst: Where `required_rtol` comes from: array and element, counted from 0; empty where
            nothing differs.
        problem: A shape difference, NaN or infinity, in words; then the numbers are NaN.
    """

    max_abs: float
    max_rel: float
    max_ulp: int
    required_rtol: float
    rule: Rule
    worst: str
    problem: str = ""

    @property
    def agrees(self) -> bool:
        return not self.problem and self.required_rtol <= self.rule.rtol

    def __str__(self) -> str:
        if self.problem:
            return f"disagree: {self.problem}"
        return (
            f"{'agree' if self.agrees else 'disagree'}: needed {self.required_rtol:.1e}, allowed "
            f"{self.rule.rtol:.0e}, largest difference {self.max_abs:.1e} ({self.max_ulp} ULP)"
        )


def compare_arrays(
    under_test: Mapping[str, NDArray],
    reference: Mapping[str, NDArray],
    rule: Rule,
    dtype: str,
) -> Agreement:
    """Compares arrays of the same names, element by element.

    Arguments:
        under_test, reference: Arrays by name.
        rule: What the differences are held against.
        dtype: The run's precision, in which ULPs are counted.
    """
    problem = _problem(under_test, reference)
    if problem:
        return Agreement(math.nan, math.nan, -1, math.nan, rule, "", problem)
    max_abs = max_rel = required = 0.0
    max_ulp = 0
    worst = ""
    for name in sorted(reference):  # in whatever order they were read
        a = under_test[name].astype(np.float64)
        b = reference[name].astype(np.float64)
        difference = np.abs(a - b)
        size = np.maximum(np.abs(a), np.abs(b))
        relative = np.divide(difference, size, out=np.zeros_like(size), where=size > 0)
        max_abs = max(max_abs, float(difference.max()))
        max_rel = max(max_rel, float(relative.max()))
        max_ulp = max(max_ulp, int(ulp_difference(a, b, dtype).max()))
        needed = _required(difference, relative, a, b, rule.scale)
        if needed > required:
            required = needed
            index = relative.argmax() if rule.scale == "element" else difference.argmax()
            worst = f"{name}[{', '.join(str(i) for i in np.unravel_index(index, a.shape))}]"
    return Agreement(max_abs, max_rel, max_ulp, required, rule, worst)


def _required(difference: NDArray, relative: NDArray, a: NDArray, b: NDArray, scale: str) -> float:
    if scale == "element":
        return float(relative.max())
    if scale == "tensor":
        return _ratio(float(difference.max()), max(float(np.abs(x).max()) for x in (a, b)))
    norms = (float(np.linalg.norm(x)) for x in (a, b))
    return _ratio(float(np.linalg.norm(difference)), max(norms))


def _ratio(difference: float, size: float) -> float:
    return difference / size if size > 0 else 0.0


def _problem(under_test: Mapping[str, NDArray], reference: Mapping[str, NDArray]) -> str:
    """What makes two sets of arrays incomparable, in words, or an empty string."""
    if not reference and not under_test:
        return "there is nothing to compare"
    odd = sorted(set(under_test) ^ set(reference))
    if odd:
        return f"{odd[0]} is on one side only"
    for name, b in reference.items():
        a = under_test[name]
        if a.shape != b.shape:
            return f"{name} has shape {a.shape} against {b.shape}"
        if a.size == 0:
            return f"{name} is empty"
        bad_a, bad_b = ~np.isfinite(a), ~np.isfinite(b)
        if bad_a.any() or bad_b.any():
            index = tuple(int(i) for i in np.argwhere(bad_a | bad_b)[0])
            return f"{name}{list(index)} is {a[index]} against {b[index]}"
    return ""


def ulp_difference(a: NDArray, b: NDArray, dtype: str) -> NDArray[np.uint64]:
    """Steps from a to b in the given precision (both are rounded to it first).

    Example:
        >>> one = np.array([1.0])
        >>> ulp_difference(one, np.nextafter(one, 2), "float64")
        array([1], dtype=uint64)
    """
    x, y = _ordered(a, dtype), _ordered(b, dtype)
    return np.where(x > y, x - y, y - x)


def _ordered(values: NDArray, dtype: str) -> NDArray[np.uint64]:
    """Floats as unsigned integers in the same order; both zeros are the same number."""
    bits = 64 if dtype == "float64" else 32
    signed = np.ascontiguousarray(values.astype(dtype)).view(f"int{bits}").astype(np.int64)
    top = np.uint64(2**63)
    magnitude = (signed & np.int64(2 ** (bits - 1) - 1)).astype(np.uint64)
    return np.where(signed < 0, top - magnitude, top + magnitude)
