"""How far two engines may differ, and why."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from pyvae.model.stages import Stage

__all__ = [
    "EVALUATION_RULES",
    "EXACT",
    "NORMALISED_RULES",
    "RULES",
    "STAGE_RULES",
    "Rule",
    "is_normalised",
    "rule_of_step",
    "run_rules",
    "stage_rule",
    "steps_until_drift",
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


# Measured on MNIST at batch 250 (docs/explanation/how-close-is-close.md). In float64 the
# differences are rounding errors: over 240 steps at most 4e-15 of a loss, 7e-13 of a regulariser,
# 1e-10 of a tensor's largest parameter. The smallest mistakes of ports move parameters by 5e-5
# within five steps. Between the two there is room for another BLAS and longer runs. In float32
# Adam's step has the sign of gradients that are rounding noise themselves, so that single
# parameters drift: only a tensor's norm says something.
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


def rule_of_step(
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
