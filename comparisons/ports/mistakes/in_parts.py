"""What is usually wrong where a batch is taken in parts and their gradients are accumulated."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from comparisons.ports.judging.inspected import Inspected
from comparisons.ports.judging.judged import Judged
from comparisons.ports.judging.own import Own
from comparisons.ports.side import Overlaid, RecordedStep
from pyvae.trace.program import ProgramStage

__all__ = ["backward_calls", "in_parts", "parts_words"]

MOST_PARTS = 8  # whose gradients are added up, from either end


def parts_words(step: RecordedStep) -> str:
    """Says how a side takes the rows of its batch; empty if it takes them at once."""
    if not step.parts:
        return ""
    rows, count = sum(step.parts), len(step.parts)
    if step.in_calls:
        return f"{step.side.name} makes {count} calls for the {rows} rows"
    return f"{step.side.name} takes the {rows} rows in {count} parts"


def in_parts(step: Inspected, judged: Judged) -> Iterator[str]:
    """Yields what a side that takes its batch in parts does otherwise than the whole batch would.

    Arguments:
        step: The step, as far as it was judged.
        judged: Its first quantity that parts.
    """
    if judged.quantity.passing == "loss" and step.a.parts and step.b.parts:
        yield from _both(step)
        return
    if judged.quantity.passing == "loss" and not (step.a.parts or step.b.parts):
        yield from _calls(step)
        return
    for side, own in enumerate(step.own):
        if not own.step.parts or (own.step.in_calls and judged.quantity.passing != "forward"):
            continue
        if judged.quantity.passing == "loss":
            yield from _loss(step, side)
        elif judged.quantity.passing == "parameter gradient":
            yield from _left(step, judged, side)
        elif judged.quantity.passing == "backward":
            yield from _weighed(step, judged, side)
        elif judged.quantity.passing == "forward":
            yield from _mixed(step, judged, side)


def _both(step: Inspected) -> Iterator[str]:
    """How many times one side's losses are the other's, where both take the batch in parts."""
    totals = [one.arrays.get("loss/total") for one in (step.a, step.b)]
    a, b = (0.0 if value is None else float(value.item()) for value in totals)
    said = " and ".join(parts_words(one) for one in (step.a, step.b))
    for side, times in enumerate((a / b if b else 0.0, b / a if a else 0.0)):
        if times > 1.5 and _is(times, round(times), step.rtol):
            yield (
                f"{said}, and {step.names[side]}'s losses together are {round(times)} times "
                f"{step.names[1 - side]}'s: the losses of one are divided by the wrong number of "
                "parts"
            )
            return
    if a and b:
        yield (
            f"{said}, and their losses together are not the same: a mean of means weighs each part "
            "alike, however many rows it has, or labels that count (ignore_index)"
        )


def _calls(step: Inspected) -> Iterator[str]:
    """That one side calls `backward` more often than the other one."""
    counts = [backward_calls(one) for one in (step.a, step.b)]
    if counts[0] != counts[1]:
        calls = [f"{name} calls backward {count} {'times' if count > 1 else 'time'}"
                 for name, count in zip(step.names, counts, strict=True)]  # fmt: skip
        yield (
            f"in this step {' and '.join(calls)}, and the losses that it is called on are not the "
            "same together"
        )


def backward_calls(step: RecordedStep) -> int:
    """How often a side calls `backward` in a step."""
    if step.parts:
        return len(step.parts)
    return max(1, sum(key.startswith("loss/backward.") for key in step.arrays))


def _loss(step: Inspected, side: int) -> Iterator[str]:
    """Losses of parts that are added up where the other side has a mean, and the other way round;
    or whose mean is not that of all rows."""
    totals = [one.arrays.get("loss/total") for one in (step.a, step.b)]
    if totals[0] is None or totals[1] is None:
        return
    parts = step.own[side].step.parts
    mine, other = float(totals[side].item()), float(totals[1 - side].item())  # type: ignore[union-attr]
    count, there = len(parts), step.names[1 - side]
    said = parts_words(step.own[side].step)
    divided = count * other / mine if mine else 0.0  # of what a mean over the parts would be
    if _is(divided, 1, step.rtol):
        yield (
            f"{said}, and adds up their losses: {count} times {there}'s, a sum where it is a mean "
            f"(divide the loss of each part by {count})"
        )
    elif _is(divided, count**2, step.rtol):
        yield (
            f"{said}, and divides their losses by {count}: {there}'s is {count} times as large, a "
            "mean where it is a sum"
        )
    elif divided > 1.5 and _is(divided, round(divided), step.rtol):
        yield f"{said}, and divides their losses by {round(divided)}: {there} has the mean"
    elif len(set(parts)) > 1 or not _is_mean(step, side):
        rows = f"{', '.join(map(str, parts[:-1]))} and {parts[-1]} rows"
        yield (
            f"{said} ({rows}), and their losses together are not the loss of all rows: a mean of "
            "means weighs each part alike, however many rows it has, or labels that count "
            "(ignore_index)"
        )


def _is(found: float, number: int, rtol: float) -> bool:
    return abs(found - number) <= rtol * number


def _is_mean(step: Inspected, side: int) -> bool:
    """Whether the parts' losses were put together."""
    own = step.own[side].step
    return not any(stage.layer == "stack" and stage.name in own.alone for stage in own.network)


