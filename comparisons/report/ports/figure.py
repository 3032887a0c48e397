"""Two recorded programs in pictures: their losses, and how far every quantity differs."""

from __future__ import annotations

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from comparisons.ports.result import PortComparison
from pyvae.figures.style import as_text, whole_numbers

__all__ = ["SIDE_COLOURS", "differences_figure", "losses_figure"]

SIDE_COLOURS = ("steelblue", "darkorange")  # of the first and the second side, everywhere
LEAST, MOST = -17.0, 0.0  # powers of ten
MOST_LABELS = 60


def losses_figure(found: PortComparison) -> Figure | None:
    """The losses of both sides over the steps; None if one has none."""
    losses = [dict(side.trace.losses()) for side in found.sides]
    if not all(losses):
        return None
    figure = Figure(figsize=(5, 3.4), layout="constrained")
    axes = figure.subplots()
    for name, colour, values, style in zip(
        found.names, SIDE_COLOURS, losses, ("-", "--"), strict=True
    ):
        mark = "o" if len(values) < 40 else ""
        axes.plot(
            list(values), list(values.values()), style, marker=mark, markersize=4, color=colour,
            label=as_text(name),
        )  # fmt: skip
    if found.first is not None:
        axes.axvline(found.first.judged.step, color="gray", linestyle=":", linewidth=1)
    whole_numbers(axes.xaxis)
    axes.set_xlabel("step")
    axes.set_ylabel("loss")
    axes.legend()
    return figure


def differences_figure(found: PortComparison) -> Figure:
    """The relative difference of every quantity, in the order of computation, over the steps."""
    keys = list(dict.fromkeys(one.quantity.key for one in found.judged))
    rows = {key: at for at, key in enumerate(keys)}
    columns = {step: at for at, step in enumerate(found.steps)}
    powers = np.full((len(rows), len(columns)), np.nan)
    for one in found.judged:
        needed = one.difference.needed
        size = LEAST if one.difference.equal or needed == 0 else np.log10(min(needed, 1.0))
        powers[rows[one.quantity.key], columns[one.step]] = max(size, LEAST)
    height = max(2.6, 1.6 + 0.1 * min(len(rows), MOST_LABELS))  # the bar's label has to fit
    figure = Figure(figsize=(6.4, height), layout="constrained")
    axes = figure.subplots()
    colours = matplotlib.colormaps["YlOrRd"].with_extremes(under="#cfe8e3", bad="white")
    image = axes.imshow(
        powers, aspect="auto", interpolation="nearest", cmap=colours, vmin=LEAST + 0.5, vmax=MOST
    )
    _mark_first(axes, found, rows, columns)
    every = max(1, -(-len(keys) // MOST_LABELS))
    axes.set_yticks(range(0, len(keys), every), [as_text(_short(k)) for k in keys[::every]])
    axes.tick_params(axis="y", labelsize=6)
    most = max(1, -(-len(columns) // 12))
    axes.set_xticks(range(0, len(columns), most), [str(s) for s in found.steps[::most]])
    axes.set_xlabel(found.unit[0])
    bar = figure.colorbar(image, ax=axes, shrink=0.6, extend="min")
    bar.set_ticks([-16, -12, -8, -4, MOST], labels=["1e-16", "1e-12", "1e-8", "1e-4", "1"])
    bar.set_label(
        "difference relative to the\nlargest magnitude (below:\nevery bit equal)", fontsize=8
    )
    return figure


def _mark_first(
    axes: Axes, found: PortComparison, rows: dict[str, int], columns: dict[int, int]
) -> None:
    if found.first is None:
        return
    judged = found.first.judged
    row, column = rows[judged.quantity.key], columns[judged.step]
    axes.add_patch(Rectangle((column - 0.5, row - 0.5), 1, 1, fill=False, edgecolor="black", lw=2))


def _short(key: str) -> str:
    return key if len(key) <= 44 else f"{key[:20]}…{key[-22:]}"
