"""Equivalence of two engines over seeds."""

from __future__ import annotations

import json
import math
import statistics
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import settings as given_settings
from hypothesis import strategies as st
from scipy.stats import ttest_ind

from comparisons.seeds.equivalence import (
    UNITS,
    Margins,
    RunOutcome,
    Side,
    compare_measure,
    compare_seeds,
    expected_rate,
    measures,
    overall,
    summary,
)
from pyvae.errors import UserError

pytestmark = pytest.mark.slow

VERDICTS = ("equivalent", "different", "inconclusive")
values = st.lists(st.floats(-100, 100).map(lambda x: round(x, 3)), min_size=3, max_size=8)
margin = st.floats(0.1, 100)


def side(numbers, engine="pytorch"):
    return Side(engine, tuple(range(1, len(numbers) + 1)), tuple(float(x) for x in numbers))


def compare(a, b, margin=1.0, measure="loss"):
    return compare_measure(measure, side(a), side(b, "base-r"), margin)


def outcome(seed=1, engine="pytorch", loss=100.0, epochs=(1, 1, 2, 2, 2), mu=None, batch_size=4):
    """A run whose last epoch has this loss on average, in nats per image."""
    rng = np.random.default_rng(seed)
    parts = rng.normal([[0.8, 0.2]], 0.05, size=(len(epochs), 2)) * loss * batch_size
    losses = np.column_stack([parts.sum(axis=1), parts])
    mu = rng.normal(size=(20, 6)) if mu is None else mu
    return RunOutcome(engine, "vae", seed, losses, np.array(epochs), batch_size, mu)


def seeds(count=4, engine="pytorch", **options):
    return [outcome(seed, engine, **options) for seed in range(1, count + 1)]


# What is measured


def test_losses_are_those_of_the_last_epoch_per_image():
    losses = np.array([[900.0, 600, 300], [40, 30, 10], [80, 50, 30]])
    run = replace(outcome(), losses=losses, epochs=np.array([1, 2, 2]), batch_size=10)
    found = measures(run)
    assert (found["loss"], found["reconstruction"], found["regulariser"]) == (6, 4, 2)
    assert run.loss_per_image.tolist() == [90, 4, 8]


def test_latents_are_measured_over_images():
    images = np.array([-1.0, 1, -1, 1])
    # one image differs from another by twice the standard deviation
    mu = np.column_stack([images * sd + 5 for sd in (0, 0.05, 0.0999, 0.1001, 2)])
    found = measures(outcome(mu=mu))
    assert found["active_units"] == 2
    assert found["latent_spread"] == pytest.approx(np.mean([0, 0.05, 0.0999, 0.1001, 2]))
    assert measures(outcome(mu=mu.astype(np.float32)))["active_units"] == 2


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf, 1e308])
def test_a_run_that_diverged_has_no_number_of_active_units(bad):
    """NaN > 0.01 is false: counted naively, it would have none, as a collapsed posterior has."""
    run = outcome()
    run.mu[3, 2] = bad
    run.losses[-1] = bad
    found = measures(run)
    assert math.isnan(found["active_units"])
    assert not math.isfinite(found["latent_spread"])
    assert not abs(found["loss"]) < 1e100


def test_an_interrupted_run_is_not_measured():
    for changes in ({"losses": np.empty((0, 3))}, {"mu": np.empty((0, 5))}):
        with pytest.raises(UserError, match="base-r, seed 7: the run is incomplete"):
            measures(replace(outcome(7, "base-r"), **changes))


# One measure


@given_settings(max_examples=40)
@given(values, values, margin)
def test_the_interval_is_welchs_and_says_the_same_as_the_p_value(a, b, margin):
    assume(min(np.ptp(a), np.ptp(b)) > 0)
    result = compare(a, b, margin)
    independent = ttest_ind(a, b, equal_var=False).confidence_interval(0.9)
    assert result.interval == pytest.approx((independent.low, independent.high), abs=1e-9)
    low, high = result.interval
    assume(min(abs(abs(end) - margin) for end in (low, high)) > 1e-9)
    assert (-margin < low and high < margin) == (result.p_value < 0.05)
    assert (result.verdict == "equivalent") == (result.p_value < 0.05)
    one_sided = (
        ttest_ind(np.add(a, margin), b, equal_var=False, alternative="greater").pvalue,
        ttest_ind(np.subtract(a, margin), b, equal_var=False, alternative="less").pvalue,
    )
    assert result.p_value == pytest.approx(max(one_sided), abs=1e-9)


