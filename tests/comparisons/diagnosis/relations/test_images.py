"""What turns, shifts, scales and picks images is told from the images."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from comparisons.diagnosis.relations.images import of_neighbours, pixel_relation
from comparisons.diagnosis.relations.two_values import TwoValues

NAMES = ("this", "that")


@pytest.fixture(scope="module")
def images(digits):
    return digits.batch(np.arange(6), torch.float64)


def related(a, b):
    return pixel_relation(TwoValues(NAMES, a, b, 1e-9))


def moved(change):
    return lambda x: change(x.reshape(-1, 28, 28)).reshape(len(x), -1)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (moved(lambda x: x.mT.flip(2)), "transposed and mirrored: turned by 90 degrees clockwise"),
        (moved(lambda x: torch.rot90(x, 1, (1, 2))),
         "transposed and turned upside down: turned by 90 degrees counter-clockwise"),
        (moved(lambda x: x.flip(2)), "mirrored left to right"),
        (moved(lambda x: x.roll(-2, 1)), "shifted by 2 pixels up"),
        (moved(lambda x: x.roll((1, -1), (1, 2))),
         "shifted by 1 pixel to the left and 1 pixel down"),
        (lambda x: (x > 0.5).to(x.dtype), "rounded to 0 and 1 (at 0.5)"),
        (lambda x: (x > 0).to(x.dtype), "made of 0 and 1: 1 wherever it is above 0"),
        (lambda x: torch.bernoulli(x, generator=torch.Generator().manual_seed(1)),
         "made of 0 and 1 at random, the pixels being the probabilities"),
    ],
)  # fmt: skip
def test_what_was_done_to_images_is_named(images, change, words):
    (found,) = related(images, change(images))
    assert found.startswith(f"that is this {words}")
    assert related(images, change(images) + 1e-6) == []


def test_images_in_other_layouts_are_images():
    x = torch.from_numpy(np.random.default_rng(1).normal(size=(3, 9, 12, 3)))
    words = ["that is this shifted by 1 pixel to the right, around the edge"]
    assert related(x, x.roll(1, 2)) == words
    rows = x.flatten(1)[:, :192]
    assert related(rows, rows.reshape(3, 3, 8, 8).roll(1, 3).flatten(1)) == words


@pytest.mark.parametrize("channels", [1, 3])
def test_maps_are_images_too(channels):
    x = torch.from_numpy(np.random.default_rng(1).normal(size=(2, channels, 9, 12)))
    lost = torch.zeros_like(x)
    lost[..., 1:] = x[..., :-1]
    assert related(x, lost) == ["that is this shifted by 1 pixel to the right"]
    around = x.roll(1, 3)
    (words,) = related(x, around)
    assert words == "that is this shifted by 1 pixel to the right, around the edge"


def test_few_numbers_are_no_images():
    x = torch.arange(32.0, dtype=torch.float64).reshape(2, 16)
    assert related(x, x.roll(1, 1)) == []


def test_the_next_images_of_the_data_set_are_told(digits):
    order = np.array([5, 90, 17, 1796, 3])
    a = digits.batch(order, torch.float64)
    for by, words in (
        (1, "that has the images of the data set that stand one further than this's"),
        (2, "that has the images of the data set that stand 2 further than this's"),
        (-1, "this has the images of the data set that stand one further than that's"),
    ):
        b = digits.batch((order + by) % len(digits), torch.float64)
        (found,) = of_neighbours(NAMES, a, b, digits)
        assert found.startswith(words)
    for other in (order[::-1].copy(), order + np.array([1, 1, 1, 0, 2])):
        b = digits.batch(other % len(digits), torch.float64)
        assert of_neighbours(NAMES, a, b, digits) == []
    assert of_neighbours(NAMES, a, a + 0.01, digits) == []
