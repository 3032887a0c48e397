"""Pictures of two runs side by side."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.markers import TICKDOWN, TICKUP

from comparisons.steps.comparison import Comparison
from pyvae.engines.registry import get_abilities
from pyvae.errors import printable
from pyvae.figures.glyphs import drawable, width
from pyvae.figures.runs import draw_latent_means, draw_losses
from pyvae.figures.style import (
    COLOURS,
    MEANS_NOTE,
    add_note,
    as_text,
    draw_digits,
    loss_label,
    samples_note,
    whole_numbers,
    wrapped,
)
from pyvae.metrics.latents import ACTIVE
from pyvae.model.objectives import OBJECTIVES
from pyvae.model.start import INITIAL
from pyvae.trace.trace import Trace

__all__ = [
    "latent_means_figure",
    "loss_history_figure",
    "report_panels",
    "samples_figure",
    "shown_in",
]

BITWISE_EQUAL = 1e-17  # where equal losses are drawn on a logarithmic axis
EQUAL_TICKS = {"vae": TICKUP, "emae": TICKDOWN}
LEAST_SCALE = 1e-12  # the axis reaches at least a hundred times that
LOOK_AT_DIFFERENCES = "Look for marks below the dotted line: what lies there is rounding."
LOOK_AT_MEANS = (
    "Look for the same lines in both languages, and for circles on the bars; a trained VAE has "
    "a few active dimensions, whose lines swing, and silent ones."
)
LOOK_AT_SAMPLES = "Look for the same images in both languages: they decode the same draws."
FEW_STEPS = 100  # in fewer a network learns next to nothing
LONGEST_NAME = 18  # ems, about thirty letters


def shown_in(name: str, comparisons: Sequence[Comparison]) -> list[Comparison]:
    """Those comparisons whose two sides both have got to what a picture shows: losses of a step,
    or what a run leaves at its end."""

    def has(trace: Trace) -> bool:
        if name == "loss_history.png":
            return trace.steps > 0
        return trace.complete and (name != "samples.png" or trace.samples is not None)

    return [one for one in comparisons if has(one.under_test) and has(one.reference)]


def _by_start(comparisons: Sequence[Comparison]) -> list[list[Comparison]]:
    """The comparisons in groups that started from the same."""
    groups: dict[str, list[Comparison]] = {}
    for comparison in comparisons:
        groups.setdefault(comparison.start, []).append(comparison)
    return list(groups.values())


def _trained_first(comparisons: Sequence[Comparison]) -> list[Comparison]:
    """What has learned something comes first where one looks at what was learned."""
    return sorted(comparisons, key=lambda comparison: comparison.start == INITIAL)


def _look_at_losses(comparison: Comparison) -> str:
    reference, under_test = _language(comparison.reference), _language(comparison.under_test)
    return f"Look for circles ({reference}) that lie on the lines ({under_test})"


def loss_history_figure(comparisons: Sequence[Comparison]) -> Figure:
    """Python and R side by side, overlaid, and their relative difference; what started from
    something else in panels of its own below."""
    groups = _by_start(comparisons)
    figure = Figure(figsize=(11, 7.5 * len(groups)), layout="constrained")
    parts = figure.subfigures(len(groups), 1, squeeze=False)[:, 0] if len(groups) > 1 else [figure]
    for part, group in zip(parts, groups, strict=True):
        _draw_losses_of_both(figure, part.subplots(2, 2), group)
        if len(groups) > 1:
            part.suptitle(f"from {group[0].start_words}")
    below = "and, where the difference is drawn, for marks below the dotted line."
    add_note(figure, f"{_look_at_losses(comparisons[0])}, {below}")
    return figure


def _draw_losses_of_both(figure: Figure, panels: Any, comparisons: Sequence[Comparison]) -> None:
    """Four panels of runs that started from the same."""
    left, right, overlaid, relative = panels.flat
    for axes, traces in (
        (left, [comparison.under_test for comparison in comparisons]),
        (right, [comparison.reference for comparison in comparisons]),
    ):
        for trace in traces:
            name = trace.settings.objective
            draw_losses(axes, trace.history(), name, label=OBJECTIVES[name].title)
        axes.set_title(wrapped(figure, _engine(traces[0]), 12, 1 / 2))
        axes.set_ylabel(loss_label(traces[0].settings.objective))
        axes.legend()
    right.sharey(left)
    _draw_overlaid(overlaid, comparisons)
    overlaid.set_title("overlaid")
    _draw_relative_differences(relative, comparisons)
    relative.set_title("difference between the two")


def _draw_overlaid(axes: Axes, comparisons: Sequence[Comparison]) -> None:
    for comparison in comparisons:
        name = comparison.objective
        under_test, reference = comparison.under_test, comparison.reference
        label = f"{OBJECTIVES[name].title}, {{}}"
        draw_losses(
            axes,
            under_test.history(),
            name,
            label=as_text(label.format(_language(under_test))),
            linewidth=1,
        )
        history = reference.history()
        draw_losses(
            axes,
            history.iloc[:: max(1, len(history) // 40)],
            name,
            label=as_text(label.format(_language(reference))),
            linestyle="none",
            marker="o",
            fillstyle="none",
            markersize=5,
        )
    axes.set_ylabel(loss_label(comparisons[0].objective))
    if max(map(len, axes.get_legend_handles_labels()[1])) > LONG_LABEL:
        axes.legend()
        return
    low, high = axes.get_ylim()
    axes.set_ylim(low, high + 0.3 * (high - low))  # circles are looked for: none below the legend
    axes.legend(loc="upper right", ncols=2)


LONG_LABEL = 16  # characters: two beside each other are wider than half a panel


def _draw_relative_differences(axes: Axes, comparisons: Sequence[Comparison]) -> None:
    rtol = comparisons[0].quantities["loss"].rule.rtol
    steps = max(comparison.under_test.steps for comparison in comparisons)
    largest = max(_draw_relative_difference(axes, comparison) for comparison in comparisons)
    if rtol:
        axes.axhline(rtol, color="gray", linestyle=":")
        axes.text(steps, rtol, f"tolerance {rtol:g}", ha="right", va="bottom", color="gray")
    axes.axhline(BITWISE_EQUAL, color="lightgray", linewidth=0.5)
    axes.annotate(
        "every bit equal", (1, BITWISE_EQUAL), (0, 7), textcoords="offset points", color="gray"
    )
    axes.set_xlim(0, steps + 1)
    axes.set_ylim(BITWISE_EQUAL / 5, 100 * max(rtol, largest, LEAST_SCALE))
    axes.set_yscale("log")
    whole_numbers(axes.xaxis)
    axes.set_xlabel("step")
    axes.set_ylabel("relative difference of the total loss")
    axes.legend(loc="upper left", ncols=2)


def _draw_relative_difference(axes: Axes, comparison: Comparison) -> float:
    """One objective's differences; returns the largest."""
    a, b = comparison.under_test.losses[:, 0], comparison.reference.losses[:, 0]
    both = min(len(a), len(b))  # steps that one could not take are not the other's
    a, b = a[:both], b[:both]
    difference = np.divide(np.abs(a - b), np.abs(b), out=np.zeros_like(a), where=a != b)
    name = comparison.objective
    equal = difference == 0
    steps = np.arange(1, len(a) + 1)
    style: dict[str, Any] = {"color": COLOURS[name], "linestyle": "none", "markersize": 4}
    axes.plot(steps[~equal], difference[~equal], marker="o", label=OBJECTIVES[name].title, **style)
    tick = EQUAL_TICKS.get(name, TICKUP)  # up and down: neither objective hides the other
    axes.plot(steps[equal], np.full(equal.sum(), BITWISE_EQUAL), marker=tick, **style)
    return float(max(difference[np.isfinite(difference)], default=0))


