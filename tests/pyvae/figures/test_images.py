from __future__ import annotations

import numpy as np
import pytest
from shown.figures_help import assert_readable, note_of

from pyvae.errors import UserError
from pyvae.figures.images import (
    cluster_samples_figure,
    generated_figure,
    interpolation,
    rows_figure,
)


def images(*shape):
    return np.random.default_rng(len(shape)).uniform(size=(*shape, 784))


def tile(axes, row, column):
    sheet = np.asarray(axes.images[0].get_array())
    return sheet[29 * row : 29 * row + 28, 29 * column : 29 * column + 28].ravel()


def labels(axes):
    return [tick.get_text() for tick in axes.get_yticklabels()]


@pytest.mark.parametrize("n", [1, 4, 10])
def test_each_row_has_its_label_in_its_middle(n):
    given = images(3, n)
    names = ["originals", "reconstructions", "interpolation"]
    title = "a title that is longer than a short row is wide"
    figure = rows_figure(list(zip(names, given, strict=True)), title, "a note")
    assert_readable(figure)
    (axes,) = figure.axes
    assert labels(axes) == names
    for row, place in enumerate(axes.get_yticks()):
        assert 29 * row < place < 29 * row + 28
        for column in range(n):
            assert np.array_equal(tile(axes, row, column), given[row, column])
    assert axes.images[0].get_clim() == (0, 1)
    assert " ".join(figure.get_suptitle().split()) == title
    assert note_of(figure) == "a note"


def test_rows_of_unequal_length_are_refused():
    with pytest.raises(UserError, match=r"rows of \[2, 3\] images"):
        rows_figure([("a", images(2)), ("b", images(3))], "")


def test_an_interpolation_goes_straight_from_the_first_to_the_second():
    z = interpolation([0, 1, 2], [9, 1, -7], 10)
    assert z.shape == (10, 3)
    assert np.array_equal(z[[0, -1]], [[0, 1, 2], [9, 1, -7]])
    assert np.allclose(np.diff(z, axis=0), [1, 0, -1])


def test_each_cluster_has_a_row_with_its_number_and_share():
    given = images(10, 6)
    figure = cluster_samples_figure(given, "a title", "a note", shares=np.full(10, 0.1))
    assert_readable(figure)
    assert labels(figure.axes[0]) == [f"cluster {k}\n10.0 % of images" for k in range(10)]
    assert np.array_equal(tile(figure.axes[0], 7, 3), given[7, 3])
    plain = cluster_samples_figure(given, "")
    assert_readable(plain)
    assert labels(plain.axes[0]) == [f"cluster {k}" for k in range(10)]


@pytest.mark.parametrize(
    ("count", "columns", "shape"), [(100, 10, (10, 10)), (7, None, (3, 3)), (1, None, (1, 1))]
)
def test_generated_images_stand_in_a_grid(count, columns, shape):
    given = images(count)
    figure = generated_figure(given, "a title of some length", "a note", columns)
    assert_readable(figure)
    (axes,) = figure.axes
    rows, across = shape
    assert axes.images[0].get_array().shape == (29 * rows - 1, 29 * across - 1)
    last = count - 1
    assert np.array_equal(tile(axes, last // across, last % across), given[last])
    assert note_of(figure) == "a note"


def test_points_are_refused_as_images():
    with pytest.raises(UserError, match="28x28"):
        generated_figure(np.zeros((16, 2)), "")
