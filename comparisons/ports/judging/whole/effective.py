"""The gradient that counts, where each side comes to it in its own way.

`(loss / 2).backward()` and `grad /= 2` after `loss.backward()` give an optimiser the same; and so
does `weight_decay` the same as half of it times the sum of squares in the loss. So the gradient
that backward leaves is held against the other side's with all that is done to it: a factor, and
what the optimiser, or the program by hand, adds of the parameter itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from comparisons.ports.expected.optimisers import OPTIMISERS, settings_of, usual_settings
from comparisons.ports.judging.judged import EPSILON
from comparisons.ports.judging.own import Own
from comparisons.ports.matching.parameters import ParameterMatch

__all__ = ["Effective", "find_effective"]

ROUNDINGS = 16
NEAR = 1e-5  # relative: how near a factor is to a whole number, or one part of it
LARGEST = 2**32  # of such numbers


@dataclass(frozen=True)
class Effective:
    """What is done to both sides' gradients; the default is nothing that would not be alike.

    Attributes:
        scales: What each side multiplies all of them by before the update.
        decays: How often each side adds a parameter to its gradient, by the first side's name: in
            the optimiser, and by hand.
        in_optimiser: Of that what the optimiser does.
    """

    scales: tuple[float, float] = (1.0, 1.0)
    decays: tuple[Mapping[str, float], Mapping[str, float]] = field(default=({}, {}))
    in_optimiser: tuple[Mapping[str, float], Mapping[str, float]] = field(default=({}, {}))

    @property
    def is_plain(self) -> bool:
        """Whether the gradients that backward leaves are the same."""
        return self.scales[0] == self.scales[1] and not self.differs

    @property
    def differs(self) -> set[str]:
        """The parameters that are added to their gradients otherwise in one side's optimiser, or by
        hand."""
        return {name for name in self.decays[0] if self.decays[0][name] != self.decays[1][name]} | {
            name
            for name in self.in_optimiser[0]
            if self.in_optimiser[0][name] != self.in_optimiser[1][name]
        }

    def gradient(self, side: int, name: str, gradient: NDArray, start: NDArray) -> NDArray:
        """What counts of a gradient that backward left.

        Arguments:
            side: Whose.
            name: The parameter, by the first side's name.
            gradient: Its gradient.
            start: The parameter.
        """
        decay = self.decays[side].get(name, 0.0)
        return self.scales[side] * gradient.astype(np.float64) + decay * start.astype(np.float64)

    def given(self, side: int, name: str, gradient: NDArray, start: NDArray) -> NDArray:
        """What counts of a gradient that the optimiser is given; arguments as of `gradient`."""
        decay = self.in_optimiser[side].get(name, 0.0)
        return gradient.astype(np.float64) + decay * start.astype(np.float64)

    def loss(self, side: int, loss: float, starts: Mapping[str, NDArray]) -> float:
        """What counts of a loss.

        Arguments:
            side: Whose.
            loss: As it is.
            starts: The parameters, by the first side's names.
        """
        squares = sum(
            decay * float((starts[name].astype(np.float64) ** 2).sum())
            for name, decay in self.decays[side].items()
        )
        return self.scales[side] * loss + squares / 2


def find_effective(
    own: tuple[Own, Own], parameters: Sequence[ParameterMatch], precision: str
) -> Effective | None:
    """Finds what each side does to its gradients, beside what both do.

    Arguments:
        own: A step of both sides.
        parameters: Those that have a gradient on both sides.
        precision: The coarser type of number.

    Returns:
        None if that is not known, or if nothing is done otherwise.
    """
    wanted: list[dict[str, float]] = [{}, {}]
    for side, one in enumerate(own):
        for match in parameters:
            ways = {_weight_decay(one, name) for name in (match.a, match.b)[side]}
            decay = ways.pop() if len(ways) == 1 else None
            if decay is None:
                return None
            wanted[side][match.name] = decay
    scales, by_hand = [], []
    for side, one in enumerate(own):
        missing = {n: wanted[1 - side][n] - wanted[side][n] for n in wanted[side]}
        done = _changes(one, side, parameters, missing, precision)
        if done is None:
            return None
        scales.append(done[0])
        by_hand.append(done[1])
    decays = [{n: wanted[k][n] + by_hand[k].get(n, 0.0) for n in wanted[k]} for k in (0, 1)]
    found = Effective((scales[0], scales[1]), (decays[0], decays[1]), (wanted[0], wanted[1]))
    return None if found.is_plain else found


def _weight_decay(own: Own, name: str) -> float | None:
    """How often the optimiser adds a parameter to its gradient; None if that is not known."""
    optimiser = own.optimiser
    for number, group in enumerate(optimiser.groups if optimiser is not None else ()):
        if optimiser is None or name not in group.parameters:
            continue
        given = settings_of(optimiser, number)
        if given is None or optimiser.kind not in OPTIMISERS:
            return None
        settings = usual_settings(optimiser.kind) | given
        if settings.get("maximize"):
            return None
        if optimiser.kind.endswith("adamw") or settings.get("decoupled_weight_decay"):
            return 0.0
        return float(settings.get("weight_decay") or 0.0)
    return None


def _changes(
    own: Own,
    side: int,
    parameters: Sequence[ParameterMatch],
    missing: Mapping[str, float],
    precision: str,
) -> tuple[float, dict[str, float]] | None:
    """What a side does to all its gradients between backward and the update: a factor, and how
    often it adds a parameter, if it does not let its optimiser do that; None if it is something
    else."""
    scale = None
    added: dict[str, float] = {}
    for match in parameters:
        for name in (match.a, match.b)[side]:
            left = own.step.arrays[f"gradient/{name}"].astype(np.float64)
            given = own.step.arrays.get(f"given/{name}")
            given = left if given is None else given.astype(np.float64)
            start = own.step.arrays[f"start/{name}"].astype(np.float64)
            if not left.any():
                continue
            ways = []
            for decay in dict.fromkeys((0.0, missing[match.name])):
                rest = given - decay * start
                number = _factor(left, rest) if scale is None else scale
                size = np.abs(number * left) + np.abs(decay * start)
                apart = np.abs(number * left - rest)
                if (apart <= ROUNDINGS * EPSILON[precision] * size).all():
                    ways.append((float(apart.max(initial=0)), number, decay))
            if not ways:
                return None
            _, scale, added[match.name] = min(ways)
    return 1.0 if scale is None else scale, added


def _factor(before: NDArray, after: NDArray) -> float:
    """What numbers are multiplied by: a whole number or one part of it, if it is near one."""
    at = int(np.abs(before).argmax())
    factor = float(after.flat[at] / before.flat[at])
    for number in (factor, 1 / factor if factor else 0.0):
        whole = float(np.rint(number))
        if 0 < whole < LARGEST and abs(number - whole) <= NEAR * whole:
            return whole if number == factor else 1 / whole
    return factor
