from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex
from shown.figures_help import assert_readable, made_trace, note_of, words_of

from pyvae.figures.losses import losses_figure, terms_figure, train_test_figure
from pyvae.figures.style import COLOURS

pytestmark = pytest.mark.slow

RECIPES = ("conv", "mlp", "beta", "clustering", "clustering-semi-supervised", "clustering-toy")


def held_out(epochs):
    total = np.linspace(200.0, 100.0, epochs)
    return pd.DataFrame({"epoch": np.arange(1, epochs + 1), "total": total})


def test_training_and_test_loss_are_drawn_as_given():
    trace, test = made_trace("strided-conv", epochs=30), held_out(30)
    figure = train_test_figure(trace, test, "a title", "a note", checkpoint_every=10)
    (axes,) = figure.axes
    train, shown, saved = axes.lines
    assert np.allclose(train.get_ydata(), trace.epoch_table()["nats_per_image"])
    assert np.array_equal(shown.get_ydata(), test["total"])
    assert np.array_equal(saved.get_xdata(), [10, 20, 30])
    assert np.array_equal(saved.get_ydata(), test["total"][[9, 19, 29]])
    assert to_hex(train.get_color()) == to_hex(COLOURS["elbo"])
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("epoch", "loss (nats per image)")
    assert [words.split(",")[0] for words in words_of(axes.get_legend())] == [
        "training", "test", "checkpoint",
    ]  # fmt: skip
    assert (axes.get_title(), note_of(figure)) == ("a title", "a note")
    assert_readable(figure)


def test_single_epochs_can_be_seen():
    lines = train_test_figure(made_trace("beta", epochs=1), held_out(1), "beta").axes[0].lines
    assert [line.get_marker() for line in lines] == [".", "."]


@pytest.mark.parametrize(("recipe", "epochs"), [*((recipe, 4) for recipe in RECIPES), ("conv", 1)])
def test_every_term_has_a_panel_with_title_and_unit(recipe, epochs):
    trace = made_trace(recipe, epochs=epochs)
    figure = terms_figure(trace, "a note")
    assert_readable(figure)
    assert len(figure.axes) == len(trace.terms)
    assert len({axes.get_title() for axes in figure.axes}) == len(trace.terms)
    assert {axes.get_xlabel() for axes in figure.axes} == {"step" if epochs == 1 else "epoch"}
    assert all(axes.get_ylabel() for axes in figure.axes)
    assert note_of(figure) == "a note"


def test_terms_are_of_an_image_and_those_of_labels_of_a_labelled_one():
    trace = made_trace(
        "clustering-semi-supervised", epochs=3, batch_size=50, hyper={"labels": 200, "alpha": 5}
    )
    means = trace.losses.reshape(3, 4, -1).mean(axis=1)
    shown = {
        term: (
            axes,
            means[:, column] / (200 if axes.get_ylabel().endswith("labelled image") else 50),
        )
        for column, (term, axes) in enumerate(
            zip(trace.terms, terms_figure(trace).axes, strict=True)
        )
    }
    for axes, expected in shown.values():
        assert np.allclose(axes.lines[0].get_ydata(), expected)
    labelled = [name for name in shown if "labelled image" in shown[name][0].get_ylabel()]
    assert labelled == ["cross_entropy", "labelled_reconstruction"]
    assert "times 5 in the total" in shown["cross_entropy"][0].get_title()
    assert "times 8 in the total" in shown["gaussian_kl"][0].get_title()


def test_the_units_of_squared_error():
    labels = [axes.get_ylabel() for axes in terms_figure(made_trace("beta")).axes]
    assert labels == ["loss", "squared error per pixel", "nats per image"]
    assert "times 0.001" in terms_figure(made_trace("beta")).axes[2].get_title()


def test_short_runs_are_drawn_by_step_with_a_running_mean():
    trace = made_trace("conv", epochs=2, steps=200, objective="em")
    axes = terms_figure(trace).axes[0]
    raw, smooth = axes.lines
    per_image = trace.losses[:, 0] / 250
    assert np.allclose(raw.get_ydata(), per_image)
    assert raw.get_alpha() < 1
    windows = np.lib.stride_tricks.sliding_window_view(per_image, 8).mean(axis=1)
    assert np.allclose(smooth.get_ydata()[4:-3], windows)
    assert words_of(axes.get_legend()) == ["step", "running mean of 8 steps"]
    assert {to_hex(line.get_color()) for line in axes.lines} == {to_hex(COLOURS["em"])}


def test_seeds_give_a_median_and_a_band():
    runs = [made_trace("mlp", epochs=5, seed=seed) for seed in range(3)]
    curves = np.array([run.epoch_table()["nats_per_image"] for run in runs])
    published = [250.0, 200.0, 180.0]
    others = [made_trace("mlp-wide", epochs=4, seed=9)]
    figure = losses_figure({"mlp": runs, "wide": others}, published, "a title", "a note")
    assert_readable(figure)
    (axes,) = figure.axes
    median, other, dots = axes.lines
    assert np.allclose(median.get_ydata(), np.median(curves, axis=0))
    assert np.allclose(other.get_ydata(), others[0].epoch_table()["nats_per_image"])
    assert to_hex(median.get_color()) == to_hex(COLOURS["elbo"]) != to_hex(other.get_color())
    (band,) = axes.collections
    corners = band.get_paths()[0].vertices
    for epoch in range(5):
        edges = corners[corners[:, 0] == epoch + 1, 1]
        assert np.allclose(
            [edges.min(), edges.max()], [curves[:, epoch].min(), curves[:, epoch].max()]
        )
    assert np.array_equal(dots.get_xydata(), np.stack([[1, 2, 3], published], axis=1))
    assert (dots.get_color(), dots.get_linestyle()) == ("black", "None")
    assert words_of(axes.get_legend()) == [
        "mlp: median and range of 3 seeds", "wide", "printed in the article",
    ]  # fmt: skip
    assert axes.get_ylabel() == "loss (nats per image)"
    assert note_of(figure) == "a note"


def test_without_published_losses_there_are_no_dots():
    axes = losses_figure({"mlp": [made_trace("mlp")]}, None, "a title").axes[0]
    assert len(axes.lines) == 1
    assert not axes.collections


def test_objectives_keep_their_colours():
    runs = {name: [made_trace("conv", objective=name)] for name in ("vae", "emae", "em")}
    lines = losses_figure(runs, None, "a title").axes[0].lines
    assert [to_hex(line.get_color()) for line in lines] == [to_hex(COLOURS[name]) for name in runs]
