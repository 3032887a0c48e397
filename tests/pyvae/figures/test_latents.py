from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm
from shown.figures_help import assert_readable, note_of, words_of

from pyvae.errors import UserError
from pyvae.figures.latents import latent_scatter, manifold_figure, tsne_scatter
from pyvae.figures.style import DIGIT_COLOURS

pytestmark = pytest.mark.slow

LABELS = np.arange(40) % 10
DIGITS = [str(digit) for digit in range(10)]


def latents(dimensions):
    return np.random.default_rng(dimensions).normal(size=(40, dimensions))


@pytest.mark.parametrize("colour_bar", [False, True])
def test_latents_lie_where_they_are_in_their_digits_colour(colour_bar):
    z = latents(2)
    figure = latent_scatter(z, LABELS, "a title", "a note", colour_bar)
    assert_readable(figure)
    axes = figure.axes[0]
    (points,) = axes.collections
    drawn = np.argsort(points.get_offsets()[:, 0])
    given = np.argsort(z[:, 0])
    assert np.array_equal(points.get_offsets()[drawn], z[given])
    assert np.allclose(points.get_facecolors()[drawn, :3], DIGIT_COLOURS[LABELS[given]][:, :3])
    assert axes.get_aspect() == 1
    assert axes.get_xlabel() == "latent dimension 1 (prior standard deviations)"
    assert (axes.get_title(), note_of(figure)) == ("a title", "a note")
    if colour_bar:
        bar = figure.axes[1]
        assert [tick.get_text() for tick in bar.get_yticklabels()] == DIGITS
        assert bar.get_ylabel() == "digit"
        assert not figure.legends
    else:
        assert words_of(figure.legends[0]) == DIGITS


def test_no_digit_is_drawn_over_all_others():
    z = np.random.default_rng(1).normal(size=(400, 2))
    (points,) = latent_scatter(z, np.repeat([0, 1], 200), "").axes[0].collections
    first = (points.get_facecolors()[:200, :3] == DIGIT_COLOURS[0, :3]).all(axis=1).sum()
    assert 70 < first < 130


def test_colours_of_the_bar_are_the_digits():
    bar = latent_scatter(latents(2), LABELS, "", colour_bar=True).axes[1].collections[-1]
    shown = bar.cmap(bar.norm(np.arange(10)))
    assert np.allclose(shown, DIGIT_COLOURS)


def test_a_digit_that_is_missing_takes_no_others_colour():
    figure = latent_scatter(latents(2)[:2], [9, 9], "nines")
    (points,) = figure.axes[0].collections
    assert np.allclose(points.get_facecolors()[0, :3], DIGIT_COLOURS[9][:3])
    assert words_of(figure.legends[0]) == DIGITS


def test_a_long_title_is_broken_beside_a_legend():
    title = "a title of many words " * 8
    figure = latent_scatter(latents(2), LABELS, title)
    assert_readable(figure)
    assert figure.axes[0].get_title().split() == title.split()


def test_groups_and_unit_can_be_named():
    figure = latent_scatter(latents(2), LABELS, "", groups="cluster", unit="")
    assert figure.axes[0].get_ylabel() == "latent dimension 2"
    assert figure.legends[0].get_title().get_text() == "cluster"


@pytest.mark.parametrize("dimensions", [1, 3, 30])
def test_only_a_plane_can_be_drawn(dimensions):
    with pytest.raises(UserError, match=f"needs 2 latent dimensions, not {dimensions}") as told:
        latent_scatter(latents(dimensions), LABELS, "")
    assert "\n" not in str(told.value)
    with pytest.raises(UserError, match=f"needs 2 latent dimensions, not {dimensions}"):
        manifold_figure(lambda z: z, "", latent_dim=dimensions)


