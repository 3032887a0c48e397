"""The rows of the picture of a network, and the lines between them.

A stage is a row. Of a large network those around the first difference are; the others are a row for
all before and one for all after them. What a stage takes from the row above comes straight down;
what comes from further up runs down a lane to the left.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from comparisons.report.network.model import ShownNetwork

__all__ = ["Drawing", "Line", "Row", "draw_rows"]

MOST_ROWS = 48  # of a network that is drawn whole
AROUND = 12  # else: rows before the first difference and after it
MOST_LANES = 8


@dataclass(frozen=True)
class Row:
    """A stage, or all of several that are not drawn one by one.

    Attributes:
        places: Of the stages in the network.
    """

    places: range

    @property
    def is_group(self) -> bool:
        return len(self.places) > 1


@dataclass(frozen=True)
class Line:
    """What a row takes from one further up.

    Attributes:
        start, end: The rows.
        lane: Which lane it runs down, the innermost being 1; 0 straight down, from the row above.
    """

    start: int
    end: int
    lane: int


@dataclass(frozen=True)
class Drawing:
    """The rows, the lines between them, how many lanes these need, and how many lines there was no
    room for."""

    rows: tuple[Row, ...]
    lines: tuple[Line, ...]
    lanes: int
    left_out: int


def draw_rows(network: ShownNetwork) -> Drawing:
    """Lays out a network."""
    rows = _rows(len(network.stages), network.at or 0)
    row_of = {place: at for at, row in enumerate(rows) for place in row.places}
    pairs = {
        (row_of[source], row_of[place])
        for place, stage in enumerate(network.stages)
        for source in stage.inputs
    }
    lines, lanes, left_out = _lanes(sorted((a, b) for a, b in pairs if a < b))
    return Drawing(rows, lines, lanes, left_out)


def _rows(number: int, at: int) -> tuple[Row, ...]:
    if number <= MOST_ROWS:
        return tuple(Row(range(i, i + 1)) for i in range(number))
    start = max(0, min(at - AROUND, number - 2 * AROUND - 1))
    end = min(number, start + 2 * AROUND + 1)
    shown = [Row(range(i, i + 1)) for i in range(start, end)]
    before, after = Row(range(start)), Row(range(end, number))
    return tuple(row for row in (before, *shown, after) if row.places)


def _lanes(pairs: Sequence[tuple[int, int]]) -> tuple[tuple[Line, ...], int, int]:
    """Gives each line a lane, the short ones the inner lanes; what one row gives to several shares
    one."""
    lines = [Line(a, b, 0) for a, b in pairs if b == a + 1]
    ends: dict[int, list[int]] = {}
    for a, b in pairs:
        if b > a + 1:
            ends.setdefault(a, []).append(b)
    taken: list[list[tuple[int, int]]] = []
    left_out = 0
    for a, targets in sorted(ends.items(), key=lambda item: max(item[1]) - item[0]):
        last = max(targets)
        lane = next((i for i, spans in enumerate(taken) if _is_free(spans, a, last)), len(taken))
        if lane == MOST_LANES:
            left_out += len(targets)
            continue
        if lane == len(taken):
            taken.append([])
        taken[lane].append((a, last))
        lines += [Line(a, b, lane + 1) for b in targets]
    return tuple(sorted(lines, key=lambda line: (line.start, line.end))), len(taken), left_out


def _is_free(spans: Sequence[tuple[int, int]], start: int, end: int) -> bool:
    return all(end < a or b < start for a, b in spans)
