"""A write-up: its runs, its figures and its claims."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any, NamedTuple

import pandas as pd
from matplotlib.figure import Figure

from pyvae.reproduction.measured import Measured
from pyvae.reproduction.planned import Planned

__all__ = ["Article", "Claim", "Drawing"]


class Drawing(NamedTuple):
    """A figure: its file's name, its caption, and a function that draws it."""

    file: str
    caption: str
    draw: Callable[[], Figure]


@dataclass(frozen=True)
class Claim:
    """Something that a write-up says, beside what was measured.

    Attributes:
        claim: What the write-up says.
        published: The number that it prints, or its words.
        values: The measured values, one for each seed.
        unit: The values' unit.
        holds: Whether a value supports the claim; None if a value can only be measured.
        keys: The runs that it is about; empty for all of the article's.
    """

    claim: str
    published: str
    values: Sequence[float]
    unit: str = ""
    holds: Callable[[float], bool] | None = None
    keys: tuple[str, ...] = ()

    @property
    def verdict(self) -> str:
        """`reproduced`, `not reproduced`, `in N of M seeds`, or `measured`."""
        if self.holds is None:
            return "measured"
        held = sum(bool(self.holds(value)) for value in self.values)
        if held in (0, len(self.values)):
            return "reproduced" if held else "not reproduced"
        return f"in {held} of {len(self.values)} seeds"

    def row(self, article: str) -> dict[str, Any]:
        """The claim's row of published.csv, for the article of that name."""
        return {
            "article": article,
            "claim": self.claim,
            "published": self.published,
            "median": median(self.values),
            "least": min(self.values),
            "greatest": max(self.values),
            "unit": self.unit,
            "seeds": len(self.values),
            "verdict": self.verdict,
        }


@dataclass(frozen=True)
class Article:
    """One write-up.

    Attributes:
        name: Its name on the command line: the recipe's.
        title: A line about it.
        planned: The runs that it trains.
        drawings: Makes its figures, in its order.
        claims: Measures what it says.
        tables: Makes further tables, by file name.
    """

    name: str
    title: str
    planned: tuple[Planned, ...]
    drawings: Callable[[Measured], Iterable[Drawing]]
    claims: Callable[[Measured], Iterable[Claim]]
    tables: Callable[[Measured], Mapping[str, pd.DataFrame]] = lambda measured: {}
