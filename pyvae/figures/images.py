"""Draws images in rows and grids: originals, reconstructions, interpolations, samples."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike, NDArray

from pyvae.data.pixels import DIGITS
from pyvae.errors import UserError
from pyvae.figures.style import add_note, draw_digits, image_sheet, wrapped

__all__ = [
    "cluster_samples_figure",
    "generated_figure",
    "interpolation",
    "rows_figure",
]


def rows_figure(
    rows: Sequence[tuple[str, ArrayLike]],
    title: str,
    note: str = "",
    *,
    shape: tuple[int, ...] = DIGITS,
) -> Figure:
    """Draws rows of images, each with its label at the left.

    Arguments:
        rows: Label and images (n, 784), or as many numbers as the shape has, in [0, 1], of each
            row; n is the same in all.
        title: The title.
        note: Small text at the bottom.
        shape: Of an image: (channels, height, width).

    Raises:
        UserError: If the rows have different lengths.
    """
    images = [np.asarray(shown) for _, shown in rows]
    lengths = {len(shown) for shown in images}
    if len(lengths) != 1:
        raise UserError(f"rows of {sorted(lengths)} images", expected="the same number in each row")
    (columns,) = lengths
    figure = Figure(
        figsize=(max(0.62 * columns + 1.6, 4), 0.64 * len(rows) + 0.9), layout="constrained"
    )
    axes = figure.subplots()
    sheet = image_sheet(np.concatenate(images), columns, shape)
    axes.imshow(sheet, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    height = shape[1]
    middles = (height + 1) * np.arange(len(rows)) + (height - 1) / 2
    axes.set_yticks(middles, [label for label, _ in rows])
    axes.set_anchor("W")  # centred, the layout takes the labels' room from the wrong side
    _frame(axes)
    figure.suptitle(wrapped(figure, title), fontsize=10)
    add_note(figure, note)
    return figure


def interpolation(z0: ArrayLike, z1: ArrayLike, n: int = 10) -> NDArray[np.float64]:
    """Returns latents (n, L) in even steps from `z0` (L,) to `z1` (L,), both included."""
    return np.linspace(np.asarray(z0, dtype=float), np.asarray(z1, dtype=float), n)


def cluster_samples_figure(
    images: ArrayLike, title: str, note: str = "", shares: ArrayLike | None = None
) -> Figure:
    """Draws samples of each cluster, a row for each.

    Arguments:
        images: (K, n, 784), pixels in [0, 1].
        title: The title.
        note: Small text at the bottom.
        shares: (K,), the share of all images in each cluster.
    """
    images = np.asarray(images)
    labels = [f"cluster {number}" for number in range(len(images))]
    if shares is not None:
        labels = [
            f"{label}\n{100 * share:.1f} % of images"
            for label, share in zip(labels, np.asarray(shares), strict=True)
        ]
    return rows_figure(list(zip(labels, images, strict=True)), title, note)


def generated_figure(
    images: ArrayLike,
    title: str,
    note: str = "",
    columns: int | None = None,
    shape: tuple[int, ...] = DIGITS,
) -> Figure:
    """Draws generated images in a grid.

    Arguments:
        images: (N, 784), pixels in [0, 1].
        title: The title.
        note: Small text at the bottom.
        columns: The number of images in a row; by default the grid is nearly square.
        shape: Of an image: (channels, height, width).
    """
    images = np.asarray(images)
    columns = columns or _side(len(images))
    rows = math.ceil(len(images) / columns)
    cell = max(0.5, 3.5 / columns)  # inches
    figure = Figure(figsize=(cell * columns + 0.2, cell * rows + 0.8), layout="constrained")
    axes = figure.subplots()
    draw_digits(axes, images, columns, shape)
    axes.set_title(wrapped(figure, title), fontsize=10)
    add_note(figure, note)
    return figure


def _side(images: int) -> int:
    return max(1, math.ceil(math.sqrt(images)))


def _frame(axes: Axes) -> None:
    """Leaves only the labels at the left of the axes."""
    axes.set_axis_on()
    axes.set_xticks([])
    axes.tick_params(axis="y", length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)
