"""What rounding decides is told from what a mistake does."""

from __future__ import annotations

import pytest
import torch

from comparisons.stages.kinks import elements_on_a_kink, windows_that_tie

NEAR, TOLERANCE = 1e-12, 1e-9
ONES = torch.ones((1, 1, 2, 2), dtype=torch.float64)  # gradients with respect to pooled pixels


def values(*numbers):
    return torch.tensor(numbers, dtype=torch.float64)


@pytest.mark.parametrize("slope", [0.0, 0.2])
def test_an_element_that_is_zero_up_to_rounding_may_go_either_way(slope):
    a, b = values(1e-15, 1.0, 1e-3), values(-1e-15, 1.0, -1e-3)
    passed = values(3.0, 3.0, 3.0)
    difference = values(3 * (1 - slope), 0.0, 3 * (1 - slope))
    found = elements_on_a_kink((a, b), passed, slope, difference, NEAR, TOLERANCE)
    assert found.tolist() == [True, False, False]


def test_an_element_that_does_not_differ_is_no_kink():
    """Though its gradient would be within the tolerance of one."""
    a, b = values(1e-15), values(-1e-15)
    found = elements_on_a_kink((a, b), values(1e-10), 0.0, values(0.0), NEAR, TOLERANCE)
    assert not found.any()


@pytest.mark.parametrize("slope", [0.0, 0.2])
def test_another_slope_is_not_a_kink(slope):
    a, b = values(1e-15), values(-1e-15)
    wrong = values(3 * (1 - slope) + 0.1)
    found = elements_on_a_kink((a, b), values(3.0), slope, wrong, NEAR, TOLERANCE)
    assert not found.any()


@pytest.mark.parametrize("size", [4, 5])
def test_a_tie_in_a_window_is_accepted_and_an_odd_edge_is_in_none(size):
    a = torch.rand((1, 1, size, size), dtype=torch.float64)
    a[0, 0, 2, 2], a[0, 0, 2, 3] = 2.0, 2.0 + 1e-15
    b = a.clone()
    b[0, 0, 2, 3] = 2.0 - 1e-15
    difference = torch.zeros_like(a)
    difference[0, 0, 2, 2], difference[0, 0, 2, 3] = -1.0, 1.0
    count, explained = windows_that_tie((a, b), ONES, difference, NEAR, TOLERANCE)
    assert count == 1
    torch.testing.assert_close(explained, difference)
    if size == 5:
        difference[0, 0, 4, 4] = 1.0  # no window passes a gradient there
        count, explained = windows_that_tie((a, b), ONES, difference, NEAR, TOLERANCE)
        assert count == 1
        assert explained[0, 0, 4, 4] == 0


UP, DOWN = 2 + 1e-15, 2 - 1e-15


@pytest.mark.parametrize(
    ("a", "b", "moved", "accepted"),
    [
        ((2, UP), (UP, 2), (-1, 1), True),
        ((2, 2), (DOWN, 2), (1, -1), True),  # exactly equal on one side: its rule decides
        ((2, UP), (2, UP), (-1, 1), False),  # both have the same winner
        ((2, 2), (2, 2), (1, -1), False),  # the rule differs
        ((2, UP), (UP, 2), (1, -1), False),  # to the smaller pixel
        ((2, UP), (UP, 2), (-0.5, 0.5), False),  # shared on one side
        ((2, UP), (UP, 2), (-1.5, 1.5), False),
        ((2, UP), (UP, 2), (-1, 0), False),  # lost
        ((2, 2.1), (2.1, 2), (-1, 1), False),  # by far no tie
    ],
)
def test_each_side_gives_all_of_the_gradient_to_its_largest_pixel(a, b, moved, accepted):
    x = torch.zeros((2, 1, 1, 2, 2), dtype=torch.float64)
    x[0, 0, 0, 0], x[1, 0, 0, 0] = values(*a), values(*b)
    difference = torch.zeros_like(x[0])
    difference[0, 0, 0] = -3 * values(*moved)
    passed = torch.full((1, 1, 1, 1), -3.0, dtype=torch.float64)
    count, explained = windows_that_tie((x[0], x[1]), passed, difference, NEAR, TOLERANCE)
    assert count == accepted
    torch.testing.assert_close(explained, difference if accepted else torch.zeros_like(x[0]))
