"""Noise is no mistake that has a name."""

from __future__ import annotations

from collections import Counter

import pytest
from mistakes.noise import NETWORKS, NOISES, compared_with_noise, kind_of_words, noises

pytestmark = pytest.mark.slow


def test_there_are_two_hundred_in_every_place():
    every = [one for network in NETWORKS for one in noises(network)]
    assert len(every) == NOISES == 200
    assert len({one.seed for one in every}) == 200
    assert min(Counter(one.place for one in every).values()) >= 20


@pytest.mark.parametrize("network", NETWORKS)
def test_no_noise_is_given_a_name(network, tmp_path):
    said, named = Counter(), {}
    for noise in noises(network):
        found = compared_with_noise(network, noise, tmp_path)
        kind = kind_of_words(found)
        said[kind] += 1
        if kind == "named":
            named[noise.place, noise.shape.__name__, noise.size, noise.dtype] = repr(found)
    assert named == {}
    assert said["no name"] >= 15, said  # the rest is within rounding
