from __future__ import annotations

import numpy as np
import pytest
from shown.figures_help import assert_readable, note_of

from pyvae.errors import UserError
from pyvae.figures.gumbel import gumbel_samples, gumbel_softmax_figure

PI = np.array([0.1, 0.1, 0.1, 0.2, 0.4, 0.1])
TEMPERATURES = (0.1, 0.5, 1.0, 5.0)


def test_categorical_samples_follow_the_probabilities():
    one_hot, _ = gumbel_samples(PI, (), 20_000, seed=1)
    assert np.array_equal(np.unique(one_hot), [0, 1])
    assert (one_hot.sum(axis=1) == 1).all()
    error = np.sqrt(PI * (1 - PI) / 20_000)
    assert (np.abs(one_hot.mean(axis=0) - PI) < 4 * error).all()


def test_samples_harden_as_the_temperature_falls():
    one_hot, softened = gumbel_samples(PI, TEMPERATURES, 500, seed=1)
    for drawn in softened:
        assert np.allclose(drawn.sum(axis=1), 1)
        assert np.array_equal(drawn.argmax(axis=1), one_hot.argmax(axis=1))
    hardest = [drawn.max(axis=1).mean() for drawn in softened]
    assert np.all(np.diff(hardest) < 0)
    _, (cold, hot) = gumbel_samples(PI, (1e-4, 1e4), 500, seed=1)
    assert np.mean(np.abs(cold - one_hot)) < 1e-3
    assert np.allclose(hot, 1 / 6, atol=1e-3)


def test_an_impossible_outcome_never_comes():
    one_hot, _ = gumbel_samples([0.5, 0, 0.5], (), 1000, seed=1)
    assert not one_hot[:, 1].any()


@pytest.mark.slow
def test_the_figure_shows_probabilities_counts_and_samples():
    figure = gumbel_softmax_figure(PI, TEMPERATURES, samples=50, seed=3, note="a note")
    assert_readable(figure)
    one_hot, softened = gumbel_samples(PI, TEMPERATURES, 50, seed=3)
    upper, lower, *panels, bar = figure.axes
    assert np.allclose([patch.get_height() for patch in upper.patches], PI)
    counts = [patch.get_height() for patch in lower.patches]
    assert np.array_equal(counts, one_hot.sum(axis=0))
    assert sum(counts) == 50
    assert "50 rolls" in lower.get_title()
    for axes, shown in zip(panels, [one_hot, *softened], strict=True):
        assert np.array_equal(np.asarray(axes.images[0].get_array()), shown)
        assert axes.images[0].get_clim() == (0, 1)
    assert [axes.get_title().split("tau = ")[1] for axes in panels[1:]] == ["0.1", "0.5", "1", "5"]
    assert all(axes.get_xlabel() == "category" for axes in (upper, lower, *panels))
    assert bar.get_ylabel()
    assert note_of(figure) == "a note"


def test_the_seed_decides():
    first, again, other = (gumbel_samples(PI, (0.5,), 20, seed)[1][0] for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.allclose(first, other)


@pytest.mark.parametrize("pi", [[0.5, 0.6], [-0.5, 1.5], [[0.5, 0.5]], [np.nan, 1.0]])
def test_only_probabilities_are_taken(pi):
    with pytest.raises(UserError, match="sum to 1"):
        gumbel_softmax_figure(pi, (1.0,))


@pytest.mark.parametrize("temperature", [0, -1, np.nan])
def test_temperatures_are_above_0(temperature):
    with pytest.raises(UserError, match="above 0"):
        gumbel_softmax_figure(PI, (temperature,))
