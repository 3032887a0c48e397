"""Whether one side's rows, channels or columns are others of the other side's."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from comparisons.diagnosis.closeness import distance, magnitude
from comparisons.diagnosis.relations.axes import MOST_AXES, channels_of
from comparisons.diagnosis.relations.two_values import FEWEST, TwoValues

__all__ = ["FROM_ONE", "rows"]

FROM_ONE = ": an index from 1 taken as from 0"
MOST_FURTHER = 3  # rows
MOST_SLICES = 4096
FEWEST_ROWS = 3
FEWEST_NUMBERS = 8  # where a row is one number


def rows(two: TwoValues) -> list[str]:
    """Whether rows are neighbouring ones, one is repeated, or some are zero or in another order."""
    if not two.a.dim() or not two.a.numel():
        return []
    if two.a.dim() == 1:
        return _neighbours(two) if len(two.a) >= FEWEST_NUMBERS else []
    return _neighbours(two) or _repeated(two) or _zero(two) or _shifted(two) or _permuted(two)


def _neighbours(two: TwoValues) -> list[str]:
    for by in range(1, MOST_FURTHER + 1):
        if len(two.a) < by + 2:
            continue
        for one in two.both_ways():
            if distance(one.b[:-by], one.a[by:]) > one.allowed or _is_even(one.a[by:]):
                continue
            if by == 1:
                words = f"each row of {one.names[1]} is the next row of {one.names[0]}"
                return [words + FROM_ONE]
            return [f"each row of {one.names[1]} is the one {by} further of {one.names[0]}"]
    return []


def _is_even(x: Tensor) -> bool:
    """Whether all rows are the same: then each is the next one as well."""
    return bool((x == x[:1]).all())


def _repeated(two: TwoValues) -> list[str]:
    for one in two.both_ways():
        for axis, what in _axes_of(one.a):
            if axis == 0 and len(one.a) < FEWEST_ROWS:
                continue
            y = one.b.select(axis, 0).unsqueeze(axis)
            if not one.is_b(y.expand_as(one.b)):
                continue
            for place in range(one.a.shape[axis]):
                if distance(one.a.select(axis, place).unsqueeze(axis), y) <= one.allowed:
                    which = _ordinal(place)
                    return [
                        f"{one.names[1]} has the {which} {what} of {one.names[0]} in every {what}"
                    ]
            if distance(one.a.mean(axis, keepdim=True), y) <= one.allowed:
                return [f"{one.names[1]} has the mean of {one.names[0]} in every {what}"]
    return []


def _zero(two: TwoValues) -> list[str]:
    """Whether whole rows or channels of one side are zero, the rest being the same."""
    for one in two.both_ways():
        for axis, what in _axes_of(one.a):
            count = one.a.shape[axis]
            if one.a.numel() // count < 2:
                continue
            x, y = (v.movedim(axis, 0).flatten(1) for v in (one.a, one.b))
            gone = ~(y != 0).any(1) & (x != 0).any(1)
            if not gone.any() or gone.all():
                continue
            shape = [-1 if at == axis else 1 for at in range(one.a.dim())]
            if one.is_b(one.a * (~gone).to(one.a.dtype).view(shape)):
                places = [int(i) for i in gone.nonzero()[:, 0]]
                shown = ", ".join(str(i) for i in places[:3]) + (", ..." if places[3:] else "")
                return [
                    f"{len(places)} of {count} {what}s of {one.names[1]} are zero ({shown}), the "
                    f"others are {one.names[0]}'s"
                ]
    return []


def _shifted(two: TwoValues) -> list[str]:
    """Whether one side is the other shifted along an axis, whatever comes in at the end."""
    for axis in range(1, min(two.a.dim(), MOST_AXES)):
        for by in range(1, MOST_FURTHER + 1):
            if two.a.shape[axis] < by + FEWEST:
                continue
            for one in two.both_ways():
                rest = one.a.shape[axis] - by
                x, y = one.a.narrow(axis, 0, rest), one.b.narrow(axis, by, rest)
                if distance(x, y) <= one.allowed and not _is_even(x.movedim(axis, 0)):
                    return [f"{one.names[1]} is {one.names[0]} shifted by {by} along axis {axis}"]
    return []


def _permuted(two: TwoValues) -> list[str]:
    for axis, what in _axes_of(two.a):
        count = two.a.shape[axis]
        if not 2 <= count <= MOST_SLICES or two.a.numel() // count < 2:
            continue
        order = _order(two, axis)
        if order is not None and two.is_b(two.a.index_select(axis, order)):
            places = order.tolist()
            shifted = (torch.arange(count) + places[0]) % count
            if torch.equal(order, shifted):
                by = places[0] if places[0] <= count // 2 else places[0] - count
                return [
                    f"{what}s of {two.names[1]} are those of {two.names[0]} shifted by {-by}, "
                    "around the end"
                ]
            shown = ", ".join(str(i) for i in places[:8]) + (", ..." if places[8:] else "")
            if axis == 0:
                return [f"the same rows in another order ({shown})"]
            return [f"the same {what}s in another order ({shown})"]
    return []


def _order(two: TwoValues, axis: int) -> Tensor | None:
    """Which slice of a is each of b; None if both do not have the same ones. They are told apart
    by a sum with random weights."""
    x, y = (v.movedim(axis, 0).flatten(1) for v in (two.a, two.b))
    weights = torch.rand(x.shape[1], dtype=x.dtype, generator=torch.Generator().manual_seed(1))
    one, other = x @ weights, y @ weights
    first, second = one.argsort(), other.argsort()
    near = max(two.rtol * x.shape[1], 1e-9) * max(magnitude(one), magnitude(other))
    if magnitude(one[first] - other[second]) > near:
        return None
    order = torch.empty_like(first)
    order[second] = first
    return order


def _axes_of(x: Tensor) -> Iterator[tuple[int, str]]:
    """Axes whose slices have a name."""
    yield 0, "row"
    if x.dim() == 2:
        yield 1, "column"
    elif 2 < x.dim() <= MOST_AXES:
        channels = channels_of(x) or (1,)
        yield channels[0], "channel"


def _ordinal(place: int) -> str:
    return ("first", "second", "third")[place] if place < 3 else f"{place + 1}th"
