from __future__ import annotations

import numpy as np
import pytest
from shown.figures_help import assert_readable, note_of, words_of

from pyvae.data.images import load_toy
from pyvae.errors import UserError
from pyvae.figures.points import points_figure
from pyvae.figures.style import group_colours

TOY = load_toy(60)
XY, GROUPS = TOY.pixels.numpy(), TOY.labels.numpy()


@pytest.mark.parametrize("limits", [None, ((-4, 4), (-3, 3))])
def test_points_are_drawn_by_group_on_equal_scales(limits):
    figure = points_figure(TOY.pixels, TOY.labels, "a title", "a note", limits=limits)
    assert_readable(figure)
    (axes,) = figure.axes
    for group, (drawn, colour) in enumerate(zip(axes.collections, group_colours(3), strict=True)):
        assert np.array_equal(drawn.get_offsets(), XY[group == GROUPS])
        assert np.allclose(drawn.get_facecolors()[0, :3], colour[:3])
    assert axes.get_aspect() == 1
    assert words_of(figure.legends[0]) == [f"cluster {group}: 20" for group in range(3)]
    assert axes.get_xlabel()
    assert axes.get_ylabel()
    assert (axes.get_title(), note_of(figure)) == ("a title", "a note")
    if limits:
        assert (axes.get_xlim(), axes.get_ylim()) == limits


def test_an_empty_group_keeps_its_name_and_colour():
    figure = points_figure(XY, np.full(60, 2), "", names=["left", "right", "top"])
    assert words_of(figure.legends[0]) == ["left: 0", "right: 0", "top: 60"]
    assert np.allclose(
        figure.axes[0].collections[2].get_facecolors()[0, :3], group_colours(3)[2, :3]
    )


def test_points_without_groups_need_no_legend():
    figure = points_figure(XY, None, "")
    assert not figure.legends
    assert np.array_equal(figure.axes[0].collections[0].get_offsets(), XY)


@pytest.mark.parametrize("shape", [(5, 3), (5, 784), (4,)])
def test_other_than_points_is_refused(shape):
    with pytest.raises(UserError, match="points in the plane"):
        points_figure(np.zeros(shape), None, "")


def test_every_group_needs_a_name():
    with pytest.raises(UserError, match="3 groups with 2 names"):
        points_figure(XY, GROUPS, "", names=["a", "b"])