@given_settings(max_examples=40)
@given(values, values, margin)
def test_swapping_the_sides_negates_the_difference_and_keeps_the_verdict(a, b, margin):
    one, other = compare(a, b, margin), compare(b, a, margin)
    assert one.difference == -other.difference
    assert one.interval == pytest.approx((-other.interval[1], -other.interval[0]))
    assert one.p_value == pytest.approx(other.p_value)
    if not on_the_edge(one):
        assert one.verdict == other.verdict


@given_settings(max_examples=40)
@given(values, values, margin, st.sampled_from([1e-6, 0.3, 7.0, 1e6]))
def test_the_unit_does_not_matter(a, b, margin, factor):
    one = compare(a, b, margin)
    other = compare(np.multiply(a, factor), np.multiply(b, factor), margin * factor)
    assert other.difference == pytest.approx(one.difference * factor, abs=1e-9 * factor)
    if not on_the_edge(one):
        assert one.verdict == other.verdict


@given_settings(max_examples=40)
@given(values, values, margin, st.sampled_from([-1, 1]))
def test_a_shift_by_far_more_than_the_margin_and_the_spread_is_a_difference(a, b, margin, sign):
    shift = sign * (margin + 5000)  # t with two degrees of freedom reaches far
    assert compare(np.add(a, shift), b, margin).verdict == "different"


def on_the_edge(result):
    """Whether rounding decides."""
    ends = [abs(end) for end in result.interval]
    return any(end == pytest.approx(result.margin, rel=1e-9) for end in ends)


@pytest.mark.parametrize(
    ("interval", "verdict"),
    [
        ((-0.5, 0.9), "equivalent"),
        ((0.2, 0.9), "equivalent"),  # not zero, and it does not matter
        ((0.5, 1.5), "inconclusive"),
        ((-9, 9), "inconclusive"),  # not significantly different is not agreement
        ((1.1, 1.5), "different"),
        ((-1.5, -1.1), "different"),
        ((1.0, 1.5), "inconclusive"),
        ((-1.5, -1.0), "inconclusive"),
        ((-0.5, 1.0), "inconclusive"),
    ],
)
def test_the_verdict_is_where_the_interval_lies(interval, verdict):
    result = compare([1, 2, 3], [1, 2, 3])
    assert replace(result, interval=interval).verdict == verdict


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    ("a", "b", "difference", "verdict", "p_value"),
    [
        (30, 30, 0, "equivalent", 0),
        (30, 29, 1, "equivalent", 0),
        (30, 28, 2, "inconclusive", 1),  # exactly the margin
        (27, 30, -3, "different", 1),
        (0.1, 0.1, 0, "equivalent", 0),  # whose mean is rounded
    ],
)
def test_where_no_seed_varies_the_interval_is_a_point(a, b, difference, verdict, p_value):
    result = compare([a] * 7, [b] * 3, 2.0, "active_units")
    assert result.interval == pytest.approx((difference, difference))
    assert (result.verdict, result.p_value) == (verdict, p_value)


@pytest.mark.filterwarnings("error")
def test_one_side_may_be_constant():
    b = [29.0, 30, 31, 30]
    result = compare([30.0] * 5, b, 2.0, "active_units")
    # only b varies: a one-sample interval
    reach = 2.3533634348 * np.std(b, ddof=1) / 2  # t(0.95, 3), from tables
    assert result.interval == pytest.approx((-reach, reach))
    assert result.verdict == "equivalent"


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf, 1e200])
def test_a_seed_that_diverged_is_a_difference_with_a_word(bad):
    result = compare([1, 2, 3], [1, bad, 3], 1e6)
    assert result.verdict == "different"
    assert result.problem == f"base-r, seed 2: loss is {bad:g}"
    assert math.isnan(result.difference)
    # on both sides: the same fault is no agreement
    both = compare([bad, bad, 3], [1, bad, 3], 1e6, "active_units")
    assert both.verdict == "different"
    assert both.problem == f"pytorch, seed 1: active units is {bad:g} (2 more like it)"
    json.dumps(both.as_dict(), allow_nan=False)


