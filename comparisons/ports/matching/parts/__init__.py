"""A batch that one side takes in several parts, one after the other, as where gradients accumulate.

Where one program calls `backward` on the whole batch, and the other one on each of its parts, no
value of one is a value of the other; the parts put together are. So the stages of the parts are
made one: their rows stand one after the other, each with its gradient, and what a layer returns for
them is what it returns for the whole batch, unless it mixes rows, as a batch norm does. A number
that is the mean, or the sum, of rows is the mean, or the sum, of what the parts have. What is
neither stays as it is, for each part by itself, and takes its rows of what was put together.

So it is with the calls that one side makes of a network before one `backward`, where the other side
makes one call with all rows.
"""

from __future__ import annotations

from comparisons.ports.matching.parts.find import find_parts, given
from comparisons.ports.matching.parts.find_calls import find_calls
from comparisons.ports.matching.parts.joined import OVER_PARTS, Joined
from comparisons.ports.side import RecordedStep

__all__ = ["OVER_PARTS", "together"]


def together(a: RecordedStep, b: RecordedStep) -> tuple[RecordedStep, RecordedStep]:
    """Makes the parts of a batch one where the two sides do not take as many.

    Arguments:
        a, b: A step of both sides.

    Returns:
        The two, each as it was where there is nothing to be put together.
    """
    found = [find_parts(one) for one in (a, b)]
    if not any(found):
        return _calls_together(a, b)
    if len(found[0]) == len(found[1]) and given(a, found[0]) == given(b, found[1]):
        return a, b
    sides = []
    for step, parts, other, others in ((a, found[0], b, found[1]), (b, found[1], a, found[0])):
        joined: RecordedStep | None = step
        if len(parts) > 1:
            joined = Joined(step, parts, other, others).step()
            joined = joined or Joined(step, parts, other, others, numbers=False).step()
        if joined is None:
            return a, b
        sides.append(joined)
    return sides[0], sides[1]


def _calls_together(a: RecordedStep, b: RecordedStep) -> tuple[RecordedStep, RecordedStep]:
    sides = []
    for step, other in ((a, b), (b, a)):
        calls = find_calls(step, other)
        joined = Joined(step, calls, other, [], several_losses=False).step() if calls else None
        sides.append(joined or step)
    return sides[0], sides[1]
