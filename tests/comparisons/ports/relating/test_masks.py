"""What two masks of dropout have to do with each other."""

from __future__ import annotations

import numpy as np
import pytest

from comparisons.ports.relating.masks import other_mask


def masks(seed=1, shape=(4, 6, 5, 5), p=0.3):
    return (np.random.default_rng(seed).random(shape) > p).astype(np.float32)


def told(a, b):
    return list(other_mask(("this", "that"), a, b))


def test_an_inverted_mask_is_told():
    a = masks()
    assert told(a, 1 - a) == ["that's mask is this's inverted: it drops what is to be kept"]


def test_whole_channels_are_told_from_single_elements():
    whole = np.broadcast_to(masks(2, (4, 6, 1, 1)), (4, 6, 5, 5))
    assert told(masks(), whole) == ["that drops whole channels, this single elements"]
    assert told(whole, masks()) == ["this drops whole channels, that single elements"]


def test_one_mask_for_all_rows_is_told():
    shared = np.broadcast_to(masks(2, (1, 30)), (8, 30))
    assert told(masks(1, (8, 30)), shared) == ["that has one mask for all rows"]


@pytest.mark.parametrize(("p", "words"), [(0.5, "that drops 5.%, this 3.%: another rate"),
                                          (0.7, "that drops 7.%, this 3.%: another rate, or what "
                                                "it keeps")])  # fmt: skip
def test_another_rate_is_told(p, words):
    (found,) = told(masks(), masks(2, p=p))
    assert len(found) == len(words)
    assert all(x in (".", y) for x, y in zip(words, found, strict=True))


@pytest.mark.parametrize("seed", range(20))
def test_two_draws_of_one_rate_are_not(seed):
    for shape in ((4, 6, 5, 5), (8, 30), (50,), (6,)):
        assert told(masks(seed, shape), masks(seed + 100, shape)) == []
