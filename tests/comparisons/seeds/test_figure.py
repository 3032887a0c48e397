"""The picture of two engines over seeds."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgba

from comparisons.seeds.equivalence import Margins, RunOutcome, compare_seeds
from comparisons.seeds.figure import REACH, equivalence_figure

pytestmark = pytest.mark.slow


def runs(engine, objective="vae", count=4, steps=42, shift=0.0, first=1):
    made = []
    for seed in range(first, first + count):
        rng = np.random.default_rng(seed)
        step = np.arange(1, steps + 1)
        parts = np.stack([80 + 400 * np.exp(-step / 20) + shift, 20 - 10 * np.exp(-step / 9)], 1)
        parts *= 10 * (1 + rng.normal(0, 0.002, size=(steps, 2)))
        losses = np.column_stack([parts.sum(axis=1), parts])
        mu = rng.normal(size=(50, 8))
        made.append(RunOutcome(engine, objective, seed, losses, (step - 1) // 7 + 1, 10, mu))
    return made


def row(objective="vae", margin=1.0, **changes):
    a = runs("pytorch", objective, **changes)
    b = runs("r-torch", objective, steps=len(a[0].losses), first=50)
    return a, b, compare_seeds(a, b, Margins(margin))


def astray(objective="vae", value=np.nan, count=1):
    """Seeds of the reference that diverged."""
    a, b, _ = row(objective)
    for index in range(count):
        losses = b[index].losses.copy()
        losses[20 + index :] = value
        b[index] = replace(b[index], losses=losses, mu=b[index].mu * value)
    return a, b, compare_seeds(a, b, Margins(1.0))


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    "rows",
    [
        {"vae": row()},
        {"vae": row(steps=250), "emae": row("emae", shift=500)},
        {"vae": astray(), "emae": astray("emae", np.inf, count=4)},
        pytest.param({"vae": astray(value=1e30)}, marks=pytest.mark.slow),
    ],
    ids=["one", "two", "diverged", "huge"],
)
def test_the_figure_can_be_seen_and_no_text_overlaps(rows):
    figure = equivalence_figure(rows)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    picture = np.asarray(canvas.buffer_rgba())[..., :3]
    assert picture.std() > 10
    assert min(picture.shape[:2]) > 400
    texts = list(visible_texts(figure, canvas.get_renderer()))
    assert len(texts) > 20
    for (one, box), (other, its_box) in combinations(texts, 2):
        assert not box.overlaps(its_box), f"{one!r} overlaps {other!r}"


def visible_texts(figure, renderer):
    """Every text of a figure that is drawn, and where it stands, in pixels."""
    for axes in figure.axes:
        right = axes.child_axes[0].get_yticklabels() if axes.child_axes else []
        legend = axes.get_legend()
        low, high = sorted(axes.get_ylim())
        yticks = zip(axes.get_yticks(), axes.get_yticklabels(), strict=True)
        left, end = axes.get_xlim()
        xticks = zip(axes.get_xticks(), axes.get_xticklabels(), strict=True)
        for text in (
            axes.title,
            axes.xaxis.label,
            axes.yaxis.label,
            *axes.texts,
            *(text for at, text in yticks if low <= at <= high),
            *(text for at, text in xticks if left <= at <= end),
            *right,
            *(legend.get_texts() if legend else []),
        ):
            if text.get_text():
                yield text.get_text(), text.get_window_extent(renderer)


def test_every_axis_says_what_it_shows():
    figure = equivalence_figure({"vae": row(), "emae": row("emae", steps=250)})
    assert len(figure.axes) == 6
    for curves, seeds, intervals in zip(*[iter(figure.axes)] * 3, strict=True):
        assert curves.get_ylabel() == seeds.get_ylabel() == "loss (nats per image)"
        assert "as multiples of the margin" in intervals.get_xlabel()
    assert [figure.axes[i].get_xlabel() for i in (0, 3)] == ["step", "step (logarithmic)"]
    assert [figure.axes[i].get_xscale() for i in (0, 3)] == ["linear", "log"]


@pytest.mark.parametrize(("objective", "colour"), [("vae", "firebrick"), ("emae", "steelblue")])
def test_the_engine_under_test_has_the_objectives_colour_and_the_reference_is_black(
    objective, colour
):
    a, b, results = row(objective)
    curves = equivalence_figure({objective: (a, b, results)}).axes[0]
    lines = {line.get_label(): line for line in curves.lines if line.get_label()[0] != "_"}
    expected = {"pytorch, 4 seeds": (colour, "-", a), "r-torch, 4 seeds": ("black", "--", b)}
    assert set(lines) == set(expected)
    for label, (its_colour, style, outcomes) in expected.items():
        assert to_rgba(lines[label].get_color()) == to_rgba(its_colour)
        assert lines[label].get_linestyle() == style
        median = np.median([outcome.losses[:, 0] / 10 for outcome in outcomes], axis=0)
        assert lines[label].get_ydata() == pytest.approx(median)
    thin = [line for line in curves.lines if line.get_label()[0] == "_"]
    assert len(thin) == 8
    assert thin[2].get_ydata() == pytest.approx(a[2].losses[:, 0] / 10)


def test_every_seed_is_a_dot_at_what_is_compared():
    a, b, results = row()
    seeds = equivalence_figure({"vae": (a, b, results)}).axes[1]
    dots = [line.get_ydata() for line in seeds.lines if line.get_marker() == "o"]
    assert [tuple(dot) for dot in dots] == [results[0].a.values, results[0].b.values]
    assert [text.get_text() for text in seeds.get_xticklabels()] == [
        "pytorch\n4 seeds",
        "r-torch\n4 seeds",
    ]


def test_intervals_are_in_units_of_their_margins():
    _, _, results = case = row(margin=3.0)
    axes = equivalence_figure({"vae": case}).axes[2]
    bars = [line for line in axes.lines if len(line.get_xdata()) == 2 and line.get_linewidth() > 2]
    for number, (bar, result) in enumerate(zip(bars, results, strict=True)):
        assert tuple(bar.get_ydata()) == (number, number)
        assert tuple(bar.get_xdata()) == pytest.approx(
            [end / result.margin for end in result.interval]
        )
    for text, result in zip(axes.get_yticklabels(), results, strict=True):
        name, difference = text.get_text().split("\n")
        assert name == result.measure.replace("_", " ")
        assert difference == f"{result.text(result.difference, '+')} {result.unit}"
    verdicts = [text.get_text() for text in axes.child_axes[0].get_yticklabels()]
    assert verdicts == [result.verdict for result in results]


@pytest.mark.parametrize(("shift", "marker"), [(70, ">"), (-70, "<")])
def test_what_lies_beyond_the_axis_is_an_arrow_with_its_number(shift, marker):
    case = row(shift=shift)
    axes = equivalence_figure({"vae": case}).axes[2]
    arrows = [line for line in axes.lines if line.get_marker() == marker]
    assert [line.get_ydata()[0] for line in arrows] == [0, 1]  # loss and reconstruction
    assert [line.get_xdata()[0] for line in arrows] == [math.copysign(REACH, shift)] * 2
    assert [text.get_text() for text in axes.texts] == [f"{r.difference:+.3g}" for r in case[2][:2]]


def test_an_interval_wider_than_the_axis_has_an_arrow_on_each_side():
    _, _, results = case = row()
    results[0] = replace(results[0], interval=(-50.0, 40.0), difference=-5.0)
    axes = equivalence_figure({"vae": case}).axes[2]
    ends = {
        line.get_marker(): line.get_xdata()[0] for line in axes.lines if line.get_ydata()[0] == 0
    }
    assert (ends["<"], ends[">"]) == (-REACH, REACH)
    assert not axes.texts


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_seed_that_diverged_is_told_and_does_not_blow_up_the_axis(value):
    a, b, results = astray(value=value)
    curves, seeds, intervals = equivalence_figure({"vae": (a, b, results)}).axes
    assert curves.get_ylim()[1] < 600
    # of the rest a median is left: the seed counts among the worst
    (median,) = [line for line in curves.lines if line.get_label() == "r-torch, 4 seeds"]
    assert np.isfinite(median.get_ydata()).all()
    assert seeds.get_xticklabels()[1].get_text() == "r-torch\n4 seeds\n1 diverged"
    assert intervals.texts[0].get_text() == f"r-torch, seed 50: loss is {value}"
