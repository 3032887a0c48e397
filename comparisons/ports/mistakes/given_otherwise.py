"""Losses that belong together, and get other things on one side, or have further stages after them.

`binary_cross_entropy` of `sigmoid` and `x` against that of `x` and `sigmoid`: neither side is wrong
by what it declares. But if the first side's layer with a mistake, given what the second side has
for its inputs, returns what the second side's stages do, they compute that.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from comparisons.ports.expected.layers.losses import LOSSES
from comparisons.ports.judging.inspected import Inspected
from comparisons.ports.judging.judged import Judged
from comparisons.ports.judging.one_function import without_pairs
from comparisons.ports.matching.matched import StageMatch
from comparisons.ports.mistakes.fit import joined
from comparisons.ports.mistakes.written_out import Written, names_as, said

__all__ = ["divergence_of", "given_otherwise"]

DIVERGENCES = ("kl_div", "kl_div_loss")  # of a logarithm, which the other direction has elsewhere


def given_otherwise(step: Inspected, judged: Judged) -> Iterator[str]:
    """Yields the mistake of one side's loss that the other side's stages make.

    Arguments:
        step: The step.
        judged: Its first quantity that parts: what a stage returns, or the loss.
    """
    quantity = judged.quantity
    if quantity.passing == "loss":
        names = step.own[0].loss, step.own[1].loss
    elif quantity.passing == "forward" and quantity.stage is not None:
        names = quantity.value
    elif quantity.passing == "input" and quantity.stage is not None:
        pair = divergence_of(step, quantity.value)
        if pair is None:
            return
        names = pair.a.outputs[0], pair.b.outputs[0]
        step = replace(step, network=without_pairs(step, [quantity.stage]), judged=[])
    else:
        return
    for side in (0, 1):
        stage = (step.a, step.b)[side].producer.get(names[side])
        if stage is None or stage.layer not in LOSSES:
            continue
        alone = any(step.chains[side].is_alone(name) for name in stage.inputs)
        if alone and stage.layer not in DIVERGENCES:
            continue
        one = Written(stage, side, names)
        found = names_as(step, one)
        if found:
            then = "" if step.following is not None else f"step {judged.step + 1}"
            yield said(step, one, joined(found, then), "in")
            return


def divergence_of(step: Inspected, inputs: tuple[str, str]) -> StageMatch | None:
    """The divergence of which both sides take an input, each in a place of its own: one of them
    its logarithm."""
    for stage in step.a.takers.get(inputs[0], ()):
        pair = step.network.partner.get(stage.name)
        if pair is None or stage.layer not in DIVERGENCES or inputs[1] not in pair.b.inputs:
            continue
        if pair.a.inputs.index(inputs[0]) != pair.b.inputs.index(inputs[1]):
            return pair
    return None