# How often it errs


def rate_of_equivalence(a, b, margin):
    """Over experiments, (experiments, seeds) on each side."""
    pairs = zip(a, b, strict=True)
    return np.mean([compare(*pair, margin).verdict == "equivalent" for pair in pairs])


@pytest.mark.parametrize(("sds", "n"), [((1.0, 1.0), 3), ((1.0, 1.0), 10), ((0.2, 2.0), 6)])
def test_a_difference_of_the_margin_is_called_equivalent_in_5_percent_at_most(sds, n):
    """Three standard errors of 600 experiments on top."""
    rng, margin = np.random.default_rng(1), 1.5
    a = rng.normal(100 + margin, sds[0], size=(600, n))
    b = rng.normal(100, sds[1], size=(600, n))
    assert rate_of_equivalence(a, b, margin) <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / 600)


@pytest.mark.parametrize(
    ("sds", "n", "margin"),
    [
        ((1.0, 1.0), 3, 2.5),
        pytest.param((1.0, 1.0), 5, 1.5, marks=pytest.mark.slow),
        pytest.param((1.0, 1.0), 10, 1.0, marks=pytest.mark.slow),
        ((0.3, 1.5), 8, 1.2),
        pytest.param((0.0, 1.0), 6, 1.0, marks=pytest.mark.slow),
        pytest.param((1.0, 1.0), 30, 1.2, marks=pytest.mark.slow),
    ],
)
def test_two_engines_that_are_the_same_are_called_equivalent_as_often_as_expected(sds, n, margin):
    rng = np.random.default_rng(2)
    a, b = (rng.normal(100, sd, size=(600, n)) for sd in sds)
    rate = expected_rate(sds, n, margin)
    error = math.sqrt(rate * (1 - rate) / 600)
    assert rate_of_equivalence(a, b, margin) == pytest.approx(rate, abs=3.5 * error)


def test_more_seeds_or_a_wider_margin_are_equivalent_more_often():
    assert expected_rate((1, 1), 5, 1) < expected_rate((1, 1), 10, 1) < expected_rate((1, 1), 10, 2)
    assert expected_rate((0.4, 1), 10, 1) == pytest.approx(expected_rate((1, 0.4), 10, 1))
    assert expected_rate((0, 0), 3, 0.1) == 1
    assert expected_rate((1, 1), 3, 1e-6) < 1e-6


# Whole runs


def test_an_engine_is_equivalent_to_itself_with_other_seeds():
    a, b = seeds(20), [outcome(seed, "base-r") for seed in range(101, 121)]
    results = compare_seeds(a, b, Margins(10.0))
    assert [result.measure for result in results] == list(UNITS)
    assert [result.margin for result in results] == [10, 10, 10, 2, 0.05]
    assert {result.verdict for result in results} == {"equivalent"}
    assert overall(results) == "equivalent"
    for result in results:
        numbers = [measures(run)[result.measure] for run in a]
        assert result.a.values == tuple(numbers)
        assert result.a.mean == pytest.approx(statistics.mean(numbers))
        assert result.a.sd == pytest.approx(statistics.stdev(numbers))
        assert result.a.median == np.median(numbers)
        assert result.a.range == (min(numbers), max(numbers))


@pytest.mark.parametrize(
    ("mistake", "part"),
    [
        (lambda run: replace(run, losses=run.losses * [1, 1.2, 1]), "reconstruction"),
        (lambda run: replace(run, losses=run.losses * [1, 1, 2]), "regulariser"),
        (lambda run: replace(run, mu=run.mu * [1, 1, 1, 0, 0, 0]), "active_units"),
        (lambda run: replace(run, mu=run.mu * 1.3), "latent_spread"),
    ],
)
def test_a_mistake_shows_in_the_measure_that_it_concerns(mistake, part):
    a = [mistake(run) for run in seeds(20)]
    b = [outcome(seed, "base-r") for seed in range(101, 121)]
    results = compare_seeds(a, b, Margins(10.0))
    assert part in {result.measure for result in results if result.verdict == "different"}
    assert overall(results) == "different"


