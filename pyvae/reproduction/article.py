"""What is to be done again of one write-up, and what the measuring is done with."""

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
    """One figure: its file's name, what it shows, and how it is drawn."""

    file: str
    caption: str
    draw: Callable[[], Figure]


@dataclass(frozen=True)
class Claim:
    """Something that a write-up says, beside what was measured.

    Attributes:
        claim: What it says.
        published: The number that it prints, or what it says in words.
        values: Measured, one for each seed.
        unit: Of the values.
        holds: Whether a value bears the claim out; None where there is nothing to hold it against.
        keys: The runs that it is about; none for all of the article.
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
        """Its line in published.csv."""
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
        name: As on the command line: the recipe's name.
        title: What it is, in a line.
        planned: Its runs.
        drawings: Its figures, in its order.
        claims: What it says, as numbers.
        tables: Further tables, by file name.
    """

    name: str
    title: str
    planned: tuple[Planned, ...]
    drawings: Callable[[Measured], Iterable[Drawing]]
    claims: Callable[[Measured], Iterable[Claim]]
    tables: Callable[[Measured], Mapping[str, pd.DataFrame]] = lambda measured: {}
