"""The arithmetic of agreement."""

from __future__ import annotations

import math
from dataclasses import FrozenInstanceError

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as given_settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from comparisons.agreement.arrays import compare_arrays, ulp_difference
from comparisons.agreement.tolerances import (
    EVALUATION_RULES,
    EXACT,
    NORMALISED_RULES,
    RULES,
    STAGE_RULES,
    Rule,
    is_normalised,
    rule_of_step,
    run_rules,
    stage_rule,
    steps_until_drift,
)
from pyvae.recipes import RECIPES

ELEMENT = Rule(1e-6, "element")
TENSOR = Rule(1e-6, "tensor")
NORM = Rule(1e-6, "norm")

finite = st.floats(-1e100, 1e100)
pairs = hnp.array_shapes(min_dims=1, max_dims=3, max_side=4).flatmap(
    lambda shape: st.tuples(
        hnp.arrays(np.float64, shape, elements=finite),
        hnp.arrays(np.float64, shape, elements=finite),
    )
)


def agreement(a, b, rule=ELEMENT, dtype="float64"):
    return compare_arrays({"x": np.asarray(a)}, {"x": np.asarray(b)}, rule, dtype)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@given_settings(max_examples=80)
@given(data=st.data(), steps=st.integers(0, 50))
def test_ulps_count_the_numbers_between(dtype, data, steps):
    width = int(dtype[-2:])
    bound = float(np.float32(1e30))
    a = np.array([data.draw(st.floats(-bound, bound, width=width))], dtype=dtype)
    b = a.copy()
    for _ in range(steps):
        b = np.nextafter(b, np.array([np.inf], dtype=dtype))
    # both zeros are one number, so a walk over zero counts one less
    zeros = int(np.signbit(a)[0] and not np.signbit(b)[0] and a[0] != 0 and b[0] > 0)
    assert ulp_difference(a, b, dtype)[0] in {steps, steps + zeros, steps - zeros}
    assert ulp_difference(a, b, dtype) == ulp_difference(b, a, dtype)


def test_ulps_reach_from_end_to_end():
    top = np.finfo(np.float64).max
    # 2^63 - 2^52 positive finite numbers and zero's neighbours on the other side
    assert int(ulp_difference(np.array([-top]), np.array([top]), "float64")[0]) == 2 * (
        2**63 - 2**52 - 1
    )
    assert ulp_difference(np.array([-0.0]), np.array([0.0]), "float64")[0] == 0


@given_settings(max_examples=80)
@given(pairs)
def test_differences_are_what_they_are_called(pair):
    a, b = pair
    result = agreement(a, b)
    size = np.maximum(abs(a), abs(b))
    relative = [d / s if s else 0 for d, s in zip(abs(a - b).flat, size.flat, strict=True)]
    assert result.max_abs == abs(a - b).max()
    assert result.max_rel == pytest.approx(max(relative))
    assert result.agrees == (result.required_rtol <= 1e-6)


@given_settings(max_examples=80)
@given(pairs, st.sampled_from(["element", "tensor", "norm"]))
def test_the_tolerance_that_is_said_to_suffice_does_and_a_smaller_one_does_not(pair, scale):
    a, b = pair
    needed = agreement(a, b, Rule(1e-6, scale)).required_rtol
    assert agreement(a, b, Rule(needed, scale)).agrees
    if needed > 1e-300:
        assert not agreement(a, b, Rule(needed * 0.999, scale)).agrees


@given_settings(max_examples=50)
@given(pairs)
def test_equal_arrays_agree_under_the_strictest_rule(pair):
    a, _ = pair
    for scale in ("element", "tensor", "norm"):
        result = agreement(a, a.copy(), Rule(0.0, scale))
        assert result.agrees
        assert (result.max_abs, result.max_rel, result.max_ulp) == (0, 0, 0)
        assert result.worst == ""  # nothing differs


def test_scales():
    a, b = np.array([1000.0, 1e-3 + 1e-5]), np.array([1000.0, 1e-3])
    assert agreement(a, b, ELEMENT).required_rtol == pytest.approx(1e-2, rel=0.02)
    assert agreement(a, b, TENSOR).required_rtol == pytest.approx(1e-8)
    assert agreement(a, b, NORM).required_rtol == pytest.approx(1e-8)


@pytest.mark.filterwarnings("error")  # of what NumPy leaves without a value
def test_zero_against_non_zero_is_a_whole_difference_not_an_infinity():
    result = agreement([0.0, 1.0], [1e-300, 1.0])
    assert result.max_rel == 1
    assert not result.agrees
    assert agreement([0.0, 0.0], [0.0, 0.0], Rule(0.0, "tensor")).agrees
    assert not agreement([1e-300, 0.0], [0.0, 0.0], TENSOR).agrees


