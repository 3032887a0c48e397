"""Draws points in the plane, such as those of the clustering recipe's toy data."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike, NDArray

from pyvae.errors import UserError
from pyvae.figures.style import add_note, group_colours, wrapped

__all__ = ["points_figure"]


def points_figure(
    xy: ArrayLike,
    groups: ArrayLike | None,
    title: str,
    note: str = "",
    names: Sequence[str] | None = None,
    *,
    limits: tuple[tuple[float, float], tuple[float, float]] | None = None,
    colours: Sequence[str] | None = None,
) -> Figure:
    """Draws points in the plane, a colour for each group; both axes have the same scale.

    Arguments:
        xy: (N, 2).
        groups: (N,), numbers from 0, or None if there are no groups.
        title: The title.
        note: Small text at the bottom.
        names: The names of the groups; by default `cluster 0`, ...
        limits: The limits of both axes, to compare several figures.
        colours: Of the groups; by default those of clusters.

    Raises:
        UserError: If they are not points in the plane, or there are more groups than names.
    """
    xy = np.asarray(xy)
    if xy.ndim != 2 or xy.shape[1] != 2:
        raise UserError(
            f"points of shape {xy.shape}",
            "leave this figure out",
            expected="(N, 2): points in the plane",
        )
    figure = Figure(figsize=(7, 5), layout="constrained")
    axes = figure.subplots()
    size = float(np.clip(20_000 / max(len(xy), 1), 4, 20))
    if groups is None:
        _dots(axes, xy, size, color="dimgray")
    else:
        numbers = np.asarray(groups, dtype=int)
        count = int(numbers.max(initial=-1)) + 1
        if names is None:
            names = [f"cluster {number}" for number in range(count)]
        if len(names) < count:
            raise UserError(f"{count} groups with {len(names)} names", expected="one name for each")
        shown = group_colours(len(names)) if colours is None else colours
        for number, (name, colour) in enumerate(zip(names, shown, strict=True)):
            _dots(axes, xy[numbers == number], size, color=colour, label=name)
        figure.legend(
            loc="outside right upper", markerscale=3, title="number of points", alignment="left"
        )
    axes.set_aspect("equal", adjustable="box" if limits else "datalim")
    if limits:
        axes.set(xlim=limits[0], ylim=limits[1])
    axes.set(xlabel="coordinate 1 (units of the data)", ylabel="coordinate 2 (units of the data)")
    axes.grid(alpha=0.3)
    axes.set_title(wrapped(figure, title), fontsize=10)
    add_note(figure, note)
    return figure


def _dots(axes: Axes, xy: NDArray, size: float, color: Any, label: str = "") -> None:
    axes.scatter(
        xy[:, 0], xy[:, 1], s=size, color=color, alpha=0.7, linewidths=0, rasterized=True,
        label=f"{label}: {len(xy):,}" if label else None,
    )  # fmt: skip
