"""What comes from outside of the network, inputs and draws: rows in another order, other steps'
batches, indices that are off by one, noise of another distribution."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from comparisons.diagnosis.relations.noise import other_distribution
from comparisons.ports.judging.inspected import Inspected
from comparisons.ports.judging.judged import Judged
from comparisons.ports.mistakes.in_parts import backward_calls
from comparisons.ports.relating.masks import other_mask
from comparisons.ports.relating.related import both_values, relation_of
from comparisons.ports.side import RecordedStep

__all__ = ["draws", "inputs"]


def inputs(step: Inspected, judged: Judged) -> Iterator[str]:
    """Another input, rows in another order, indices that are off by one, another step's batch."""
    words = list(_taken_otherwise(step, judged))
    if words:
        yield from words
        return
    a, b = both_values(step, judged)
    if a.ndim == b.ndim and a.shape[1:] == b.shape[1:] and a.shape != b.shape:
        yield from _in_parts(step, judged)
    if a.shape != b.shape or (a.dtype.kind == "b") != (b.dtype.kind == "b"):
        return
    if a.dtype.kind == b.dtype.kind == "b" and np.array_equal(a, ~b):
        yield f"{step.names[1]}'s is {step.names[0]}'s inverted: true where it is false"
        return
    bases = [one.side.trace.index_base for one in (step.a, step.b)]
    if judged.quantity.passing == "input":
        words = list(_of_another_input(step, judged))
        if words:
            yield from words
            return
    if a.dtype.kind in "iu" and b.dtype.kind in "iu":
        words = list(_indices(step, a, b))
        if words:
            yield from words
            return
    rows = row_order(a, b)
    if rows is not None and (rows != np.arange(len(rows))).any():
        first = int(np.flatnonzero(rows != np.arange(len(rows)))[0])
        yield (
            "the same rows in another order: "
            f"row {first + bases[0]} of {step.names[0]} is row {int(rows[first]) + bases[1]} of "
            f"{step.names[1]}"
        )
        return
    if judged.quantity.passing == "input":
        yield from _of_other_steps(step, judged, a, b)


def _taken_otherwise(step: Inspected, judged: Judged) -> Iterator[str]:
    """Whether the stage that one side gives an input takes what the other side computes: then it is
    no other input, and what is computed there is another number."""
    names = judged.quantity.value
    if judged.quantity.passing != "input":
        return
    for pair in step.network.pairs:
        for both in zip(pair.a.inputs, pair.b.inputs, strict=False):
            own = [one == name for one, name in zip(both, names, strict=True)]
            makers = step.a.producer.get(both[0]), step.b.producer.get(both[1])
            if own[0] == own[1] or any(one is None for one in makers):
                continue
            maker = makers[own.index(False)]
            if maker is not None and maker.layer not in ("input", "draw"):
                yield f"in {pair.a.name} ({pair.a.layer}) {step.takes(*both)}: other numbers"
                return


def _of_another_input(step: Inspected, judged: Judged) -> Iterator[str]:
    """Whether one side gives an input twice, as if what goes in were the target as well."""
    alike = [
        _same_numbers(one, judged.quantity.value[side]) for side, one in enumerate((step.a, step.b))
    ]
    pairs = step.network.values
    for side, name in enumerate(step.names):
        for other in sorted(alike[side]):
            partners = [pairs.get(other)] if side == 0 else [k for k in pairs if pairs[k] == other]
            if not alike[1 - side] & set(partners):
                yield (
                    f"{name} has in {judged.quantity.value[side]} the numbers of its {other}, "
                    f"{step.names[1 - side]} has others (is this the right input?)"
                )
                return


def _same_numbers(step: RecordedStep, name: str) -> set[str]:
    """The other inputs that have the same numbers, unless these are few, or all the same one."""
    value = step.arrays[f"forward/{name}"].ravel()
    if value.size < FEWEST_NUMBERS or (value == value[0]).all():
        return set()
    inputs = [stage.name for stage in step.network if stage.layer == "input" and stage.name != name]
    found = {one: step.arrays.get(f"forward/{one}") for one in inputs}
    return {one for one, x in found.items() if x is not None and np.array_equal(x.ravel(), value)}


