"""Values that one side has with further axes of one element: `(12,)` and `(12, 1)`.

They are the same numbers, and yet not always the same value: a difference of the two is (12, 12).
So what is computed from them decides, up to the next stages that belong together.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from comparisons.ports.matching.matched import NetworkMatch, matched_outputs
from comparisons.ports.side import RecordedStep

__all__ = ["UnitAxes"]


class UnitAxes:
    """Which values of a step differ in axes of one element alone, without effect.

    Arguments:
        a, b: The step of both sides.
        network: What belongs together.
        rtol: How far what is computed from them may differ, relative to its largest number.
    """

    def __init__(
        self, a: RecordedStep, b: RecordedStep, network: NetworkMatch, rtol: float
    ) -> None:
        self.sides, self.network, self.rtol = (a, b), network, rtol
        self.known: dict[tuple[str, str], bool] = {}

    def in_one_shape(self, names: tuple[str, str], a: NDArray, b: NDArray) -> NDArray:
        """The second side's array in the first side's shape, if another one has no effect; else as
        it is.

        Arguments:
            names: The values that belong together.
            a, b: These, or their gradients.
        """
        if a.shape == b.shape or not _alike(a, b):
            return b
        if names not in self.known:
            self.known[names] = self._without_effect(names)
        return b.reshape(a.shape) if self.known[names] else b

    def _without_effect(self, names: tuple[str, str]) -> bool:
        mine, theirs = (
            dict(self._next(side, name)) for side, name in zip((0, 1), names, strict=True)
        )
        both = [(one, two) for one, two in mine.items() if theirs.get(two) == one]
        values = [(self.sides[0].value(one), self.sides[1].value(two)) for one, two in both]
        return bool(values) and all(
            a is not None and b is not None and _alike(a, b) and self._agree(a, b)
            for a, b in values
        )

    def _next(self, side: int, name: str) -> Iterator[tuple[str, str]]:
        """What the next stages return that belong together and take a value, or what only their own
        side has and is computed from it; each with the other side's name for it."""
        step, seen, waiting = self.sides[side], {name}, [name]
        there = self.network.partner if side == 0 else self.network.partner_of_b
        while waiting:
            for stage in step.takers.get(waiting.pop(), ()):
                pair = there.get(stage.name)
                if pair is not None:
                    for one, two in matched_outputs(pair):
                        yield (one, two) if side == 0 else (two, one)
                    continue
                waiting += [one for one in stage.outputs if one not in seen]
                seen |= {*stage.outputs}

    def _agree(self, a: NDArray, b: NDArray) -> bool:
        x, y = a.astype(np.float64).ravel(), b.astype(np.float64).ravel()
        return np.allclose(x, y, rtol=0, atol=self.rtol * np.abs(x).max(initial=0), equal_nan=True)


def _alike(a: NDArray, b: NDArray) -> bool:
    """Whether two shapes are the same but for axes of one element."""
    return [n for n in a.shape if n != 1] == [n for n in b.shape if n != 1]
