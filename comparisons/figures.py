"""Pictures of two runs side by side."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from comparisons.comparison import Comparison
from pyvae.figures import COLOURS, draw_digits, draw_latent_means, draw_losses
from pyvae.objectives import OBJECTIVES
from pyvae.trace import Trace

__all__ = ["latent_means_figure", "loss_history_figure", "samples_figure"]

BITWISE_EQUAL = 1e-17  # where equal losses are drawn on a logarithmic axis
LANGUAGE = {"pytorch": "Python", "base-r": "R", "r-torch": "R torch"}


def loss_history_figure(comparisons: Sequence[Comparison]) -> Figure:
    """Python and R side by side, overlaid, and their relative difference."""
    figure = Figure(figsize=(11, 7.5), layout="constrained")
    panels = figure.subplots(2, 2)
    left, right, overlaid, relative = panels.flat
    for comparison in comparisons:
        name = comparison.objective
        under_test, reference = comparison.under_test.history(), comparison.reference.history()
        title = OBJECTIVES[name].title
        draw_losses(left, under_test, name, label=title)
        draw_losses(right, reference, name, label=title)
        draw_losses(
            overlaid,
            under_test,
            name,
            label=f"{title}, {_language(comparison.under_test)}",
            linewidth=1,
        )
        draw_losses(
            overlaid,
            reference.iloc[:: max(1, len(reference) // 40)],
            name,
            label=f"{title}, {_language(comparison.reference)}",
            linestyle="none",
            marker="o",
            fillstyle="none",
            markersize=5,
        )
        _draw_relative_difference(relative, comparison)
    left.set_title(_engine(comparisons[0].under_test))
    right.set_title(_engine(comparisons[0].reference))
    right.sharey(left)
    overlaid.set_title("overlaid")
    for axes in (left, right, overlaid):
        axes.set_ylabel("loss (nats per image)")
        axes.legend()
    return figure


def _draw_relative_difference(axes: Axes, comparison: Comparison) -> None:
    a, b = comparison.under_test.losses[:, 0], comparison.reference.losses[:, 0]
    if len(a) != len(b):
        return
    difference = np.divide(np.abs(a - b), np.abs(b), out=np.zeros_like(a), where=a != b)
    largest = max(difference[np.isfinite(difference)], default=0)
    name = comparison.objective
    equal = difference == 0
    steps = np.arange(1, len(a) + 1)
    style: dict[str, Any] = {"color": COLOURS[name], "linestyle": "none", "markersize": 4}
    axes.plot(steps[~equal], difference[~equal], marker="o", label=OBJECTIVES[name].title, **style)
    axes.plot(steps[equal], np.full(equal.sum(), BITWISE_EQUAL), marker="|", **style)
    rtol = comparison.quantities["loss"].rule.rtol
    if name == "vae" or not axes.get_title():
        axes.axhline(rtol, color="gray", linestyle=":")
        axes.text(len(a), rtol, f"tolerance {rtol:g}", ha="right", va="bottom", color="gray")
        axes.axhline(BITWISE_EQUAL, color="lightgray", linewidth=0.5)
        axes.text(1, BITWISE_EQUAL, "every bit equal", va="bottom", color="gray")
    axes.set_xlim(0, len(a) + 1)
    axes.set_yscale("log")
    axes.set_ylim(BITWISE_EQUAL / 5, 100 * max(rtol, largest))
    axes.set_xlabel("step")
    axes.set_ylabel("relative difference of the total loss")
    axes.set_title("difference between the two")
    axes.legend(loc="upper left", ncols=2)


def latent_means_figure(comparisons: Sequence[Comparison]) -> Figure:
    """Latent means of the last batch, training mode, in Python and R; their spread below."""
    figure = Figure(figsize=(15, 4.2 * len(comparisons)), layout="constrained")
    panels = figure.subplots(len(comparisons), 3, squeeze=False)
    for row, comparison in zip(panels, comparisons, strict=True):
        title = OBJECTIVES[comparison.objective].title
        for axes, trace in zip(row, (comparison.under_test, comparison.reference), strict=False):
            draw_latent_means(axes, trace.latent_means["training"])
            axes.set_title(f"{title}, {_language(trace)}")
        row[1].sharey(row[0])
        _draw_spread(row[2], comparison)
        row[2].set_title(f"{title}, spread of each dimension")
    figure.suptitle("Latent means of the last batch, training mode (dropout on, as in the article)")
    return figure


def _draw_spread(axes: Axes, comparison: Comparison) -> None:
    colour = COLOURS[comparison.objective]
    under_test = comparison.under_test.latent_means["training"].std(axis=0)
    reference = comparison.reference.latent_means["training"].std(axis=0)
    dimensions = np.arange(1, len(under_test) + 1)
    axes.bar(
        dimensions, under_test, color=colour, alpha=0.5, label=_language(comparison.under_test)
    )
    axes.plot(
        np.arange(1, len(reference) + 1),
        reference,
        "o",
        color="black",
        fillstyle="none",
        markersize=5,
        label=_language(comparison.reference),
    )
    axes.set_xlabel("latent dimension")
    axes.set_ylabel("standard deviation of mu over images")
    # room for the legend; a collapsed posterior is not blown up to its rounding errors
    spreads = np.concatenate([under_test, reference])
    axes.set_ylim(0, max(1e-3, 1.2 * max(spreads[np.isfinite(spreads)], default=0)))
    axes.legend(loc="upper center", ncols=2)


def samples_figure(comparisons: Sequence[Comparison]) -> Figure:
    """16 images of each objective from the same draws of N(0, I), decoded in Python and in R."""
    figure = Figure(figsize=(7, 3.8 * len(comparisons)), layout="constrained")
    panels = figure.subplots(len(comparisons), 2, squeeze=False)
    for row, comparison in zip(panels, comparisons, strict=True):
        for axes, trace in zip(row, (comparison.under_test, comparison.reference), strict=True):
            if trace.samples is not None:
                draw_digits(axes, trace.samples, columns=4)
            title = OBJECTIVES[comparison.objective].title
            axes.set_title(f"{title}, {_language(trace)}")
    steps = comparisons[0].under_test.steps
    figure.suptitle(f"Decoded draws from N(0, I) after {steps} steps, the same draws everywhere")
    return figure


def _language(trace: Trace) -> str:
    return LANGUAGE.get(trace.engine, trace.engine)


def _engine(trace: Trace) -> str:
    return f"{_language(trace)} ({trace.engine})"