@pytest.mark.parametrize("scale", ["element", "tensor", "norm"])
@pytest.mark.parametrize(
    ("a", "b", "words"),
    [
        ([1.0, math.nan], [1.0, math.nan], "x[1] is nan against nan"),
        ([1.0, 2.0], [1.0, math.nan], "x[1] is 2.0 against nan"),
        ([math.inf, 2.0], [math.inf, 2.0], "x[0] is inf against inf"),
        ([1.0, 2.0], [[1.0], [2.0]], "x has shape (2,) against (2, 1)"),
        ([1.0, 2.0], [1.0], "x has shape (2,) against (1,)"),
    ],
)
def test_what_cannot_be_compared_is_a_disagreement_with_a_word(a, b, words, scale):
    result = agreement(a, b, Rule(1e300, scale))
    assert not result.agrees
    assert result.problem == words
    # no number can be taken for one that was measured
    assert all(map(math.isnan, (result.max_abs, result.max_rel, result.required_rtol)))
    assert (result.max_ulp, result.worst) == (-1, "")
    assert result.rule == Rule(1e300, scale)


def test_an_array_on_one_side_only_is_a_disagreement():
    result = compare_arrays(
        {"a": np.ones(2)}, {"a": np.ones(2), "b": np.ones(2)}, TENSOR, "float64"
    )
    assert not result.agrees
    assert result.problem == "b is on one side only"
    for sides in (({}, {"a": np.ones(2)}), ({"a": np.ones(2)}, {})):
        assert compare_arrays(*sides, TENSOR, "float64").problem == "a is on one side only"


@pytest.mark.parametrize(
    ("arrays", "words"),
    [({}, "there is nothing to compare"), ({"x": np.empty((0, 3))}, "x is empty")],
)
def test_having_nothing_to_compare_is_no_agreement(arrays, words):
    """As with the parameters of a run that was interrupted."""
    result = compare_arrays(arrays, arrays, TENSOR, "float64")
    assert not result.agrees
    assert result.problem == words


def test_a_permuted_tensor_does_not_pass():
    """A comparison of means would pass it."""
    a = np.random.default_rng(1).normal(size=(4, 5))
    assert not agreement(a, a[::-1], RULES["float32"]["parameter"]).agrees


@pytest.mark.parametrize("rule", [ELEMENT, TENSOR])
def test_the_worst_element_is_named(rule):
    b = np.ones((3, 4))
    a = b.copy()
    a[2, 1] += 0.5
    a[0, 3] += 0.1
    assert agreement(a, b, rule).worst == "x[2, 1]"


@pytest.mark.parametrize(("rule", "worst"), [(ELEMENT, "x[1]"), (TENSOR, "x[0]"), (NORM, "x[0]")])
def test_the_worst_element_is_that_of_the_rule(rule, worst):
    """The largest difference for its own size, or the largest at all."""
    assert agreement([1000.1, 1.001, 5.0], [1000.0, 1.0, 5.0], rule).worst == worst


def test_the_worst_array_is_named():
    b = {"first": np.ones(3), "second": np.ones(3)}
    a = {"first": np.array([1, 1, 1.001]), "second": np.array([1, 1 + 1e-9, 1])}
    assert compare_arrays(a, b, TENSOR, "float64").worst == "first[2]"


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("value", [1.0, -3e-7, 5e-324, 1e30])
def test_a_single_bit_is_no_exact_agreement(dtype, value):
    a = np.array([2.0, value, 3.0], dtype)
    b = a.copy()
    assert agreement(a, b, EXACT, dtype).agrees
    b[1] = np.nextafter(b[1], np.array(np.inf, dtype))
    found = agreement(a, b, EXACT, dtype)
    assert not found.agrees
    assert (found.max_ulp, found.worst) == (1, "x[1]")


def test_exactly_both_zeros_are_one_number_and_nan_is_none():
    assert agreement([0.0, 1.0], [-0.0, 1.0], EXACT).agrees
    assert not agreement([math.nan], [math.nan], EXACT).agrees
    assert not agreement([], [], EXACT).agrees


