"""A name only where it explains all of a mistake, and no other does."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from comparisons.ports.mistakes.fit import alike, fitting, holding, joined

RTOL = {"float64": 1e-11, "float32": 1e-4}
SEEDS = st.integers(0, 2**32 - 1)


def drawn(seed, *shape):
    return np.random.default_rng(seed).standard_normal(shape)


def named(found, right, values, precision="float64"):
    return fitting(found, right, list(values.items()), precision, RTOL[precision])


@given(SEEDS, st.sampled_from(["float64", "float32"]), st.floats(1e-2, 10))
def test_the_mistake_that_was_made_is_named(seed, precision, size):
    right, other, made = drawn(seed, 3, 4, 5)
    wrong = right + size * made
    found = wrong.astype(precision)
    assert named(found, right, {"it": wrong, "another": right + size * other}, precision) == ["it"]


@given(SEEDS, st.floats(1e-9, 1e-1), st.integers(0, 19))
def test_noise_has_no_name(seed, size, where):
    """Whether it is on all numbers or on a single one."""
    right, noise, *others = drawn(seed, 6, 20)
    values = {str(i): right + size * one for i, one in enumerate(others)}
    values["the factor that fits best"] = (
        right * float(right @ (right + size * noise)) / (right @ right)
    )
    assert named(right + size * noise, right, values) == []
    single = right.copy()
    single[where] += size
    assert named(single, right, values) == []


def test_two_that_give_the_same_are_both_named():
    right, wrong = drawn(1, 2, 5)
    assert named(wrong, right, {"one": wrong, "two": wrong + 1e-16, "three": right}) == [
        "one", "two",
    ]  # fmt: skip
    assert joined(["one", "two"]) == "one, or two"
    assert joined(["one", "two"], "step 2") == "one, or two: step 2 would tell them apart"
    assert joined(["one"], "step 2") == "one"


def test_the_one_that_fits_exactly_is_named_before_one_that_comes_near():
    right, wrong = drawn(1, 2, 5)
    near = wrong + 1e-4 * (right - wrong)
    assert named(wrong, right, {"near": near, "exact": wrong}) == ["exact"]
    assert named(wrong, right, {"near": near}) == ["near"]
    assert named(wrong, right, {"far": wrong + 1e-2 * (right - wrong)}) == []


def test_where_too_many_fit_none_is_named():
    right, wrong = drawn(1, 2, 5)
    assert len(named(wrong, right, {str(i): wrong for i in range(4)})) == 4
    assert named(wrong, right, {str(i): wrong for i in range(5)}) == []


def test_values_of_one_setting_are_one_name():
    """Epsilons of no effect are all the same, and there are many."""
    right, wrong = drawn(1, 2, 5)
    names = [f"eps = {eps} where it is 0.01" for eps in ("0", "1e-12", "1e-08", "1e-07", "1e-06")]
    assert named(wrong, right, dict.fromkeys(names, wrong)) == names
    words = "eps = 0, 1e-12, 1e-08, 1e-07 or 1e-06 where it is 0.01"
    assert joined(names) == words
    assert joined([*names, "no weight"]) == f"{words}, or no weight"


def test_of_one_number_only_rounding_is_left():
    right, wrong = np.array(1.0), np.array(2.0)
    assert named(wrong, right, {"near": np.array(2.0001), "exact": np.array(2.0)}) == ["exact"]
    assert named(wrong, right, {"near": np.array(2.0001)}) == []


def test_another_shape_has_to_be_the_same_shape():
    right, found = drawn(1, 2, 5, 5), drawn(2, 3, 3)
    values = {"flat": found.ravel(), "it": found, "right": right}
    assert named(found, right, values) == ["it"]


def test_a_name_has_to_hold_in_the_next_step():
    right, wrong, other = drawn(1, 3, 5)
    values = [("it", wrong), ("another", other), ("eps = 0.01231 where it is 0.01", wrong)]
    names = ["it", "another", "eps = 0.0123 where it is 0.01"]
    assert holding(names, wrong, right, values, "float64", 0.0) == [names[0], names[2]]
    assert holding(["it"], right, right, [("it", wrong)], "float64", 1e-9) == []
    near = [("it", wrong), ("another", wrong + 1e-5 * right)]
    assert holding(["it", "another"], wrong, right, near, "float64", 0.0) == ["it"]
    assert holding(["it"], right, right, [("it", right)], "float64", 1e-9) == ["it"]


@pytest.mark.parametrize(
    ("a", "b", "same"),
    [
        ("eps = 0.0123 where it is 0.01", "eps = 0.012301 where it is 0.01", True),
        ("eps = 0.0123 where it is 0.01", "eps = 0.0125 where it is 0.01", False),
        ("eps = 1e-3", "eps = 1.0001e-3", True),
        ("stride = 2", "padding = 2", False),
    ],
)
def test_fitted_constants_are_alike_up_to_their_last_digits(a, b, same):
    assert alike(a, b) is same


def test_a_name_holds_in_the_next_step_up_to_rounding():
    """Of a mistake that is small against the numbers themselves."""
    found = np.linspace(0.9, 1.0, 4)
    right, rounded = found + 5e-6, found + 3e-8
    assert holding(["a"], found, right, [("a", rounded)], "float32", 0.0) == ["a"]
    assert holding(["a"], found, right, [("a", found + 1e-6)], "float32", 0.0) == []
    assert holding(["a"], found, right, [("a", rounded)], "float64", 0.0) == []
