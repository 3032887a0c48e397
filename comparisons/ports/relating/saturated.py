"""Probabilities that one side alone computes, and that are rounded to 0 or 1 before a logarithm."""

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
FAR = 20.0  # logits up to there are of probabilities that float64 tells from 0 and 1
ALIKE = 1e-7  # as two ways to write one function agree in float64 up to such logits


def saturated(step: Inspected) -> Iterator[str]:
    """Yields the stages of one side alone that round probabilities to exactly 0 or 1, if that is
    why the two part: a sigmoid and a cross entropy, against a cross entropy of logits.

    It is why if both sides' stages are the same function where the rounded ones have logits that
    float64 does not round, and the probabilities as they were recorded make another one of it.

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
            held = np.where(rounded, np.clip(logits, -FAR, FAR), logits).astype(np.float64)
            if rounded.any() and _is_why(step, side, stage, held):
                yield (
                    f"{step.names[side]}: {stage.name} ({stage.layer}) rounds "
                    f"{int(rounded.sum()):,} of {rounded.size:,} probabilities to exactly 0 or 1, "
                    f"whose logarithms are lost; {step.names[1 - side]} takes them from the logits"
                )


def _is_why(step: Inspected, side: int, stage: ProgramStage, held: NDArray) -> bool:
    """Whether two ends agree for the logits that are held, and one does not for the probabilities
    as they were recorded."""
    mine, other = step.chains[side], (step.b, step.a)[side]
    logits, probabilities = stage.inputs[0], stage.outputs[0]
    partner = mine.partners.get(logits)
    recorded = mine.own.value(probabilities)
    if partner is None or recorded is None:
        return False
    theirs = Chains.of_one(other, step.chains[1 - side].partners)
    ends, differs = list(_ends(step, side, stage)), False
    for name, there in ends:
        at_held = _distance(
            mine.value_with(name, {logits: held}), theirs.value_with(there, {partner: held})
        )
        if at_held > ALIKE:
            return False
        rounded = mine.value_with(name, {probabilities: recorded})
        differs = differs or _distance(rounded, theirs.value(there)) > step.rtol
    return differs


def _distance(a: NDArray | None, b: NDArray | None) -> float:
    """The tolerance with which two values would agree; infinite if one cannot be computed."""
    if a is None or b is None:
        return np.inf
    found = difference_of(np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64))
    return np.inf if found.problem else found.needed


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
