r"""Are two engines equivalent, each trained over many seeds with its own randomness?

Two one-sided t-tests (TOST) for each measure of a run: Schuirmann (1987), "A comparison of the
two one-sided tests procedure and the power approach for assessing the equivalence of average
bioavailability", Journal of Pharmacokinetics and Biopharmaceutics 15(6). For values
:math:`a_i, b_j` (one per seed) and a margin :math:`\delta` fixed beforehand, the 90 % interval of
the difference of means, by Welch (1947), is

.. math:: \bar a - \bar b \pm t_{0.95, \nu} \sqrt{s_a^2 / n_a + s_b^2 / n_b}

with Satterthwaite's degrees of freedom :math:`\nu`. It lies inside
:math:`(-\delta, \delta)` if and only if TOST rejects "they differ by :math:`\delta` or more" at
the level 5 %; then the two are *equivalent*. Wholly outside :math:`[-\delta, \delta]` they are
*different*, otherwise the seeds are too few to tell: *inconclusive*. "Not significantly
different" is never agreement.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy import stats
from statsmodels.stats.weightstats import CompareMeans, DescrStatsW

from comparisons.seeds.measures import RunOutcome, measures
from pyvae.errors import UserError
from pyvae.model.objectives import OBJECTIVES

__all__ = [
    "UNITS",
    "Equivalence",
    "Margins",
    "RunOutcome",
    "Side",
    "compare_measure",
    "compare_seeds",
    "expected_rate",
    "measures",
    "overall",
    "summary",
]

LEVEL = 0.05  # of each one-sided test; the interval's is 1 - 2 * LEVEL
FEWEST_SEEDS = 3
LARGEST = 1e150  # the squares of larger numbers overflow
NEGLIGIBLE = 1e-12  # in margins: the rounding error of a constant's standard deviation is no spread

UNITS = {
    "loss": "",  # the objective's
    "reconstruction": "",
    "regulariser": "",
    "active_units": "dimensions",
    "latent_spread": "prior sd",  # of the prior N(0, I): 1
}


@dataclass(frozen=True)
class Margins:
    """The largest differences that do not matter, fixed before anything is run.

    Attributes:
        nats: Of loss, reconstruction and regulariser, in their unit: nats per image, mostly.
        units: Of active units, in latent dimensions.
        spread: Of the latent spread, in standard deviations of the prior.

    Raises:
        UserError: If one is not finite and above 0.
    """

    nats: float
    units: float = 2.0
    spread: float = 0.05

    def __post_init__(self) -> None:
        options = {"": self.nats, "-units": self.units, "-spread": self.spread}
        for suffix, value in options.items():
            if not (math.isfinite(value) and value > 0):
                raise UserError(
                    f"--margin{suffix} {value:g}",
                    "choose the largest difference that does not matter",
                    expected="a finite number above 0",
                )

    def of(self, measure: str) -> float:
        """The margin of one measure, in its unit."""
        return {"active_units": self.units, "latent_spread": self.spread}.get(measure, self.nats)


@dataclass(frozen=True)
class Side:
    """One measure over the seeds of one engine. Where a value is not finite, neither are the
    numbers that depend on it.

    Attributes:
        engine: Its name.
        seeds: One for each run.
        values: The measure, one for each seed.
    """

    engine: str
    seeds: tuple[int, ...]
    values: tuple[float, ...]

    @property
    def n(self) -> int:
        return len(self.values)

    @property
    def mean(self) -> float:
        return _or_nan(np.mean, self.values)

    @property
    def sd(self) -> float:
        """The standard deviation of a sample: divided by n - 1."""
        return _or_nan(lambda values: np.std(values, ddof=1), self.values)

    @property
    def median(self) -> float:
        return _or_nan(np.median, self.values)

    @property
    def range(self) -> tuple[float, float]:
        return _or_nan(np.min, self.values), _or_nan(np.max, self.values)

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "engine": self.engine,
            "n": self.n,
            "mean": _finite(self.mean),
            "sd": _finite(self.sd),
            "median": _finite(self.median),
            "range": [_finite(end) for end in self.range],
            "seeds": list(self.seeds),
            "values": [_finite(value) for value in self.values],
        }


@dataclass(frozen=True)
class Equivalence:
    """One measure of two engines over their seeds.

    Attributes:
        measure: Its name, a key of `UNITS`.
        a, b: The engine under test, and the reference.
        difference: Mean of a minus mean of b, in the measure's unit.
        interval: The difference's 90 % interval; where no seed varies, the difference itself.
        margin: What the interval is held against.
        p_value: Of TOST; where no seed varies, 0 inside the margin and 1 elsewhere.
        problem: A seed that diverged, in words; then the numbers are NaN.
        loss_unit: Of losses.
    """

    measure: str
    a: Side
    b: Side
    difference: float
    interval: tuple[float, float]
    margin: float
    p_value: float
    problem: str = ""
    loss_unit: str = "nats per image"

    @property
    def unit(self) -> str:
        return UNITS[self.measure] or self.loss_unit

    @property
    def no_spread(self) -> bool:
        """Whether no seed of either side varies: a p value would say nothing then."""
        return not self.problem and self.interval[0] == self.interval[1]

    @property
    def verdict(self) -> str:
        """equivalent, different or inconclusive."""
        low, high = self.interval
        if self.problem or low > self.margin or high < -self.margin:
            return "different"
        return "equivalent" if -self.margin < low and high < self.margin else "inconclusive"

    def text(self, value: float, sign: str = "") -> str:
        """A number in the measure's unit, to a thirtieth of the margin or finer: two decimals
        for a margin of 1, three for 0.05."""
        if not math.isfinite(value):
            return "–"
        decimals = max(0, math.ceil(math.log10(30 / self.margin)))
        return f"{value:{sign}.3g}" if abs(value) >= 1e5 else f"{value:{sign}z.{decimals}f}"

    def as_dict(self) -> dict[str, Any]:
        """For JSON: what is not finite becomes None."""
        about = {
            "verdict": self.verdict,
            "unit": self.unit,
            "difference": _finite(self.difference),
            "interval_90": [_finite(end) for end in self.interval],
            "margin": self.margin,
            "p_value": _finite(self.p_value),
            "under_test": self.a.as_dict(),
            "reference": self.b.as_dict(),
        }
        return about | ({"problem": self.problem} if self.problem else {})


def compare_measure(measure: str, a: Side, b: Side, margin: float) -> Equivalence:
    """Holds one measure of two engines against a margin, in the measure's unit."""
    problem = _problem(measure, a, b)
    if problem:
        nothing = (math.nan, math.nan)
        return Equivalence(measure, a, b, math.nan, nothing, margin, math.nan, problem)
    difference = a.mean - b.mean
    if max(a.sd, b.sd) <= NEGLIGIBLE * margin:  # statsmodels divides by zero
        p_value = 0.0 if abs(difference) < margin else 1.0
        return Equivalence(measure, a, b, difference, (difference,) * 2, margin, p_value)
    means = CompareMeans(DescrStatsW(np.array(a.values)), DescrStatsW(np.array(b.values)))
    low, high = means.tconfint_diff(alpha=2 * LEVEL, usevar="unequal")
    p_value = float(means.ttost_ind(-margin, margin, usevar="unequal")[0])
    return Equivalence(measure, a, b, difference, (float(low), float(high)), margin, p_value)


