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
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pyvae.model.stages import Stage

__all__ = [
    "EVALUATION_RULES",
    "EXACT",
    "NORMALISED_RULES",
    "RULES",
    "STAGE_RULES",
    "Agreement",
    "Rule",
    "compare_arrays",
    "is_normalised",
    "probe_rule",
    "run_rules",
    "stage_rule",
    "steps_until_drift",
    "ulp_difference",
]


@dataclass(frozen=True)
class Rule:
    """What a quantity is held against.

    Attributes:
        rtol: The largest `required_rtol` that agrees.
        scale: What differences are relative to. `element`: each element's own size.
            `tensor`: the largest element of the two tensors, so that elements near zero do
            not decide. `norm`: the Euclidean norm of the difference, relative to the larger
            norm of the two tensors.
    """

    rtol: float
    scale: str


# Measured on MNIST at batch 250 (README, "How close is close"). In float64 the differences are
# rounding errors: over 240 steps at most 4e-15 of a loss, 7e-13 of a regulariser, 1e-10 of a
# tensor's largest parameter. The smallest mistakes of ports move parameters by 5e-5 within five
# steps. Between the two there is room for another BLAS and longer runs. In float32 Adam's step
# has the sign of gradients that are rounding noise themselves, so that single parameters drift:
# only a tensor's norm says something.
RULES = {
    "float64": {
        "loss": Rule(1e-12, "element"),
        "reconstruction": Rule(1e-12, "element"),
        "regulariser": Rule(1e-10, "element"),
        "parameter": Rule(1e-8, "tensor"),
        "latent_mean": Rule(1e-10, "tensor"),
        "samples": Rule(1e-10, "tensor"),
    },
    "float32": {
        "loss": Rule(1e-5, "element"),
        "reconstruction": Rule(1e-5, "element"),
        "regulariser": Rule(1e-3, "element"),
        "parameter": Rule(1e-2, "norm"),
        "latent_mean": Rule(1e-2, "norm"),
        "samples": Rule(1e-2, "norm"),
    },
}

# Networks with batch norm amplify rounding: a unit that is active for all images has a bias without
# an effect (`comparisons.stages.no_effect`), and weights of nearly none; Adam makes steps of their
# rounding noise. Measured over 8 to 42 steps: 8e-13 of a loss, 2e-10 of a regulariser, 2e-6 of a
# tensor's largest parameter, but 1e-8 of its norm; 1e-9 of the latent means. In evaluation mode
# running means are subtracted that have not yet followed such a bias: 6e-6 after 8 steps. In
# float32 two runs part after a few steps.
NORMALISED_RULES = {
    "float64": {
        "loss": Rule(1e-10, "element"),
        "reconstruction": Rule(1e-10, "element"),
        "regulariser": Rule(1e-8, "element"),
        "parameter": Rule(1e-6, "norm"),
        "latent_mean": Rule(1e-7, "tensor"),
        "evaluation_mean": Rule(1e-3, "tensor"),
        "samples": Rule(1e-3, "tensor"),
    },
    "float32": RULES["float32"]
    | {"evaluation_mean": Rule(5e-2, "norm"), "samples": Rule(5e-2, "norm")},
}

# Means and decoded images of both engines in evaluation mode, given the same parameters and running
# statistics: nothing can have drifted.
EVALUATION_RULES = {"float64": Rule(1e-10, "tensor"), "float32": Rule(1e-4, "norm")}


# Every stage of a single step that both engines started from the same state, relative to the
# largest magnitude of its tensor. Measured on MNIST at batch 250: at most 2e-14 in float64 and
# 8e-6 in float32. Weights in front of a batch norm, which takes most of what they change off
# again, have gradients that cancel: 3e-12 and 3e-5.
STAGE_RULES = {"float64": Rule(1e-11, "tensor"), "float32": Rule(1e-4, "tensor")}
NORMALISED_STAGE_RULES = STAGE_RULES | {"float64": Rule(1e-10, "tensor")}


EXACT = Rule(0.0, "element")  # every bit


def is_normalised(stages: Iterable[Stage]) -> bool:
    """Whether a network has batch norm."""
    return any(stage.layer == "batch_norm" for stage in stages)


def run_rules(
    dtype: str, exact: bool, normalised: bool = False, further: Iterable[str] = ()
) -> dict[str, Rule]:
    """What the quantities of a run are held against.

    Arguments:
        dtype: The run's precision.
        exact: Every bit has to be equal.
        normalised: Whether the network has batch norm.
        further: The objective's further terms. One may all but vanish, as the categorical KL
            does: differences are relative to its largest value in the run.
    """
    known = (NORMALISED_RULES if normalised else RULES)[dtype]
    rules = {name: known[name] for name in ("loss", "reconstruction", "regulariser")}
    for name in further:
        like = "reconstruction" if name.endswith("reconstruction") else "regulariser"
        rules[name] = Rule(known[like].rtol, "tensor")
    rules |= known
    return {name: EXACT if exact else rule for name, rule in rules.items()}


def stage_rule(dtype: str, exact: bool, normalised: bool = False) -> Rule:
    """What the stages of a step are held against that both engines start from one state."""
    return EXACT if exact else (NORMALISED_STAGE_RULES if normalised else STAGE_RULES)[dtype]


def probe_rule(
    dtype: str, step: int, resync: bool, exact: bool = False, normalised: bool = False
) -> Rule:
    """What the stages of a step are held against: where the two engines did not start it from
    the same state, what they may have drifted apart by until then."""
    if exact:
        return EXACT
    if resync or step == 1:
        return stage_rule(dtype, exact, normalised)
    if normalised and dtype == "float64":
        return Rule(1e-5, "tensor")
    return Rule(RULES[dtype]["parameter"].rtol, "tensor")


def steps_until_drift(recipe: str, dtype: str, normalised: bool) -> int | None:
    """The steps beyond which rounding alone drives two free runs apart; None if that is far off.

    Measured: in float32 the largest relative difference of `conv`'s loss on MNIST is 1e-6 after 42
    steps and 4e-4 after 240; with batch norm runs part within a few steps. Training of
    `clustering` with its published settings is chaotic: even in float64 differences grow by a
    factor of two to three a step, in the loss from 4e-12 after 10 steps to 1e-3 after 33.
    """
    if dtype == "float32":
        return 2 if normalised else 50
    return 10 if recipe in ("clustering", "clustering-semi-supervised") else None


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
