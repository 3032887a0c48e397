"""Two engines over many seeds in one picture: both clouds of losses, and what differs."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from comparisons.seeds.equivalence import Equivalence, Side, overall
from comparisons.seeds.measures import RunOutcome
from pyvae.figures.style import COLOURS, loss_label, whole_numbers
from pyvae.model.objectives import OBJECTIVES

__all__ = ["VERDICT_COLOURS", "equivalence_figure"]

Seeds = tuple[Sequence[RunOutcome], Sequence[RunOutcome], list[Equivalence]]

REACH = 3.0  # margins; what lies beyond is drawn as an arrow
LONG = 200  # steps from which on their axis is logarithmic
VERDICT_COLOURS = {"equivalent": "darkgreen", "different": "darkred", "inconclusive": "dimgray"}


def equivalence_figure(by_objective: Mapping[str, Seeds]) -> Figure:
    """One row for each objective: the losses of all seeds, the last epoch's loss of each seed,
    and the 90 % intervals of all differences in units of their margins.

    Arguments:
        by_objective: The runs under test, those of the reference, and their comparison.
    """
    figure = Figure(figsize=(16, 4.6 * len(by_objective)), layout="constrained")
    panels = figure.subplots(
        len(by_objective), 3, squeeze=False, gridspec_kw={"width_ratios": [1.1, 0.7, 1.1]}
    )
    for row, (name, (a, b, results)) in zip(panels, by_objective.items(), strict=True):
        curves, seeds, intervals = row
        title = OBJECTIVES[name].title
        _draw_curves(curves, name, a, b)
        curves.set_title(f"{title}: seeds thin, their median thick")
        (loss,) = [result for result in results if result.measure == "loss"]
        _draw_seeds(seeds, name, loss)
        seeds.set_title(f"{title}: last epoch")
        _draw_intervals(intervals, name, results)
        intervals.set_title(f"{title}, {a[0].engine} minus {b[0].engine}: {overall(results)}")
    return figure


def _draw_curves(
    axes: Axes, objective: str, a: Sequence[RunOutcome], b: Sequence[RunOutcome]
) -> None:
    medians = []
    for outcomes, colour, line, order in (
        (a, COLOURS[objective], "-", 3),
        (b, "black", "--", 4),
    ):
        losses = _losses(outcomes)
        steps = np.arange(1, losses.shape[1] + 1)
        seen = np.where(np.isfinite(losses), losses, np.nan)
        axes.plot(
            steps, seen.T, color=colour, linewidth=0.5, alpha=0.3, zorder=order - 2, rasterized=True
        )
        median = np.median(losses, axis=0)
        label = f"{outcomes[0].engine}, {len(outcomes)} seeds"
        axes.plot(steps, median, line, color=colour, linewidth=1.6, zorder=order, label=label)
        medians.append(median)
    _fit(axes, np.concatenate(medians))
    axes.set_xlabel("step")
    if steps[-1] > LONG:  # the fall of the first steps is not a vertical line then
        axes.set_xscale("log")
        axes.set_xlabel("step (logarithmic)")
    else:
        whole_numbers(axes.xaxis)
    axes.set_ylabel(loss_label(objective))
    axes.legend(loc="upper right")


def _losses(outcomes: Sequence[RunOutcome]) -> NDArray[np.float64]:
    """The total loss, (seeds, steps); infinite where a run diverged or ended early, so that
    medians count it among the worst."""
    losses = np.full((len(outcomes), max(len(outcome.losses) for outcome in outcomes)), np.inf)
    for row, outcome in zip(losses, outcomes, strict=True):
        row[: len(outcome.losses)] = outcome.loss_per_image
    return np.where(np.isnan(losses), np.inf, losses)


def _fit(axes: Axes, medians: NDArray) -> None:
    """An axis that a seed which diverged does not blow up."""
    seen = medians[np.isfinite(medians)]
    if seen.size:
        room = 0.08 * (np.ptp(seen) or 1)
        axes.set_ylim(seen.min() - room, seen.max() + room)


def _draw_seeds(axes: Axes, objective: str, loss: Equivalence) -> None:
    """A dot for each seed, against the margin around the reference's mean."""
    if math.isfinite(loss.b.mean):
        ends = loss.b.mean - loss.margin, loss.b.mean + loss.margin
        axes.axhspan(*ends, color="seagreen", alpha=0.12, linewidth=0)
        for end in ends:
            axes.axhline(end, color="black", linestyle=":", linewidth=1)
    for place, (side, colour) in enumerate(((loss.a, COLOURS[objective]), (loss.b, "black"))):
        values = np.array(side.values)
        beside = place + np.linspace(-0.18, 0.18, len(values))
        seen = np.isfinite(values)
        axes.plot(beside[seen], values[seen], "o", color=colour, markersize=5, fillstyle="none")
        median = np.median(np.where(np.isnan(values), np.inf, values))
        if np.isfinite(median):
            axes.plot([place - 0.3, place + 0.3], [median] * 2, color=colour, linewidth=1.6)
        axes.plot(place + 0.3, side.mean, "D", color=colour, markersize=6)
    axes.set_xlim(-0.5, 1.5)
    axes.ticklabel_format(axis="y", useOffset=False)
    axes.set_xticks([0, 1], [_seeds(side) for side in (loss.a, loss.b)])
    axes.set_ylabel(loss_label(objective))
    axes.set_xlabel("bar: median, diamond: mean\nshaded: reference's mean ± margin")


