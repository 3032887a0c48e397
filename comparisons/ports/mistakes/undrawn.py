"""A layer whose mask is not known, as if it had drawn the other side's.

A recorder knows the mask of a dropout layer only where the layer drops what it should. Where it
does not, the other side's mask is what it ought to have been, if both draw the same numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from comparisons.ports.judging.own import Own
from comparisons.ports.matching.matched import StageMatch
from comparisons.ports.side import Overlaid

__all__ = ["with_mask_of"]


def with_mask_of(own: Sequence[Own], side: int, pair: StageMatch | None) -> Own:
    """Returns one side of a step, with the other side's mask of a layer where it has none.

    Arguments:
        own: What both sides should return.
        side: Which of them.
        pair: The layer on both sides.
    """
    one, other = own[side], own[1 - side]
    if pair is None:
        return one
    stages = (pair.a, pair.b)
    key, there = f"draw/{stages[side].name}", f"draw/{stages[1 - side].name}"
    if key in one.step.arrays or there not in other.step.arrays:
        return one
    arrays = Overlaid(one.step.arrays, {key: other.step.arrays[there]})
    return Own(replace(one.step, arrays=arrays), one.rtol, one.precision, one.before)