def _in_parts(step: Inspected, judged: Judged) -> Iterator[str]:
    """Whether one side takes the rows in several parts, one after the other, as it does where
    gradients are accumulated; and what that makes of the gradients."""
    values = both_values(step, judged)
    side = 0 if len(values[0]) < len(values[1]) else 1
    whole, small = values[1 - side], values[side]
    one = (step.a, step.b)[side]
    parts = [
        value
        for stage in one.network
        if stage.layer in ("input", "draw")
        and (value := one.arrays.get(f"forward/{stage.name}")) is not None
        and (value.shape[1:], value.dtype) == (small.shape[1:], small.dtype)
    ]
    if len(parts) < 2:
        yield from _in_steps(step, judged, side, small, whole)
        return
    if sum(map(len, parts)) != len(whole):
        yield from _not_all_rows(step, side, parts, whole)
        return
    if _rows(np.concatenate(parts), whole) != _rows(whole, small):
        return
    name, other = step.names[side], step.names[1 - side]
    times = [_times(step, side, factor) for factor in (1, len(parts))]
    what = "the gradients of the parameters are others"
    if times[0]:
        what = "the gradients of all parameters agree"
    elif times[1]:
        what = f"the gradients are {len(parts)} times {other}'s: a sum where it is a mean"
    yield f"{name} takes the {len(whole)} rows in {len(parts)} parts; {what}"


def _in_steps(
    step: Inspected, judged: Judged, side: int, small: NDArray, whole: NDArray
) -> Iterator[str]:
    """Whether one side takes the rows in several steps, one part in each."""
    if whole[0].size < FEWEST_NUMBERS or not len(small):
        return
    later = {n: batch for n, batch in _batches(step, judged, side) if n > judged.step}
    parts = [small]
    for number in sorted(later):
        if sum(map(len, parts)) < len(whole) and later[number].shape[1:] == whole.shape[1:]:
            parts.append(later[number])
    joined = np.concatenate(parts)[: len(whole)]
    if len(parts) > 1 and _rows(joined, whole) == _rows(whole, small)[: len(joined)]:
        trained = step.a.about.optimiser is not None or step.b.about.optimiser is not None
        calls = "its optimiser's step" if trained else "its network"
        yield (
            f"{step.names[side]} takes the {len(whole)} rows in several steps, {len(small)} in "
            f"step {judged.step}: it calls {calls} for each part, {step.names[1 - side]} once for "
            "all (are smaller batches meant?)"
        )


def _not_all_rows(
    step: Inspected, side: int, parts: Sequence[NDArray], whole: NDArray
) -> Iterator[str]:
    """Rows of the whole batch that the parts lack, or take more than once."""
    if backward_calls((step.a, step.b)[1 - side]) > 1:
        return  # it may take its rows more than once, too
    rows, there = _rows(np.concatenate(parts), whole), _rows(whole, parts[0])
    if not set(rows) & set(there) or whole[0].size < FEWEST_NUMBERS:
        return
    name, other = step.names[side], step.names[1 - side]
    base = (step.a, step.b)[1 - side].side.trace.index_base
    said = f"{name} takes {len(rows)} rows in {len(parts)} parts, {other} takes {len(whole)}"
    counts = Counter(rows)
    for wanted, words in ((0, "is in no part"), (2, "is in more than one")):
        found = [at for at, row in enumerate(there) if min(counts[row], 2) == wanted]
        if found:
            yield f"{said}: row {found[0] + base} of {other} {words}"
            return
    yield said


