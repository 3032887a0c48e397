"""Pictures of traces. The same colours mean the same thing everywhere: VAE firebrick and
EMAE steelblue, as in the R article."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from pyvae.errors import UserError
from pyvae.objectives import OBJECTIVES
from pyvae.trace import Trace

__all__ = [
    "COLOURS",
    "check_figure_path",
    "draw_digits",
    "draw_latent_means",
    "draw_losses",
    "latent_means_figure",
    "loss_history_figure",
    "samples_figure",
    "save_figure",
]

COLOURS = {"vae": "firebrick", "emae": "steelblue"}
FORMATS = (".png", ".pdf", ".svg", ".jpg")
LINES = {"vae": "--", "emae": "-"}


def loss_history_figure(traces: Sequence[Trace]) -> Figure:
    """The loss of one or more runs: the article's epoch sums, and nats per image."""
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.subplots()
    epochs = max(int(trace.epochs[-1]) for trace in traces)
    for trace in traces:
        name = trace.settings.objective
        table = trace.epoch_table() if epochs > 1 else trace.history()
        axes.plot(
            table["epoch" if epochs > 1 else "step"],
            table["nats_per_image"],
            LINES[name],
            color=COLOURS[name],
            label=OBJECTIVES[name].title,
            zorder=3 if LINES[name] == "--" else 2,
            marker="." if len(table) < 10 else None,
        )
    axes.set_xlabel("epoch" if epochs > 1 else "step")
    axes.set_ylabel("loss (nats per image)")
    axes.legend()
    if epochs > 1:
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        steps = traces[0].epoch_table()["steps"]
        if steps.nunique() == 1:  # epochs of equal length: the article's scale is a factor
            images = int(steps.iloc[0]) * traces[0].settings.batch_size
            right = axes.secondary_yaxis("right", functions=_scale(images))
            right.set_ylabel("sum over the epoch's batches (nats)")
    axes.set_title(_where(traces[0]), fontsize=10)
    return figure


def draw_losses(axes: Axes, history: pd.DataFrame, objective: str, **style: Any) -> None:
    """One run's loss per step, in nats per image; dashed lines lie on solid ones."""
    default: dict[str, Any] = {"color": COLOURS[objective], "linestyle": LINES[objective]}
    default["zorder"] = 3 if LINES[objective] == "--" else 2
    axes.plot(history["step"], history["nats_per_image"], **default | style)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("step")


def latent_means_figure(traces: Sequence[Trace]) -> Figure:
    """Latent means of the last batch in training mode (the article's figure), one panel each."""
    figure = Figure(figsize=(6 * len(traces), 4.2), layout="constrained")
    panels = figure.subplots(1, len(traces), squeeze=False)
    for axes, trace in zip(panels[0], traces, strict=True):
        draw_latent_means(axes, trace.latent_means["training"])
        axes.set_title(f"{OBJECTIVES[trace.settings.objective].title}, training mode")
    return figure


def draw_latent_means(axes: Axes, mu: NDArray) -> None:
    """As R's matplot: image index against mu, a line for each latent dimension."""
    colours = matplotlib.colormaps["viridis"](np.linspace(0, 1, mu.shape[1]))
    for dimension, colour in zip(mu.T, colours, strict=True):
        axes.plot(np.arange(1, len(mu) + 1), dimension, color=colour, linewidth=0.6)
    axes.set_xlabel("image of the last batch")
    axes.set_ylabel(f"mu, {mu.shape[1]} dimensions")
    axes.margins(x=0.01)


def samples_figure(images: NDArray, title: str) -> Figure:
    """Generated images in a grid as near a square as can be.

    Arguments:
        images: (N, 784), pixels in [0, 1].
        title: Stands above.
    """
    columns = math.ceil(math.sqrt(len(images)))
    figure = Figure(figsize=(4, 4.3), layout="constrained")
    axes = figure.subplots()
    draw_digits(axes, images, columns)
    axes.set_title(title, fontsize=10)
    return figure


def draw_digits(axes: Axes, images: NDArray, columns: int) -> None:
    """Images side by side with a thin line between, in rows of so many columns."""
    rows = math.ceil(len(images) / columns)
    sheet = np.full((rows * 29 - 1, columns * 29 - 1), 0.5)
    for index, image in enumerate(images):
        top, left = 29 * (index // columns), 29 * (index % columns)
        sheet[top : top + 28, left : left + 28] = image.reshape(28, 28)
    for index in range(len(images), rows * columns):
        top, left = 29 * (index // columns), 29 * (index % columns)
        sheet[top : top + 28, left : left + 28] = 0
    axes.imshow(sheet, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    axes.set_axis_off()


def save_figure(figure: Figure, path: Path) -> None:
    """Saves a figure, under a temporary name first."""
    temporary = path.with_name(f".{path.stem}.part{path.suffix}")
    try:
        figure.savefig(temporary, dpi=150)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def check_figure_path(path: Path) -> None:
    """Raises UserError unless a figure can be written under this name."""
    if path.suffix.lower() not in FORMATS:
        raise UserError(
            f"'{path}' is no picture's name", f"a name that ends in one of {', '.join(FORMATS)}"
        )
    if path.is_dir():
        raise UserError(f"'{path}' is a folder", "a picture's name")


def _scale(factor: float) -> tuple[Callable[[Any], Any], Callable[[Any], Any]]:
    """Multiplying and dividing by a factor: a secondary axis wants both ways."""
    return lambda y: y * factor, lambda y: y / factor


def _where(trace: Trace) -> str:
    return (
        f"recipe {trace.recipe}, {trace.data['name']}, batch {trace.settings.batch_size}, "
        f"{trace.steps} steps, {trace.settings.dtype}"
    )
