from __future__ import annotations

import numpy as np
import pytest
from matplotlib.colors import to_hex
from shown.figures_help import assert_readable, note_of, words_of

from pyvae.figures.spread import mean_and_variance_figure, spread_figure
from pyvae.figures.style import COLOURS
from pyvae.metrics.latents import PosteriorSpread, active_units

NAMES = ("vae", "emae", "em")


def means(seed, dimensions=12):
    """Latent means (N, L) whose dimensions spread over several orders of magnitude."""
    rng = np.random.default_rng(seed)
    return rng.normal(size=(50, dimensions)) * 10 ** rng.uniform(-3, 0.5, dimensions)


def test_spreads_fall_in_the_objectives_colours_with_the_threshold():
    mu = {name: means(seed) for seed, name in enumerate(NAMES)}
    figure = spread_figure({k: v.std(axis=0) for k, v in mu.items()}, "a title", "a note")
    assert_readable(figure)
    (axes,) = figure.axes
    *lines, threshold = axes.lines
    for line, name in zip(lines, NAMES, strict=True):
        assert np.array_equal(line.get_xdata(), np.arange(1, 13))
        assert np.array_equal(line.get_ydata(), np.sort(mu[name].std(axis=0))[::-1])
        assert to_hex(line.get_color()) == to_hex(COLOURS[name])
        assert f"{active_units(mu[name]):.0f} of 12 active" in line.get_label()
    assert np.allclose(threshold.get_ydata(), 0.1)
    assert axes.get_yscale() == "log"
    assert "prior standard deviations" in axes.get_ylabel()
    assert len(words_of(axes.get_legend())) == 4
    assert note_of(figure) == "a note"


def test_a_silent_dimension_can_be_drawn():
    figure = spread_figure({"VAE": np.array([1.0, 0.0])}, "")
    assert_readable(figure)
    assert (figure.axes[0].lines[0].get_ydata() > 0).all()


@pytest.mark.slow
def test_means_and_variances_keep_the_order_of_the_means():
    rng = np.random.default_rng(1)
    spreads = {
        name: PosteriorSpread(*rng.uniform(0.001, 3, (3, 12))) for name in (*NAMES, "another")
    }
    figure = mean_and_variance_figure(spreads, "a title", "a note")
    assert_readable(figure)
    assert len(figure.axes) == 4
    for axes, (name, spread) in zip(figure.axes, spreads.items(), strict=True):
        mu, log_var, _ = axes.lines
        order = np.argsort(-spread.mu_sd)
        assert np.array_equal(mu.get_ydata(), spread.mu_sd[order])
        assert np.array_equal(log_var.get_ydata(), spread.log_var_sd[order])
        assert mu.get_color() == log_var.get_color()
        assert name not in NAMES or to_hex(mu.get_color()) == to_hex(COLOURS[name])
    assert [axes.get_title() for axes in figure.axes] == ["VAE", "EMAE", "EM", "another"]
    assert figure.axes[0].get_ylim() == figure.axes[3].get_ylim()
    assert ["mu" in words for words in words_of(figure.legends[0])] == [True, False, True]
    assert note_of(figure) == "a note"
