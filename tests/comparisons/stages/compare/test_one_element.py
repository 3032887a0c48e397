"""Where two probes differ is where they were made to."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import settings as given_settings
from hypothesis import strategies as st
from stand_ins.probes import KEYS, RULE, apart, changed, compared, magnitude, places, sides

from comparisons.agreement.tolerances import Rule

pytestmark = pytest.mark.slow


def test_a_probe_agrees_with_itself_everywhere_without_a_difference(probe):
    found = compared(probe, {key: value.copy() for key, value in probe.items()}, Rule(0, "tensor"))
    assert list(found) == KEYS
    for key, agreement in found.items():
        assert agreement.agrees
        assert agreement.max_abs == agreement.raw_max_abs == agreement.required_rtol == 0
        assert agreement.ulps("float64") == 0
        assert agreement.largest == magnitude(probe[key])
        assert agreement.shape == probe[key].shape
        assert (agreement.explained, agreement.problem) == ("", "")


@given_settings(max_examples=30)
@given(st.sampled_from(KEYS), places, st.floats(0.05, 14), st.booleans(), sides)
def test_one_changed_element_is_found_with_its_place_and_values(
    probe, key, place, power, negative, order
):
    """Changed by more than the tolerance: from hardly more to a thousand times the largest."""
    index = tuple(int(i) for i in np.unravel_index(place % probe[key].size, probe[key].shape))
    change = 10**power * RULE.rtol * magnitude(probe[key])
    before = float(probe[key][index])
    after = before - change if negative else before + change
    pair = (changed(probe, key, index, after), probe)
    found = compared(*(pair[side] for side in order))
    assert apart(found) == [key]
    assert found[key].index == index
    assert found[key].values == tuple((after, before)[side] for side in order)
    assert found[key].max_abs == abs(after - before)
    assert found[key].largest == max(magnitude(one[key]) for one in pair)
    assert all(one.raw_max_abs == 0 for other, one in found.items() if other != key)


@pytest.mark.slow
@given_settings(max_examples=25)
@given(st.sampled_from(KEYS), places, st.floats(-4, -0.05), st.booleans(), sides)
def test_one_element_changed_by_less_than_the_tolerance_agrees(
    probe, key, place, power, negative, order
):
    index = tuple(int(i) for i in np.unravel_index(place % probe[key].size, probe[key].shape))
    change = 10**power * RULE.rtol * magnitude(probe[key])
    before = float(probe[key][index])
    after = before - change if negative else before + change
    assume(after != before)
    pair = (changed(probe, key, index, after), probe)
    found = compared(*(pair[side] for side in order))
    assert apart(found) == []
    assert found[key].index == index
    assert found[key].max_abs == abs(after - before)


@pytest.mark.parametrize(
    "bad", [math.nan, *(pytest.param(v, marks=pytest.mark.slow) for v in (math.inf, -math.inf))]
)
@given_settings(max_examples=15)
@given(key=st.sampled_from(KEYS), place=places, order=sides, both=st.booleans())
def test_what_is_not_finite_is_a_disagreement_with_a_word(probe, bad, key, place, order, both):
    """On both sides as well: nobody knows what it hides."""
    index = tuple(int(i) for i in np.unravel_index(place % probe[key].size, probe[key].shape))
    one = changed(probe, key, index, bad)
    pair = (one, one if both else probe)
    a, b = (pair[side] for side in order)
    found = compared(a, b, Rule(1e300, "tensor"))
    assert apart(found) == [key]
    assert found[key].problem == f"{float(a[key][index])} against {float(b[key][index])}"
    assert found[key].index == index
    np.testing.assert_array_equal(found[key].values, (a[key][index], b[key][index]))
    assert math.isnan(found[key].required_rtol)
    assert math.isnan(found[key].ulps("float64"))


def test_of_several_that_are_not_finite_the_first_is_told_whichever_side_it_is_on(probe):
    key = "gradient/encoder.fc1.weight"
    later, first = changed(probe, key, (3, 2), math.nan), changed(probe, key, (1, 4), math.inf)
    for pair in ((later, first), (first, later)):
        found = compared(*pair)[key]
        assert found.index == (1, 4)
        np.testing.assert_array_equal(found.values, [side[key][1, 4] for side in pair])


def test_numbers_whose_sum_overflows_are_finite(probe):
    key = "gradient/encoder.fc1"
    large = probe | {key: np.full_like(probe[key], 1e308)}
    assert apart(compared(large, large)) == []


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
@pytest.mark.parametrize("key", ["forward/encoder.conv1", "gradient/encoder.fc1.weight"])
def test_another_shape_is_a_disagreement_with_a_word(probe, key, order):
    """Also one that NumPy would broadcast."""
    pair = (probe, probe | {key: probe[key][:1]})
    a, b = (pair[side] for side in order)
    found = compared(a, b, Rule(1e300, "tensor"))
    assert apart(found) == [key]
    assert found[key].problem == f"shape {a[key].shape} against {b[key].shape}"
    assert found[key].shape == a[key].shape


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_an_absent_key_is_a_disagreement_with_a_word(probe, order):
    key = "gradient/encoder.relu1"
    without = {k: v for k, v in probe.items() if k != key}
    found = compared(*((without, probe)[side] for side in order), Rule(1e300, "tensor"))
    assert apart(found) == [key]
    assert found[key].problem == "is on one side only"
    found = compared(without, without, Rule(1e300, "tensor"))
    assert apart(found) == [key]
    assert found[key].problem == "is on neither side"


def test_nothing_to_compare_is_no_agreement(probe):
    empty = probe | {"forward/encoder.fc1": np.empty((0, 128))}
    found = compared(empty, empty)
    assert apart(found) == ["forward/encoder.fc1"]
    assert found["forward/encoder.fc1"].problem == "is empty"


@given_settings(max_examples=25)
@given(st.sampled_from(KEYS), st.integers(0, 2**32), st.floats(-17, 1), sides)
def test_the_tolerance_that_is_said_to_suffice_does_and_a_smaller_one_does_not(
    probe, key, seed, power, order
):
    noise = np.random.default_rng(seed).normal(size=probe[key].shape) * 10**power
    pair = (probe, probe | {key: probe[key] + noise * magnitude(probe[key])})
    a, b = (pair[side] for side in order)
    needed = compared(a, b, keys={key})[key].required_rtol
    assume(needed > 0)
    assert needed == magnitude(a[key] - b[key]) / max(magnitude(a[key]), magnitude(b[key]))
    assert compared(a, b, Rule(needed, "tensor"), {key})[key].agrees
    assert not compared(a, b, Rule(needed * 0.999, "tensor"), {key})[key].agrees


def test_only_what_is_asked_for_is_compared_in_the_order_of_computation(probe):
    asked = {"parameter/encoder.conv1.bias", "forward/total", "moment1/decoder.fc1.weight"}
    assert list(compared(probe, probe, keys=asked)) == [
        "forward/total",
        "moment1/decoder.fc1.weight",
        "parameter/encoder.conv1.bias",
    ]
