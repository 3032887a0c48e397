"""Affine maps that have a name: the constants by which data sets are usually normalised, for all
pixels or channel by channel; columns that were standardised, rows that were divided."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import permutations

import torch
from torch import Tensor

from comparisons.diagnosis.closeness import same
from comparisons.diagnosis.relations.two_values import FEWEST, TwoValues

__all__ = ["by_channels", "by_rows", "normalisation", "standardised"]


@dataclass(frozen=True)
class DataSet:
    """A data set's usual mean and deviation, a number for each channel."""

    name: str
    mean: tuple[float, ...]
    deviation: tuple[float, ...]

    def of(self, channels: int) -> DataSet | None:
        """Its constants for so many channels; None if it has others."""
        if len(self.mean) == channels:
            return self
        if len(self.mean) == 1:
            return DataSet(self.name, self.mean * channels, self.deviation * channels)
        return None

    @property
    def mean_words(self) -> str:
        return _list(self.mean)

    @property
    def deviation_words(self) -> str:
        return _list(self.deviation)


IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
USUAL = (
    DataSet("MNIST's usual mean and deviation", (0.1307,), (0.3081,)),
    DataSet("Fashion-MNIST's usual mean and deviation", (0.2860,), (0.3530,)),
    DataSet("KMNIST's usual mean and deviation", (0.1918,), (0.3483,)),
    DataSet("from [0, 1] to [-1, 1]", (0.5,), (0.5,)),
    DataSet("ImageNet's usual mean and deviation", *IMAGENET),
    DataSet("ImageNet's usual mean and deviation (red)", *((one[0],) for one in IMAGENET)),
    DataSet(
        "CIFAR-10's usual mean and deviation", (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)
    ),
    DataSet(
        "CIFAR-10's usual mean and deviation", (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)
    ),
    DataSet(
        "CIFAR-100's usual mean and deviation", (0.5071, 0.4867, 0.4408), (0.2675, 0.2565, 0.2761)
    ),
    DataSet("SVHN's usual mean and deviation", (0.4377, 0.4438, 0.4728), (0.1980, 0.2010, 0.1970)),
    DataSet(
        "CLIP's mean and deviation",
        (0.48145466, 0.4578275, 0.40821073),
        (0.26862954, 0.26130258, 0.27577711),
    ),
)
BYTES = 255.0  # a pixel's largest value, where it is a byte

# What is done with mean m and deviation s: in words, the factor and what is added
FORMS: tuple[tuple[str, Callable[[float, float], tuple[float, float]]], ...] = (
    ("(x - {m}) / {s}: {of}", lambda m, s: (1 / s, -m / s)),
    ("(x / 255 - {m}) / {s}: {of}", lambda m, s: (1 / s / BYTES, -m / s)),
    ("(255 x - {m}) / {s}: {of}, of pixels up to 255", lambda m, s: (BYTES / s, -m / s)),
    ("x - {m}: {of}, not divided by the deviation", lambda m, s: (1.0, -m)),
    ("x / {s}: {of}, the mean not subtracted", lambda m, s: (1 / s, 0.0)),
    ("(x - {m}) * {s}: {of}, times the deviation", lambda m, s: (s, -m * s)),
    ("(x - {s}) / {m}: {of}, the two exchanged", lambda m, s: (1 / m, -s / m)),
    ("(x - {m}) / {s}^2: {of}, the deviation squared", lambda m, s: (1 / s**2, -m / s**2)),
    ("(x + {m}) / {s}: {of}, the mean added", lambda m, s: (1 / s, m / s)),
)


def normalisation(factor: float, shift: float, exact: float = 1e-6) -> str:
    """What factor times x plus shift is called; empty if it has no name.

    Arguments:
        factor, shift: Of the map.
        exact: How near both have to be to those of a name.
    """
    return _named([factor], [shift], exact)


def _named(factors: Sequence[float], shifts: Sequence[float], exact: float) -> str:
    """The same, of a factor and shift for each channel."""

    def is_it(known: Sequence[tuple[float, float]]) -> bool:
        return all(
            abs(factor - a) <= exact * abs(a) and abs(shift - b) <= exact * max(abs(a), abs(b))
            for factor, shift, (a, b) in zip(factors, shifts, known, strict=True)
        )

    channels = len(factors)
    if is_it([(-1.0, 1.0)] * channels):
        return "1 - x: dark and light exchanged"
    if is_it([(1 / BYTES, 0.0)] * channels):
        return "x / 255"
    known = [one for one in (data.of(channels) for data in USUAL) if one is not None]
    for words, form in FORMS:
        for data in known:
            if is_it([form(m, s) for m, s in zip(data.mean, data.deviation, strict=True)]):
                if words == FORMS[0][0] and set(data.mean + data.deviation) == {0.5}:
                    return "(x - 0.5) / 0.5: 2 x - 1, from [0, 1] to [-1, 1]"
                return words.format(m=data.mean_words, s=data.deviation_words, of=data.name)
    for other, data in permutations(known, 2):
        each = zip(data.mean, data.deviation, other.mean, other.deviation, strict=True)
        if is_it([(s2 / s, (m2 - m) / s) for m, s, m2, s2 in each]):
            return (
                f"normalised as (x - {data.mean_words}) / {data.deviation_words} ({data.name}), "
                f"and the other by {other.mean_words} and {other.deviation_words} ({other.name})"
            )
    return ""


