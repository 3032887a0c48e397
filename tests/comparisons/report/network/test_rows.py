"""The rows of the picture, and the lines between them."""

from __future__ import annotations

import numpy as np
import pytest
from shown.shown_networks import chain, network

from comparisons.report.network.rows import AROUND, MOST_LANES, MOST_ROWS, draw_rows


def taken(inputs):
    return network(inputs, {(i, "forward"): "equal" for i in range(len(inputs))})


def test_a_chain_goes_straight_down():
    drawing = draw_rows(chain(5))
    assert [(line.start, line.end, line.lane) for line in drawing.lines] == [
        (i, i + 1, 0) for i in range(4)
    ]
    assert drawing.lanes == 0


def test_what_skips_a_stage_runs_beside_it():
    drawing = draw_rows(taken([(), (0,), (1,), (0, 2), (3,), (0, 4)]))
    lanes = {(line.start, line.end): line.lane for line in drawing.lines}
    assert lanes[0, 3] == lanes[0, 5] == 1  # what one stage gives to several is one line
    assert lanes[2, 3] == 0


def test_lines_of_one_lane_never_meet():
    random = np.random.default_rng(2)
    inputs = [()] + [tuple({int(random.integers(i)) for _ in range(2)}) for i in range(1, 40)]
    drawing = draw_rows(taken(inputs))
    spans = {}
    for line in drawing.lines:
        if line.lane:
            start, end = spans.get((line.lane, line.start), (line.start, line.end))
            spans[line.lane, line.start] = start, max(end, line.end)
    for (lane, _), (start, end) in spans.items():
        for (other, _), (a, b) in spans.items():
            assert lane != other or (start, end) == (a, b) or end < a or b < start
    drawn = len(drawing.lines) + drawing.left_out
    assert drawn == len({(a, i) for i, sources in enumerate(inputs) for a in sources})
    assert drawing.lanes <= MOST_LANES
    assert drawing.left_out > 0


@pytest.mark.parametrize("first", [0, 5, 100, 195, 199])
def test_of_a_large_network_those_around_the_first_difference_are_drawn(first):
    drawing = draw_rows(chain(200, first))
    assert [place for row in drawing.rows for place in row.places] == list(range(200))
    single = [row.places[0] for row in drawing.rows if not row.is_group]
    assert len(single) == 2 * AROUND + 1
    assert first in single
    assert len(drawing.rows) <= MOST_ROWS
    assert len(drawing.lines) == len(drawing.rows) - 1


def test_a_network_that_fits_is_drawn_whole():
    assert len(draw_rows(chain(MOST_ROWS, 3)).rows) == MOST_ROWS
