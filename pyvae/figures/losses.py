"""Draws losses in detail: training beside test, term by term, and over several seeds."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pyvae.figures.style import (
    COLOURS,
    SPARE_COLOURS,
    add_note,
    loss_label,
    run_title,
    whole_numbers,
    wrapped,
)
from pyvae.model.objectives import OBJECTIVES
from pyvae.trace.trace import Trace

__all__ = ["losses_figure", "terms_figure", "train_test_figure"]

LABELLED = ("cross_entropy", "labelled_reconstruction")  # sums over the images with labels
TITLES = {
    "total": "total",
    "reconstruction": "reconstruction",
    "categorical_kl": "KL of q(y|x) from uniform",
    "gaussian_kl": "KL of q(z|x,y) from p(z|y)",
    "cross_entropy": "cross entropy of the labels",
    "unlabelled_reconstruction": "reconstruction, all images",
    "labelled_reconstruction": "reconstruction, labelled images",
}
REGULARISERS = {
    "emae": "regulariser: sum of mu² / 2",
    "em": "regulariser: sum of (mu² + sigma²) / 2",
    "clustering": "regulariser: both KLs, weighted",
    "clustering-points": "regulariser: both KLs, weighted",
    "semi-supervised": "regulariser: KLs and labels, weighted",
}


def train_test_figure(
    trace: Trace,
    test_history: pd.DataFrame,
    title: str,
    note: str = "",
    *,
    checkpoint_every: int = 0,
) -> Figure:
    """Draws the training loss of each epoch beside the test loss, per image.

    Arguments:
        trace: The run.
        test_history: Columns `epoch` and `total`, as `pyvae.metrics.held_out.evaluate` gives it.
        title: The title.
        note: Small text at the bottom.
        checkpoint_every: Marks every n-th epoch on the line of the test loss; 0 marks none.
    """
    objective = OBJECTIVES[trace.settings.objective]
    train = trace.epoch_table()
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.subplots()
    axes.plot(
        train["epoch"],
        train[objective.column],
        color=COLOURS[objective.name],
        marker=_marker(len(train)),
        label="training, mean over the epoch",
    )
    axes.plot(
        test_history["epoch"],
        test_history["total"],
        color="black",
        linestyle="--",
        marker=_marker(len(test_history)),
        label="test, after the epoch",
    )
    if checkpoint_every and len(test_history) >= checkpoint_every:
        saved = test_history[test_history["epoch"] % checkpoint_every == 0]
        axes.plot(
            saved["epoch"], saved["total"], "D", color="black", fillstyle="none", label="checkpoint"
        )
    _finish(axes, "epoch", loss_label(objective.name))
    axes.legend()
    axes.set_title(wrapped(figure, title), fontsize=10)
    add_note(figure, note)
    return figure


def terms_figure(trace: Trace, note: str = "") -> Figure:
    """Draws every term of the objective in a panel of its own, per image.

    A point is the mean over an epoch. In runs of less than three epochs it is a step, and a running
    mean over a fiftieth of the steps is drawn over the steps.
    """
    settings = trace.settings
    by_step = len(set(trace.epochs)) < 3
    table = trace.history() if by_step else trace.epoch_table()
    place = "step" if by_step else "epoch"
    columns = 4 if len(trace.terms) > 6 else 3
    rows = math.ceil(len(trace.terms) / columns)
    figure = Figure(figsize=(3.6 * columns, 2.9 * rows + 0.5), layout="constrained")
    figure.set_layout_engine("constrained", h_pad=0.1, w_pad=0.1)
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes, term in zip(panels, trace.terms, strict=False):
        x, y = table[place], _per_image(trace, table, term)
        style: dict[str, Any] = {"color": COLOURS[settings.objective]}
        label = place if by_step else "mean over the epoch"
        window = len(y) // 50
        if by_step and window > 1:
            axes.plot(x, y, alpha=0.3, linewidth=0.6, label="step", **style)
            y = y.rolling(window, center=True, min_periods=1).mean()
            label = f"running mean of {window} steps"
        axes.plot(x, y, marker=_marker(len(y)), label=label, **style)
        axes.set_title(_title(trace, term), fontsize=9)
        _finish(axes, place, _unit(trace, term))
    for axes in panels[len(trace.terms) :]:
        axes.remove()
    panels[0].legend(fontsize=8)
    figure.suptitle(wrapped(figure, run_title(trace)), fontsize=10)
    add_note(figure, note)
    return figure


def losses_figure(
    traces: Mapping[str, Sequence[Trace]],
    published: Sequence[float] | None,
    title: str,
    note: str = "",
) -> Figure:
    """Draws the loss of each epoch, per image, over several seeds: the median and the range.

    Arguments:
        traces: Runs by label, all with losses in the same unit.
        published: The losses printed in the article, from epoch 1, or None.
        title: The title.
        note: Small text at the bottom.
    """
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.subplots()
    objectives = {label: runs[0].settings.objective for label, runs in traces.items()}
    taken, spare = set(), iter(SPARE_COLOURS)
    for label, runs in traces.items():
        objective = OBJECTIVES[objectives[label]]
        colour = next(spare) if objective.name in taken else COLOURS[objective.name]
        taken.add(objective.name)
        curves = pd.concat(
            [run.epoch_table().set_index("epoch")[objective.column] for run in runs], axis=1
        )  # (epochs, runs)
        seeds = f": median and range of {len(runs)} seeds" if len(runs) > 1 else ""
        axes.plot(
            curves.index,
            curves.median(axis=1),
            color=colour,
            marker=_marker(len(curves)),
            label=f"{label}{seeds}",
        )
        if len(runs) > 1:
            low, high = curves.min(axis=1), curves.max(axis=1)
            axes.fill_between(curves.index, low, high, color=colour, alpha=0.25, linewidth=0)
    if published is not None:
        epochs = range(1, len(published) + 1)
        axes.plot(
            epochs, published, "o", color="black", markersize=4, label="printed in the article"
        )
    _finish(axes, "epoch", loss_label(next(iter(objectives.values()))))
    axes.legend()
    axes.set_title(wrapped(figure, title), fontsize=10)
    add_note(figure, note)
    return figure


def _finish(axes: Axes, x: str, y: str) -> None:
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    whole_numbers(axes.xaxis, most=6)
    axes.grid(alpha=0.3)


def _marker(points: int) -> str:
    return "." if points < 10 else ""


def _per_image(trace: Trace, table: pd.DataFrame, term: str) -> pd.Series:
    """Returns a term per image, from sums over the batches of steps or epochs."""
    settings = trace.settings
    if OBJECTIVES[settings.objective].mean:
        return table[term]
    images = settings.hyper["labels"] if term in LABELLED else settings.batch_size
    return table[term] / (images * table["steps"] if "steps" in table else images)


def _unit(trace: Trace, term: str) -> str:
    unit = OBJECTIVES[trace.settings.objective].unit
    if not unit:
        units = {"reconstruction": "squared error per pixel", "regulariser": "nats per image"}
        return units.get(term, "loss")
    return "nats per labelled image" if term in LABELLED else unit


def _title(trace: Trace, term: str) -> str:
    """Returns the title of a term, with its weight in the total."""
    settings = trace.settings
    kl = "regulariser: KL from the prior"
    words = REGULARISERS.get(settings.objective, kl) if term == "regulariser" else TITLES[term]
    weights = {
        "regulariser": OBJECTIVES[settings.objective].weight,
        "gaussian_kl": "beta",
        "cross_entropy": "alpha",
        "labelled_reconstruction": "labelled_weight",
    }
    weight = settings.hyper.get(weights.get(term, ""), 1)
    return words if weight == 1 else f"{words}\n(times {weight:,.4g} in the total)"
