"""Images in rows and grids: originals, reconstructions, interpolations, samples."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike, NDArray

from pyvae.errors import UserError
from pyvae.figures.style import add_note, digit_sheet, draw_digits, titles_and_colours, wrapped

__all__ = [
    "cluster_samples_figure",
    "comparison_of_samples",
    "generated_figure",
    "interpolation",
    "rows_figure",
]


def rows_figure(rows: Sequence[tuple[str, ArrayLike]], title: str, note: str = "") -> Figure:
    """Rows of images, each with its label at the left.

    Arguments:
        rows: Label and images (n, 784), pixels in [0, 1], of each row; n is the same in all.
        title: Stands above.
        note: Stands small at the bottom.

    Raises:
        UserError: If rows are not of the same length.
    """
    images = [np.asarray(shown) for _, shown in rows]
    lengths = {len(shown) for shown in images}
    if len(lengths) != 1:
        raise UserError(f"rows of {sorted(lengths)} images", expected="as many in each")
    (columns,) = lengths
    figure = Figure(
        figsize=(max(0.62 * columns + 1.6, 4), 0.64 * len(rows) + 0.9), layout="constrained"
    )
    axes = figure.subplots()
    sheet = digit_sheet(np.concatenate(images), columns)
    axes.imshow(sheet, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    axes.set_yticks(29 * np.arange(len(rows)) + 13.5, [label for label, _ in rows])
    axes.set_anchor("W")  # centred, the layout takes the labels' room from the wrong side
    _frame(axes)
    figure.suptitle(wrapped(figure, title), fontsize=10)
    add_note(figure, note)
    return figure


def interpolation(z0: ArrayLike, z1: ArrayLike, n: int = 10) -> NDArray[np.float64]:
    """Latents (n, L) in even steps from the first (L,) to the second (L,), both included."""
    return np.linspace(np.asarray(z0, dtype=float), np.asarray(z1, dtype=float), n)


def cluster_samples_figure(
    images: ArrayLike, title: str, note: str = "", shares: ArrayLike | None = None
) -> Figure:
    """Samples of each cluster, a row for each.

    Arguments:
        images: (K, n, 784), pixels in [0, 1].
        title: Stands above.
        note: Stands small at the bottom.
        shares: (K,), the share of all images that was put into each cluster.
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
    images: ArrayLike, title: str, note: str = "", columns: int | None = None
) -> Figure:
    """Generated images in a grid.

    Arguments:
        images: (N, 784), pixels in [0, 1].
        title: Stands above.
        note: Stands small at the bottom.
        columns: Images in a row; without it the grid is as near a square as can be.
    """
    images = np.asarray(images)
    columns = columns or _side(len(images))
    rows = math.ceil(len(images) / columns)
    figure = Figure(figsize=(max(0.5 * columns, 3.5) + 0.2, 0.5 * rows + 0.8), layout="constrained")
    axes = figure.subplots()
    draw_digits(axes, images, columns)
    axes.set_title(wrapped(figure, title), fontsize=10)
    add_note(figure, note)
    return figure


def comparison_of_samples(images: Mapping[str, ArrayLike], title: str, note: str = "") -> Figure:
    """Samples of several objectives side by side, title and frame in the objective's colour.

    Arguments:
        images: (N, 784) each, pixels in [0, 1], by objective (name or title) or other label.
        title: Stands above.
        note: Stands small at the bottom.
    """
    figure = Figure(figsize=(max(3.6 * len(images), 5), 4.3), layout="constrained")
    figure.set_layout_engine("constrained", w_pad=0.1)
    panels = figure.subplots(1, len(images), squeeze=False)[0]
    known = titles_and_colours(images)
    for axes, (label, shown) in zip(panels, images.items(), strict=True):
        name, colour = known[label]
        shown = np.asarray(shown)
        draw_digits(axes, shown, _side(len(shown)))
        axes.set_yticks([])
        _frame(axes, colour)
        axes.set_title(name, color=colour, fontsize=11)
    figure.suptitle(wrapped(figure, title), fontsize=10)
    add_note(figure, note)
    return figure


def _side(images: int) -> int:
    return max(1, math.ceil(math.sqrt(images)))


def _frame(axes: Axes, colour: str | None = None) -> None:
    """No scale, only labels at the left; a frame if it is to have a colour."""
    axes.set_axis_on()
    axes.set_xticks([])
    axes.tick_params(axis="y", length=0)
    for spine in axes.spines.values():
        spine.set_visible(colour is not None)
        if colour is not None:
            spine.set_color(colour)
            spine.set_linewidth(3)
