"""How far two engines agree in one quantity of one step."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from pyvae.model.stages import Quantity

__all__ = ["StageAgreement"]


@dataclass(frozen=True)
class StageAgreement:
    """How far two engines agree in one quantity of one step.

    Attributes:
        step: Counted from 1.
        quantity: Which.
        shape: Its shape (under test).
        largest: Its largest magnitude on either side.
        max_abs: The largest difference that is not explained.
        raw_max_abs: The largest difference, explained or not.
        rtol: The largest `required_rtol` that agrees.
        index: The element with the largest unexplained difference, counted from 0.
        values: Both sides' values there, under test first.
        explained: What explains the rest, in words.
        kinks: Of a gradient, how many elements or windows rounding decides where it arises.
        kinks_at: The layer that has these kinks.
        problem: A shape difference, NaN, infinity or absence, in words.
    """

    step: int
    quantity: Quantity
    shape: tuple[int, ...]
    largest: float
    max_abs: float
    raw_max_abs: float
    rtol: float
    index: tuple[int, ...] = ()
    values: tuple[float, float] = (math.nan, math.nan)
    explained: str = ""
    problem: str = ""
    kinks: int = 0
    kinks_at: str = ""

    @property
    def required_rtol(self) -> float:
        """The tolerance that would have sufficed, relative to the largest magnitude."""
        if self.problem:
            return math.nan
        return self.max_abs / self.largest if self.max_abs else 0.0

    @property
    def agrees(self) -> bool:
        return not self.problem and self.required_rtol <= self.rtol

    def ulps(self, dtype: str) -> float:
        """The difference in units of the last place of the largest magnitude."""
        if self.problem or not self.max_abs:
            return math.nan if self.problem else 0.0
        return self.max_abs / float(np.spacing(np.array(self.largest, dtype)))
