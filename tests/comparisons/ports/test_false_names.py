"""Noise is no mistake that has a name."""

from __future__ import annotations

from collections import Counter

import pytest
from mistakes.noise import (
    NETWORKS,
    NOISES,
    PLACES,
    SHAPES,
    compared_with_noise,
    kind_of_words,
    noises,
)  # fmt: skip

pytestmark = pytest.mark.slow


def test_there_are_two_hundred_in_every_place():
    every = [one for network in NETWORKS for one in noises(network)]
    assert len(every) == NOISES == 200
    assert len({one.seed for one in every}) == 200
    assert min(Counter(one.place for one in every).values()) >= 20


SOME = 5  # each fifth of them: every place in every network, all shapes


def test_some_have_every_place_and_shape():
    for network in NETWORKS:
        some = list(noises(network))[::SOME]
        assert {one.place for one in some} >= set(PLACES) - {"input"}
    every = [one for network in NETWORKS for one in list(noises(network))[::SOME]]
    assert {one.place for one in every} == set(PLACES)
    assert {one.shape for one in every} == set(SHAPES)


@pytest.mark.parametrize("network", NETWORKS)
def test_no_noise_is_given_a_name(network, tmp_path):
    assert_unnamed(network, list(noises(network))[::SOME], tmp_path)


@pytest.mark.long
@pytest.mark.parametrize("network", NETWORKS)
def test_no_noise_of_all_is_given_a_name(network, tmp_path):
    assert_unnamed(network, list(noises(network)), tmp_path)


def assert_unnamed(network, given, tmp_path):
    said, named = Counter(), {}
    for noise in given:
        found = compared_with_noise(network, noise, tmp_path)
        kind = kind_of_words(found)
        said[kind] += 1
        if kind == "named":
            named[noise.place, noise.shape.__name__, noise.size, noise.dtype] = repr(found)
    assert named == {}
    assert said["no name"] >= 0.4 * len(given), said  # the rest is within rounding