@pytest.mark.parametrize("markers", [True, False])
def test_t_sne_draws_every_digit_once_in_its_colour(markers):
    figure = tsne_scatter(latents(6), LABELS, "a title", "a note", markers=markers)
    assert_readable(figure)
    axes = figure.axes[0]
    drawn = axes.collections
    assert [len(digit.get_offsets()) for digit in drawn] == [4] * 10
    for digit, colour in zip(drawn, DIGIT_COLOURS, strict=True):
        assert np.allclose(digit.get_facecolors()[0], colour)
    shapes = {digit.get_paths()[0].vertices.tobytes() for digit in drawn}
    assert len(shapes) == (10 if markers else 1)
    assert bool(figure.legends) is not markers
    assert "40 images, 6 latent dimensions" in axes.get_title()
    assert "arbitrary unit" in axes.get_xlabel()
    assert note_of(figure) == "a note"


def test_t_sne_takes_the_first_so_many_and_follows_its_seed():
    def places(z, labels, **options):
        drawn = tsne_scatter(z, labels, "", **options).axes[0].collections
        return np.concatenate([digit.get_offsets() for digit in drawn])

    z = latents(1)  # one dimension: t-SNE starts at random
    some = places(z, LABELS, most=20, seed=1)
    assert np.array_equal(some, places(z[:20], LABELS[:20], seed=1))
    assert not np.allclose(some, places(z[:20], LABELS[:20], seed=2))
    assert len(some) == 20


def test_t_sne_needs_a_few_latents():
    with pytest.raises(UserError, match="t-SNE of 3 latents"):
        tsne_scatter(latents(4)[:3], LABELS[:3], "")


def remembered():
    """A decoder that gives each image its own grey, and the latents it was asked for."""
    asked = []

    def decode(z):
        asked.append(z)
        return np.repeat(np.linspace(0, 1, len(z))[:, None], 784, axis=1)

    return asked, decode


def tick_values(axis):
    return np.array([float(tick.get_text()) for tick in axis.get_ticklabels()])


@pytest.mark.parametrize(
    ("options", "across", "up"),
    [
        ({}, norm.ppf([0.1, 0.3, 0.5, 0.7, 0.9]), norm.ppf([0.1, 0.3, 0.5, 0.7, 0.9])),
        ({"low": -2, "high": 2}, [-2, -1, 0, 1, 2], [-2, -1, 0, 1, 2]),
        ({"low": (0, -4), "high": (1, 4)}, [0, 0.25, 0.5, 0.75, 1], [-4, -2, 0, 2, 4]),
    ],
    ids=["quantiles", "one range", "two ranges"],
)
def test_the_manifold_shows_each_latent_at_its_place(options, across, up):
    asked, decode = remembered()
    figure = manifold_figure(decode, "a title", "a note", n=5, **options)
    assert_readable(figure)
    (axes,) = figure.axes
    (z,) = asked
    (image,) = axes.images
    sheet = np.asarray(image.get_array())
    assert sheet.shape == (5 * 28, 5 * 28)
    left, right, bottom, top = image.get_extent()
    for latent, grey in zip(z, np.linspace(0, 1, 25), strict=True):
        place = np.argmin(np.abs(latent[0] - across)), np.argmin(np.abs(latent[1] - up))
        assert np.allclose(latent, [across[place[0]], up[place[1]]])
        row = int((top - place[1]) / (top - bottom) * 140)
        column = int((place[0] - left) / (right - left) * 140)
        assert sheet[row, column] == grey
    assert np.allclose(tick_values(axes.xaxis), across, atol=0.006)
    assert np.allclose(tick_values(axes.yaxis), up, atol=0.006)
    assert axes.get_xticks().tolist() == axes.get_yticks().tolist() == [0, 1, 2, 3, 4]
    assert "prior standard deviations" in axes.get_xlabel()
    assert note_of(figure) == "a note"


def test_an_image_of_the_manifold_stands_upright():
    image = np.random.default_rng(1).uniform(size=784)
    figure = manifold_figure(lambda z: np.repeat(image[None], len(z), axis=0), "", n=3)
    sheet = np.asarray(figure.axes[0].images[0].get_array())
    assert np.array_equal(sheet[28:56, :28], image.reshape(28, 28))


def test_both_ends_of_the_grid_are_needed():
    with pytest.raises(UserError, match="low and high"):
        manifold_figure(lambda z: z, "", low=1)