def results_of(*verdicts):
    intervals = {"equivalent": (0, 0), "different": (2, 3), "inconclusive": (0, 3)}
    base = compare([1, 2, 3], [1, 2, 3])
    return [replace(base, interval=intervals[verdict]) for verdict in verdicts]


@given(st.lists(st.sampled_from(VERDICTS), min_size=1, max_size=5))
def test_all_have_to_be_equivalent_and_one_difference_is_enough(verdicts):
    found = overall(results_of(*verdicts))
    assert (found == "equivalent") == all(verdict == "equivalent" for verdict in verdicts)
    assert (found == "different") == ("different" in verdicts)


def test_nothing_compared_is_not_equivalent():
    assert overall([]) == "inconclusive"


@pytest.mark.parametrize("count", [0, 1, 2])
def test_fewer_than_three_seeds_are_refused(count):
    for a, b in ((seeds(count), seeds()), (seeds(), seeds(count))):
        with pytest.raises(
            UserError,
            match=f"--seeds {count} are too few to judge how far runs spread: expected 3 or more",
        ):
            compare_seeds(a, b, Margins(1.0))


def test_runs_of_one_side_have_to_be_independent():
    run = outcome()
    with pytest.raises(
        UserError, match="two runs of pytorch, seed 1\\. Give each run a seed of its own"
    ):
        compare_seeds([*seeds(3), run], seeds(), Margins(1.0))
    deaf = [replace(run, seed=seed) for seed in (1, 2, 3)]
    with pytest.raises(UserError, match="seed 1 and seed 2 gave the same losses in every step"):
        compare_seeds(seeds(), deaf, Margins(1.0))
    with pytest.raises(ValueError, match="not of one engine and objective"):
        compare_seeds([*seeds(3), outcome(4, "base-r")], seeds(), Margins(1.0))


@pytest.mark.filterwarnings("error")
def test_a_run_that_diverged_is_found_among_whole_runs():
    b = seeds(engine="base-r")
    b[2].losses[3:] = math.nan
    results = compare_seeds(seeds(), b, Margins(1e3))
    assert overall(results) == "different"
    problems = {result.measure: result.problem for result in results if result.problem}
    assert problems["loss"] == "base-r, seed 3: loss is nan"
    assert set(problems) == {"loss", "reconstruction", "regulariser"}


def test_the_summary_is_json_with_median_and_range():
    b = seeds(engine="base-r")
    b[2].losses[:] = math.nan
    about = json.loads(json.dumps(summary(compare_seeds(seeds(), b, Margins(1))), allow_nan=False))
    assert about["verdict"] == "different"
    loss, units = about["measures"]["loss"], about["measures"]["active_units"]
    assert loss["problem"] == "base-r, seed 3: loss is nan"
    assert loss["difference"] is loss["p_value"] is loss["reference"]["median"] is None
    assert loss["under_test"]["median"] == np.median(loss["under_test"]["values"])
    assert loss["under_test"]["range"] == [
        min(loss["under_test"]["values"]),
        max(loss["under_test"]["values"]),
    ]
    assert units["interval_90"] == [0, 0]
    assert "problem" not in units
    assert units["reference"]["seeds"] == [1, 2, 3, 4]


# Margins


@pytest.mark.parametrize("bad", [0.0, -1.0, math.nan, math.inf])
@pytest.mark.parametrize(
    ("name", "option"),
    [("nats", "--margin"), ("units", "--margin-units"), ("spread", "--margin-spread")],
)
def test_a_margin_is_finite_and_above_zero(bad, name, option):
    with pytest.raises(UserError, match=f"^{option} {bad:g}: expected a finite number above 0"):
        Margins(**{"nats": 1.0, name: bad})


@pytest.mark.parametrize(
    ("margin", "text"), [(1.0, "-0.12"), (0.05, "-0.123"), (100.0, "0"), (2.0, "-0.12")]
)
def test_numbers_are_as_fine_as_their_margin_asks(margin, text):
    result = compare([1, 2, 3], [1, 2, 3], margin)
    assert result.text(-0.1234) == text
    assert result.text(1e30) == "1e+30"
    assert result.text(math.nan) == "–"
