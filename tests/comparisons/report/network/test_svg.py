"""The drawings of the page."""

from __future__ import annotations

import base64
import io
import re
import xml.etree.ElementTree as ET

import numpy as np
import pytest
from PIL import Image
from shown.shown_networks import chain, network

from comparisons.agreement.spread import spread_of
from comparisons.report.network.rows import draw_rows
from comparisons.report.network.svg import gutter_of, histogram, lines_svg, map_svg


def pixels(svg: str) -> np.ndarray:
    (address,) = re.findall('href="data:image/png;base64,([^"]+)"', svg)
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(address))).convert("RGB"))


@pytest.fixture
def images():
    a = np.zeros((4, 2, 6, 8))
    b = a.copy()
    b[..., 0, :] = 1.0  # the first row
    b[..., 3, 5] = 1e-3
    return spread_of(a, b, 0.01)


def test_a_map_shows_where_they_differ(images):
    shown = pixels(map_svg(images.planes[0], 0.01, 0))
    assert shown.shape == (6, 8, 3)
    brightness = shown.sum(-1).astype(int)
    assert (brightness[0] < brightness[1]).all()
    assert (shown[1] == shown[2]).all()
    assert (shown[3, 5] != shown[3, 4]).any()  # within what is allowed, and yet not equal


def test_a_map_without_anything_beyond_the_rule_shows_the_rounding(images):
    shown = pixels(map_svg(images.planes[0], 2.0, 0))
    assert len(np.unique(shown.reshape(-1, 3), axis=0)) == 3


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("size", [5e-324, 1e300])
def test_differences_of_any_size_can_be_drawn(size):
    (plane,) = (found := spread_of(np.full((2, 2), size), np.zeros((2, 2)), 0.0)).planes
    assert len(np.unique(pixels(map_svg(plane, 0.0, 0)).reshape(-1, 3), axis=0)) == 1
    assert "<rect" in histogram(found)


def test_what_is_not_finite_is_black():
    a = np.zeros((3, 4))
    b = a.copy()
    b[1, 2] = np.nan
    (plane,) = spread_of(a, b, 0.1).planes
    shown = pixels(map_svg(plane, 0.1, 0))
    assert (shown == 0).all(-1).sum() == 1
    assert (shown[1, 2] == 0).all()


def test_ticks_count_as_the_language_does(images):
    texts = [t.text for t in ET.fromstring(map_svg(images.planes[0], 0.01, 1)).iter("text")]  # noqa: S314
    assert texts == ["1", "8", "column →", "1", "6", "↓ row"]


def test_the_histogram_has_a_bar_for_each_bin_that_has_anything(images):
    drawn = ET.fromstring(histogram(images))  # noqa: S314
    assert len(list(drawn.iter("rect"))) == np.count_nonzero(images.counts) == 2
    heights = [float(bar.get("height")) for bar in drawn.iter("rect")]
    assert heights[0] > heights[1] > 0
    assert "largest bar: 64" in "".join(drawn.itertext())


def test_without_a_difference_there_is_no_histogram():
    assert histogram(spread_of(np.ones(3), np.ones(3), 0.0)) == ""


def test_lines_end_at_the_boxes_that_take_them():
    inputs = [(), (0,), (1,), (0, 2)]
    drawing = draw_rows(network(inputs, {(i, "forward"): "equal" for i in range(4)}))
    drawn = ET.fromstring(lines_svg(drawing))  # noqa: S314
    assert len(list(drawn)) == 2 * 4  # a line and its head
    assert gutter_of(drawing) > gutter_of(draw_rows(chain(4)))
