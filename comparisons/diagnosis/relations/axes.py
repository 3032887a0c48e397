"""Whether b is a with its axes exchanged, reversed or read in another order."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence

from torch import Tensor

from comparisons.diagnosis.closeness import same
from comparisons.diagnosis.relations.two_values import TwoValues

__all__ = ["MOST_AXES", "axes", "axis_words", "same_numbers"]

MOST_AXES = 5
FEWEST_DIFFERENT = 8


def axes(two: TwoValues, input_shape: Sequence[int] | None) -> list[str]:
    """Whether b is a with axes exchanged or reversed, or filled in another order.

    Arguments:
        two: The values.
        input_shape: The shape before a reshape, whose axes may have been exchanged.
    """
    for words, value in _turned(two.a, input_shape):
        if two.is_b(value):
            return [words]
    return []


def _turned(a: Tensor, input_shape: Sequence[int] | None) -> Iterator[tuple[str, Tensor]]:
    own = tuple(range(a.dim()))
    if a.dim() <= MOST_AXES:
        for count in range(1, a.dim() + 1):
            for some in itertools.combinations(own, count):
                words = f"equal after reversing {axis_words(some)}"
                if some == channels_of(a) and a.shape[some[0]] == 3:
                    words += ": red, green, blue as blue, green, red"
                yield words, a.flip(some)
        for order in itertools.permutations(own):
            if order != own:
                words = f"transposed: equal after taking axes in the order {order}"
                yield words, a.permute(order)
    side = round(a[0].numel() ** 0.5) if a.dim() > 1 and len(a) else 0
    if a.dim() == 2 and side * side == a.shape[1] and side > 1:
        square = a.reshape(-1, side, side).transpose(1, 2)
        words = "equal after exchanging rows and columns of each image"
        yield words, square.reshape(a.shape)
    if input_shape is not None and math.prod(input_shape) == a.numel():
        for order in itertools.permutations(range(len(input_shape))):
            if order != tuple(range(len(input_shape))):
                words = f"the same numbers with the input's axes in the order {order}"
                yield words, a.reshape(*input_shape).permute(order).reshape(a.shape)
    yield from _read_as_another(a)


def channels_of(a: Tensor) -> tuple[int, ...]:
    """The axis of an image's channels; none if it is no batch of images."""
    if a.dim() != 4:
        return ()
    return (3,) if a.shape[3] in (1, 3, 4) and a.shape[1] not in (1, 3, 4) else (1,)


def _read_as_another(a: Tensor) -> Iterator[tuple[str, Tensor]]:
    """Numbers that lie in memory in one order and are read in another."""
    if a.dim() > 1 and min(a.shape) > 1:
        turned = a.permute(*reversed(range(a.dim())))
        words = "the same numbers, filled column-major (R's order) on one side"
        yield words, a.flatten().reshape(turned.shape).permute(*reversed(range(a.dim())))
        yield words, turned.flatten().reshape(a.shape)
    if a.dim() > 2 and min(a.shape[1:]) > 1:
        turned = a.permute(0, *reversed(range(1, a.dim())))
        words = "the same numbers, each row's filled column-major (R's order) on one side"
        yield words, a.flatten().reshape(turned.shape).permute(0, *reversed(range(1, a.dim())))
        yield words, turned.flatten().reshape(a.shape)
    if 3 <= a.dim() <= MOST_AXES:
        # as if (N, C, H, W): its numbers laid channels-last; as if (N, H, W, C): channels-first
        last, first = (0, *range(2, a.dim()), 1), (0, a.dim() - 1, *range(1, a.dim() - 1))
        n, *rest = a.shape
        for words, order, back, shape in (
            ("channels-last (NHWC) read as channels-first", last, first, (*rest[1:], rest[0])),
            ("channels-first (NCHW) read as channels-last", first, last, (rest[-1], *rest[:-1])),
        ):
            words = f"the same numbers, on one side {words}"
            yield words, a.permute(order).reshape(a.shape)
            yield words, a.reshape(n, *shape).permute(back)


def axis_words(some: Sequence[int]) -> str:
    return ("axis " if len(some) == 1 else "axes ") + ", ".join(str(axis) for axis in some)


def same_numbers(two: TwoValues) -> list[str]:
    """Whether both have the same numbers, in whatever order; of few different ones they often
    have."""
    a, b, rtol = two.a, two.b, two.rtol
    if len(a.unique()) < min(FEWEST_DIFFERENT, a.numel()):
        return []
    if same(a.flatten().sort().values, b.flatten().sort().values, rtol):
        if a.dim() > 1:
            rows = [x.flatten(1).sort(1).values for x in (a, b)]
            if same(rows[0], rows[1], rtol):
                return ["the same numbers in each image, in another order"]
        return ["the same numbers, in another order"]
    return []
