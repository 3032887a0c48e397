"""Draws latent space: where images lie in it, and what it decodes to.

Latents are in units of the prior's standard deviation wherever the prior is N(0, I).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.colors import BoundaryNorm, ListedColormap
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtri

from pyvae.errors import UserError
from pyvae.figures.style import add_note, group_colours, wrapped

__all__ = [
    "check_plane",
    "latent_scatter",
    "manifold_figure",
    "tsne_scatter",
]

PRIOR_UNIT = "prior standard deviations"


def latent_scatter(
    z: ArrayLike,
    labels: ArrayLike,
    title: str,
    note: str = "",
    colour_bar: bool = False,
    *,
    groups: str = "digit",
    unit: str = PRIOR_UNIT,
) -> Figure:
    """Draws latents in the plane, a colour for each digit.

    Arguments:
        z: Latents (N, 2).
        labels: Digits (N,), or clusters, from 0.
        title: The title.
        note: Small text at the bottom.
        colour_bar: Draws a colour bar instead of a legend.
        groups: What the labels are, for the legend.
        unit: The unit of the latents; may be empty.

    Raises:
        UserError: If there are not two latent dimensions.
    """
    z, labels = np.asarray(z), np.asarray(labels, dtype=int)
    check_plane("the latent scatter", z.shape[1])
    figure = Figure(figsize=(7, 5.6), layout="constrained")
    axes = figure.subplots()
    colours = _colours(labels)
    mixed = np.random.default_rng(0).permutation(len(z))  # or the last digit would cover the others
    axes.scatter(
        z[mixed, 0], z[mixed, 1], c=colours[labels[mixed]], s=_size(len(z)), alpha=0.7,
        linewidths=0, rasterized=True,
    )  # fmt: skip
    axes.set_aspect("equal", adjustable="datalim")
    behind = f" ({unit})" if unit else ""
    axes.set_xlabel(f"latent dimension 1{behind}")
    axes.set_ylabel(f"latent dimension 2{behind}")
    axes.set_title(wrapped(figure, title), fontsize=10)
    if colour_bar:
        edges = np.arange(len(colours) + 1) - 0.5
        scale = ScalarMappable(BoundaryNorm(edges, len(colours)), ListedColormap(colours))
        figure.colorbar(scale, ax=axes, label=groups, ticks=range(len(colours)))
    else:
        _legend(figure, colours, groups)
    add_note(figure, note)
    return figure


def tsne_scatter(
    z: ArrayLike,
    labels: ArrayLike,
    title: str,
    note: str = "",
    seed: int = 0,
    markers: bool = True,
    *,
    most: int = 1000,
) -> Figure:
    """Draws latents of any number of dimensions in the plane by t-SNE.

    van der Maaten & Hinton (2008), "Visualizing data using t-SNE", JMLR 9; scikit-learn's
    implementation with perplexity 30.

    Arguments:
        z: Latents (N, L), N of 4 or more.
        labels: Digits (N,).
        title: The title.
        note: Small text at the bottom.
        seed: The seed of t-SNE.
        markers: Draws digits instead of dots.
        most: The number of latents that are drawn at most, from the first.
    """
    from sklearn.manifold import TSNE  # a second: only for who needs it

    z, labels = np.asarray(z)[:most], np.asarray(labels, dtype=int)[:most]
    if len(z) < 4:
        raise UserError(f"t-SNE of {len(z)} latents", expected="4 or more")
    perplexity = min(30.0, (len(z) - 1) / 3)
    start = "pca" if z.shape[1] > 1 else "random"
    method = TSNE(2, perplexity=perplexity, init=start, random_state=seed)
    xy = method.fit_transform(z.astype(np.float32))
    figure = Figure(figsize=(7, 6.2), layout="constrained")
    axes = figure.subplots()
    colours = _colours(labels)
    for digit in np.unique(labels):
        chosen = xy[labels == digit]
        marker, size = (f"${digit}$", 30.0) if markers else ("o", _size(len(xy)))
        axes.scatter(
            chosen[:, 0], chosen[:, 1], marker=marker, s=size, color=colours[digit], linewidths=0
        )
    axes.set_xlabel("t-SNE coordinate 1 (arbitrary unit)")
    axes.set_ylabel("t-SNE coordinate 2 (arbitrary unit)")
    about = f"{title}\nt-SNE of {len(z):,} images, {z.shape[1]} latent dimensions"
    axes.set_title(wrapped(figure, about), fontsize=10)
    if not markers:
        _legend(figure, colours, "digit")
    add_note(figure, note)
    return figure


def manifold_figure(
    decode: Callable[[NDArray[np.float64]], ArrayLike],
    title: str,
    note: str = "",
    *,
    latent_dim: int = 2,
    n: int = 20,
    low: float | tuple[float, float] | None = None,
    high: float | tuple[float, float] | None = None,
    unit: str = PRIOR_UNIT,
) -> Figure:
    """Draws what a grid over a latent plane decodes to, the second dimension upwards.

    Arguments:
        decode: Maps latents (n n, 2) to pixels (n n, 784) in [0, 1].
        title: The title.
        note: Small text at the bottom.
        latent_dim: The number of latent dimensions, L.
        n: The number of images in a row.
        low, high: First and last latents of both dimensions, or of each; by default the grid is at
            the quantiles 0.5/n, 1.5/n, ... of the prior N(0, 1).
        unit: The unit of the latents; may be empty.

    Raises:
        UserError: If L is not 2, or only one of `low` and `high` is given.
    """
    check_plane("the latent manifold", latent_dim)
    if (low is None) != (high is None):
        raise UserError("the latent grid has one end only", "give both low and high, or neither")
    if low is None or high is None:
        across = up = ndtri((np.arange(n) + 0.5) / n)
    else:
        across, up = np.linspace(np.broadcast_to(low, 2), np.broadcast_to(high, 2), n).T
    grid = np.stack(np.meshgrid(across, up[::-1]), axis=-1).reshape(-1, 2)  # from the top left
    sheet = np.asarray(decode(grid)).reshape(n, n, 28, 28).swapaxes(1, 2).reshape(28 * n, 28 * n)
    figure = Figure(figsize=(7, 7.2), layout="constrained")
    axes = figure.subplots()
    extent = (-0.5, n - 0.5, -0.5, n - 0.5)  # an image is one unit wide, centred on its latents
    axes.imshow(sheet, cmap="gray", vmin=0, vmax=1, extent=extent, interpolation="nearest")
    ticks = np.unique(np.linspace(0, n - 1, min(n, 6 + n % 2)).round().astype(int))
    axes.set_xticks(ticks, [f"{across[tick]:.2f}" for tick in ticks])
    axes.set_yticks(ticks, [f"{up[tick]:.2f}" for tick in ticks])
    spacing = "at quantiles of N(0, 1)" if low is None else "evenly spaced"
    behind = ", ".join(words for words in (unit, spacing) if words)
    axes.set_xlabel(f"latent dimension 1 ({behind})")
    axes.set_ylabel(f"latent dimension 2 ({behind})")
    axes.set_title(wrapped(figure, title), fontsize=10)
    add_note(figure, note)
    return figure


def check_plane(what: str, dimensions: int) -> None:
    """Raises UserError if a figure in the plane has other than two latent dimensions."""
    if dimensions != 2:
        raise UserError(
            f"{what} needs 2 latent dimensions, not {dimensions}",
            "train with --latent-dim 2, or leave this figure out",
        )


def _colours(labels: NDArray) -> NDArray:
    return group_colours(max(10, int(labels.max(initial=0)) + 1))


def _size(points: int) -> float:
    """Returns the area of a dot, smaller for more points."""
    return float(np.clip(40_000 / max(points, 1), 3, 20))


def _legend(figure: Figure, colours: NDArray, title: str) -> None:
    """Draws a legend of a colour for each number, outside the axes."""
    handles = [
        Line2D([], [], linestyle="none", marker="o", color=colour, label=str(number))
        for number, colour in enumerate(colours)
    ]
    figure.legend(handles=handles, title=title, loc="outside right upper")
