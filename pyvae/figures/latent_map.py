"""Draws where images lie in latent space, coloured by their labels."""

from __future__ import annotations

from typing import NamedTuple

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke
from numpy.typing import NDArray

from pyvae.errors import UserError
from pyvae.figures.style import COLOURS, add_note, wrapped

__all__ = ["PALETTE", "Plane", "latent_map", "to_plane"]

# Petroff (2021), "Accessible color sequences for data visualization",
# https://arxiv.org/abs/2107.02270: ten colours that colour-blind people tell apart, too.
PALETTE = (
    "#3f90da", "#ffa90e", "#bd1f01", "#94a4a2", "#832db6", "#a96b59", "#e76300", "#b9ac70",
    "#717581", "#92dadd",
)  # fmt: skip
MARKERS = "oX^"  # of the first ten classes, the next ten, ...
MOST_CLASSES = len(PALETTE) * len(MARKERS)  # beyond them, a scale of colours


class Plane(NamedTuple):
    """Latents in the plane.

    Attributes:
        xy: (N, 2).
        axes: What the two axes are.
        note: How the plane was chosen; empty if there was nothing to choose.
    """

    xy: NDArray
    axes: tuple[str, str]
    note: str


def to_plane(mu: NDArray, unit: str = "") -> Plane:
    """Latent means (N, L) in the plane: two dimensions as they are, one against the number of the
    image, more of them by principal components.

    Arguments:
        mu: The means, finite.
        unit: Of the latents; may be empty.
    """
    behind = f" ({unit})" if unit else ""
    count, dimensions = mu.shape
    if dimensions == 1:
        numbers = np.arange(1, count + 1)
        xy = np.stack([mu[:, 0], numbers], axis=1)
        return Plane(xy, (f"latent dimension 1{behind}", "number of the image"), "")
    if dimensions == 2:
        names = [f"latent dimension {number}{behind}" for number in (1, 2)]
        return Plane(mu, (names[0], names[1]), "")
    centred = mu.astype(np.float64) - mu.mean(axis=0)
    _, sizes, directions = np.linalg.svd(centred, full_matrices=False)
    directions = directions[:2]
    largest = np.abs(directions).argmax(axis=1)  # which decides on the sign
    directions = directions * np.sign(directions[np.arange(len(directions)), largest])[:, None]
    variance = sizes**2
    shares = variance[:2] / max(variance.sum(), np.finfo(np.float64).tiny)
    xy = np.zeros((count, 2))
    xy[:, : len(directions)] = centred @ directions.T
    names = [f"principal component {number}{behind}" for number in (1, 2)]
    first, second = 100 * np.array([*shares, 0.0])[:2]
    note = (
        f"{dimensions} latent dimensions, seen along the two directions in which the means vary "
        f"most (principal components): {first:.0f} % and {second:.0f} % of their variance."
    )
    return Plane(xy, (names[0], names[1]), note)


def latent_map(
    mu: NDArray, labels: NDArray | None, title: str, objective: str, unit: str = ""
) -> Figure:
    """Draws posterior means in the plane, a colour for each label; `to_plane` says which plane.

    Arguments:
        mu: (N, L).
        labels: (N,), whole numbers from 0; None: all dots have the objective's colour.
        title: The title.
        objective: That the network was trained with; its colour frames the figure.
        unit: Of the latents; may be empty.

    Raises:
        UserError: If no image has finite means.
    """
    finite = np.isfinite(mu).all(axis=1)
    if not finite.any():
        raise UserError("no image has finite latent means", "leave this figure out")
    plane = to_plane(mu[finite], unit)
    figure = Figure(figsize=(7, 5.6), layout="constrained")
    axes = figure.subplots()
    if labels is None:
        _dots(axes, plane.xy, color=COLOURS[objective])
    else:
        _draw_classes(figure, axes, plane.xy, np.asarray(labels, dtype=int)[finite])
    if mu.shape[1] > 1:
        axes.set_aspect("equal", adjustable="datalim")
    axes.set(xlabel=plane.axes[0], ylabel=plane.axes[1])
    for spine in axes.spines.values():
        spine.set(color=COLOURS[objective], linewidth=1.5)
    axes.set_title(wrapped(figure, title), fontsize=10)
    left_out = "" if finite.all() else f" {(~finite).sum():,} images are not finite."
    add_note(figure, plane.note + left_out)
    return figure


def _draw_classes(figure: Figure, axes: Axes, xy: NDArray, labels: NDArray) -> None:
    """Draws a colour for each class, its number at its centre, and a legend."""
    classes = np.unique(labels)
    mixed = np.random.default_rng(0).permutation(len(xy))  # else the last class covers the others
    if len(classes) > MOST_CLASSES:
        scale = Normalize(int(classes[0]), int(classes[-1]))
        _dots(axes, xy[mixed], c=labels[mixed], cmap="cividis", norm=scale)
        figure.colorbar(ScalarMappable(scale, "cividis"), ax=axes, label="label")
        return
    place = np.searchsorted(classes, labels)
    colours = matplotlib.colors.to_rgba_array(
        [PALETTE[n % len(PALETTE)] for n in range(len(classes))]
    )
    handles = []
    for number, marker in enumerate(MARKERS):
        chosen = mixed[place[mixed] // len(PALETTE) == number]
        if len(chosen):
            _dots(axes, xy[chosen], c=colours[place[chosen]], marker=marker)
    for number, label in enumerate(classes):
        mine = labels == label
        marker = MARKERS[number // len(PALETTE)]
        handles.append(
            Line2D(
                [], [], linestyle="none", marker=marker, color=colours[number],
                label=f"{label}: {mine.sum():,}",
            )
        )  # fmt: skip
        x, y = np.median(xy[mine], axis=0)
        axes.text(
            x, y, str(label), ha="center", va="center", fontsize=11, fontweight="bold", zorder=4,
            path_effects=[withStroke(linewidth=2.5, foreground="white")],
        )  # fmt: skip
    figure.legend(
        handles=handles, title="label: images", loc="outside right upper",
        ncols=1 + (len(classes) - 1) // 20,
    )  # fmt: skip


def _dots(axes: Axes, xy: NDArray, **options: object) -> None:
    size = float(np.clip(20_000 / max(len(xy), 1), 6, 24))
    given = {"s": size, "alpha": 0.75, "linewidths": 0, "rasterized": True} | options
    axes.scatter(xy[:, 0], xy[:, 1], **given)  # type: ignore[arg-type]
