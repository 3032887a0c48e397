"""Draws how far each latent dimension varies between images, objective beside objective."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import ArrayLike, NDArray

from pyvae.figures.latents import PRIOR_UNIT
from pyvae.figures.style import add_note, titles_and_colours, whole_numbers, wrapped
from pyvae.metrics.latents import ACTIVE, PosteriorSpread

__all__ = ["mean_and_variance_figure", "spread_figure"]

ACTIVE_SPREAD = ACTIVE**0.5  # standard deviation above which a dimension is active
LEAST_SPREAD = 1e-8  # stands for 0 on the logarithmic axis
MU: dict[str, Any] = {"marker": "o", "markersize": 4, "linewidth": 1}
LOG_VAR: dict[str, Any] = {"marker": "s", "markersize": 4, "fillstyle": "none", "linestyle": "none"}
THRESHOLD: dict[str, Any] = {"color": "gray", "linestyle": "--", "linewidth": 1}


def spread_figure(spreads: Mapping[str, ArrayLike], title: str, note: str = "") -> Figure:
    """Draws the standard deviation of mu over images of each latent dimension, in falling order.

    Arguments:
        spreads: (L,) each, by objective (name or title) or any other label.
        title: The title.
        note: Small text at the bottom.
    """
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.subplots()
    known = titles_and_colours(spreads)
    for label, spread in spreads.items():
        ordered = np.sort(np.asarray(spread, dtype=float))[::-1]
        name, colour = known[label]
        active = f"{name}: {(ordered > ACTIVE_SPREAD).sum()} of {len(ordered)} active"
        _draw_spread(axes, ordered, color=colour, label=active, **MU)
    _finish_spread(axes)
    axes.set_ylabel(f"standard deviation of mu over images\n({PRIOR_UNIT})")
    axes.legend()
    axes.set_title(wrapped(figure, title), fontsize=10)
    add_note(figure, note)
    return figure


def mean_and_variance_figure(
    spreads: Mapping[str, PosteriorSpread], title: str, note: str = ""
) -> Figure:
    """Draws how far mu and log_var vary between images, a panel for each objective.

    Latent dimensions are in falling order of mu's standard deviation.

    Arguments:
        spreads: Results of `pyvae.metrics.latents.posterior_spread`, by objective or label.
        title: The title.
        note: Small text at the bottom.
    """
    figure = Figure(figsize=(3.6 * len(spreads) + 2.2, 4.2), layout="constrained")
    panels = figure.subplots(1, len(spreads), squeeze=False, sharey=True)[0]
    known = titles_and_colours(spreads)
    for axes, (label, spread) in zip(panels, spreads.items(), strict=True):
        name, colour = known[label]
        order = np.argsort(spread.mu_sd)[::-1]
        _draw_spread(axes, spread.mu_sd[order], color=colour, **MU)
        _draw_spread(axes, spread.log_var_sd[order], color=colour, **LOG_VAR)
        _finish_spread(axes)
        axes.set_title(name, fontsize=10, color=colour)
    handles = [
        Line2D([], [], color="black", label="of mu\n(prior standard deviations)", **MU),
        Line2D([], [], color="black", label="of log_var\n(a logarithm, no unit)", **LOG_VAR),
        Line2D([], [], label=f"mu active above {ACTIVE_SPREAD:g}", **THRESHOLD),
    ]
    figure.legend(handles=handles, loc="outside right upper", fontsize=8)
    panels[0].set_ylabel("standard deviation over images")
    figure.suptitle(wrapped(figure, title), fontsize=10)
    add_note(figure, note)
    return figure


def _draw_spread(axes: Axes, spread: NDArray, **style) -> None:
    axes.plot(np.arange(1, len(spread) + 1), np.maximum(spread, LEAST_SPREAD), **style)


def _finish_spread(axes: Axes) -> None:
    axes.axhline(ACTIVE_SPREAD, label=f"active above {ACTIVE_SPREAD:g}", **THRESHOLD)
    axes.set_yscale("log")
    whole_numbers(axes.xaxis)
    axes.set_xlabel("latent dimension, by falling spread of mu")
    axes.grid(alpha=0.3)