def _weighed(step: Inspected, judged: Judged, side: int) -> Iterator[str]:
    """Gradients of the parts' rows that are the other side's times another number in each part, or
    come from what depends on more than a row."""
    own, name = step.own[side].step, judged.quantity.value[side]
    pair = judged.quantity.arrays(step.a, step.b)
    mine, other = pair[side], pair[1 - side]
    cut = [one for one in own.takers.get(name, ()) if one.name in own.alone]
    axis = None if mine is None else _axis(mine, own.parts)
    if not cut or mine is None or other is None or mine.shape != other.shape or axis is None:
        return
    times = [
        f"{_times(mine[rows], other[rows], step.rtol):.6g}"
        for rows in _slices(mine, own.parts, axis)
    ]
    said, there = parts_words(own), step.names[1 - side]
    if "nan" not in times:
        yield (
            f"{said}, and the gradient of {name} is {', '.join(times[:-1])} and {times[-1]} times "
            f"{there}'s in their rows: the parts count otherwise than in the whole batch, or "
            "a row's loss depends on other rows"
        )
        return
    yield (
        f"{said}, and the gradient of {name} is not {there}'s: the parts count otherwise than in "
        "the whole batch, or a row's loss depends on other rows"
    )


def _times(mine: NDArray, other: NDArray, rtol: float) -> float:
    """By which number one gradient is the other; NaN if by none."""
    x, y = mine.astype(np.float64).ravel(), other.astype(np.float64).ravel()
    if not y.any():
        return float("nan")
    times = float(x @ y / (y @ y))
    fits = np.abs(x - times * y).max(initial=0) <= rtol * np.abs(y).max(initial=0)
    return times if fits else float("nan")


def _left(step: Inspected, judged: Judged, side: int) -> Iterator[str]:
    """A gradient of some parts alone."""
    own, name = step.own[side], judged.quantity.value[side]
    recorded = own.step.arrays.get(f"gradient/{name}")
    takers = [stage for stage in own.step.takers.get(name, ()) if own.has_gradient(stage)]
    if recorded is None or not takers:
        return
    order = range(len(own.step.parts))
    for end, places in (("last", order[:0:-1]), ("first", order[:-1])):
        total = np.zeros(recorded.shape)
        for some, at in enumerate(places[:MOST_PARTS], 1):
            one = _of_part(own, takers, name, at, recorded.shape)
            if one is None:
                return
            total = total + one
            gap = np.abs(total - recorded).max(initial=0)
            if gap <= step.rtol * np.abs(recorded).max(initial=0):
                parts = f"the {end} part" if some == 1 else f"the {end} {some} parts"
                yield (
                    f"{parts_words(own.step)}, and has the gradient of {parts} alone (is "
                    f"zero_grad called {'for each part' if some == 1 else 'between them'}?)"
                )
                return


def _of_part(
    own: Own, takers: Sequence[ProgramStage], name: str, at: int, shape: tuple[int, ...]
) -> NDArray | None:
    """What a part's rows add to a gradient; None if it cannot be told."""
    total = np.zeros(shape)
    for stage in takers:
        found = own.computed(stage, Overlaid(own.arrays, _rows_alone(own, stage, at)))
        there = own.aliases(name) & set(found.gradients) if found is not None else set()
        if found is None or not there:
            return None
        for one in there:
            total = total + found.gradients[one].numpy().reshape(shape)
    return total


def _rows_alone(own: Own, stage: ProgramStage, at: int) -> Mapping[str, NDArray]:
    """The gradients of what a stage returned, with nothing in the rows of other parts."""
    changed = {}
    for name in stage.outputs:
        value = own.arrays.get(f"gradient/{name}")
        axis = None if value is None else _axis(value, own.step.parts)
        if value is None or axis is None:
            continue
        kept = np.zeros_like(value)
        rows = _slices(value, own.step.parts, axis)[at]
        kept[rows] = value[rows]
        changed[f"gradient/{name}"] = kept
    return changed


def _mixed(step: Inspected, judged: Judged, side: int) -> Iterator[str]:
    """A layer that returns for each part what it should, and for all rows something else."""
    own, name = step.own[side], judged.quantity.value[side]
    stage, recorded = own.step.producer.get(name), own.step.arrays.get(f"forward/{name}")
    residual = own.forward(name)
    if stage is None or recorded is None or residual is None or residual.is_right:
        return
    axis, parts = _axis(recorded, own.step.parts), own.step.parts
    if axis is None:
        return
    for at in range(len(parts)):
        changed = {}
        for one in stage.inputs:
            value = own.arrays.get(f"forward/{one}")
            where = None if value is None else _axis(value, parts)
            if value is not None and where is not None:
                changed[f"forward/{one}"] = value[_slices(value, parts, where)[at]]
        mine = recorded[_slices(recorded, parts, axis)[at]]
        changed[f"forward/{name}"] = mine
        found = own.computed(stage, Overlaid(own.arrays, changed))
        value = None if found is None else found.outputs[name].numpy()
        if value is None or value.shape != mine.shape:
            return
        if np.abs(value - mine).max(initial=0) > step.rtol * np.abs(mine).max(initial=0):
            return
    other = "a step in parts is not the step of the whole batch"
    if own.step.in_calls:
        other = "calls for some rows are not the call for all"
    yield (
        f"{parts_words(own.step)}, each by itself: what {stage.name} ({stage.layer}) returns for a "
        f"row depends on the other rows, and {other}"
    )


def _axis(value: NDArray, parts: tuple[int, ...]) -> int | None:
    """Along which axis the rows of the parts stand."""
    rows = sum(parts)
    if rows in value.shape:
        return value.shape.index(rows)
    return 0 if value.ndim and len(value) and len(value) % rows == 0 else None


def _slices(value: NDArray, parts: tuple[int, ...], axis: int) -> list[tuple[slice, ...]]:
    """Where the rows of each part are."""
    times = value.shape[axis] // sum(parts)
    ends = [times * int(end) for end in np.cumsum((0, *parts))]
    return [(slice(None),) * axis + (slice(start, end),) for start, end in pairwise(ends)]
