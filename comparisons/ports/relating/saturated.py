"""Probabilities that one side alone computes, and that are rounded to 0 or 1 there."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from comparisons.ports.judging.alone.chains import Chains
from comparisons.ports.judging.inspected import Inspected
from comparisons.ports.judging.judged import difference_of
from pyvae.trace.program import ProgramStage

__all__ = ["saturated"]

LAYERS = ("sigmoid", "softmax")
FAR = 10.0  # logits up to there are of probabilities that float64 tells from 0 and 1
ALIKE = 1e-9  # as two ways to write one function agree in float64


def saturated(step: Inspected) -> Iterator[str]:
    """Yields the stages that round probabilities to exactly 0 or 1, whose logarithms are lost, if
    of logits near 0 the one side's stages and the other's are the same function: a sigmoid and a
    cross entropy, against a cross entropy of logits.

    Arguments:
        step: The step.
    """
    for side, own in enumerate(step.own):
        for stage in step.network.only[side]:
            if stage.layer not in LAYERS or len(stage.inputs) != 1:
                continue
            found = own.step.value(stage.outputs[0])
            logits = own.step.value(stage.inputs[0])
            if found is None or logits is None or logits.shape != found.shape:
                continue
            rounded = ((found == 0) | (found == 1)) & np.isfinite(logits)
            if rounded.any() and _same_near_zero(step, side, stage, logits):
                yield (
                    f"{step.names[side]}: {stage.name} ({stage.layer}) rounds "
                    f"{int(rounded.sum()):,} of {rounded.size:,} probabilities to exactly 0 or 1, "
                    f"whose logarithms are lost; {step.names[1 - side]} takes them of the logits"
                )


def _same_near_zero(step: Inspected, side: int, stage: ProgramStage, logits: NDArray) -> bool:
    """Whether what one side alone makes of logits is what the other side makes of them, if they
    are held near 0."""
    mine = step.chains[side]
    partner = mine.partners.get(stage.inputs[0])
    if partner is None:
        return False
    held = np.clip(logits.astype(np.float64), -FAR, FAR)
    other = (step.b, step.a)[side]
    theirs = Chains(other, other, {name: name for name in step.chains[1 - side].partners})
    ends = list(_ends(step, side, stage))
    for name, there in ends:
        values = (
            mine.value_with(name, {stage.inputs[0]: held}),
            theirs.value_with(there, {partner: held}),
        )
        if values[0] is None or values[1] is None:
            return False
        found = difference_of(*(np.asarray(value, dtype=np.float64) for value in values))
        if found.problem or found.needed > ALIKE:
            return False
    return bool(ends)


def _ends(step: Inspected, side: int, stage: ProgramStage) -> Iterator[tuple[str, str]]:
    """What the stages that one side alone has hand on at their end, and what the other side has
    there: the loss, or what a stage of both takes."""
    own = step.own[side]
    partners = step.network.partner_of_b if side else step.network.partner
    waiting, seen = list(stage.outputs), set(stage.outputs)
    while waiting:
        name = waiting.pop()
        if name == own.loss:
            yield name, step.own[1 - side].loss
        for taker in own.step.takers.get(name, ()):
            pair = partners.get(taker.name)
            if pair is not None and name not in taker.inputs:
                continue
            if pair is None:
                waiting += [one for one in taker.outputs if one not in seen]
                seen.update(taker.outputs)
                continue
            there = (pair.b, pair.a)[side]
            if len(there.inputs) == len(taker.inputs):
                yield name, there.inputs[taker.inputs.index(name)]
