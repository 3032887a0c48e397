"""Where in a tensor two sides differ, and by how much: what a picture of it is drawn from.

A `Spread` is small, whatever the size of the tensors: a histogram, a few maps of at most
`MOST_PIXELS` a side, and the elements that are furthest apart.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Element", "Plane", "SideNumbers", "Spread", "spread_of"]

BINS = 31  # of the histogram; odd, so that one bin has zero in its middle
MOST_PIXELS = 96  # of a map, on each side
WORST = 5  # elements that are shown
MOST_NAMED = 6  # indices of an axis that are named one by one
AXES = {  # of tensors as layers return them, by their number of dimensions
    1: ("element",),
    2: ("example", "feature"),
    3: ("example", "position", "feature"),
    4: ("example", "channel", "row", "column"),
    5: ("example", "channel", "slice", "row", "column"),
}
WEIGHT_AXES = {
    1: ("element",),
    2: ("output", "input"),
    3: ("output", "input", "position"),
    4: ("output", "input", "row", "column"),
    5: ("output", "input", "slice", "row", "column"),
}


@dataclass(frozen=True)
class SideNumbers:
    """One side's tensor in a few numbers; of its finite elements.

    Attributes:
        shape: Its shape.
        least, most, mean, deviation: Smallest, largest, mean and standard deviation.
        bad: How many elements are NaN or infinite.
    """

    shape: tuple[int, ...]
    least: float
    most: float
    mean: float
    deviation: float
    bad: int


@dataclass(frozen=True)
class Element:
    """An element of both sides, and its index, counted from 0."""

    index: tuple[int, ...]
    values: tuple[float, float]


@dataclass(frozen=True, eq=False)
class Plane:
    """A map: the largest difference over all axes but two.

    Attributes:
        rows, columns: What lies along it downwards and to the right, and how many there are.
        sizes: The absolute difference, at most `MOST_PIXELS` a side: the largest of neighbours.
            Infinite where a side is not finite.
        is_image: Whether both axes are those of an image.
    """

    rows: tuple[str, int]
    columns: tuple[str, int]
    sizes: NDArray
    is_image: bool = False


@dataclass(frozen=True, eq=False)
class Spread:
    """Where two tensors differ, and by how much.

    Attributes:
        sides: Both in numbers.
        total: How many elements there are; 0 where the shapes differ: then nothing below is known.
        differing: How many of them differ at all.
        beyond: How many differ by more than is allowed.
        largest: The largest finite difference.
        counts: The histogram of first minus second side, from -`largest` to `largest`, elements
            that are equal left out.
        worst: The elements that are furthest apart.
        planes: The maps.
        where: In words, the indices that alone differ by more than is allowed, axis by axis.
    """

    sides: tuple[SideNumbers, SideNumbers]
    total: int = 0
    differing: int = 0
    beyond: int = 0
    largest: float = 0.0
    counts: tuple[int, ...] = ()
    worst: tuple[Element, ...] = ()
    planes: tuple[Plane, ...] = ()
    where: tuple[str, ...] = ()


def spread_of(
    a: NDArray, b: NDArray, allowed: float, weight: bool = False, index_base: int = 0
) -> Spread:
    """Looks at how two tensors differ.

    Arguments:
        a, b: The tensors.
        allowed: The difference that is allowed, absolute.
        weight: Whether its axes are those of a weight, not of a batch.
        index_base: From what indices are counted in words.

    Example:
        >>> a = np.zeros((2, 3))
        >>> b = a.copy()
        >>> b[:, 1] = 1
        >>> spread_of(a, b, 0.5).where
        ('feature: 1 of 0 to 2',)
    """
    if a.size == b.size == 1:
        b = b.reshape(a.shape)
    x, y = a.astype(np.float64), b.astype(np.float64)
    sides = _numbers(x), _numbers(y)
    if x.shape != y.shape or not x.size:
        return Spread(sides)
    same = (x == y) | (np.isnan(x) & np.isnan(y))
    with np.errstate(invalid="ignore", over="ignore"):
        difference = np.where(same, 0.0, x - y)
    size = np.asarray(np.abs(difference))
    size[np.isnan(size)] = np.inf
    finite = difference[np.isfinite(size) & (size > 0)]
    largest = float(np.abs(finite).max()) if finite.size else 0.0
    counts = np.histogram(finite / largest, BINS, (-1, 1))[0] if largest else np.zeros(0)
    names = _axis_names(x.ndim, weight)
    beyond = size > allowed
    order = np.argsort(size, axis=None)[::-1][:WORST] if x.size <= 10**6 else _largest(size)
    places = [tuple(int(i) for i in np.unravel_index(int(at), x.shape)) for at in order]
    return Spread(
        sides, x.size, int((size > 0).sum()), int(beyond.sum()), largest,
        tuple(int(count) for count in counts),
        tuple(Element(p, (float(x[p]), float(y[p]))) for p in places if size[p] > 0),
        tuple(_planes(size, names)),
        tuple(_where(beyond, names, index_base)),
    )  # fmt: skip


def _largest(size: NDArray) -> NDArray:
    """The flat indices of the largest elements, the largest first."""
    flat = size.reshape(-1)
    some = np.argpartition(flat, -WORST)[-WORST:]
    return some[np.argsort(flat[some])[::-1]]


def _numbers(x: NDArray) -> SideNumbers:
    finite = x[np.isfinite(x)]
    bad = int(x.size - finite.size)
    if not finite.size:
        return SideNumbers(x.shape, math.nan, math.nan, math.nan, math.nan, bad)
    with np.errstate(over="ignore"):
        mean, deviation = float(finite.mean()), float(finite.std())
    return SideNumbers(x.shape, float(finite.min()), float(finite.max()), mean, deviation, bad)


def _axis_names(ndim: int, weight: bool) -> tuple[str, ...]:
    known = (WEIGHT_AXES if weight else AXES).get(ndim)
    return known or tuple(f"axis {axis + 1}" for axis in range(ndim))


def _planes(size: NDArray, names: Sequence[str]) -> Iterator[Plane]:
    """The maps of a tensor: its image, where it has one, and its first two axes."""
    if size.ndim == 0:
        return
    if size.ndim == 1:
        yield _plane(size[None, :], ("", 1), (names[0], size.shape[0]))
        return
    if size.ndim >= 4:
        others = tuple(range(size.ndim - 2))
        image = _named(names, size.shape, -2), _named(names, size.shape, -1)
        if min(size.shape[-2:]) > 1:
            yield _plane(size.max(axis=others), *image, is_image=True)
    elif size.ndim == 3:
        last = _named(names, size.shape, 1), _named(names, size.shape, 2)
        yield _plane(size.max(axis=0), *last)
    rest = tuple(range(2, size.ndim))
    first = _named(names, size.shape, 0), _named(names, size.shape, 1)
    yield _plane(size.max(axis=rest) if rest else size, *first)


def _named(names: Sequence[str], shape: Sequence[int], axis: int) -> tuple[str, int]:
    return names[axis], shape[axis]


def _plane(
    sizes: NDArray, rows: tuple[str, int], columns: tuple[str, int], is_image: bool = False
) -> Plane:
    for axis in (0, 1):
        number = sizes.shape[axis]
        if number > MOST_PIXELS:
            starts = np.arange(MOST_PIXELS) * number // MOST_PIXELS
            sizes = np.maximum.reduceat(sizes, starts, axis=axis)
    return Plane(rows, columns, sizes, is_image)


def _where(beyond: NDArray, names: Sequence[str], base: int) -> Iterator[str]:
    """The axes along which only some indices differ, and which."""
    if not beyond.any() or beyond.all():
        return
    for axis, name in enumerate(names):
        others = tuple(i for i in range(beyond.ndim) if i != axis)
        found = np.flatnonzero(beyond.any(axis=others))
        length = beyond.shape[axis]
        if found.size == length:
            continue
        absent = np.setdiff1d(np.arange(length), found)
        words = _indices(found + base)
        if absent.size <= MOST_NAMED < found.size and " to " not in words:
            words = f"all but {_indices(absent + base)}"
        yield f"{name}: {words} of {base} to {length - 1 + base}"


def _indices(found: NDArray) -> str:
    """Indices in words: one by one where they are few, as a range where they are neighbours."""
    first, last = int(found[0]), int(found[-1])
    if found.size > 2 and last - first == found.size - 1:
        return f"{first} to {last}"
    gaps = set(np.diff(found).tolist())
    if found.size > MOST_NAMED and len(gaps) == 1:
        return f"every {_ordinal(gaps.pop())} from {first} to {last}"
    named = ", ".join(str(i) for i in found[:MOST_NAMED].tolist())
    return named if found.size <= MOST_NAMED else f"{named} and {found.size - MOST_NAMED} more"


def _ordinal(number: int) -> str:
    return {2: "second", 3: "third"}.get(number, f"{number}th")
