"""A compared network as it is shown: stages in the order of computation, and their quantities."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from comparisons.agreement.spread import Spread

__all__ = ["COLUMNS", "STATES", "Entry", "ShownNetwork", "ShownStage", "power"]

COLUMNS = {  # the parts of a step, and what of a stage belongs to them
    "start": "what the step starts from",
    "forward": "what it returns, and what it draws",
    "backward": "the gradient that its backward pass returns for its input",
    "gradient": "the gradients of its parameters",
    "update": "its parameters and buffers after the step, and the optimiser's state",
}
STATES = {  # from the best to the worst: a mark, and words
    "equal": ("=", "equal in every bit"),
    "within": ("≈", "within rounding"),
    "explained": ("~", "differs by more, but follows from rounding"),
    "follows": ("≠", "differs, and depends on the first difference"),
    "own": ("!", "differs, and does not depend on the first difference"),
    "first": ("✗", "the first difference"),
}


@dataclass(frozen=True, eq=False)
class Entry:
    """A quantity of a step.

    Attributes:
        column: One of `COLUMNS`.
        key: Its name.
        agrees: Whether it agrees; if so, `verdict` says how well.
        verdict: `equal`, `within` or `explained`; empty if it does not agree.
        shape: Its shape.
        largest, max_abs, needed, allowed: The largest magnitude and difference, the tolerance that
            would have sufficed, and the one that there is.
        note: What explains the difference, or makes the two incomparable.
    """

    column: str
    key: str
    agrees: bool
    verdict: str
    shape: tuple[int, ...]
    largest: float
    max_abs: float
    needed: float
    allowed: float
    note: str = ""


@dataclass(frozen=True, eq=False)
class ShownStage:
    """A stage of either side, or of both.

    Attributes:
        name: Its name.
        layer: What it computes.
        inputs: The places of the stages whose values it takes; they stand before it.
        entries: Its quantities, in the order of computation.
        other: Its name and layer on the second side, where they are others.
        only: The side that alone has it.
    """

    name: str
    layer: str
    inputs: tuple[int, ...] = ()
    entries: tuple[Entry, ...] = ()
    other: str = ""
    only: str = ""


def _unknown(entry: Entry) -> Spread | None:
    return None


@dataclass(frozen=True, eq=False)
class ShownNetwork:
    """One step of a compared network.

    Attributes:
        step: Which.
        names: Of both sides.
        stages: In the order of computation.
        order: All entries in the order in which they were computed.
        first: The first that differs; None if all agree.
        sentence: Where that is, in words.
        words: What it looks like.
        spread: Where in the tensor the two sides differ in an entry; None if that is not known.
        later: For each later step: its number, how many quantities were compared and how many of
            them differ.
    """

    step: int
    names: tuple[str, str]
    stages: Sequence[ShownStage]
    order: Sequence[Entry]
    first: Entry | None = None
    sentence: str = ""
    words: Sequence[str] = ()
    spread: Callable[[Entry], Spread | None] = field(default=_unknown)
    later: Sequence[tuple[int, int, int]] = ()

    @cached_property
    def stage_of(self) -> dict[int, int]:
        """The place of an entry's stage, by the entry's id."""
        return {id(one): at for at, stage in enumerate(self.stages) for one in stage.entries}

    @cached_property
    def at(self) -> int | None:
        """The place of the stage where the two first part."""
        return None if self.first is None else self.stage_of.get(id(self.first))

    @cached_property
    def focus(self) -> str:
        """The column that decides about a stage's colour: that of the first difference."""
        return "forward" if self.first is None else self.first.column

    @cached_property
    def columns(self) -> tuple[str, ...]:
        """The columns of which there is anything."""
        there = {entry.column for entry in self.order}
        return tuple(column for column in COLUMNS if column in there)

    def state(self, entry: Entry) -> str:
        """How an entry stands: one of `STATES`."""
        if entry is self.first:
            return "first"
        if entry.agrees:
            return entry.verdict
        return "follows" if self._depends(entry) else "own"

    def cell(self, stage: ShownStage, column: str) -> Entry | None:
        """The worst entry of a stage in a column."""
        ranks = list(STATES)
        entries = [one for one in stage.entries if one.column == column]
        return max(entries, key=lambda e: (ranks.index(self.state(e)), _size(e)), default=None)

    def stage_state(self, stage: ShownStage) -> str:
        """How a stage stands in the column of the first difference; empty if it has nothing there.

        If all agree: how it stands altogether."""
        columns = [self.focus] if self.first is not None else self.columns
        ranks = list(STATES)
        states = [self.state(e) for e in stage.entries if e.column in columns]
        return max(states, key=ranks.index, default="")

    def others(self) -> Iterator[tuple[Entry, str]]:
        """All entries but the first difference, and how they stand."""
        for entry in self.order:
            if entry is not self.first:
                yield entry, self.state(entry)

    def _depends(self, entry: Entry) -> bool:
        """Whether an entry is computed from the first difference, as far as is known."""
        first, at, place = self.first, self.at, self.stage_of.get(id(entry))
        if first is None or at is None or place is None or not self._is_connected:
            return True
        if place == at:
            return True
        column = list(COLUMNS).index
        if column(first.column) <= column("forward"):
            return column(entry.column) > column("forward") or place in self._after
        if first.column == "backward":
            return entry.column == "update" or place in self._before
        return first.column == "gradient" and entry.column == "update"  # a norm is of all of them

    @cached_property
    def _is_connected(self) -> bool:
        return any(stage.inputs for stage in self.stages)

    @cached_property
    def _after(self) -> set[int]:
        """The places of the stages that use what the first stage returned."""
        found = {self.at}
        for place, stage in enumerate(self.stages):
            if found & set(stage.inputs):
                found.add(place)
        return {place for place in found if place is not None}

    @cached_property
    def _before(self) -> set[int]:
        """The places of the stages whose values the first stage used."""
        found = set() if self.at is None else {self.at}
        for place in sorted(range(len(self.stages)), reverse=True):
            if place in found:
                found.update(self.stages[place].inputs)
        return found


def _size(entry: Entry) -> float:
    return math.inf if math.isnan(entry.needed) else entry.needed


def power(entry: Entry) -> str:
    """How far an entry differs, as a power of ten."""
    if entry.note.startswith("shape"):
        return "shape"
    if not math.isfinite(entry.needed):
        return "n/a"
    if entry.needed == 0:
        return "equal" if entry.verdict == "equal" else "0"
    return f"1e{math.floor(math.log10(entry.needed)):d}"
