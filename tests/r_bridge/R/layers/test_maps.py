"""The order of numbers in feature maps (maps.R)."""

from __future__ import annotations

import numpy as np
import pytest

from r_bridge import R_FILES
from r_bridge.errors import RError
from r_bridge.process.client import RProcess

pytestmark = pytest.mark.r
SHAPES = [(2, 3, 5), (1, 4, 2), (3, 1, 1), (4, 2, 2)]


@pytest.fixture(scope="module")
def r():
    with RProcess((R_FILES / "layers" / "maps.R",), threads=1) as process:
        yield process


def images(shape):
    """Four images, no two numbers alike, in torch's index order."""
    return np.arange(4.0 * np.prod(shape)).reshape(4, *shape)


@pytest.mark.parametrize("shape", SHAPES)
def test_maps_have_the_channel_first_and_the_image_last(r, shape):
    x = images(shape)
    maps = r.call("images_last", x=x)
    assert np.array_equal(maps, x.transpose(1, 3, 2, 0))
    assert np.array_equal(r.call("torch_order", x=maps).T, x)
    assert r.call("shape_of", x=maps).tolist() == list(shape)
    assert r.call("images_of", x=maps).tolist() == [4]


@pytest.mark.parametrize("shape", SHAPES)
def test_features_are_in_torchs_order(r, shape):
    x = images(shape)
    maps, flat = x.transpose(1, 3, 2, 0), x.reshape(4, -1).T
    assert np.array_equal(r.call("as_flat", x=maps), flat)
    assert np.array_equal(r.call("images_last", x=flat.T), flat)
    assert np.array_equal(r.call("reshaped", x=flat, shape=np.array(shape, float)), maps)
    assert np.array_equal(r.call("shaped", x=flat, like=maps), maps)
    assert np.array_equal(r.call("shaped", x=maps, like=flat), flat)
    if shape[1] == shape[2]:
        assert np.array_equal(r.call("as_maps", x=flat, channels=float(shape[0])), maps)


def test_maps_take_another_shape_by_way_of_torchs_order(r):
    x = images((2, 3, 4))
    found = r.call("reshaped", x=x.transpose(1, 3, 2, 0), shape=np.array([4.0, 2.0, 3.0]))
    assert np.array_equal(found, x.reshape(4, 4, 2, 3).transpose(1, 3, 2, 0))


def test_what_has_no_such_shape_is_told(r):
    flat = np.zeros((6, 2))
    with pytest.raises(RError, match="6 numbers an image; expected 8"):
        r.call("reshaped", x=flat, shape=np.array([2.0, 2.0, 2.0]))
    with pytest.raises(RError, match=r"6 features are no 2 channel\(s\) of square maps"):
        r.call("as_maps", x=flat, channels=2.0)