def _list(numbers: Sequence[float]) -> str:
    shown = [f"{one:g}" for one in dict.fromkeys(numbers)]
    return shown[0] if len(shown) == 1 else f"({', '.join(f'{one:g}' for one in numbers)})"


MOST_CHANNELS, MOST_COLOURS = 4096, 4


def standardised(two: TwoValues) -> list[str]:
    """Whether one side is the other standardised by its own mean and deviation, or scaled from its
    own range: all numbers, each column, each channel, each row."""
    if two.a.numel() < FEWEST:
        return []
    for one in two.both_ways():
        for what, over in _parts(one.a):
            for words, value in _standardised(one.a, over):
                if one.is_b(value):
                    return [f"{one.names[1]} is {one.names[0]} with {what} {words}"]
    return []


def _parts(x: Tensor) -> Iterator[tuple[str, list[int]]]:
    """What may be standardised by itself, and the axes over which it reaches."""
    axes = list(range(x.dim()))
    yield "all of it", axes
    if x.dim() > 1 and len(x) > 2:
        yield "each column" if x.dim() == 2 else "each place in a row", [0]
    if x.dim() > 2:
        yield "each channel", [axis for axis in axes if axis != 1]
        yield "each channel (the last axis)", axes[:-1]
        yield "each channel of each row", axes[2:]
    if x.dim() > 1 and x[0].numel() > 2:
        yield "each row", axes[1:]


def by_channels(two: TwoValues) -> list[str]:
    """Whether each channel, or each column, of b is a's times and plus numbers of its own."""
    for axis in dict.fromkeys((1, two.a.dim() - 1)) if two.a.dim() > 1 else ():
        channels = two.a.shape[axis]
        if not 2 <= channels <= MOST_CHANNELS or two.a.numel() < FEWEST * channels:
            continue
        found = _fit(two, axis)
        if found is None:
            continue
        if channels <= MOST_COLOURS:
            other = 1 / found[0], -found[1] / found[0]
            for one, (times, plus) in ((two, found), (two.exchanged, other)):
                known = _named(times.tolist(), plus.tolist(), 1e-5)
                if known:
                    return [f"{one.names[1]} is {known}, where x is {one.names[0]}"]
        if two.b.numel() < 4 * FEWEST * channels:
            return []  # of few numbers, two constants for each channel may fit by chance
        what = "channel" if two.a.dim() > 2 else "column"
        first, added = (float(x[0]) for x in found)
        return [
            f"each {what} of {two.names[1]} is {two.names[0]}'s times and plus numbers of its own "
            f"(the first: times {first:.6g} {'plus' if added >= 0 else 'minus'} {abs(added):.4g})"
        ]
    return []


def _fit(two: TwoValues, axis: int) -> tuple[Tensor, Tensor] | None:
    """The factor and the shift of each channel, by least squares; None if they do not make b."""
    x, y = (v.movedim(axis, 0).flatten(1) for v in (two.a, two.b))
    u, v = x - x.mean(1, keepdim=True), y - y.mean(1, keepdim=True)
    square = (u * u).sum(1)
    if (square <= 0).any():
        return None
    times = (u * v).sum(1) / square
    plus = y.mean(1) - times * x.mean(1)
    if (times == 0).any():
        return None
    shape = [-1 if at == axis else 1 for at in range(two.a.dim())]
    return (times, plus) if two.is_b(times.view(shape) * two.a + plus.view(shape)) else None


def _standardised(x: Tensor, over: list[int]) -> Iterator[tuple[str, Tensor]]:
    mean = x.mean(over, keepdim=True)
    yield "centred: its own mean subtracted", x - mean
    if mean.numel() == x.numel():  # single numbers have neither deviation nor range
        return
    for words, unbiased in (("deviation", True), ("deviation (biased, by n)", False)):
        deviation = x.std(over, unbiased=unbiased, keepdim=True)
        yield f"standardised by its own mean and {words}", (x - mean) / deviation
    low, high = x.amin(over, keepdim=True), x.amax(over, keepdim=True)
    yield "scaled from its own range to [0, 1]", (x - low) / (high - low)
    yield "scaled from its own range to [-1, 1]", 2 * (x - low) / (high - low) - 1


FEWEST_COLUMNS = 3


def by_rows(two: TwoValues) -> list[str]:
    """Whether each row of b is a's times a number of its own, such as one over its norm."""
    if two.a.dim() < 2 or len(two.a) < 2 or two.a[0].numel() < FEWEST_COLUMNS:
        return []
    x, y = two.a.flatten(1), two.b.flatten(1)
    square = (x * x).sum(1, keepdim=True)
    if (square <= 0).any():
        return []
    times = (x * y).sum(1, keepdim=True) / square
    if (times == 0).any() or not two.is_b((times * x).reshape(two.a.shape)):
        return []
    for one, factor in ((two, times), (two.exchanged, 1 / times)):
        z = one.a.flatten(1)
        for words, value in (
            ("its norm", z.norm(dim=1, keepdim=True)),
            ("its sum", z.sum(1, keepdim=True)),
            ("its largest value", z.amax(1, keepdim=True)),
            ("its largest magnitude", z.abs().amax(1, keepdim=True)),
            ("its deviation", z.std(1, keepdim=True)),
        ):
            if same(factor * value, torch.ones_like(value), max(two.rtol, 1e-9)):
                return [f"{one.names[1]} is {one.names[0]} with each row divided by {words}"]
    first = float(times[0])
    return [
        f"each row of {two.names[1]} is {two.names[0]}'s times a number of its own "
        f"(the first: times {first:.6g})"
    ]