def latent_means_figure(comparisons: Sequence[Comparison]) -> Figure:
    """Latent means of the last batch, training mode, in Python and R, and their spread."""
    comparisons = _trained_first(comparisons)
    height = 4.2 if len(comparisons) < 3 else 3.3
    figure = Figure(figsize=(15, height * len(comparisons)), layout="constrained")
    panels = figure.subplots(len(comparisons), 3, squeeze=False)
    for row, comparison in zip(panels, comparisons, strict=True):
        title = comparison.title
        for axes, trace in zip(row, (comparison.under_test, comparison.reference), strict=False):
            draw_latent_means(axes, trace.latent_means["training"])
            axes.set_title(wrapped(figure, f"{title}, {_language(trace)}", 12, 1 / 3))
        row[1].sharey(row[0])
        _draw_spread(row[2], comparison)
        row[2].set_title(wrapped(figure, f"{title}: {_marked(comparison)}", 12, 1 / 3))
    modes = {_marked_mode(comparison) for comparison in comparisons}
    bars = f"; bars: {' and '.join(sorted(modes))} mode" if modes != {"training"} else ""
    figure.suptitle(f"Latent means of the last batch in training mode{bars}")
    untrained = dict.fromkeys(map(_untrained_note, comparisons))
    add_note(figure, "\n".join([f"{MEANS_NOTE} {LOOK_AT_MEANS}", *filter(None, untrained)]))
    return figure