def _seeds(side: Side) -> str:
    diverged = side.n - int(np.isfinite(side.values).sum())
    return f"{side.engine}\n{side.n} seeds" + (f"\n{diverged} diverged" if diverged else "")


def _draw_intervals(axes: Axes, objective: str, results: Sequence[Equivalence]) -> None:
    """One axis for all: each in units of its own margin."""
    axes.axvspan(-1, 1, color="seagreen", alpha=0.12, linewidth=0)
    for end in (-1, 1):
        axes.axvline(end, color="black", linestyle=":", linewidth=1)
    axes.axvline(0, color="lightgray", linewidth=0.8, zorder=0)
    for row, result in enumerate(results):
        _draw_interval(axes, row, result, COLOURS[objective])
    rows = np.arange(len(results))
    axes.set_yticks(rows, [_label(result) for result in results])
    axes.set_ylim(len(results) - 0.5, -0.5)
    axes.set_xlim(-REACH - 0.35, REACH + 0.35)
    axes.set_xticks(range(-3, 4))
    axes.set_xlabel(
        "dot: difference, bar: its 90 % interval, as multiples of the margin\n"
        "equivalent: the whole bar lies in the shaded range"
    )
    right = axes.secondary_yaxis("right")
    right.set_yticks(rows, [result.verdict for result in results])
    right.tick_params(length=0)
    for text, result in zip(right.get_yticklabels(), results, strict=True):
        text.set_color(VERDICT_COLOURS[result.verdict])
        text.set_fontweight("bold")


def _draw_interval(axes: Axes, row: int, result: Equivalence, colour: str) -> None:
    if result.problem:
        words = textwrap.fill(result.problem, 44)
        style = {"boxstyle": "round", "facecolor": "white", "edgecolor": "darkred"}
        axes.text(0, row, words, ha="center", va="center", fontsize=8, bbox=style)
        return
    low, high = (end / result.margin for end in result.interval)
    middle = result.difference / result.margin
    if min(abs(low), abs(high)) > REACH and low * high > 0:
        _draw_arrow(axes, row, middle, colour)
        return
    ends = np.clip([low, high], -REACH, REACH)
    axes.plot(ends, [row, row], color=colour, linewidth=2.5, solid_capstyle="butt")
    for end, at in zip((low, high), ends, strict=True):
        mark = "|" if abs(end) <= REACH else "<" if end < 0 else ">"
        axes.plot(at, row, marker=mark, color=colour, markersize=9, markeredgewidth=2)
    if abs(middle) <= REACH:
        axes.plot(middle, row, "o", color=colour, markersize=6)


def _draw_arrow(axes: Axes, row: int, middle: float, colour: str) -> None:
    """An interval that lies wholly beyond the axis."""
    end = math.copysign(REACH, middle)
    axes.plot([0.85 * end, end], [row, row], color=colour, linewidth=2.5, solid_capstyle="butt")
    axes.plot(end, row, marker="<" if end < 0 else ">", color=colour, markersize=11)
    side = "left" if end < 0 else "right"
    axes.text(0.82 * end, row, f"{middle:+.3g}", ha=side, va="center", color=colour)


def _label(result: Equivalence) -> str:
    name = result.measure.replace("_", " ")
    if result.problem:
        return name
    return f"{name}\n{result.text(result.difference, '+')} {result.unit}".rstrip()
