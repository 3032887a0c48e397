"""What the page's template needs of a compared network."""

from __future__ import annotations

import base64
import hashlib
import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from markupsafe import Markup

from comparisons.agreement.spread import Spread
from comparisons.report.network.model import COLUMNS, STATES, Entry, ShownNetwork, ShownStage, power
from comparisons.report.network.rows import Drawing, Row, draw_rows
from comparisons.report.network.svg import BOX, ROW, gutter_of, histogram, lines_svg, map_svg
from comparisons.report.network.words import rest_words, stage_words

__all__ = ["FOLDER", "SCRIPT", "NetworkView", "script_hash"]

FOLDER = Path(__file__).parent
SCRIPT = Markup((FOLDER / "network.js").read_text(encoding="utf-8"))  # noqa: S704 (our own file)
NEAR = 8  # quantities before and after the first difference whose difference is drawn
MOST_DRAWN = 30  # of them, with those of the first difference's own stage


def script_hash() -> str:
    """What the page's Content-Security-Policy allows to run: this script, and nothing else."""
    digest = hashlib.sha256(SCRIPT.encode()).digest()
    return "sha256-" + base64.b64encode(digest).decode()


@dataclass(frozen=True)
class Mark:
    """How a stage stands in one column."""

    state: str
    sign: str
    words: str


@dataclass(frozen=True)
class RowView:
    """A row of the picture: a stage, or the words for several."""

    id: str
    number: int
    label: str
    layer: str
    part: str
    note: str
    state: str
    marks: Sequence[Mark]
    words: str


@dataclass(frozen=True)
class Drawn:
    """An entry's difference in pictures and numbers."""

    entry: Entry
    spread: Spread
    histogram: Markup
    maps: Sequence[Markup]
    where: str

    @property
    def is_broken(self) -> bool:
        """Whether a side has elements that are NaN or infinite."""
        return any(side.bad for side in self.spread.sides)


@dataclass(frozen=True)
class StageView:
    """All that is shown of a stage."""

    id: str
    title: str
    note: str
    takes: str
    gives: str
    is_first: bool
    entries: Sequence[tuple[Entry, str, str]]
    drawn: Sequence[Drawn]