def _marked(comparison: Comparison) -> str:
    """In words, how many dimensions' means vary over the images: in evaluation mode, as `pyvae
    train` counts them, if the run has left such means."""
    mode = _marked_mode(comparison)
    variance = comparison.under_test.latent_means[mode].var(axis=0)
    return (
        f"means of {(variance > ACTIVE).sum()} of {len(variance)} dimensions vary over images "
        f"(variance above {ACTIVE:g} in {mode} mode)"
    )


def _marked_mode(comparison: Comparison) -> str:
    sides = comparison.under_test, comparison.reference
    return "evaluation" if all("evaluation" in one.latent_means for one in sides) else "training"


def _untrained_note(comparison: Comparison) -> str:
    """What the lines of a network that has hardly been trained do not show; empty for others."""
    if comparison.start != INITIAL or comparison.under_test.steps >= FEW_STEPS:
        return ""
    return (
        f"From initial parameters, after {_after(comparison)}: lines swing because the weights are "
        "random, which is no sign that anything was learnt."
    )


def _draw_spread(axes: Axes, comparison: Comparison) -> None:
    colour = COLOURS[comparison.objective]
    mode = _marked_mode(comparison)
    under_test = comparison.under_test.latent_means[mode].std(axis=0)
    reference = comparison.reference.latent_means[mode].std(axis=0)
    dimensions = np.arange(1, len(under_test) + 1)
    axes.bar(
        dimensions,
        under_test,
        color=colour,
        alpha=0.5,
        label=as_text(_language(comparison.under_test)),
    )
    axes.plot(
        np.arange(1, len(reference) + 1),
        reference,
        "o",
        color="black",
        fillstyle="none",
        markersize=5,
        label=as_text(_language(comparison.reference)),
    )
    whole_numbers(axes.xaxis)
    axes.set_xlabel("latent dimension")
    axes.set_ylabel("standard deviation of mu over images")
    # room for the legend; a collapsed posterior is not blown up to its rounding errors
    spreads = np.concatenate([under_test, reference])
    axes.set_ylim(0, max(1e-3, 1.4 * max(spreads[np.isfinite(spreads)], default=0)))
    axes.legend(loc="upper center", ncols=2)


def report_panels(comparisons: Sequence[Comparison]) -> dict[str, Figure]:
    """The same pictures one by one, each legible on a phone; by what they show."""
    panels: dict[str, Figure] = {}

    def panel(caption: str, height: float = 3.4) -> Axes:
        panels[caption] = Figure(figsize=(5, height), layout="constrained")
        return panels[caption].subplots()

    begun = shown_in("loss_history.png", comparisons)
    if begun:
        groups = _by_start(begun)
        for group in groups:
            begin = f" from {group[0].start_words}" if len(groups) > 1 else ""
            caption = f"Losses of both{begin}, overlaid. {_look_at_losses(group[0])}."
            _draw_overlaid(panel(caption), group)
            caption = f"Relative difference of the total loss{begin}. {LOOK_AT_DIFFERENCES}"
            _draw_relative_differences(panel(caption), group)
    for comparison in _trained_first(shown_in("latent_means.png", comparisons)):
        title = comparison.title
        for trace in (comparison.under_test, comparison.reference):
            where = f"latent means in {_language(trace)}, last batch, training mode"
            axes = panel(f"{title}: {where}. {MEANS_NOTE}")
            draw_latent_means(axes, trace.latent_means["training"])
        caption = f"{title}: spread of each latent dimension; {_marked(comparison)}."
        note = f"{LOOK_AT_MEANS} {_untrained_note(comparison)}".strip()
        _draw_spread(panel(f"{caption} {note}"), comparison)
    for comparison in _trained_first(shown_in("samples.png", comparisons)):
        title = comparison.title
        for trace in (comparison.under_test, comparison.reference):
            where = f"the same draws from the prior, decoded in {_language(trace)}"
            caption = f"{title}: {where}. {LOOK_AT_SAMPLES}"
            _draw_samples(panel(caption, 5), trace)
    return panels


