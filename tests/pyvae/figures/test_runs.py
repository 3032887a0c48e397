from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from shown.figures_help import assert_readable, made_trace, note_of

from pyvae.figures.runs import (
    draw_latent_means,
    draw_losses,
    latent_means_figure,
    loss_history_figure,
    samples_figure,
)
from pyvae.figures.style import MEANS_NOTE
from pyvae.model.objectives import OBJECTIVES

pytestmark = pytest.mark.slow


def test_one_epoch_is_shown_step_by_step(traces):
    axes = loss_history_figure(traces).axes[0]
    for line, trace in zip(axes.lines, traces, strict=True):
        assert np.array_equal(line.get_xdata(), [1, 2, 3])
        assert np.allclose(line.get_ydata(), trace.losses[:, 0] / 12)
    assert axes.get_xlabel() == "step"
    assert axes.get_ylabel() == "loss (nats per image)"
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["VAE", "EMAE"]


def test_epochs_are_shown_on_both_scales(epochs):
    figure = loss_history_figure(epochs)
    figure.draw_without_rendering()
    axes = figure.axes[0]
    (right,) = axes.child_axes
    assert axes.get_xlabel() == "epoch"
    assert np.array_equal(axes.lines[0].get_xdata(), [1, 2, 3])
    assert np.allclose(axes.lines[0].get_ydata(), epochs[0].losses[::2, 0] / 12)
    assert np.allclose(right.get_ylim(), np.multiply(axes.get_ylim(), 2 * 12))
    assert "sum over the epoch's batches" in right.get_ylabel()


RECIPES = {
    "conv": "loss (nats per image)",
    "mlp": "loss (nats per image)",
    "beta": "loss",
    "clustering": "loss (nats per image)",
    "clustering-semi-supervised": "loss (nats per image)",
    "clustering-toy": "loss (nats per point)",
}


@pytest.mark.parametrize("recipe", RECIPES)
def test_every_objective_has_its_unit_and_only_sums_a_second_scale(recipe):
    trace = made_trace(recipe)
    objective = OBJECTIVES[trace.settings.objective]
    figure = loss_history_figure([trace], "a quick look")
    assert_readable(figure)
    (axes,) = figure.axes
    assert axes.get_ylabel() == RECIPES[recipe]
    shown = trace.losses[:, 0].reshape(3, 4).mean(axis=1)
    images = 1 if objective.mean else trace.settings.batch_size
    assert np.allclose(axes.lines[0].get_ydata(), shown / images)
    assert len(axes.child_axes) == (0 if objective.mean else 1)
    assert note_of(figure) == "a quick look"


@pytest.mark.parametrize(("count", "rows"), [(1, 1), (3, 1), (4, 2), (5, 2)])
def test_latent_means_of_many_runs_stand_in_rows(traces, count, rows):
    figure = latent_means_figure((traces * 3)[:count], "a note")
    assert len(figure.axes) == count
    assert len({round(axes.get_position().y0, 3) for axes in figure.axes}) == rows
    assert_readable(figure)
    assert note_of(figure) == f"{MEANS_NOTE} a note"


def test_images_that_hardly_differ_get_a_note():
    images = np.random.default_rng(1).uniform(size=(16, 784))
    assert note_of(samples_figure(images, "title", "a note")) == "a note"
    assert note_of(samples_figure(images[:1] / 9, "title", "a note")) == "a note"
    blank = note_of(samples_figure(0.5 + images / 40, "title", "a note"))
    assert blank.startswith("The images hardly differ from each other (no pixel's standard dev")
    assert "above 0.0094 of white): there were too few steps, or the decoder ignores" in blank
    assert blank.endswith("the latents. a note")


def test_epochs_of_unequal_length_have_no_second_scale(epochs):
    short = [dataclasses.replace(t, losses=t.losses[:-1], epochs=t.epochs[:-1]) for t in epochs]
    assert loss_history_figure(short).axes[0].child_axes == []


def test_losses_are_drawn_in_the_objectives_colour_by_default(trained):
    axes = Figure().subplots()
    draw_losses(axes, trained["emae"].history(), "emae")
    draw_losses(axes, trained["emae"].history(), "emae", color="black")
    assert [to_hex(line.get_color()) for line in axes.lines] == [to_hex("steelblue"), "#000000"]
    assert axes.get_xlabel() == "step"


def test_latent_means_have_a_line_for_each_dimension():
    mu = np.random.default_rng(1).normal(size=(7, 4))
    axes = Figure().subplots()
    draw_latent_means(axes, mu)
    assert np.array_equal([line.get_ydata() for line in axes.lines], mu.T)
    assert all(np.array_equal(line.get_xdata(), np.arange(1, 8)) for line in axes.lines)
    assert axes.get_xlabel()
    assert axes.get_ylabel() == "mu, 4 dimensions"


def test_latent_means_have_a_panel_for_each_run(traces):
    panels = latent_means_figure(traces).axes
    assert [panel.get_title().split(",")[0] for panel in panels] == ["VAE", "EMAE"]
    for panel, trace in zip(panels, traces, strict=True):
        assert np.array_equal(panel.lines[2].get_ydata(), trace.latent_means["training"][:, 2])
