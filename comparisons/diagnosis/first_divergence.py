"""The first place where two runs part: step, stage, element, and what it looks like."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from comparisons.agreement.spread import Spread, spread_of
from comparisons.agreement.stage import StageAgreement
from comparisons.diagnosis.between import BETWEEN
from comparisons.diagnosis.place import InspectedStep
from comparisons.diagnosis.recognise import recognise

__all__ = ["AFTER", "Divergence", "first_divergence", "is_r"]

AFTER = "after training"  # the pass of what a run leaves besides its steps

AROUND = 3  # stages shown before and after the one at fault


@dataclass(frozen=True)
class Divergence:
    """The first quantity, in the order of computation, in which two engines part.

    Attributes:
        agreement: How far it is off, and where.
        names: The engines' names, under test first.
        stages: Who computes it: more than one name where that cannot be told apart.
        wrong: The engine that does not return what the stage should, if that can be told.
        words: What kind of mistake it looks like.
        around: The quantities before and after it.
        also: How many quantities of the same pass disagree, and of how many.
        with_r: Whether one of the engines is in R, where indices count from 1.
        spreads: Where in the tensors the two differ, by the quantities' keys: of those around the
            first one, and of all that belongs to its stage.
    """

    agreement: StageAgreement
    names: tuple[str, str]
    stages: tuple[str, ...]
    wrong: str
    words: tuple[str, ...]
    around: tuple[StageAgreement, ...]
    also: tuple[int, int]
    with_r: bool = True
    spreads: Mapping[str, Spread] = field(default_factory=dict, repr=False, compare=False)

    @property
    def step(self) -> int:
        return self.agreement.step

    @property
    def passing(self) -> str:
        return self.agreement.quantity.passing

    @property
    def stage(self) -> str:
        return " or ".join(self.stages)

    def sentence(self) -> str:
        """Where, in a line."""
        quantity = self.agreement.quantity
        if self.passing == AFTER:
            return f"the end of the run, after step {self.step}: {self.stage}"
        if quantity.key.startswith("buffer/"):
            what = f"{self.stage}, forward ({quantity.name} after it)"
        elif self.passing == "forward":
            what = f"{self.stage}, forward"
        elif self.stages == (BETWEEN,):
            what = f"{BETWEEN} (the gradient with respect to {quantity.name})"
        elif self.passing == "backward":
            what = f"{self.stage}, backward (the gradient with respect to {quantity.name})"
        elif self.passing == "start":
            what = f"before it: {quantity.name} differs already at its start"
        else:
            what = f"{self.stage} ({self.passing} of {quantity.name})"
        return f"step {self.step}, {what}"

    def element(self) -> str:
        """The worst element, as Python counts and, where it takes part, R, and both values."""
        if self.agreement.problem and not self.agreement.index:
            return self.agreement.problem
        values = ", ".join(
            f"{name} {value:.17g}"
            for name, value in zip(self.names, self.agreement.values, strict=True)
        )
        index = self.agreement.index
        if not index:
            return values
        if not self.with_r:
            return f"[{_join(index)}], counted from 0: {values}"
        return f"[{_join(index)}] in Python, [{_join(i + 1 for i in index)}] in R: {values}"

    def as_dict(self) -> dict[str, Any]:
        """For comparison.json. Numbers that are not finite become null."""

        def finite(value: float) -> float | None:
            return value if math.isfinite(value) else None

        agreement = self.agreement
        return {
            "step": self.step,
            "pass": self.passing,
            "stage": self.stage,
            "quantity": agreement.quantity.key,
            "max_abs": finite(agreement.max_abs),
            "required_rtol": finite(agreement.required_rtol),
            "rtol": agreement.rtol,
            "index_python": list(agreement.index),
            "index_r": [i + 1 for i in agreement.index],
            "values": {
                name: finite(value)
                for name, value in zip(self.names, agreement.values, strict=True)
            },
            "problem": agreement.problem,
            "wrong": self.wrong,
            "looks_like": list(self.words),
        }


def first_divergence(
    step: InspectedStep, agreements: Sequence[StageAgreement]
) -> Divergence | None:
    """The first quantity of a step, in the order of computation, that disagrees.

    All that it is computed from agrees, so whoever computes it is at fault: for a gradient with
    respect to a stage's result, that is the backward pass of the stages that take this result.

    Arguments:
        step: What both engines returned.
        agreements: Of its quantities, from `InspectedStep.compare`.

    Returns:
        Where the two part; None if all agree.
    """
    number = next((i for i, agreement in enumerate(agreements) if not agreement.agrees), None)
    if number is None:
        return None
    agreement = agreements[number]
    quantity = agreement.quantity
    finding = recognise(step.place(quantity))
    around = tuple(agreements[max(0, number - AROUND) : number + AROUND + 1])
    same_pass = [a for a in agreements if a.quantity.passing == quantity.passing]
    return Divergence(
        agreement,
        step.names,
        (finding.stage,) if finding.stage else quantity.computed_by,
        finding.wrong,
        finding.words,
        around,
        (sum(not a.agrees for a in same_pass), len(same_pass)),
        any("R" in about for about in step.environments) or any(map(is_r, step.names)),
        _spreads(step, agreements, around, quantity.computed_by),
    )


def _spreads(
    step: InspectedStep,
    agreements: Sequence[StageAgreement],
    around: Sequence[StageAgreement],
    stages: Sequence[str],
) -> dict[str, Spread]:
    """Where the two differ in the quantities around the first one and in those of its stage."""
    found = {}
    places = {stage.name for stage in step.recipe.stages}
    for one in agreements:
        key = one.quantity.key
        by_stage = any(name in stages for name in one.quantity.computed_by)
        if not (by_stage or any(one is near for near in around)):
            continue
        if all(key in probe for probe in step.probes):
            a, b = (np.asarray(probe[key]) for probe in step.probes)
            allowed = one.rtol * one.largest if math.isfinite(one.largest) else 0.0
            found[key] = spread_of(a, b, allowed, weight=one.quantity.name not in places)
    return found


def is_r(engine: str) -> bool:
    """Whether an engine's name says that it is in R, as base-r, r-torch and my-r do."""
    return re.search(r"(?<![a-z])r(?![a-z])", engine.lower()) is not None


def _join(index: Any) -> str:
    return ", ".join(str(i) for i in index)
