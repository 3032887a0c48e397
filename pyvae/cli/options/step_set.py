"""Sets of steps as a user writes them: `1`, or `1,3-5`, or `all`, or `none`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import ClassVar, Self

from pyvae.errors import UserError

__all__ = ["StepSet"]


@dataclass(frozen=True)
class StepSet:
    """A set of steps, counted from 1; both ends of a range belong to it.

    Example:
        >>> 4 in StepSet.parse("1,3-5"), 2 in StepSet.parse("1,3-5")
        (True, False)
    """

    option: ClassVar[str] = "--probe"
    expected: ClassVar[str] = "steps such as 1 or 1,3-5, or all, or none"
    may_be_empty: ClassVar[bool] = True

    ranges: tuple[tuple[int, int], ...]
    everything: bool = False

    @classmethod
    def parse(cls, text: str) -> Self:
        """Reads what a user wrote.

        Raises:
            UserError: If it is not a set of steps.
        """
        text = text.strip().lower()
        if text == "all":
            return cls((), everything=True)
        if text == "none" and cls.may_be_empty:
            return cls(())
        ranges = []
        for part in text.split(","):
            match = re.fullmatch(r"\s*(\d{1,9})\s*(?:-\s*(\d{1,9})\s*)?", part)
            first, last = (int(match[1]), int(match[2] or match[1])) if match else (0, 0)
            if not 1 <= first <= last:
                raise UserError(f"{cls.option} '{text}'", expected=cls.expected)
            ranges.append((first, last))
        return cls(tuple(ranges))

    def check(self, steps: int) -> None:
        """Raises UserError if a step is beyond the end of the run."""
        last = max((last for _, last in self.ranges), default=0)
        if last > steps:
            raise UserError(f"--probe names step {last}", expected=f"steps from 1 to {steps}")

    def __contains__(self, step: object) -> bool:
        return self.everything or any(
            isinstance(step, int) and first <= step <= last for first, last in self.ranges
        )
