from __future__ import annotations

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from shown.figures_help import assert_readable, note_of, words_of
from sklearn.decomposition import PCA

from pyvae.errors import UserError
from pyvae.figures.latent_map import PALETTE, latent_map, to_plane

pytestmark = pytest.mark.slow


@pytest.fixture
def mu():
    """Latent means of 60 images, which vary in some dimensions more than in others."""
    return np.random.default_rng(3).normal(size=(60, 5)) * [1, 3, 0.1, 2, 0]


def test_many_dimensions_are_seen_along_the_principal_components(mu):
    plane = to_plane(mu + 7, "units")
    known = PCA(2).fit(mu)
    expected = known.transform(mu)
    signs = np.sign((plane.xy * expected).sum(axis=0))
    np.testing.assert_allclose(plane.xy, expected * signs, atol=1e-12)
    assert plane.axes == ("principal component 1 (units)", "principal component 2 (units)")
    first, second = 100 * known.explained_variance_ratio_
    assert f"{first:.0f} % and {second:.0f} % of their variance" in plane.note
    assert plane.note.startswith("5 latent dimensions")


def test_few_dimensions_are_drawn_as_they_are(mu):
    two = to_plane(mu[:, :2])
    assert np.array_equal(two.xy, mu[:, :2])
    assert (two.axes, two.note) == (("latent dimension 1", "latent dimension 2"), "")
    one = to_plane(mu[:, :1], "units")
    assert np.array_equal(one.xy, np.stack([mu[:, 0], np.arange(1, 61)], axis=1))
    assert one.axes == ("latent dimension 1 (units)", "number of the image")


@pytest.mark.parametrize("images", [1, 4])
def test_means_that_do_not_vary_are_a_point(images):
    plane = to_plane(np.full((images, 3), 0.5))
    assert np.array_equal(plane.xy, np.zeros((images, 2)))
    assert "0 % and 0 % of their variance" in plane.note
    assert_readable(latent_map(np.full((images, 3), 0.5), np.zeros(images), "t", "emae"))


def test_each_label_has_its_colour_its_number_and_its_count(mu):
    labels = np.arange(60) % 3 * 2  # 0, 2, 4
    mu[5] = np.nan
    figure = latent_map(mu, labels, "EMAE: 60 images", "emae", "units")
    assert_readable(figure)
    (axes,) = figure.axes
    xy = to_plane(np.delete(mu, 5, axis=0)).xy
    (dots,) = axes.collections
    drawn = {tuple(point): tuple(c[:3]) for point, c in
             zip(dots.get_offsets().data, dots.get_facecolors(), strict=True)}  # fmt: skip
    for point, label in zip(xy, np.delete(labels, 5), strict=True):
        assert drawn[tuple(point)] == to_rgb(PALETTE[label // 2])
    assert words_of(figure.legends[0]) == ["0: 20", "2: 20", "4: 19"]
    assert [text.get_text() for text in axes.texts] == ["0", "2", "4"]
    assert "1 images are not finite" in note_of(figure)
    assert {to_rgb(spine.get_edgecolor()) for spine in axes.spines.values()} == {
        to_rgb("steelblue")
    }


def test_more_classes_than_colours_have_other_markers_and_very_many_a_scale(mu):
    figure = latent_map(mu, np.arange(60) % 25, "t", "vae")
    handles = figure.legends[0].legend_handles
    looks = {(handle.get_marker(), to_rgb(handle.get_color())) for handle in handles}
    assert len(looks) == 25
    assert_readable(figure)
    figure = latent_map(mu, np.arange(60), "t", "vae")
    assert not figure.legends
    assert figure.axes[1].get_ylabel() == "label"
    assert_readable(figure)


def test_without_labels_dots_have_the_objectives_colour(mu):
    figure = latent_map(mu[:, :2], None, "t", "vae", "units")
    (dots,) = figure.axes[0].collections
    assert to_rgb(dots.get_facecolors()[0, :3]) == to_rgb("firebrick")
    assert not figure.legends
    assert figure.axes[0].get_ylabel() == "latent dimension 2 (units)"


def test_means_none_of_which_is_finite_are_the_users_error():
    with pytest.raises(UserError, match="no image has finite latent means"):
        latent_map(np.full((3, 2), np.nan), None, "t", "vae")