class NetworkView:
    """A compared network, as the template draws it.

    Arguments:
        network: The network.
        id: What tells its elements from those of others on the page; ours.
        index_base: From what the first side counts.
    """

    def __init__(self, network: ShownNetwork, id: str, index_base: int = 0) -> None:
        self.network, self.id, self.index_base = network, id, index_base
        self.columns = network.columns
        self.drawing: Drawing = draw_rows(network)
        self.gutter = gutter_of(self.drawing) / 16
        self.lines = lines_svg(self.drawing)
        self.row_height, self.box_height = ROW / 16, BOX / 16
        self.rest = rest_words(network) if network.first is not None else ""
        self.near = self._near()
        self.rows = [self._row(row) for row in self.drawing.rows]
        self.stages = [self._stage(row.places[0]) for row in self.drawing.rows if not row.is_group]
        self.states = self._legend()
        self.column_words = [(column, COLUMNS[column]) for column in self.columns]
        self.selected = self._place_id(network.at if network.at is not None else 0)
        self.left_out = self.drawing.left_out

    def sign(self, state: str) -> str:
        """The mark of a state."""
        return STATES[state][0]

    def index(self, index: Sequence[int]) -> str:
        """An element's index, as the first side counts."""
        return f"[{', '.join(str(i + self.index_base) for i in index)}]" if index else "the number"

    def no_drawing(self, stage: StageView) -> str:
        """Why nothing is drawn of a stage."""
        if not stage.entries:
            return ""
        if any(id(entry) in self.near and not entry.agrees for entry, *_ in stage.entries):
            return "The values themselves are not at hand any more."
        if any(id(entry) in self.near for entry, *_ in stage.entries):
            return "There is no difference to draw."
        return (
            "Differences are drawn for the quantities just before and after the first difference "
            "and for those of its own stage."
        )

    def _place_id(self, place: int) -> str:
        return f"{self.id}-{place + 1}"

    def _legend(self) -> list[tuple[str, str, str]]:
        there = {state for row in self.rows for state in [*(m.state for m in row.marks)]}
        return [(state, *STATES[state]) for state in STATES if state in there]

    def _near(self) -> set[int]:
        """The ids of the entries whose difference is drawn."""
        network, order = self.network, list(self.network.order)
        if not order:
            return set()
        centre = network.first
        if centre is None:
            centre = max(order, key=lambda one: one.needed if math.isfinite(one.needed) else 0.0)
            if not centre.needed:
                return set()
        at = next(i for i, one in enumerate(order) if one is centre)
        chosen = order[max(0, at - NEAR) : at + NEAR + 1]
        place = network.stage_of.get(id(centre))
        if place is not None:
            chosen = [*chosen, *network.stages[place].entries]
        return {id(one) for one in chosen[:MOST_DRAWN]}

    def _row(self, row: Row) -> RowView:
        place = row.places[0]
        if row.is_group:
            words, state = self._group_words(row)
            return RowView("", place + 1, words, "", "", "", state, (), words)
        stage = self.network.stages[place]
        part, label, layer = _parts(stage)
        marks = [self._mark(stage, column) for column in self.columns]
        said = "; ".join(mark.words for mark in marks if mark.words)
        return RowView(
            self._place_id(place), place + 1, label, layer, part, _note(stage),
            "only" if stage.only else self.network.stage_state(stage), marks, said,
        )  # fmt: skip

    def _group_words(self, row: Row) -> tuple[str, str]:
        states = Counter(self.network.stage_state(self.network.stages[i]) for i in row.places)
        known = [state for state in STATES if states[state]]
        where = "earlier" if row.places[0] == 0 else "later"
        parts = [f"{states[state]} {STATES[state][1]}" for state in known]
        words = f"{len(row.places)} {where} stages" + (f": {'; '.join(parts)}" if parts else "")
        return words, known[-1] if known else ""

    def _mark(self, stage: ShownStage, column: str) -> Mark:
        entry = self.network.cell(stage, column)
        if entry is None:
            return Mark("", "", "")
        state = self.network.state(entry)
        sign, words = STATES[state]
        size = "" if power(entry) == "equal" else f" ({power(entry)})"
        return Mark(state, sign, f"{column}: {words}{size}")

    def _stage(self, place: int) -> StageView:
        network, stage = self.network, self.network.stages[place]
        takers = [one.name for one in network.stages if place in one.inputs]
        entries = [(one, (state := network.state(one)), STATES[state][1]) for one in stage.entries]
        drawn = [one for entry in stage.entries for one in self._drawn(entry)]
        drawn.sort(
            key=lambda one: (one.entry is not network.first, one.entry.column != network.focus)
        )
        return StageView(
            self._place_id(place), stage_words(stage), _note(stage),
            _listed(network.stages[i].name for i in stage.inputs), _listed(takers),
            place == network.at, entries, drawn,
        )  # fmt: skip

    def _drawn(self, entry: Entry) -> Iterator[Drawn]:
        spread = self.network.spread(entry) if id(entry) in self.near else None
        if spread is None or (spread.total and not spread.differing):
            return
        allowed = entry.allowed * entry.largest if math.isfinite(entry.largest) else 0.0
        maps = [map_svg(plane, allowed, self.index_base) for plane in spread.planes]
        yield Drawn(entry, spread, histogram(spread), maps, _where_words(spread))


def _parts(stage: ShownStage) -> tuple[str, str, str]:
    """A stage's name in two, the end of it with a word in it, and its layer, where the name does
    not say it."""
    part, _, label = stage.name.rpartition(".")
    while part and label.replace(".", "").isdecimal():
        part, _, more = part.rpartition(".")
        label = f"{more}.{label}"
    return part, label, "" if label.partition("#")[0] == stage.layer else stage.layer


def _note(stage: ShownStage) -> str:
    return f"only in {stage.only}" if stage.only else stage.other


def _listed(names: Iterator[str] | Sequence[str], most: int = 6) -> str:
    listed = list(names)
    more = f" and {len(listed) - most} more" if len(listed) > most else ""
    return ", ".join(listed[:most]) + more


def _where_words(spread: Spread) -> str:
    """Which elements differ, in words."""
    if not spread.total:
        first, second = (one.shape for one in spread.sides)
        return f"the shapes are {first} and {second}"
    words = f"{spread.differing:,} of {spread.total:,} elements differ"
    if spread.beyond and spread.beyond < spread.differing:
        words += f", {spread.beyond:,} by more than is allowed"
    elif not spread.beyond:
        words += ", none by more than is allowed"
    return words + (f"; all of these in {', '.join(spread.where)}" if spread.where else "")