def compare_seeds(
    a: Sequence[RunOutcome], b: Sequence[RunOutcome], margins: Margins
) -> list[Equivalence]:
    """Holds the runs of one engine against those of another, measure by measure.

    Arguments:
        a, b: One objective under test and as reference; the seeds need not be the same, nor
            equally many.
        margins: What the differences are held against.

    Raises:
        UserError: If a side has fewer than 3 seeds, a seed twice, or two seeds with the same
            run; if a run was interrupted.
    """
    for outcomes in (a, b):
        _check(outcomes)
    values = [[measures(outcome) for outcome in outcomes] for outcomes in (a, b)]

    def side(outcomes: Sequence[RunOutcome], found: list[dict[str, float]], name: str) -> Side:
        seeds = tuple(outcome.seed for outcome in outcomes)
        return Side(outcomes[0].engine, seeds, tuple(numbers[name] for numbers in found))

    unit = OBJECTIVES[a[0].objective].unit
    compared = [
        compare_measure(name, side(a, values[0], name), side(b, values[1], name), margins.of(name))
        for name in UNITS
    ]
    return [replace(result, loss_unit=unit) for result in compared]


def overall(results: Sequence[Equivalence]) -> str:
    """The verdict over all measures.

    *equivalent* if every measure is: an intersection-union test, which keeps the level 5 %
    without a correction for many tests; Berger (1982), "Multiparameter hypothesis testing and
    acceptance sampling", Technometrics 24(4). *different* if any measure is, otherwise
    *inconclusive*.

    Example:
        >>> overall([])
        'inconclusive'
    """
    verdicts = {result.verdict for result in results}
    if "different" in verdicts:
        return "different"
    return "equivalent" if verdicts == {"equivalent"} else "inconclusive"


