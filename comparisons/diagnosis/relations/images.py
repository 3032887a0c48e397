"""How images are related to other images: turned, mirrored, shifted, scaled, made of two values, or
others of the same data set."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from comparisons.diagnosis.closeness import distance, magnitude
from comparisons.diagnosis.relations.two_values import TwoValues
from pyvae.data.images import ImageData

__all__ = ["of_neighbours", "pixel_relation"]

SMALLEST, MOST_SHIFT = 8, 3  # pixels
MOST_COLOURS = 4
MOST_AROUND = 2  # images further


def pixel_relation(two: TwoValues) -> list[str]:
    """What b is of a, or a of b, if both are images or numbers of one shape."""
    for one in two.both_ways():
        words = _two_values(one.a, one.b)
        if words:
            return [f"{one.names[1]} is {one.names[0]} {words}"]
    first, second = _as_images(two.a), _as_images(two.b)
    if first is None or second is None:
        return []
    images = TwoValues(two.names, first, second, two.rtol)
    near = 10 * two.rtol * magnitude(second)
    for words, move in _moves(first):
        if distance(move(first[:1]), second[:1]) > near:  # most are told from one image
            continue
        if images.is_b(move(first)):
            return [f"{two.names[1]} is {two.names[0]} {words}"]
    return []


def _as_images(x: Tensor) -> Tensor | None:
    """The same as (image, channel, row, column); None if these are no images."""
    if x.dim() == 4 and x.shape[3] <= MOST_COLOURS < min(SMALLEST, *x.shape[1:3]):
        return x.permute(0, 3, 1, 2)
    if x.dim() == 4 and min(x.shape[2:]) >= SMALLEST:
        return x
    for channels in (1, 3) if x.dim() == 2 else ():
        side = round((x.shape[1] / channels) ** 0.5)
        if side >= SMALLEST and channels * side**2 == x.shape[1]:
            return x.reshape(len(x), channels, side, side)
    return None


def _moves(x: Tensor) -> Iterator[tuple[str, Callable[[Tensor], Tensor]]]:
    """What turns, mirrors and shifts images such as x."""
    yield "mirrored left to right", lambda x: x.flip(3)
    yield "upside down", lambda x: x.flip(2)
    yield "turned by 180 degrees", lambda x: x.flip(2, 3)
    if x.shape[2] == x.shape[3]:
        yield "with rows and columns exchanged (transposed)", lambda x: x.mT
        words = "transposed and mirrored: turned by 90 degrees clockwise"
        yield words, lambda x: x.mT.flip(3)
        words = "transposed and turned upside down: turned by 90 degrees counter-clockwise"
        yield words, lambda x: x.mT.flip(2)
        yield "transposed and turned by 180 degrees", lambda x: x.mT.flip(2, 3)
    shifts = range(-MOST_SHIFT, MOST_SHIFT + 1)
    for down, right in itertools.product(shifts, shifts):
        if (down, right) == (0, 0):
            continue
        ways = ((right, "to the right", "to the left"), (down, "down", "up"))
        words = " and ".join(
            f"{abs(by)} {'pixel' if abs(by) == 1 else 'pixels'} {there if by > 0 else back}"
            for by, there, back in ways
            if by
        )
        # zeros come in, and what is pushed over the edge is lost; or it comes in on the other side
        lost = partial(F.pad, pad=(right, -right, down, -down))
        yield f"shifted by {words}", lost
        around = partial(torch.roll, shifts=(down, right), dims=(2, 3))
        yield f"shifted by {words}, around the edge", around


def _two_values(x: Tensor, y: Tensor) -> str:
    """Whether y is x rounded to 0 and 1."""
    high, low = y == 1, y == 0
    if not (high | low).all() or not high.any() or not low.any():
        return ""
    if ((x == 0) | (x == 1)).all():
        return ""
    if x[low].max() <= x[high].min():
        threshold = (float(x[low].max()), float(x[high].min()))
        if threshold[0] <= 0.5 <= threshold[1]:
            return "rounded to 0 and 1 (at 0.5)"
        if threshold[0] == 0:
            return "made of 0 and 1: 1 wherever it is above 0"
        return f"made of 0 and 1, parted between {threshold[0]:.4g} and {threshold[1]:.4g}"
    if x.min() >= 0 and x.max() <= 1 and (x[high] > 0).all() and (x[low] < 1).all():
        return "made of 0 and 1 at random, the pixels being the probabilities"
    return ""


def of_neighbours(names: tuple[str, str], a: Tensor, b: Tensor, data: ImageData) -> list[str]:
    """Whether one side has the images that stand next to the other's in the data set."""
    if a.shape != b.shape or data.pixels[0].numel() != a[0].numel():
        return []
    places = [_places(x, data) for x in (a, b)]
    if not all(all(rows) for rows in places):
        return []
    for by in range(1, MOST_AROUND + 1):
        for (one, other), (x, y) in ((names, places), (names[::-1], places[::-1])):
            pairs = zip(x, y, strict=True)
            if all(any((i + by) % len(data) in theirs for i in mine) for mine, theirs in pairs):
                words = f"{other} has the images of the data set that stand"
                if by == 1:
                    why = ": an index from 1 taken as from 0"
                    return [f"{words} one further than {one}'s{why}"]
                return [f"{words} {by} further than {one}'s"]
    return []


def _places(x: Tensor, data: ImageData) -> list[set[int]]:
    """Where each image stands in the data set; several places where it has it several times."""
    pixels = data.pixels.reshape(len(data), -1).cpu()
    scale = 255 if pixels.dtype == torch.uint8 else 1
    found = []
    for row in x.reshape(len(x), -1):
        wanted = row * scale
        some = int(wanted.abs().argmax())  # where few others have the same number
        likely = (pixels[:, some].to(torch.float64) - wanted[some]).abs() < 1e-4
        near = likely.nonzero()[:, 0]
        off = (pixels[near].to(torch.float64) - wanted).abs().amax(1) if len(near) else near
        found.append({int(i) for i in near[off < 1e-4]})
    return found
