"""Another order of the same numbers is told where it is a usual one."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given
from hypothesis import settings as given_settings
from hypothesis import strategies as st

from comparisons.diagnosis.relations.axes import axes, same_numbers
from comparisons.diagnosis.relations.two_values import TwoValues

seeds = st.integers(0, 2**63 - 1)
NHWC = "the same numbers, on one side channels-last (NHWC) read as channels-first"
NCHW = "the same numbers, on one side channels-first (NCHW) read as channels-last"


def random(seed, *shape):
    return torch.from_numpy(np.random.default_rng(seed).normal(size=shape))


def turned(a, b):
    return axes(TwoValues(("this", "that"), a, b, 1e-9), None)


@given_settings(max_examples=30)
@given(seeds)
def test_one_layout_read_as_another_is_told_both_ways(seed):
    x = random(seed, 2, 3, 4, 5)
    read = x.permute(0, 2, 3, 1).reshape(x.shape)
    assert turned(x, read) == turned(read, x) == [NHWC]
    x = random(seed, 2, 4, 5, 3)
    read = x.permute(0, 3, 1, 2).reshape(x.shape)
    assert turned(x, read) == turned(read, x) == [NCHW]


@given_settings(max_examples=30)
@given(seeds)
def test_numbers_that_were_filled_column_by_column_are_told(seed):
    x = random(seed, 4, 5)
    (words,) = turned(x, x.flatten().reshape(5, 4).T)
    assert words == "the same numbers, filled column-major (R's order) on one side"
    x = random(seed, 2, 3, 4)
    rows = torch.stack([one.flatten().reshape(4, 3).T for one in x])
    (words,) = turned(x, rows)
    assert words.startswith("the same numbers, each row's filled column-major")


def test_blue_green_red():
    x = random(1, 2, 3, 6, 7)
    (words,) = turned(x, x.flip(1))
    assert words == "equal after reversing axis 1: red, green, blue as blue, green, red"
    assert turned(x.movedim(1, 3), x.flip(1).movedim(1, 3)) == [words.replace("axis 1", "axis 3")]


def test_classes_that_occur_as_often_are_not_the_same_numbers():
    a = torch.tensor([0.0, 1, 2, 3, 0, 1, 2, 3, 4, 4, 4, 1])
    two = TwoValues(("this", "that"), a, a[torch.randperm(12)], 1e-9)
    assert same_numbers(two) == []