def expected_rate(sds: tuple[float, float], n: int, margin: float) -> float:
    r"""The power of TOST where the true difference is 0: how often two engines that are the same
    are called equivalent (an A/A check) in one measure.

    For normal values the difference D of the means is independent of the sample variances, so

    .. math:: P(|D| + t_{0.95, \nu} s < \delta)
              = E\left[\max\left(0,\ 2 \Phi\left(
                \frac{\delta - t_{0.95, \nu} s}{\sigma_D}\right) - 1\right)\right],
              \quad \sigma_D^2 = \frac{\sigma_a^2 + \sigma_b^2}{n},
              \quad s^2 = \frac{s_a^2 + s_b^2}{n}

    with the expectation over both sample variances, each :math:`\sigma^2 \chi^2_{n-1} / (n-1)`,
    which :math:`s` and Welch's :math:`\nu` depend on: the midpoint rule over their quantiles.

    Arguments:
        sds: The true standard deviations of both sides over seeds, in the unit of the margin.
        n: Seeds on each side.
        margin: The margin.

    Example:
        >>> expected_rate((1.0, 1.0), n=10, margin=100.0)
        1.0
    """
    if max(sds) <= NEGLIGIBLE * margin:
        return 1.0
    quantiles = (np.arange(100) + 0.5) / 100
    scatter = stats.chi2.ppf(quantiles, n - 1) / (n - 1)
    a = sds[0] ** 2 * scatter[:, None]  # (100, 1)
    b = sds[1] ** 2 * scatter  # (100,)
    share = a / (a + b)  # (100, 100)
    df = (n - 1) / (share**2 + (1 - share) ** 2)
    room = margin - stats.t.ppf(1 - LEVEL, df) * np.sqrt((a + b) / n)
    inside = 2 * stats.norm.cdf(room / (math.hypot(*sds) / math.sqrt(n))) - 1
    return float(np.maximum(0, inside).mean())


def summary(results: Sequence[Equivalence]) -> dict[str, Any]:
    """One objective for JSON: the verdict, and every measure with the median and range of each
    side. What is not finite becomes None."""
    return {
        "verdict": overall(results),
        "measures": {result.measure: result.as_dict() for result in results},
    }


def _check(outcomes: Sequence[RunOutcome]) -> None:
    """Raises UserError unless the runs of one side are enough, and independent of each other."""
    if len(outcomes) < FEWEST_SEEDS:
        raise UserError(
            f"--seeds {len(outcomes)} are too few to judge how far runs spread",
            expected=f"{FEWEST_SEEDS} or more",
        )
    for one, other in itertools.combinations(outcomes, 2):
        if (one.engine, one.objective) != (other.engine, other.objective):
            raise ValueError(f"{one.name} and {other.name} are not of one engine and objective")
        if one.seed == other.seed:
            raise UserError(f"two runs of {one.name}", "give each run a seed of its own")
        if np.array_equal(one.losses, other.losses):  # false for NaN
            raise UserError(
                f"{one.name} and seed {other.seed} gave the same losses in every step",
                "check that the engine uses its seed",
            )


def _problem(measure: str, *sides: Side) -> str:
    """Seeds that diverged, in words, or an empty string."""
    found = list(_diverged(sides))
    if not found:
        return ""
    engine, seed, value = found[0]
    more = f" ({len(found) - 1} more like it)" if len(found) > 1 else ""
    return f"{engine}, seed {seed}: {measure.replace('_', ' ')} is {value:.3g}{more}"


def _diverged(sides: Sequence[Side]) -> Iterator[tuple[str, int, float]]:
    for side in sides:
        for seed, value in zip(side.seeds, side.values, strict=True):
            if not abs(value) < LARGEST:  # NaN, too
                yield side.engine, seed, value


def _or_nan(function: Any, values: Sequence[float]) -> float:
    return float(function(values)) if all(abs(v) < LARGEST for v in values) else math.nan


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