@given_settings(max_examples=50)
@given(pairs)
def test_exact_agreement_is_equality(pair):
    a, b = pair
    assert agreement(a, b, EXACT).agrees == bool((a == b).all())


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_every_rule_is_exact_where_every_bit_is_asked_for(dtype):
    assert run_rules(dtype, exact=True) == dict.fromkeys(RULES[dtype], EXACT)
    assert run_rules(dtype, exact=False) == RULES[dtype]
    assert run_rules(dtype, exact=False, normalised=True) == NORMALISED_RULES[dtype]
    further = run_rules(dtype, False, False, ("gaussian_kl", "labelled_reconstruction"))
    assert further["gaussian_kl"] == Rule(RULES[dtype]["regulariser"].rtol, "tensor")
    likelihood = RULES[dtype]["reconstruction"].rtol
    assert further["labelled_reconstruction"] == Rule(likelihood, "tensor")
    assert stage_rule(dtype, exact=True) == EXACT
    assert stage_rule(dtype, exact=False) == STAGE_RULES[dtype]
    normalised = stage_rule(dtype, exact=False, normalised=True)
    # gradients of weights in front of a batch norm cancel: in float32 there is room for that
    assert (normalised.rtol > STAGE_RULES[dtype].rtol) == (dtype == "float64")
    assert normalised.rtol >= STAGE_RULES[dtype].rtol
    assert rule_of_step(dtype, 2, resync=True, normalised=True) == normalised
    for step in (1, 2, 100):
        for resync in (False, True):
            assert rule_of_step(dtype, step, resync, exact=True) == EXACT
            # of steps that both start from one state no more is allowed than of the first
            allowed = rule_of_step(dtype, step, resync).rtol
            assert (allowed == STAGE_RULES[dtype].rtol) == (resync or step == 1)
            assert allowed >= STAGE_RULES[dtype].rtol


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_of_later_steps_of_a_free_run_no_element_is_judged_by_its_own_size(dtype):
    """Two runs that part by rounding are held against what may have become of it."""
    plain, normalised = (rule_of_step(dtype, 2, False, normalised=n) for n in (False, True))
    for rule in (plain, normalised):
        assert rule.scale == "tensor"
        assert STAGE_RULES[dtype].rtol < rule.rtol < 0.1
    assert plain.rtol == RULES[dtype]["parameter"].rtol
    # batch norm amplifies rounding: in float64 that shows, in float32 there is room for it
    assert (normalised.rtol > plain.rtol) == (dtype == "float64")


def test_every_rule_lets_rounding_pass_and_no_mistake():
    rules = [EXACT]
    for dtype in ("float64", "float32"):
        epsilon = float(np.finfo(dtype).eps)
        tables = (RULES[dtype], NORMALISED_RULES[dtype])
        found = [rule for table in tables for rule in table.values()]
        found += [stage_rule(dtype, False, normalised) for normalised in (False, True)]
        found.append(EVALUATION_RULES[dtype])
        assert all(10 * epsilon < rule.rtol < 0.1 for rule in found)
        rules += found
    assert {rule.scale for rule in rules} == {"element", "tensor", "norm"}
    assert EXACT.rtol == 0
    named = set(RULES["float64"])
    for table in (RULES, NORMALISED_RULES):
        assert {frozenset(table[dtype]) - {"evaluation_mean"} for dtype in table} == {
            frozenset(named)
        }
    # only networks with running statistics are looked at in evaluation mode by a rule of its own
    assert all("evaluation_mean" in table for table in NORMALISED_RULES.values())


def test_what_is_agreed_on_cannot_be_changed_afterwards():
    found = agreement([1.0], [2.0])
    with pytest.raises(FrozenInstanceError):
        found.required_rtol = 0.0
    with pytest.raises(FrozenInstanceError):
        EXACT.rtol = 1.0


@pytest.mark.slow
def test_networks_with_batch_norm_are_known():
    known = {name for name, recipe in RECIPES.items() if is_normalised(recipe.stages)}
    having = {
        name
        for name, recipe in RECIPES.items()
        if any(key.endswith("running_var") for key in recipe.initial_parameters(1, 3))
    }
    assert known == having
    assert 0 < len(known) < len(RECIPES)


@pytest.mark.parametrize(
    ("recipe", "dtype", "normalised", "steps"),
    [
        ("conv", "float64", False, None),
        ("conv", "float32", False, 50),
        ("mlp", "float64", True, None),
        ("mlp", "float32", True, 2),
        ("clustering", "float64", True, 10),
        ("clustering-semi-supervised", "float64", True, 10),
        ("clustering-toy", "float64", True, None),
    ],
)
def test_it_is_known_where_two_runs_part_by_rounding_alone(recipe, dtype, normalised, steps):
    assert steps_until_drift(recipe, dtype, normalised) == steps


def test_an_agreement_can_be_printed():
    one, other = {"loss": np.array([1.0])}, {"loss": np.array([1.5])}
    said = str(compare_arrays(one, other, RULES["float64"]["loss"], "float64"))
    assert said.startswith("disagree: needed 3.3e-01, allowed 1e-12, largest difference 5.0e-01 (")
    assert str(compare_arrays(one, {}, RULES["float64"]["loss"], "float64")).startswith(
        "disagree: loss is on one side only"
    )
