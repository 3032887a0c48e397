"""Pictures of the results."""

from __future__ import annotations

from benchmarks.measured.conv import SIDES
from benchmarks.report.figures import COLOURS, FLOOR, growth_figure, performance_figure
from pyvae.figures import style as figures


def test_a_side_has_a_colour_that_no_objective_has():
    assert set(COLOURS) == set(SIDES)
    assert len(set(COLOURS.values())) == len(SIDES)
    assert not set(COLOURS.values()) & set(figures.COLOURS.values())


def test_axes_say_what_they_show(results):
    for figure in (performance_figure(results), growth_figure(results)):
        assert all(axes.get_xlabel() for axes in figure.axes)
    assert all(axes.get_ylabel() for axes in growth_figure(results).axes)


def test_bars_are_as_long_as_the_numbers(results):
    speed = performance_figure(results).axes[0]
    lengths = [patch.get_width() for patch in speed.patches]
    assert lengths == [results["conv"]["images_per_second"][side] for side in SIDES]


def test_each_recipes_floor_is_a_line_on_its_bar(results):
    axes = performance_figure(results).axes[2]
    assert [patch.get_width() for patch in axes.patches] == [0.5, 0.5]
    floors = [line for line in axes.lines if line.get_color() == FLOOR]
    assert [(line.get_xdata()[0], sum(line.get_ydata()) / 2) for line in floors] == [
        (0.4, 0.0),
        (0.4, 1.0),
    ]


def test_what_was_not_measured_is_not_drawn(results):
    none = results | dict.fromkeys(("conv", "recipes", "growth"))
    assert performance_figure(none) is None
    assert growth_figure(none) is None
    assert len(performance_figure(results | {"recipes": None}).axes) == 2
    assert len(performance_figure(results | {"conv": None}).axes) == 1
