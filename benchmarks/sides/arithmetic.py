"""Medians and ratios of what was measured in turns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median

from benchmarks.sides.child import Turn

__all__ = ["Series", "median_quotient", "ratio", "rounded"]

DIGITS = 4  # significant ones of a written number: more is noise


@dataclass
class Series:
    """What one side did with one case, turn by turn; the n-th turns of all sides are a round."""

    turns: list[Turn] = field(default_factory=list)

    @property
    def steps(self) -> list[float]:
        """Milliseconds of every step that counts."""
        return [step for turn in self.turns for step in turn.milliseconds]

    @property
    def ms(self) -> float:
        """The median step."""
        return median(self.steps)

    @property
    def range_ms(self) -> tuple[float, float]:
        """The fastest step and the slowest one."""
        return min(self.steps), max(self.steps)

    @property
    def by_round(self) -> list[float]:
        """The median step of every round."""
        return [median(turn.milliseconds) for turn in self.turns]

    @property
    def faults(self) -> float | None:
        """Minor page faults a step: the median of the turns."""
        counted = [turn.faults for turn in self.turns if turn.faults is not None]
        return median(counted) if counted else None

    @property
    def peak_mb(self) -> float | None:
        """The most memory that was held, above what was there before the first step."""
        peaks = [turn.memory.peak for turn in self.turns if turn.memory is not None]
        return max(peaks) if peaks else None

    @property
    def grown_mb(self) -> float | None:
        """What was held after the last turn above what was held after the first."""
        held = [turn.memory.now for turn in self.turns if turn.memory is not None]
        return held[-1] - held[0] if held else None


def ratio(a: Series, b: Series) -> float:
    """How many times as long a takes as b: the median over the rounds of the quotient of the two
    medians of a round.

    Within a round both had the machine in the same state; the quotient of the two medians over
    all rounds would take a round in which the machine was slow for one side's fault.
    """
    return median_quotient(a.by_round, b.by_round)


def median_quotient(a: Sequence[float], b: Sequence[float]) -> float:
    """The median of a / b, pair by pair."""
    return median(x / y for x, y in zip(a, b, strict=True))


def rounded(value: float | None) -> float | None:
    """A number as it is written: four significant digits."""
    return None if value is None else float(f"{value:.{DIGITS}g}")
