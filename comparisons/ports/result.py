"""What a comparison of two recorded programs found."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import pandas as pd

from comparisons.ports.judging.judged import Judged
from comparisons.ports.matching.matched import NetworkMatch, StageMatch
from comparisons.ports.matching.parameters import ParameterMatch
from comparisons.ports.side import Side
from pyvae.files.html import notebook_html

__all__ = ["FirstPart", "PortComparison"]


STEPS, PASSES = ("step", "steps"), ("forward pass", "forward passes")
LEARNT = ("loss/", "gradient/", "parameter/")
MOST = 8  # quantities or lines that a notebook shows


@dataclass(frozen=True)
class FirstPart:
    """The first place where two programs part.

    Attributes:
        judged: The quantity, and how far it differs.
        place: Where, in words: step, stage, layer and pass.
        wrong: The side that does not return what it should for its own inputs, if it is one.
        words: What it looks like, the most telling first.
        element: The worst element, in each language's own counting, and both values.
    """

    judged: Judged
    place: str
    wrong: str = ""
    words: tuple[str, ...] = ()
    element: str = ""


@dataclass(frozen=True, repr=False)
class PortComparison:
    """Two recorded programs, held against each other.

    Attributes:
        sides: Both, with their names.
        steps: The steps that both recorded, which were compared.
        networks: Which stages belong together; one for each pair of networks.
        parameters: Which parameters and buffers belong together.
        judged: The verdict on every quantity that both have, in the order of computation.
        lacking: For each side how many recorded values have no partner on the other side.
        first: Where the two part; None if they agree.
        exact: Whether every bit had to be equal.
        precision: The coarsest type of number of either side.
        declared: What the two declare differently, whether it has an effect or not.
        notes: What else is to be said.
        other_ways: Pairs of functions that were given up: both sides compute the same another way.
        first_lacking: For each side one of the values without a partner, by its key, or "".
    """

    sides: tuple[Side, Side]
    steps: tuple[int, ...]
    networks: Sequence[NetworkMatch]
    parameters: Sequence[ParameterMatch]
    judged: Sequence[Judged]
    lacking: tuple[int, int]
    first: FirstPart | None
    exact: bool
    precision: str
    declared: Sequence[str] = ()
    notes: Sequence[str] = ()
    other_ways: Sequence[StageMatch] = ()
    first_lacking: tuple[str, str] = ("", "")

    def __repr__(self) -> str:
        return "\n".join(self.lines)

    def _repr_html_(self) -> str:
        table = replace(self, judged=self._telling()).table()
        shown = ["step", "pass", "a", "b", "max_abs", "needed", "allowed", "verdict"]
        title = f"{self.names[0]} against {self.names[1]}: {self.verdict}"
        lines = self.lines[1:]  # the first one is the verdict
        return notebook_html(title, lines, table[shown] if len(table) else None)

    def _telling(self) -> Sequence[Judged]:
        """The quantities around the first difference, or those that came closest to one."""
        if self.first is None:
            differ = [one for one in self.judged if one.verdict != "equal"]
            return sorted(differ, key=lambda one: -one.difference.needed)[:MOST]
        here = next((n for n, one in enumerate(self.judged) if one is self.first.judged), 0)
        return self.judged[max(0, here - MOST // 2) : here + MOST // 2]

    @property
    def lines(self) -> list[str]:
        """What is to be said of it, in a few lines."""
        if self.first is None:
            unseen = [f"{words}, without an effect in these steps" for words in self.declared]
            return [self.verdict, *unseen[:MOST], *self.notes]
        found = [f"first part at {self.first.place}"]
        found += [f"  looks like: {words}" for words in self.first.words]
        found += [f"  {self.first.element}"] if self.first.element else []
        return [*found, *self.notes]

    @property
    def names(self) -> tuple[str, str]:
        return self.sides[0].name, self.sides[1].name

    @property
    def agrees(self) -> bool:
        return self.first is None

    @property
    def worst(self) -> Judged | None:
        """The quantity within the rule that came closest to it."""
        within = [one for one in self.judged if one.verdict == "within"]
        return max(within, key=lambda one: one.difference.needed, default=None)

    @property
    def met(self) -> list[str]:
        """What the libraries do otherwise, is accepted, and was met, by name."""
        return sorted({name for one in self.judged for name in one.accepted})

    @property
    def unit(self) -> tuple[str, str]:
        """What the programs did several times, one and many: forward passes, if no optimiser, loss
        or gradient of either was recorded."""
        units = {self.unit_of(side) for side in self.sides}
        return STEPS if STEPS in units else PASSES

    def unit_of(self, side: Side) -> tuple[str, str]:
        """The same of one of them."""
        steps = side.trace.steps
        if any(one.optimiser is not None for one in steps):
            return STEPS
        keys = side.trace.stored(steps[0].step) if steps else ()
        return STEPS if any(key.startswith(LEARNT) for key in keys) else PASSES

    @property
    def verdict(self) -> str:
        """The verdict in one line."""
        if self.first is not None:
            return f"part at {self.first.place}"
        quantities = _count(len(self.judged), "quantity", "quantities")
        steps = _count(len(self.steps), *self.unit)
        counts = Counter(one.verdict for one in self.judged)
        if counts["equal"] == len(self.judged):
            return f"equal: every bit of {quantities} in {steps}"
        but = f" but for {' and '.join(self.met)} (accepted)" if self.met else ""
        worst, words = self.worst, f"agree{but}: {quantities} in {steps}"
        if worst is not None:
            key, step = worst.quantity.key, worst.step
            words += (
                f", largest difference {worst.difference.max_abs:.1e} of {key} in step {step} "
                f"(needed {worst.difference.needed:.1e}, allowed {worst.rtol:.0e})"
            )
        if counts["explained"]:
            of = " or ".join(["rounding", *self.met])
            words += f"; {counts['explained']:,} differ by more and follow from {of}"
        return words

    def table(self) -> pd.DataFrame:
        """Every quantity that was compared: a row for each, in the order of computation."""
        rows = []
        for one in self.judged:
            quantity, difference = one.quantity, one.difference
            stage = quantity.stage
            rows.append(
                {
                    "step": one.step,
                    "pass": quantity.passing,
                    "a": quantity.key,
                    "b": quantity.key_b,
                    "layer": stage.a.layer if stage else "",
                    "shape": "x".join(map(str, difference.shape)),
                    "largest": difference.largest,
                    "max_abs": difference.max_abs,
                    "needed": difference.needed,
                    "allowed": one.rtol,
                    "ulp": difference.ulp,
                    "verdict": one.verdict,
                    "why": one.why or difference.problem,
                }
            )
        return pd.DataFrame(rows)


def _count(number: int, one: str, many: str) -> str:
    return f"{number:,} {one if number == 1 else many}"
