"""Mistaken orders of elements: flattening, views, permutations of axes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import permutations

import torch
from torch import Tensor

from comparisons.ports.mistakes.mistake import Call, mistake

VIEWS = ("view", "reshape")
MOST_AXES = 5

Made = Iterator[tuple[str, Tensor]]
# How people call the order in which an image's axes are read, the last the fastest
READ: dict[int, dict[str, tuple[int, ...]]] = {
    2: {"channel last (position, channel)": (1, 0)},
    3: {
        "column-major (channel, column, row)": (0, 2, 1),
        "channel last (row, column, channel)": (1, 2, 0),
        "column-major, channel last (column, row, channel)": (2, 1, 0),
    },
    4: {
        "channel last (depth, row, column, channel)": (1, 2, 3, 0),
        "column-major, channel last (column, row, depth, channel)": (3, 2, 1, 0),
    },
}


def distinct(right: Tensor, made: Iterable[tuple[str, Tensor]]) -> Made:
    """Leaves out what is right after all, and what another of them has returned already: axes of
    size 1 make many orders one."""
    seen = [right]
    for words, value in made:
        if not any(value.shape == one.shape and torch.equal(value, one) for one in seen):
            seen.append(value)
            yield words, value


def _turned(x: Tensor) -> Tensor:
    """All axes in reverse: what is column-major is row-major then."""
    return x.permute(*range(x.dim() - 1, -1, -1))


def _flattened(x: Tensor, start: int, axes: int) -> Made:
    """Axes from `start` on, flattened in another order."""
    for words, order in READ.get(axes, {}).items():
        places = [*range(start), *(start + one for one in order), *range(start + axes, x.dim())]
        value = x.permute(places).flatten(start, start + axes - 1)
        yield f"flattened in the order {words}", value


def _unflattened(x: Tensor, start: int, sizes: list[int]) -> Made:
    """The same the other way round."""
    for words, order in READ.get(len(sizes), {}).items():
        value = x.unflatten(start, [sizes[one] for one in order])
        back = [order.index(one) for one in range(len(sizes))]
        rest = range(start + len(sizes), value.dim())
        value = value.permute([*range(start), *(start + one for one in back), *rest])
        yield f"features taken in the order {words}", value


def _viewed(x: Tensor, shape: list[int]) -> Made:
    """Numbers that are laid out in rows of any shape."""
    if x.dim() > MOST_AXES:
        return
    words = "the numbers read and filled column by column (column-major, as R does)"
    yield words, _turned(_turned(x).reshape(shape[::-1]))
    words = "the numbers filled column by column, where they are read row by row"
    yield words, _turned(x.reshape(shape[::-1]))
    words = "the numbers read column by column, where they are filled row by row"
    yield words, _turned(x).reshape(shape)
    for order in permutations(range(x.dim())):
        moved = x.permute(order)
        if list(moved.shape) == shape:
            yield f"its axes permuted, {order}, not reshaped", moved
        elif moved.shape != x.shape:
            yield f"its axes permuted first, {order}", moved.reshape(shape)


@mistake("flatten")
def flattened(call: Call) -> Made:
    x, right = call.inputs[0], call()
    start = call.options.get("start_dim")
    start = (1 if right.dim() == 2 else 0) if start is None else int(start) % x.dim()
    yield from distinct(right, _flattened(x, start, x.dim() - right.dim() + 1))


@mistake("unflatten")
def unflattened(call: Call) -> Made:
    x, right = call.inputs[0], call()
    start = int(call.options["dim"]) % x.dim()
    sizes = list(right.shape[start : start + right.dim() - x.dim() + 1])
    yield from distinct(right, _unflattened(x, start, sizes))


@mistake(VIEWS)
def viewed(call: Call) -> Made:
    x, right = call.inputs[0], call()
    if x.shape[:1] == right.shape[:1] and right.dim() == 2 and x.dim() in (4, 5):
        yield from distinct(right, _flattened(x, 1, x.dim() - 1))
    elif x.shape[:1] == right.shape[:1] and x.dim() == 2 and right.dim() in (4, 5):
        yield from distinct(right, _unflattened(x, 1, list(right.shape[1:])))
    else:
        yield from distinct(right, _viewed(x, list(right.shape)))


@mistake(("permute", "transpose", "swapaxes", "swapdims", "movedim", "moveaxis", "t", "adjoint"))
def permuted(call: Call) -> Made:
    x, right = call.inputs[0], call()
    yield from distinct(right, _permuted(x, right, call.options.get("dim")))


def _permuted(x: Tensor, right: Tensor, said: list[int] | None) -> Made:
    yield "reshaped (a view) where its axes change places", x.reshape(right.shape)
    yield "its axes not exchanged", x * 1
    if x.dim() > MOST_AXES:
        return
    where = "" if said is None else f" where they are {tuple(one % x.dim() for one in said)}"
    for order in permutations(range(x.dim())):
        yield f"axes {order}{where}", x.permute(order)
