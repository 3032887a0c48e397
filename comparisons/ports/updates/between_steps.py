"""What one side makes of its parameters after the optimiser's step and before the next: averages of
them in their place, bounds, a return to earlier ones."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from comparisons.diagnosis.mistakes import FEWEST, slope
from comparisons.diagnosis.relations import relation
from comparisons.ports.expected.recompute import as_tensor
from comparisons.ports.judging.alone.parameters import changed_between_steps
from comparisons.ports.judging.inspected import Inspected
from comparisons.ports.judging.judged import EPSILON, Judged
from comparisons.ports.side import RecordedStep
from comparisons.ports.updates.ways.candidate import rounded, shown
from comparisons.ports.updates.words import matched, parameters_of, those

__all__ = ["changed_between"]

REST = 1e-3  # of a change's size: what a name may leave unexplained
CLOSE = 1e-4  # of a share: to nothing, or all
DECAYS = (0.5, 0.9, 0.95, 0.99, 0.995, 0.999, 0.9999)  # that averages usually have
MOST = 64  # earlier steps that are looked at


@dataclass(frozen=True)
class _Changed:
    """The changed parameters of one side, one after the other.

    Attributes:
        side: Its steps.
        names: Their names.
        number: The step that they begin.
        start: What that step begins with.
        left: What the step before left.
        noise: What rounding makes of them.
    """

    side: RecordedStep
    names: Sequence[str]
    number: int
    start: Tensor
    left: Tensor
    noise: float

    def rest(self, value: Tensor) -> float:
        """What a change leaves unexplained."""
        return float((value - self.start).abs().max())

    def is_start(self, value: Tensor) -> bool:
        """Whether a change explains what the step begins with."""
        return self.rest(value) <= max(REST * self.rest(self.left), self.noise)

    def earlier(self, kind: str, number: int) -> Tensor | None:
        """They as they were in an earlier step (`start` or `parameter`)."""
        trace = self.side.side.trace
        if number not in {one.step for one in trace.steps}:
            return None
        arrays = trace.stored(number)
        if not all(f"{kind}/{name}" in arrays for name in self.names):
            return None
        return _flat([arrays[f"{kind}/{name}"] for name in self.names])


def changed_between(step: Inspected, judged: Judged) -> Iterator[str]:
    """Yields what a side does to its parameters between two steps, and the other one does not, or
    otherwise.

    Arguments:
        step: The step, as far as it was judged.
        judged: A parameter that it starts from.
    """
    one = judged.quantity.parameter
    if step.before is None or one is None:
        return
    changed = changed_between_steps(step.before, (step.a, step.b), one)
    said = [_of_side(step, judged, side) if changed[side] else "does not" for side in (0, 1)]
    number = step.a.about.step
    when = f"between step {number - 1} and step {number}"
    if all(changed):
        if not all(said) or said[0] == said[1]:
            yield f"both sides change {one.name} {when}, each in another way"
        else:
            first, second = (
                f"{name}: {words}" for name, words in zip(step.names, said, strict=True)
            )
            yield f"{when}, {first}; {second}"
    elif any(changed) and all(said):
        side = changed.index(True)
        yield f"{step.names[side]}: {said[side]}, {when}; {step.names[1 - side]} does not"


def _of_side(step: Inspected, judged: Judged, side: int) -> str:
    """What one side does to its parameters between two steps; empty if it is not known."""
    one = judged.quantity.parameter
    if step.before is None or one is None:
        return ""
    both = step.a, step.b
    names = [
        name
        for other in step.parameters
        if other.kind == one.kind and changed_between_steps(step.before, both, other)[side]
        for name in matched(other, side)
    ]
    found = _joined(step, side, names, one.kind)
    words = "" if found is None else _best(found)
    which = ", ".join(names[:3])
    if one.kind == "parameter":
        which = those(names, parameters_of(step, side), _unmoved(step, side, names))
    return words.replace("{}", which)  # several ways, each with its own


def _unmoved(step: Inspected, side: int, names: Sequence[str]) -> list[str]:
    """Parameters that no bound and no factor would change."""
    now = (step.a, step.b)[side]
    most = max(float(np.abs(now.arrays[f"start/{name}"]).max(initial=0)) for name in names)
    return [
        name
        for name in parameters_of(step, side)
        if name not in names
        and (value := now.arrays.get(f"start/{name}")) is not None
        and float(np.abs(value).max(initial=0)) <= most
    ]


def _best(one: _Changed) -> str:
    """The change that leaves least unexplained; several, if they are as near."""
    found = [(one.rest(value), words) for words, value in _ways(one) if one.is_start(value)]
    if not found:
        return ""
    least = max(min(rest for rest, _ in found) * 3, one.noise)
    return ", or ".join(dict.fromkeys(words for rest, words in found if rest <= least))


def _joined(step: Inspected, side: int, names: Sequence[str], kind: str) -> _Changed | None:
    now, before = (step.a, step.b)[side], (step.before or ())[side]
    starts = [now.arrays.get(f"start/{name}") for name in names]
    lefts = [before.arrays.get(f"{kind}/{name}") for name in names]
    if any(x is None for x in (*starts, *lefts)):
        return None
    start, left = (_flat([x for x in values if x is not None]) for values in (starts, lefts))
    if start.shape != left.shape or not (torch.isfinite(start) & torch.isfinite(left)).all():
        return None
    noise = 4 * EPSILON[step.precision] * float(start.abs().max())
    return _Changed(now, names, now.about.step, start, left, noise)


MOST_NUMBERS = 200_000  # that are looked at


def _flat(values: Sequence[NDArray]) -> Tensor:
    """Parameters one after the other; of many numbers some of each, always the same."""
    every = sum(x.size for x in values) // MOST_NUMBERS + 1
    return torch.cat([as_tensor(x.ravel()[::every]).to(torch.float64) for x in values])


def _ways(one: _Changed) -> Iterator[tuple[str, Tensor]]:
    """What they may have become, in words with a place for their names."""
    n = one.number - 1
    before = one.earlier("start", n)
    if before is not None:
        yield f"takes back what step {n} did to {{}}", before
        share = slope(one.start - one.left, before - one.left)
        if share is not None and CLOSE < share < 1 - CLOSE:
            kept = rounded(share)
            words = (
                "puts an average in the place of {}: "
                f"{shown(kept)} times what they were before the step and {shown(1 - kept)} times "
                "what it left (EMA)"
            )
            yield words, kept * before + (1 - kept) * one.left
    for number in range(max(1, n - MOST), n):
        earlier = one.earlier("start", number)
        if earlier is not None:
            yield f"goes back to what {{}} were before step {number}", earlier
            share = slope(one.start - one.left, earlier - one.left)
            if share is not None and CLOSE < share < 1 - CLOSE:
                part = rounded(share)
                words = f"moves {{}} {shown(part)} of the way back to what they were before step "
                yield f"{words}{number}", one.left + part * (earlier - one.left)
    yield from _histories(one)
    most = float(one.start.abs().max())
    bounds = f"{shown(rounded(-most))} and {shown(rounded(most))}"
    if int((one.start.abs() == most).sum()) >= FEWEST:
        yield f"holds {{}} between {bounds}", one.left.clamp(-most, most)
    yield "sets {} to zero", torch.zeros_like(one.left)
    for words in relation(("what the step left", "this"), one.left, one.start, {}, 1e-4):
        how = words.removeprefix("this is what the step left ")
        if how != words and not how.startswith("held"):
            yield f"changes {{}}: they are what the step left {how}", one.start


def _histories(one: _Changed) -> Iterator[tuple[str, Tensor]]:
    """Averages of what all earlier steps left."""
    n = one.number - 1
    if n > MOST or n < 2:
        return
    left = [one.earlier("parameter", number) for number in range(1, n + 1)]
    first = one.earlier("start", 1)
    known = [x for x in left if x is not None]
    if first is None or len(known) < n:
        return
    words = f"puts the mean over {{}}steps 1 to {n} in the place of {{{{}}}} (SWA)"
    yield words.format(""), torch.stack(known).mean(0)
    yield words.format("the start and "), torch.stack([first, *known]).mean(0)
    for decay in DECAYS:
        for start, rest in ((first, known), (known[0], known[1:])):
            average = start
            for value in rest:
                average = decay * average + (1 - decay) * value
            words = f"puts the moving average of steps 1 to {n}, decay {shown(decay)}, in the "
            yield f"{words}place of {{}} (EMA)", average
