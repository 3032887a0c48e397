"""Mistaken pieces of tensors: places that are one off, pieces in another order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import permutations
from typing import Any

import torch
from torch import Tensor

from comparisons.ports.mistakes.mistake import Call, mistake
from comparisons.ports.mistakes.spatial.orders import distinct

PICKED = ("gather", "index_select", "take_along_dim")
CUT = ("chunk", "split", "split_with_sizes", "tensor_split")
MOST_PLACES = 64  # of an axis, each of which is tried
MOST_PIECES = 4

Made = Iterator[tuple[str, Any]]


def _places(size: int, right: int) -> list[int]:
    """Places that may have been taken instead, all or those that people confuse."""
    if size <= MOST_PLACES:
        return [one for one in range(size) if one != right]
    near = (right - 1, right + 1, 0, size - 1)
    return [one for one in dict.fromkeys(near) if one != right and 0 <= one < size]


def _shown(place: int, right: int, size: int) -> str:
    return f"place {place + 1} of {size} where it is place {right + 1}"


def _pooled(x: Tensor, axis: int) -> Made:
    yield "the mean over all places, where it is one of them", x.mean(axis)
    yield "the sum over all places, where it is one of them", x.sum(axis)
    yield "the largest of all places, where it is one of them", x.amax(axis)


@mistake("select")
def other_place(call: Call) -> Made:
    x, axis = call.inputs[0], int(call.options["dim"])
    size = x.shape[axis]
    right = int(call.options["index"]) % size
    for place in _places(size, right):
        yield _shown(place, right, size), x.select(axis, place)
    if x.is_floating_point() and size > 1:
        yield from _pooled(x, axis)


@mistake("index")
def other_index(call: Call) -> Made:
    """Of `x[...]` with whole numbers and slices alone."""
    x, said = call.inputs[0], list(call.options["index"])
    if len(call.inputs) > 1 or any(one == "..." or one is None for one in said):
        return
    for at, one in enumerate(said):
        size = x.shape[at]
        if isinstance(one, int) and not isinstance(one, bool):
            for place in _places(size, one % size):
                words = _shown(place, one % size, size)
                yield words, call(index=[*said[:at], place, *said[at + 1 :]])
            if x.is_floating_point() and size > 1 and said.count(":") == len(said) - 1:
                yield from _pooled(x, at)
        elif isinstance(one, str) and one != ":":
            for words, other in _moved_slices(one, size):
                yield words, call(index=[*said[:at], other, *said[at + 1 :]])


def _moved_slices(said: str, size: int) -> Iterator[tuple[str, str]]:
    start, end, step = slice(*(int(one) if one else None for one in said.split(":"))).indices(size)
    if step < 1:
        return
    for by, words in ((1, "one place further"), (-1, "one place before")):
        if start + by >= 0 and end + by <= size:
            yield f"from {words}", f"{start + by}:{end + by}:{step}"


@mistake(("slice", "narrow"))
def other_start(call: Call) -> Made:
    x, options = call.inputs[0], call.options
    axis = int(options["dim"])
    size = x.shape[axis]
    if call.layer == "narrow":
        start = int(options["start"]) % size
        end, step = start + int(options["length"]), 1
    else:
        given = slice(options.get("start"), options.get("end"), options.get("step", 1))
        start, end, step = given.indices(size)
    for by, words in ((1, "one place further"), (-1, "one place before")):
        if start + by >= 0 and end + by <= size:
            places = torch.arange(start + by, end + by, step)
            yield f"from {words}", x.index_select(axis, places)


@mistake(("cat", "concat", "concatenate", "stack"))
def other_order(call: Call) -> Made:
    parts, axis = list(call.inputs), int(call.options.get("dim", 0))
    count = len(parts)
    if not 2 <= count <= MOST_PIECES:
        return
    yield from distinct(call(), _reordered(call, parts))
    if call.layer != "stack" and len({one.shape for one in parts}) == 1:
        words = "the elements of its parts in turn, not one part after the other"
        axis %= parts[0].dim()
        yield words, torch.stack(parts, axis + 1).flatten(axis, axis + 1)


def _reordered(call: Call, parts: list[Tensor]) -> Made:
    for order in permutations(range(len(parts))):
        words = "the second before the first"
        if len(parts) > 2:
            words = f"its parts in the order {_numbers(order)}"
        yield words, call(*(parts[one] for one in order))


def _numbers(order: Sequence[int]) -> str:
    return ", ".join(str(one + 1) for one in order)


@mistake(CUT)
def other_pieces(call: Call) -> Made:
    pieces, x = tuple(call()), call.inputs[0]
    count, axis = len(pieces), int(call.options.get("dim", 0))
    if not 2 <= count <= MOST_PIECES or len({one.shape for one in pieces}) > 1:
        return
    for order in permutations(range(count)):
        if list(order) == sorted(order):
            continue
        words = "the halves exchanged"
        if count > 2:
            words = f"its pieces in the order {_numbers(order)}"
        yield words, tuple(pieces[one] for one in order)
    if pieces[0].shape[axis] > 1:
        every = [torch.arange(one, x.shape[axis], count) for one in range(count)]
        which = "other" if count == 2 else f"{count}th"
        words = f"every {which} element, not a piece of neighbours"
        yield words, tuple(x.index_select(axis, one) for one in every)


@mistake("flip", "not flipped")
def not_flipped(call: Call) -> Tensor:
    return call.inputs[0] * 1


@mistake("roll", "rolled the other way")
def other_way(call: Call) -> Tensor:
    shifts = call.options["shifts"]
    shifts = [-one for one in shifts] if isinstance(shifts, list | tuple) else -shifts
    return call(shifts=shifts)


@mistake(("tril", "triu"))
def other_triangle(call: Call) -> Made:
    x, at = call.inputs[0], int(call.options.get("diagonal", 0))
    if call.layer == "tril":
        yield "what is above the diagonal, not what is below", torch.triu(x, at)
    else:
        yield "what is below the diagonal, not what is above", torch.tril(x, at)
    for by, words in ((1, "one diagonal higher"), (-1, "one diagonal lower")):
        yield words, call(diagonal=at + by)


@mistake("repeat", "each element repeated, not the whole")
def interleaved(call: Call) -> Tensor | None:
    x, times = call.inputs[0], list(call.options["repeats"])
    for axis, count in enumerate(times[len(times) - x.dim() :]):
        x = x.repeat_interleave(count, axis)
    return x if max(times[: len(times) - x.dim()], default=1) == 1 else None


@mistake("repeat_interleave", "the whole repeated, not each element")
def tiled(call: Call) -> Tensor | None:
    x, right, axis = call.inputs[0], call(), call.options.get("dim")
    if axis is None or right.shape[axis] % x.shape[axis]:
        return None
    times = [1] * x.dim()
    times[axis] = right.shape[axis] // x.shape[axis]
    return x.repeat(times)


@mistake(PICKED)
def one_off(call: Call) -> Made:
    x, index = call.inputs
    size, base = x.shape[int(call.options.get("dim") or 0)], call.index_base
    ways = {
        1: "one place further: an index from 1 taken as from 0",
        -1: "one place before: an index from 0 taken as from 1",
    }
    for by, words in ways.items():
        yield words, call(x, (index - base + by) % size + base)


@mistake("one_hot")
def other_class(call: Call) -> Made:
    classes, base = call.inputs[0], call.index_base
    count = call().shape[-1]
    words = "one class further: classes from 1 taken as from 0"
    yield words, call((classes - base + 1) % count + base, num_classes=count)
    words = "one class before: classes from 0 taken as from 1"
    yield words, call((classes - base - 1) % count + base, num_classes=count)