def _times(step: Inspected, side: int, factor: int) -> bool:
    """Whether a side's gradients of all parameters are the other's, times a factor."""
    found = False
    for one in step.parameters:
        pair = one.values(step.a.arrays, step.b.arrays, "gradient/{}")
        if one.kind != "parameter" or pair[0] is None or pair[1] is None:
            continue
        mine, other = (pair[i].astype(np.float64) for i in (side, 1 - side))  # type: ignore[union-attr]
        allowed = step.rtol * np.abs(mine).max(initial=0)
        if mine.shape != other.shape or np.abs(mine - factor * other).max(initial=0) > allowed:
            return False
        found = True
    return found


def _indices(step: Inspected, a: NDArray, b: NDArray) -> Iterator[str]:
    bases = [one.side.trace.index_base for one in (step.a, step.b)]
    gap = np.unique(b.astype(np.int64) - a)
    if len(gap) == 1:
        how = f"{step.names[1]}'s are {abs(int(gap[0]))} {'more' if gap[0] > 0 else 'less'}"
        counted = [
            f"{name} counts from {base}" for name, base in zip(step.names, bases, strict=True)
        ]
        yield f"indices are off by {abs(int(gap[0]))}: {how} ({', '.join(counted)})"
        return
    other = _renumbered(a, b)
    if other:
        shown = ", ".join(f"{y} where it is {x}" for x, y in other[:3])
        yield f"the same classes under other numbers: {step.names[1]} has {shown}" + (
            ", ..." if len(other) > 3 else ""
        )


def _renumbered(a: NDArray, b: NDArray) -> list[tuple[int, int]]:
    """Which number of a is which of b, if each is always the same one, and several are others."""
    pairs = np.unique(np.stack([a.ravel(), b.ravel()]), axis=1).T
    there = [len(np.unique(pairs[:, column])) for column in (0, 1)]
    if len(pairs) < 2 or 2 * len(pairs) > a.size + 4 or there != [len(pairs), len(pairs)]:
        return []
    return [(int(x), int(y)) for x, y in pairs if x != y]


def row_order(a: NDArray, b: NDArray) -> NDArray | None:
    """For each row of a its place in b, if both have the same rows."""
    if not a.ndim or len(a) < 2:
        return None
    places: dict[bytes, list[int]] = {}
    for at, row in enumerate(_rows(b, a)):
        places.setdefault(row, []).append(at)
    found = []
    for row in _rows(a, b):
        there = places.get(row)
        if not there:
            return None
        found.append(there.pop(0))
    return np.array(found)


def _rows(value: NDArray, other: NDArray) -> list[bytes]:
    """The rows, rounded to the coarser type of both."""
    kind = min(value.dtype, other.dtype, key=lambda one: one.itemsize)
    return [row.tobytes() for row in np.ascontiguousarray(value.astype(kind))]


MOST_STEPS = 20
MANY = 100  # times as many rows as there are may be, before two are alike by chance
ENOUGH = 64  # numbers of a row, with which no two are
FEWEST_NUMBERS = 3  # of a row, by which it is told


def _of_other_steps(step: Inspected, judged: Judged, a: NDArray, b: NDArray) -> Iterator[str]:
    """Whether one side's rows are those of another step of the other side."""
    if a.ndim < 2 or a[0].size < FEWEST_NUMBERS or _rows_by_chance(a) or _rows_by_chance(b):
        return
    for side, (mine, theirs) in enumerate(((b, a), (a, b))):
        name, other = step.names[1 - side], step.names[side]
        own, kind = _rows(mine, mine), mine.dtype
        batches = {
            number: _rows(batch.astype(kind), mine)
            for number, batch in _batches(step, judged, side)
            if batch.shape[1:] == mine.shape[1:]
        }
        everywhere = set(own).intersection(*batches.values()) if len(batches) > 1 else set()
        shared = {}
        for number, rows in batches.items():
            if rows == own:
                words = f"the batch that {other} has in step {number}"
                yield f"{name} has in step {judged.step} {words}"
                return
            shared[number] = len((set(own) - everywhere) & set(rows))
        steps = [number for number, count in shared.items() if count]
        of_others = sum(shared.values())
        if steps and 2 * (of_others + len(set(own) & set(_rows(theirs, mine)))) >= len(own):
            shown = ", ".join(str(one) for one in sorted(steps)[:5])
            yield (
                f"rows of other batches: {of_others} of {len(own)} rows of {name} are those of "
                f"{other} in step {shown} (another shuffle?)"
            )
            return


