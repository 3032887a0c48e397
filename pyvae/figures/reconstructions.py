"""Draws what a trained network makes of images: reconstructions, and ways between two of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from pyvae.data.pixels import DIGITS
from pyvae.errors import UserError
from pyvae.figures.images import generated_figure, rows_figure
from pyvae.figures.points import points_figure
from pyvae.figures.style import COLOURS

__all__ = ["check_pictured", "interpolation_figure", "reconstructions_figure"]

COLUMNS = 12
MOST = 120  # images of a picture
NOTE = (
    "From the mean: the posterior mean, decoded. From a draw: one draw from the posterior, "
    "decoded. Both without dropout."
)


def reconstructions_figure(
    originals: NDArray,
    of_means: NDArray,
    of_draws: NDArray,
    title: str,
    objective: str,
    shape: tuple[int, ...] = DIGITS,
) -> Figure:
    """Draws originals and, below each, its two reconstructions, framed in the objective's colour.

    Points in the plane are drawn over those that their means decode to.

    Arguments:
        originals: (N, 784), or as many numbers as the shape has, in [0, 1]; points (N, 2).
        of_means, of_draws: What the posterior means, and draws from the posterior, decode to.
        title: The title.
        objective: That the network was trained with.
        shape: Of an image: (channels, height, width).

    Raises:
        UserError: If there are more than 120 images.
    """
    if originals.shape[1] == 2:
        both = np.concatenate([originals, of_means])
        groups = np.repeat([0, 1], len(originals))
        names, colours = ("original", "from the mean"), ("dimgray", COLOURS[objective])
        return points_figure(both, groups, title, NOTE.split(". ")[0] + ".", names, colours=colours)
    check_pictured(len(originals), shape)
    columns = min(COLUMNS, len(originals))
    three = {"original": originals, "from the mean": of_means, "from a draw": of_draws}
    rows = [
        (label, _filled(images[start : start + columns], columns))
        for start in range(0, len(originals), columns)
        for label, images in three.items()
    ]
    figure = rows_figure(rows, title, NOTE, shape=shape)
    down, right = shape[1] + 1, shape[2] + 1
    for row in range(0, len(rows), len(three)):
        images = min(columns, len(originals) - row // len(three) * columns)
        figure.axes[0].add_patch(
            Rectangle(
                (-0.5, down * (row + 1) - 0.5), right * images - 1, 2 * down - 1, fill=False,
                clip_on=False, edgecolor=COLOURS[objective], linewidth=1.5,
            )
        )  # fmt: skip
    return figure


def check_pictured(images: int, shape: tuple[int, ...]) -> None:
    """Raises UserError if there are more images than a picture takes; of points it takes any."""
    if images > MOST and shape != (2,):
        raise UserError(
            f"{images} images in a picture",
            "give fewer (--images), or write an .npz file",
            expected=f"1 to {MOST}",
        )


def interpolation_figure(
    pixels: NDArray, title: str, ends: Sequence[str], shape: tuple[int, ...] = DIGITS
) -> Figure:
    """Draws the images on the way from one image to another, in the order of reading.

    Arguments:
        pixels: (n, 784), or as many numbers as the shape has, in [0, 1]; points (n, 2).
        title: The title.
        ends: What the first and the last one are decoded from.
        shape: Of an image: (channels, height, width).
    """
    first, last = ends
    note = f"Even steps between the posterior means of {first} and of {last}, decoded."
    if pixels.shape[1] == 2:
        return points_figure(pixels, None, title, note)
    return generated_figure(pixels, title, note, min(len(pixels), COLUMNS), shape)


def _filled(images: NDArray, columns: int) -> NDArray:
    """Fills the last row with white."""
    white = np.ones((columns - len(images), images.shape[1]), images.dtype)
    return np.concatenate([images, white])
