"""A loss that is a sum of terms, one of which the other side scales, subtracts or leaves out."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from comparisons.diagnosis.relations.names_of_factors import named_factors
from comparisons.ports.judging.alone.chains import Chains
from comparisons.ports.judging.inspected import Inspected
from comparisons.ports.judging.judged import EPSILON, Judged
from comparisons.ports.relating.constants import numbers_of
from comparisons.ports.side import RecordedStep
from pyvae.trace.program import ProgramStage

__all__ = ["other_terms"]

ROUNDINGS = 64  # units in the last place of the largest term
MOST_TERMS = 8
SIGNS = {"add": 1.0, "sub": -1.0}


def other_terms(step: Inspected, judged: Judged) -> Iterator[str]:
    """Yields what the second side makes of one of the terms that the first side's loss is the sum
    of, in this step and in the next one, if that is known.

    Arguments:
        step: The step.
        judged: Its first quantity that parts.
    """
    if judged.quantity.passing != "loss" or not all(own.loss for own in step.own):
        return
    stage = step.a.producer[step.own[0].loss]
    if stage.layer not in SIGNS or len(stage.inputs) != 2:
        return
    numbers = numbers_of(step, judged)
    names = _named(step, step.chains[0], stage, step.b, numbers)
    if names and step.following is not None:
        first, second = (own.step for own in step.following)
        if first.producer.get(stage.outputs[0]) == stage:
            chains = Chains.of_both(first, second, step.network, list(step.parameters))[0]
            later = _named(step, chains, stage, second, numbers)
            names = [one for one in names if one in later]
    if names:
        yield f"{step.names[1]}: {', or '.join(names)}"


def _named(
    step: Inspected,
    chains: Chains,
    stage: ProgramStage,
    other: RecordedStep,
    numbers: dict[int, str],
) -> list[str]:
    value = other.value(step.own[1].loss)
    if value is None or value.size != 1:
        return []
    return list(_fitting(step, chains, stage, float(np.reshape(value, ())), numbers))


def _fitting(
    step: Inspected, chains: Chains, stage: ProgramStage, found: float, numbers: dict[int, str]
) -> Iterator[str]:
    terms = _terms(chains, stage, 1.0)
    if not 2 <= len(terms) <= MOST_TERMS:
        return
    total = sum(terms.values())
    precision = step.precision if step.precision == "float64" else "float32"
    near = ROUNDINGS * EPSILON[precision] * max(abs(one) for one in terms.values())
    for name, term in terms.items():
        rest = found - (total - term)  # what the other side has in the term's place
        layer = chains.own.producer[name].layer
        if abs(term) <= near or abs(rest - term) <= near:
            continue
        if abs(rest) <= near:
            yield f"the term {name} ({layer}) is left out of the loss"
        elif abs(rest + term) <= near:
            yield f"the term {name} ({layer}) is subtracted where it is added"
        for words, factor in named_factors(rest / term, numbers, precision):
            if abs(rest - factor * term) <= near:
                yield f"the term {name} ({layer}) times {words}"


def _terms(chains: Chains, stage: ProgramStage, sign: float) -> dict[str, float]:
    """The numbers that a stage is the sum of, by name, with their signs, for the other side's
    values; none if one is not known."""
    found: dict[str, float] = {}
    alpha = stage.options.get("alpha", 1)
    for place, name in enumerate(stage.inputs):
        before = chains.own.producer.get(name)
        own = sign * (SIGNS[stage.layer] * float(alpha) if place else 1.0)
        if before is not None and before.layer in SIGNS and len(before.inputs) == 2:
            found |= _terms(chains, before, own)
            continue
        value = chains.value(name)
        if value is None or value.size != 1:
            return {}
        found[name] = own * float(np.reshape(value, ()))
    return found
