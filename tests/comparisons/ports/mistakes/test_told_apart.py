"""Every mistake of every example, by all its words: no other mistake of its layer is the same."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from examples.example import called, tensors
from numpy.typing import NDArray
from torch import nn

from comparisons.ports.expected.recompute import REFUSED
from comparisons.ports.mistakes.fit import fitting, holding
from comparisons.ports.mistakes.mistake import Mistake, mistakes_of
from examples import EXAMPLES as ALL
from examples import Example, Planted, planted_in

pytestmark = pytest.mark.slow

EXAMPLES = [one for one in ALL if not one.keeps_buffers]  # a call of them moves their buffers
SAME = 1e-7  # of the largest number
Arrays = list[NDArray]
STEPS = (3, 4)  # the seeds of what goes in, and of masks


def arrays_of(value) -> Arrays:
    return [one.detach().double().numpy() for one in tensors(value)]


# Layers that have ten times as many mistakes as others, and which of their examples do not wait
# for `make long`: several layers and both directions at once, states that are given, masks.
MANY = {"gru", "lstm", "multihead_attention"}
AT_ONCE = {"lstm-4", "lstm-6", "gru-3", "multihead_attention-2", "multihead_attention-4"}


def cases() -> Iterator[Any]:
    count = Counter()
    for example in EXAMPLES:
        count[example.layer] += 1
        label = f"{example.layer}-{count[example.layer]}"
        long = example.layer in MANY and label not in AT_ONCE
        yield pytest.param(example, id=label, marks=[pytest.mark.long] if long else [])


class Layer:
    """The layer of an example, called in memory."""

    def __init__(self, example: Example) -> None:
        self.example, self.layer = example, example.network().layer
        self.kept: dict[tuple[int, Mistake], list[tuple[str, Arrays]]] = {}
        torch.manual_seed(2)
        self.batches = dict(zip(STEPS, (example.batch() for _ in STEPS), strict=True))

    def call(self, seed: int):
        torch.manual_seed(seed)
        inputs, named = self.batches[seed]
        return called(self.layer, tuple(inputs), named)

    def planted(self, seed: int, planted: Planted) -> Arrays:
        torch.manual_seed(seed)
        inputs, named = self.batches[seed]
        return arrays_of(planted.run(self.layer, tuple(inputs), named))

    def others(self, seed: int, found: NDArray) -> Iterator[tuple[str, Arrays]]:
        """What the layer returns with each of its mistakes. Those that nothing is fitted to return
        the same whatever was found."""
        for one in mistakes_of(self.example.layer):
            if one.backward:
                continue
            if (seed, one) not in self.kept or one.fits:
                self.kept[seed, one] = list(self._made(one, seed, torch.from_numpy(found)))
            yield from self.kept[seed, one]

    def _made(self, one: Mistake, seed: int, found: torch.Tensor) -> Iterator[tuple[str, Arrays]]:
        made = one.made(self.call(seed), found)
        while True:
            try:
                words, value = next(made)
                yield words, arrays_of(value() if callable(value) else value)
            except StopIteration:
                break
            except REFUSED:
                continue


def same(a: NDArray, b: NDArray) -> bool:
    """Whether two are equal but for rounding."""
    if a.shape != b.shape:
        return False
    return bool(np.allclose(a, b, rtol=0, atol=SAME * np.abs(b).max(initial=0)))


def same_but(value: Arrays, found: Arrays, at: int) -> bool:
    """Whether all outputs are the same but one."""
    return len(value) == len(found) and all(
        same(a, b) for i, (a, b) in enumerate(zip(value, found, strict=True)) if i != at
    )


def differing(found: Arrays, right: Arrays) -> int:
    """The first output that shows the mistake."""
    pairs = zip(found, right, strict=False)
    return next(at for at, (a, b) in enumerate(pairs) if not same(a, b))


def named(layer: Layer, planted: Planted) -> list[str]:
    """The mistakes that give what a planted one does, in two steps."""
    names: list[str] = []
    at = -1
    for seed in STEPS:
        found, right = layer.planted(seed, planted), arrays_of(layer.call(seed)())
        at = differing(found, right) if at < 0 else at
        others = layer.others(seed, found[0])
        values = [(words, value[at]) for words, value in others if same_but(value, found, at)]
        if seed == STEPS[0]:
            names = fitting(found[at], right[at], values, "float64", SAME)
        else:
            names = holding(names, found[at], right[at], values, "float64", 1e-12)
    return names


@pytest.mark.parametrize("example", list(cases()))
def test_no_other_mistake_gives_the_same(example):
    layer = Layer(example)
    assert isinstance(layer.layer, nn.Module)
    for planted in planted_in(example):
        if not planted.mistake.backward and returned_otherwise(layer, planted):
            assert named(layer, planted) == [planted.words]


def returned_otherwise(layer: Layer, planted: Planted) -> bool:
    """Not where buffers alone are another."""
    found, right = layer.planted(STEPS[0], planted), arrays_of(layer.call(STEPS[0])())
    return any(not same(a, b) for a, b in zip(found, right, strict=False))
