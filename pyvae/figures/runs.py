"""Draws the figures of a run: losses, latent means, generated samples."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import StrMethodFormatter
from numpy.typing import NDArray

from pyvae.data.pixels import DIGITS
from pyvae.figures.images import generated_figure
from pyvae.figures.style import (
    COLOURS,
    LINES,
    MEANS_NOTE,
    add_note,
    loss_label,
    run_title,
    samples_note,
    whole_numbers,
    wrapped,
)
from pyvae.model.objectives import OBJECTIVES
from pyvae.trace.trace import Trace

__all__ = [
    "draw_latent_means",
    "draw_losses",
    "latent_means_figure",
    "loss_history_figure",
    "samples_figure",
]


def loss_history_figure(traces: Sequence[Trace], note: str = "") -> Figure:
    """Draws the loss of one or more runs, per image.

    Where the objective is a sum over the batch, a second axis has the article's sums over an epoch.

    Arguments:
        traces: Traces of one recipe.
        note: Small text at the bottom.
    """
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.subplots()
    epochs = max(int(trace.epochs[-1]) for trace in traces)
    for trace in traces:
        name = trace.settings.objective
        table = trace.epoch_table() if epochs > 1 else trace.history()
        axes.plot(
            table["epoch" if epochs > 1 else "step"],
            table[OBJECTIVES[name].column],
            LINES[name],
            color=COLOURS[name],
            label=OBJECTIVES[name].title,
            zorder=3 if LINES[name] == "--" else 2,
            marker="." if len(table) < 10 else None,
        )
    axes.set_xlabel("epoch" if epochs > 1 else "step")
    axes.set_ylabel(loss_label(traces[0].settings.objective))
    whole_numbers(axes.xaxis)
    axes.legend()
    if epochs > 1 and not OBJECTIVES[traces[0].settings.objective].mean:
        steps = traces[0].epoch_table()["steps"]
        if steps.nunique() == 1:  # epochs of equal length: the article's scale is a factor
            images = int(steps.iloc[0]) * traces[0].settings.batch_size
            right = axes.secondary_yaxis("right", functions=_scale(images))
            right.set_ylabel("sum over the epoch's batches (nats)")
            right.yaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    axes.set_title(wrapped(figure, run_title(traces[0])), fontsize=10)
    add_note(figure, note)
    return figure


def draw_losses(axes: Axes, history: pd.DataFrame, objective: str, **style: Any) -> None:
    """Draws a run's loss per image and step; dashed lines lie on solid ones."""
    default: dict[str, Any] = {"color": COLOURS[objective], "linestyle": LINES[objective]}
    default["zorder"] = 3 if LINES[objective] == "--" else 2
    default["marker"] = "." if len(history) == 1 else None  # a line of one point is invisible
    axes.plot(history["step"], history[OBJECTIVES[objective].column], **default | style)
    whole_numbers(axes.xaxis)
    axes.set_xlabel("step")


def latent_means_figure(traces: Sequence[Trace], note: str = "") -> Figure:
    """Draws latent means of the last batch in training mode, as the article does, a panel each."""
    columns = 2 if len(traces) == 4 else min(len(traces), 3)
    rows = math.ceil(len(traces) / columns)
    width = 6 if columns < 3 else 5
    figure = Figure(figsize=(width * columns, 4.2 * rows), layout="constrained")
    figure.set_layout_engine("constrained", h_pad=0.12, w_pad=0.1)
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes, trace in zip(panels, traces, strict=False):
        draw_latent_means(axes, trace.latent_means["training"])
        axes.set_title(f"{OBJECTIVES[trace.settings.objective].title}, training mode")
    for axes in panels[len(traces) :]:
        axes.remove()
    add_note(figure, f"{MEANS_NOTE}\n{note}")
    return figure


def draw_latent_means(axes: Axes, mu: NDArray) -> None:
    """Draws mu by the index of the image, a line for each latent dimension, as R's matplot does."""
    colours = matplotlib.colormaps["viridis"](np.linspace(0, 1, mu.shape[1]))
    for dimension, colour in zip(mu.T, colours, strict=True):
        axes.plot(np.arange(1, len(mu) + 1), dimension, color=colour, linewidth=0.6)
    whole_numbers(axes.xaxis)
    axes.set_xlabel("image of the last batch")
    axes.set_ylabel(f"mu, {mu.shape[1]} dimensions")
    axes.margins(x=0.01)


def samples_figure(
    images: NDArray, title: str, note: str = "", shape: tuple[int, ...] = DIGITS
) -> Figure:
    """Draws generated images as `generated_figure`, with a note if they hardly differ.

    Arguments:
        images: (N, 784), or as many numbers as the shape has, in [0, 1].
        title: The title.
        note: Small text at the bottom.
        shape: Of an image: (channels, height, width).
    """
    note = f"{samples_note([images])}\n{note}"
    return generated_figure(images, title, note, shape=shape)


def _scale(factor: float) -> tuple[Callable[[Any], Any], Callable[[Any], Any]]:
    """Returns multiplication and division by a factor, which a secondary axis needs."""
    return lambda y: y * factor, lambda y: y / factor