def samples_figure(comparisons: Sequence[Comparison]) -> Figure:
    """16 images (or points) of each objective from the same draws of the prior, decoded in Python
    and in R; what started from a trained state on the left, from initial parameters right of it."""
    groups = _by_start(_trained_first(comparisons))
    rows, columns = max(map(len, groups)), len(groups)
    figure = Figure(figsize=(7 * columns, 3.8 * rows), layout="constrained")
    if columns == 1:
        note = _draw_samples_of_both(figure, figure.subplots(rows, 2, squeeze=False), groups[0])
        after = _after(groups[0][0])
        figure.suptitle(f"Decoded draws from the prior after {after}, the same draws everywhere")
        add_note(figure, f"{note}\n{LOOK_AT_SAMPLES}")
        return figure
    parts = figure.subfigures(1, columns, squeeze=False)[0]
    notes = [LOOK_AT_SAMPLES]
    for part, group in zip(parts, groups, strict=True):
        note = _draw_samples_of_both(figure, part.subplots(rows, 2, squeeze=False), group, columns)
        start = group[0].start_words
        part.suptitle(f"{_after(group[0])} from {start}")
        if note:
            notes.append(f"From {start}: {note[0].lower()}{note[1:]}")
    figure.suptitle("Decoded draws from the prior, the same draws everywhere")
    add_note(figure, "\n".join(notes))
    return figure


def _draw_samples_of_both(
    figure: Figure, panels: Any, comparisons: Sequence[Comparison], groups: int = 1
) -> str:
    """A row for each objective; returns a note if the images hardly differ."""
    for row, comparison in zip(panels, comparisons, strict=False):
        for axes, trace in zip(row, (comparison.under_test, comparison.reference), strict=True):
            _draw_samples(axes, trace)
            title = OBJECTIVES[comparison.objective].title
            axes.set_title(wrapped(figure, f"{title}, {_language(trace)}", 12, 1 / (2 * groups)))
    for row in panels[len(comparisons) :]:
        for axes in row:
            axes.remove()
    traces = [t for c in comparisons for t in (c.under_test, c.reference)]
    return samples_note(t.samples for t in traces if t.samples is not None)


def _after(comparison: Comparison) -> str:
    steps = comparison.under_test.steps
    return f"{steps:,} step{'s' if steps != 1 else ''}"


def _draw_samples(axes: Axes, trace: Trace) -> None:
    """Images side by side; points in the plane, numbered."""
    assert trace.samples is not None  # noqa: S101 (asked by the caller)
    if trace.samples.shape[1] != 2:
        draw_digits(axes, trace.samples, 4, trace.image_shape)
        return
    axes.plot(*trace.samples.T, "o", color=COLOURS[trace.settings.objective], fillstyle="none")
    for number, point in enumerate(trace.samples, start=1):
        axes.annotate(str(number), point, (3, 3), textcoords="offset points", fontsize=7)
    axes.set_xlabel("first coordinate")
    axes.set_ylabel("second coordinate")


def _language(trace: Trace) -> str:
    return get_abilities(trace.engine).language or _short(trace.engine)


def _engine(trace: Trace) -> str:
    return f"{_language(trace)} ({_short(trace.engine)})"


def _short(name: str) -> str:
    """An engine's name, which may be any text, as there is room for it."""
    shown = drawable(printable(name))
    if width(shown) <= LONGEST_NAME:
        return shown
    kept = next(n for n in range(len(shown), 0, -1) if width(shown[:n]) <= LONGEST_NAME)
    return f"{shown[:kept]}…"
