"""What was found where two engines were trained over many seeds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from comparisons.runs.sides import Sides
from comparisons.seeds.equivalence import Equivalence, Margins, expected_rate, overall, summary
from comparisons.seeds.run_seeds import SeedComparison
from pyvae.errors import UserError
from pyvae.files.html import notebook_html
from pyvae.model.objectives import OBJECTIVES
from pyvae.model.run import Run

__all__ = ["Calibration", "ManySeeds", "SeedOptions"]

VERDICTS = ("equivalent", "inconclusive", "different")


@dataclass(frozen=True)
class SeedOptions:
    """How two engines are compared over many seeds.

    Attributes:
        seeds: Of each side.
        margins: What the differences are held against.
        threads: Threads of each run.
        repetitions: How often all of it is done, with other seeds each time.

    Raises:
        UserError: If threads or repetitions are out of their range.
    """

    seeds: int
    margins: Margins
    threads: int = 1
    repetitions: int = 1

    def __post_init__(self) -> None:
        for name in ("threads", "repetitions"):
            if not 1 <= getattr(self, name) <= 1000:
                raise UserError(f"--{name} {getattr(self, name)}", expected="1 to 1000")


@dataclass(frozen=True)
class Calibration:
    """How often which verdict was reached for one objective, over several repetitions.

    Attributes:
        objective: Its name.
        repetitions: How many.
        counts: By verdict.
        rates: By measure, how often two engines that are the same would be called equivalent.
    """

    objective: str
    repetitions: int
    counts: Mapping[str, int]
    rates: Mapping[str, float]

    @property
    def expected(self) -> tuple[float, float]:
        """How often two engines that are the same would be called equivalent in all measures: the
        least and the most."""
        return max(0.0, 1 - sum(1 - rate for rate in self.rates.values())), min(self.rates.values())

    def __str__(self) -> str:
        counts = ", ".join(f"{self.counts.get(verdict, 0)} {verdict}" for verdict in VERDICTS)
        least, most = (100 * rate for rate in self.expected)
        return (
            f"{OBJECTIVES[self.objective].title}: {self.repetitions} repetitions, {counts}; if the "
            f"two are the same, {least:.0f} to {most:.0f} % equivalent are expected"
        )

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        least, most = self.expected
        return {
            "counts": {verdict: n for verdict, n in self.counts.items() if n},
            "expected_rate": {"least": least, "most": most, "by_measure": dict(self.rates)},
        }


@dataclass(frozen=True, repr=False)
class ManySeeds:
    """What was found over many seeds.

    Attributes:
        runs: What was trained, for each objective.
        sides: The engines.
        options: What was asked for.
        environment: What each engine says of its own, by its name.
        repetitions: For each, one comparison for each objective.
    """

    runs: Sequence[Run]
    sides: Sides
    options: SeedOptions
    environment: Mapping[str, Mapping[str, str]]
    repetitions: Sequence[Sequence[SeedComparison]]

    def __repr__(self) -> str:
        return f"<{self._in_words()}>"

    def _in_words(self) -> str:
        """Who was compared, and the verdict."""
        under_test, reference = self.sides.under_test, self.sides.reference
        return f"{under_test} against {reference}, {self.options.seeds} seeds each: {self.verdict}"

    def _repr_html_(self) -> str:
        if self.options.repetitions > 1:
            return notebook_html(self._in_words(), map(str, self.calibrations()))
        results = [
            (OBJECTIVES[compared.objective].title, result)
            for compared in self.repetitions[0]
            for result in compared.results
        ]
        rows = [
            {
                "objective": title,
                "measure": one.measure.replace("_", " "),
                one.a.engine: one.text(one.a.mean),
                one.b.engine: one.text(one.b.mean),
                "difference": one.text(one.difference, "+"),
                "90 % interval": " to ".join(one.text(end, "+") for end in one.interval),
                "margin": f"{one.margin:g} {one.unit}",
                "verdict": one.verdict,
            }
            for title, one in results
        ]
        problems = [one.problem for _, one in results]
        return notebook_html(self._in_words(), problems, pd.DataFrame(rows))

    @property
    def verdict(self) -> str:
        """Over all objectives: equivalent, different or inconclusive; of several repetitions, whose
        verdicts are counted and not judged, `calibrated`."""
        if self.options.repetitions > 1:
            return "calibrated"
        (compared,) = self.repetitions
        return overall([result for objective in compared for result in objective.results])

    def calibrations(self) -> Iterator[Calibration]:
        """How often which verdict was reached, for each objective."""
        for place, first in enumerate(self.repetitions[0]):
            results = [compared[place].results for compared in self.repetitions]
            counts = Counter(overall(one) for one in results)
            rates = {
                result.measure: self._expected_rate([one[number] for one in results])
                for number, result in enumerate(first.results)
            }
            yield Calibration(first.objective, len(results), counts, rates)

    def _expected_rate(self, results: Sequence[Equivalence]) -> float:
        """Of one measure, given the standard deviations over all repetitions."""
        a, b = (
            float(np.sqrt(np.mean([getattr(one, side).sd ** 2 for one in results])))
            for side in ("a", "b")
        )
        return expected_rate((a, b), self.options.seeds, results[0].margin)

    def as_dict(self) -> dict[str, Any]:
        """The content of comparison.json."""
        seeds = self.options.seeds
        if self.options.repetitions > 1:
            about = {"verdict": self.verdict, "repetitions": len(self.repetitions), "seeds": seeds}
            return about | {one.objective: one.as_dict() for one in self.calibrations()}
        first = self.runs[0]
        return {
            "verdict": self.verdict,
            "engine": self.sides.reference,
            "under_test": self.sides.under_test,
            "rng": "native",
            "dtype": first.settings.dtype,
            "data": first.data.name,
            "batch_size": first.settings.batch_size,
            "steps": first.steps,
            "seeds": seeds,
            "objectives": {one.objective: summary(one.results) for one in self.repetitions[0]},
            "settings": first.settings.as_dict()
            | {"objective": [run.settings.objective for run in self.runs]},
            "environment": self.environment,
        }
