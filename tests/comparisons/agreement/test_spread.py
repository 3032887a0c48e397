"""Where in a tensor two sides differ, and by how much."""

from __future__ import annotations

import numpy as np
import pytest

from comparisons.agreement.spread import MOST_PIXELS, WORST, spread_of


@pytest.fixture
def tensors():
    """Two equal batches of images: examples, channels, rows, columns."""
    a = np.random.default_rng(1).normal(size=(5, 4, 9, 11))
    return a, a.copy()


def test_equal_tensors_have_no_spread(tensors):
    found = spread_of(*tensors, 0.0)
    assert (found.total, found.differing, found.beyond) == (5 * 4 * 9 * 11, 0, 0)
    assert found.counts == found.worst == found.where == ()
    assert not any(plane.sizes.any() for plane in found.planes)


def test_indices_are_named_axis_by_axis_as_the_language_counts(tensors):
    a, b = tensors
    b[:, 2, :, -1] += 1
    assert spread_of(a, b, 0.5).where == ("channel: 2 of 0 to 3", "column: 10 of 0 to 10")
    assert spread_of(a, b, 0.5, index_base=1).where == (
        "channel: 3 of 1 to 4", "column: 11 of 1 to 11",
    )  # fmt: skip
    b[:] = a
    b[..., ::2, :] += 1
    b[..., 3:6, :] = a[..., 3:6, :]
    assert spread_of(a, b, 0.5).where == ("row: 0, 2, 6, 8 of 0 to 8",)


@pytest.mark.parametrize(
    ("indices", "words"),
    [
        (range(3, 9), "3 to 8"),
        (range(0, 20, 2), "every second from 0 to 18"),
        (range(0, 28, 4), "every 4th from 0 to 24"),
        ([1, 2, 4, 8, 9, 11, 20, 21], "1, 2, 4, 8, 9, 11 and 2 more"),
        ([5], "5"),
    ],
)
def test_many_indices_are_named_shortly(indices, words):
    a, b = np.zeros(30), np.zeros(30)
    b[list(indices)] = 1
    assert spread_of(a, b, 0.0).where == (f"element: {words} of 0 to 29",)


def test_the_histogram_counts_what_differs_with_its_sign(tensors):
    a, b = tensors
    b[0] -= 2.0
    b[1, 0] += 1.0
    found = spread_of(a, b, 0.1)
    assert found.largest == pytest.approx(2.0)
    assert sum(found.counts) == found.differing == 4 * 9 * 11 + 9 * 11
    assert found.counts[-1] == 4 * 9 * 11  # a - b is 2
    assert sum(found.counts[:15]) == 9 * 11  # a - b is -1


@pytest.mark.parametrize("size", [5e-324, 1e-310, 1e300])
def test_differences_of_any_size_have_a_histogram(size):
    found = spread_of(np.array([size, 0.0, 0.0]), np.zeros(3), 0.0)
    assert (found.largest, sum(found.counts), found.counts[-1]) == (size, 1, 1)


def test_a_difference_beyond_all_numbers_is_not_finite():
    found = spread_of(np.array([1.7e308, 1.0]), np.array([-1.7e308, 1.0]), 0.0)
    assert (found.differing, found.largest, found.counts) == (1, 0.0, ())


def test_maps_show_the_image_and_the_examples(tensors):
    a, b = tensors
    b[3, 1, 2, 7] += 4
    image, examples = spread_of(a, b, 0.1).planes
    assert image.is_image
    assert (image.rows, image.columns) == (("row", 9), ("column", 11))
    assert np.argwhere(image.sizes > 1).tolist() == [[2, 7]]
    assert (examples.rows, examples.columns) == (("example", 5), ("channel", 4))
    assert np.argwhere(examples.sizes > 1).tolist() == [[3, 1]]


@pytest.mark.parametrize(
    ("shape", "axes"),
    [
        ((), []),
        ((7,), [("", "element")]),
        ((3, 7), [("output", "input")]),
        ((3, 7, 5), [("input", "position"), ("output", "input")]),
        ((3, 7, 1, 1), [("output", "input")]),  # a kernel of one pixel is no image
        ((2, 3, 4, 5, 6, 7), [("axis 5", "axis 6"), ("axis 1", "axis 2")]),
    ],
)
def test_axes_of_weights_have_their_names(shape, axes):
    found = spread_of(np.zeros(shape), np.ones(shape), 0.1, weight=True)
    assert [(plane.rows[0], plane.columns[0]) for plane in found.planes] == axes


def test_maps_of_large_tensors_are_small_and_lose_no_difference():
    a = np.zeros((1000, 130))
    b = a.copy()
    b[777, 129] = 1
    (plane,) = spread_of(a, b, 0.1).planes
    assert plane.sizes.shape == (MOST_PIXELS, MOST_PIXELS)
    assert (plane.rows[1], plane.columns[1]) == (1000, 130)
    assert plane.sizes.max() == 1
    assert np.argwhere(plane.sizes).tolist() == [[777 * 96 // 1000, 95]]


@pytest.mark.slow
def test_the_worst_elements_come_first_whatever_the_size():
    for size in (100, 1_100_000):
        a = np.zeros(size)
        b = a.copy()
        b[:: size // 10] = np.arange(10)
        worst = spread_of(a, b, 0.1).worst
        assert [one.values for one in worst] == [(0.0, float(9 - i)) for i in range(WORST)]
        assert worst[0].index == (9 * (size // 10),)


def test_what_is_not_finite_differs_most_and_is_counted():
    a = np.array([1.0, np.nan, np.inf, -np.inf, np.nan, 2.0])
    b = np.array([1.0, np.nan, np.inf, 3.0, 4.0, 2.5])
    found = spread_of(a, b, 0.1)
    assert (
        found.differing == 3
    )  # the same NaN and the same infinity on both sides are no difference
    assert {one.index for one in found.worst} == {(3,), (4,), (5,)}
    assert found.worst[-1].index == (5,)
    assert [side.bad for side in found.sides] == [4, 2]
    assert found.largest == 0.5


def test_of_other_shapes_only_the_sides_are_known():
    found = spread_of(np.ones((2, 3)), np.zeros((3, 2)), 0.1)
    assert (found.total, found.planes) == (0, ())
    assert [side.shape for side in found.sides] == [(2, 3), (3, 2)]
    assert [side.mean for side in found.sides] == [1.0, 0.0]


def test_a_number_of_another_shape_is_the_same_number():
    assert spread_of(np.array(1.0), np.array([1.0]), 0.0).differing == 0


def test_an_empty_tensor_has_no_numbers():
    found = spread_of(np.zeros((0, 3)), np.zeros((0, 3)), 0.0)
    assert found.total == 0
    assert np.isnan(found.sides[0].mean)