def _rows_by_chance(value: NDArray) -> bool:
    """Whether numbers are so few kinds that other batches have the same rows anyway: six zeros and
    ones, say."""
    kinds = len(np.unique(value))
    return bool(kinds ** min(value[0].size, ENOUGH) < MANY * len(value))


def _batches(step: Inspected, judged: Judged, side: int) -> Iterator[tuple[int, NDArray]]:
    """One side's input in other steps, the nearest first."""
    trace = (step.a, step.b)[side].side.trace
    key = (judged.quantity.key, judged.quantity.key_b)[side]
    numbers = [one.step for one in trace.steps if one.step != judged.step]
    for number in sorted(numbers, key=lambda one: abs(one - judged.step))[:MOST_STEPS]:
        batch = trace.stored(number).get(key)
        if batch is not None:
            yield number, batch


def draws(step: Inspected, judged: Judged) -> Iterator[str]:
    """Another draw of the other side, other draws altogether."""
    a, b = both_values(step, judged)
    mine = judged.quantity.key_b
    keys = [key for key in step.b.arrays if key.startswith("draw/")]
    keys += [f"forward/{s.name}" for s in step.b.network if s.layer == "draw"]
    for key in keys:
        other = step.b.arrays.get(key)
        if (
            key != mine
            and other is not None
            and other.shape == a.shape
            and np.array_equal(a, other)
        ):
            name = key.partition("/")[2]
            yield (
                f"another order of draws: what {step.names[0]} draws in "
                f"{judged.quantity.value[0]}, {step.names[1]} draws in {name}"
            )
            return
    words = list(_related_draws(step, judged, a, b))
    if words:
        yield from words
        return
    states = step.a.about.generator, step.b.about.generator
    if all(states):
        same = "the same state" if states[0] == states[1] else "different states"
        yield f"other random numbers; the generators were in {same} when the step began"
    else:
        yield "other random numbers: another seed, or something was drawn before"


def _related_draws(step: Inspected, judged: Judged, a: NDArray, b: NDArray) -> Iterator[str]:
    """What one side's draw is of the other's, or which distributions both have."""
    if a.shape != b.shape and a.ndim == b.ndim:
        for side, (x, y) in enumerate(((a, b), (b, a))):
            few = [at for at in range(a.ndim) if x.shape[at] == 1 < y.shape[at]]
            if few and all(x.shape[at] == y.shape[at] for at in range(a.ndim) if at not in few):
                what = "row" if few == [0] else "column" if few == [1] else "number"
                shapes = f"{x.shape} where it is {y.shape} in {step.names[1 - side]}"
                yield f"{step.names[side]} draws one {what} of noise for all: {shapes}"
                return
    if a.shape != b.shape or not a.ndim:
        yield from relation_of(step, judged) if a.shape != b.shape else ()
        return
    if set(np.unique(a)) | set(np.unique(b)) <= {0, 1}:
        yield from other_mask(step.names, a, b)
        return
    words = relation_of(step, judged)
    if not words:
        one, other = (torch.from_numpy(np.array(value, dtype=np.float64)) for value in (a, b))
        words = _shared(step.names, a, b) or other_distribution(step.names, one, other)
    yield from words


def _shared(names: tuple[str, str], a: NDArray, b: NDArray) -> list[str]:
    """Whether one side has one row of noise, or one column, in all of them."""
    for axis, what in enumerate(("row", "column")[: a.ndim]):
        if a.shape[axis] < 2 or a.size == a.shape[axis]:
            continue
        repeated = [bool((x == np.take(x, [0], axis)).all()) for x in (a, b)]
        if repeated[0] != repeated[1]:
            name = names[repeated.index(True)]
            return [f"{name} has one {what} of noise in every {what}"]
    return []
