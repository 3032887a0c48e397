"""Rows, columns and channels that are others are told."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import settings as given_settings
from hypothesis import strategies as st

from comparisons.diagnosis.relations.rows import rows
from comparisons.diagnosis.relations.two_values import TwoValues

seeds = st.integers(0, 2**63 - 1)


def random(seed, *shape):
    return torch.from_numpy(np.random.default_rng(seed).normal(size=shape))


def told(a, b):
    return rows(TwoValues(("this", "that"), a, b, 1e-9))


@given_settings(max_examples=30)
@given(seeds, st.sampled_from([(12,), (6, 4), (5, 2, 3)]), st.integers(1, 3))
def test_rows_further_on_are_told_both_ways(seed, shape, by):
    more = random(seed, shape[0] + by, *shape[1:])
    a, b = more[: shape[0]], more[by:]
    words = "each row of {} is the one {by} further of {}"
    if by == 1:
        words = "each row of {} is the next row of {}: an index from 1 taken as from 0"
    assert told(a, b) == [words.format("that", "this", by=by)]
    assert told(b, a) == [words.format("this", "that", by=by)]


@given_settings(max_examples=30)
@given(seeds, st.integers(0, 3), st.sampled_from([(0, "row"), (1, "channel")]))
def test_one_that_is_repeated_is_told(seed, place, axis):
    a = random(seed, 4, 4, 3)
    b = a.select(axis[0], place).unsqueeze(axis[0]).expand_as(a)
    which = ("first", "second", "third", "4th")[place]
    assert told(a, b) == [f"that has the {which} {axis[1]} of this in every {axis[1]}"]
    mean = a.mean(axis[0], keepdim=True).expand_as(a)
    assert told(a, mean) == [f"that has the mean of this in every {axis[1]}"]


@given_settings(max_examples=30)
@given(seeds, st.integers(0, 5))
def test_columns_that_are_zero_are_told(seed, place):
    a = random(seed, 4, 6)
    b = a.clone()
    b[:, place] = 0
    words = f"1 of 6 columns of that are zero ({place}), the others are this's"
    assert told(a, b) == [words]
    assert told(b, a) == [words.replace("that", "it").replace("this", "that").replace("it", "this")]


@pytest.mark.parametrize(("shape", "what"), [((3, 5), "column"), ((2, 5, 4), "channel")])
@given_settings(max_examples=30)
@given(seed=seeds, order=st.permutations(range(5)))
def test_another_order_is_told(shape, what, seed, order):
    a = random(seed, *shape)
    shifted = any(order == [(i + k) % 5 for i in range(5)] for k in range(5))
    assume(not shifted)
    if order[:-1] in ([1, 2, 3, 4],) or order[1:] == [0, 1, 2, 3]:
        return
    (words,) = told(a, a[:, order])
    assert words == f"the same {what}s in another order ({', '.join(map(str, order))})"


def test_a_shift_along_an_axis_is_told():
    a = random(1, 3, 9, 4)
    b = torch.cat([torch.zeros(3, 2, 4), a[:, :-2]], 1)
    assert told(a, b) == ["that is this shifted by 2 along axis 1"]
    assert told(b, a) == ["this is that shifted by 2 along axis 1"]


@given_settings(max_examples=100)
@given(seeds, st.sampled_from([(12,), (6, 4), (5, 2, 3), (2, 3, 4, 4)]))
def test_other_rows_are_none_of_it(seed, shape):
    assert told(random(seed, *shape), random(seed + 1, *shape)) == []
    even = torch.ones(shape, dtype=torch.float64)
    assert told(even, 2 * even) == []
