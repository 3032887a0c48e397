from __future__ import annotations

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from shown.figures_help import assert_readable, note_of

from pyvae.errors import UserError
from pyvae.figures.reconstructions import interpolation_figure, reconstructions_figure
from pyvae.figures.style import COLOURS

pytestmark = pytest.mark.slow


def test_each_image_stands_above_its_reconstructions():
    originals = np.linspace(0, 0.2, 14)[:, None] * np.ones(784)
    means, draws = originals + 0.3, originals + 0.6
    figure = reconstructions_figure(originals, means, draws, "VAE: digits", "vae")
    assert_readable(figure)
    (axes,) = figure.axes
    labels = [text.get_text() for text in axes.get_yticklabels()]
    assert labels == ["original", "from the mean", "from a draw"] * 2
    centres = axes.images[0].get_array()[13::29, 13::29]  # (6, 12)
    shown = np.stack([images[:, 0] for images in (originals, means, draws)])
    assert np.allclose(centres[:3], shown[:, :12])
    assert np.allclose(centres[3:, :2], shown[:, 12:])
    assert np.allclose(centres[3:, 2:], 1)  # nothing: white
    frames = [patch.get_bbox().bounds for patch in axes.patches]
    assert frames == [(-0.5, 28.5, 347, 57), (-0.5, 115.5, 57, 57)]
    assert all(to_rgb(patch.get_edgecolor()) == to_rgb("firebrick") for patch in axes.patches)


def test_images_in_colour_and_points_are_drawn_as_such():
    images = np.zeros((3, 48))
    figure = reconstructions_figure(images, images, images, "t", "em", (3, 4, 4))
    assert figure.axes[0].images[0].get_array().shape == (14, 14, 3)
    points = np.random.default_rng(1).normal(size=(5, 2))
    figure = reconstructions_figure(points, points + 1, points, "t", "clustering-points")
    first, second = figure.axes[0].collections
    assert np.array_equal(first.get_offsets(), points)
    assert np.array_equal(second.get_offsets(), points + 1)
    assert to_rgb(second.get_facecolor()[0, :3]) == to_rgb(COLOURS["clustering-points"])
    assert note_of(figure) == "From the mean: the posterior mean, decoded."


def test_too_many_images_are_the_users_error():
    images = np.zeros((121, 784))
    with pytest.raises(UserError, match="121 images in a picture: expected 1 to 120"):
        reconstructions_figure(images, images, images, "t", "vae")


def test_a_way_is_drawn_in_the_order_of_reading():
    pixels = np.linspace(0, 1, 14)[:, None] * np.ones(784)
    figure = interpolation_figure(pixels, "EMAE", ("image 3", "image 9"))
    assert_readable(figure)
    centres = figure.axes[0].images[0].get_array()[13::29, 13::29]
    assert np.allclose(centres.ravel()[:14], pixels[:, 0])
    assert "posterior means of image 3 and of image 9" in note_of(figure)
    points = interpolation_figure(pixels[:, :2], "t", ("point 1", "point 2"))
    assert np.array_equal(points.axes[0].collections[0].get_offsets(), pixels[:, :2])
