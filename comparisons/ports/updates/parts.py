"""What an optimiser had of each parameter in a step, and what it made of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from comparisons.ports.expected.optimisers import settings_of, usual_settings
from comparisons.ports.expected.recompute import as_tensor
from comparisons.ports.expected.update import Update, state_before
from comparisons.ports.judging.judged import EPSILON
from comparisons.ports.judging.own import Own
from comparisons.ports.judging.updates import update_noise

__all__ = ["Part", "following", "optimised", "part_of"]

ROUNDINGS = 16  # of an update, besides those of the parameter itself


@dataclass(frozen=True)
class Part:
    """One parameter in one step of one side, in float64.

    Attributes:
        own: What the side should have returned.
        name: The parameter's.
        start, gradient: What the optimiser had.
        parameter: After the step, as it was recorded.
        before, state: The optimiser's state of it before the step, and after as it was recorded.
        right: What the step should have made of it.
        kind: Of the optimiser.
        settings: Its settings, with PyTorch's defaults.
        kept: Of a large parameter, which of its elements are looked at (as if it were flat): each
            is updated by itself.
    """

    own: Own
    name: str
    start: Tensor
    gradient: Tensor
    parameter: Tensor
    before: Mapping[str, Tensor]
    state: Mapping[str, Tensor]
    right: Update
    kind: str
    settings: Mapping[str, Any]
    kept: Tensor | None = None

    def of(self, array: NDArray) -> Tensor:
        """What belongs to the parameter, in its shape."""
        return _thin(as_tensor(array).to(torch.float64), self.start, self.kept)

    @cached_property
    def count(self) -> int:
        """The number of this update, from 1."""
        if "step" in self.before:
            return int(self.before["step"]) + 1
        if not self.before:
            return 1
        return int(self.state["step"]) if "step" in self.state else self.own.step.about.step

    @property
    def noise(self) -> float:
        """What rounding makes of the parameter."""
        moved = max(
            _largest(self.parameter - self.start), _largest(self.right.parameter - self.start)
        )
        precision = self.own.precision
        return update_noise(_largest(self.parameter), precision) + _rounded(moved, precision)

    def state_noise(self, key: str) -> float:
        """What rounding makes of one of its states."""
        terms = (self.state[key], self.right.state[key], self.before.get(key, torch.zeros(())))
        return _rounded(max(map(_largest, terms)), self.own.precision)

    def moment(self, key: str) -> Tensor:
        """A state before the step; zero if there was none."""
        return self.before[key] if key in self.before else torch.zeros_like(self.start)

    def largest_before(self, key: str) -> Tensor:
        """The largest that a state was in the steps before, as far as they were recorded."""
        found = self.moment(key)
        side = self.own.step.side
        for one in side.trace.steps:
            value = None
            if one.step < self.own.step.about.step:
                value = side.trace.stored(one.step).get(f"state/{self.name}.{key}")
            if value is not None:
                found = torch.maximum(found, self.of(value))
        return found

    @property
    def last_move(self) -> Tensor | None:
        """What the step before added to the parameter."""
        arrays = self.own.before.arrays if self.own.before is not None else {}
        values = [arrays.get(f"{kind}/{self.name}") for kind in ("start", "parameter")]
        if values[0] is None or values[1] is None:
            return None
        return self.of(values[1]) - self.of(values[0])


def optimised(own: Own) -> list[str]:
    """The parameters of a step's optimiser, in its order."""
    optimiser = own.step.about.optimiser
    groups = optimiser.groups if optimiser is not None else ()
    return [name for group in groups for name in group.parameters]


def part_of(own: Own, name: str, before: Mapping[str, Tensor] | None = None) -> Part | None:
    """One parameter's update; None if it is not known what it should be.

    Arguments:
        own: The side.
        name: The parameter.
        before: Its state before the step, in place of the recorded one; then the update need not be
            known.
    """
    optimiser, arrays = own.optimiser, own.step.arrays
    right = own.update(name)
    if optimiser is None or f"parameter/{name}" not in arrays or f"start/{name}" not in arrays:
        return None
    if right is None and before is not None:
        right = Update(as_tensor(arrays[f"start/{name}"]))
    if right is None:
        return None
    number = next(i for i, one in enumerate(optimiser.groups) if name in one.parameters)
    start, after = (as_tensor(arrays[f"{kind}/{name}"]) for kind in ("start", "parameter"))
    kept = _kept(start.numel())
    kind = f"{'given' if f'given/{name}' in arrays else 'gradient'}/{name}"
    state = {
        key.removeprefix(f"state/{name}."): as_tensor(arrays[key])
        for key in arrays
        if key.startswith(f"state/{name}.")
    }

    def thin(value: Tensor) -> Tensor:
        return _thin(value.to(torch.float64), start, kept)

    return Part(
        own, name, thin(start), thin(as_tensor(arrays[kind])), thin(after),
        {key: thin(x) for key, x in (state_of(own, name) or {}).items()}
        if before is None else before,
        {key: thin(x) for key, x in state.items()},
        Update(thin(right.parameter), {key: thin(x) for key, x in right.state.items()}),
        optimiser.kind,
        usual_settings(optimiser.kind) | (settings_of(optimiser, number) or {}),
        kept,
    )  # fmt: skip


MOST = 20_000  # elements of a parameter that are looked at


def _kept(count: int) -> Tensor | None:
    """Which elements of a parameter are looked at, of so many; the same ones in every step."""
    return torch.arange(0, count, count // MOST + 1) if count > MOST else None


def _thin(value: Tensor, start: Tensor, kept: Tensor | None) -> Tensor:
    """Something of a parameter in its shape, or its elements that are looked at."""
    if kept is not None and value.numel() > kept.numel():
        return value.flatten()[kept]
    return value.reshape(start.shape) if value.numel() == start.numel() else value


def state_of(own: Own, name: str) -> dict[str, Tensor] | None:
    """The optimiser's state of a parameter before a step; None if it was not recorded."""
    arrays = own.step.arrays
    starts = (f"before/{name}.", f"state/{name}.")
    earlier = own.before.arrays if own.before is not None else {}
    found = state_before(
        name,
        own.step.about,
        {key: arrays[key] for key in arrays if key.startswith(starts)},
        {key: earlier[key] for key in earlier if key.startswith(starts[1])},
    )
    return None if found is None else {k: as_tensor(v).to(torch.float64) for k, v in found.items()}


def following(own: Own) -> Iterator[Own]:
    """Yields the next recorded steps of the same side and optimiser."""
    now, trace = own.step, own.step.side.trace
    numbers = {one.step for one in trace.steps}
    for one in trace.steps:
        if one.step <= now.about.step or _name(one.optimiser) != _name(now.about.optimiser):
            continue
        known = all(number in numbers for number in range(now.about.step, one.step))
        step = own.step.side.step(one.step)
        own = Own(step, own.rtol, own.precision, now if known else None, own.stand_in)
        now = step
        yield own


def _name(optimiser: Any) -> str:
    return optimiser.name if optimiser is not None else ""


def _rounded(largest: float, precision: str) -> float:
    return ROUNDINGS * EPSILON[precision] * largest


def _largest(x: Tensor) -> float:
    finite = x[torch.isfinite(x)]
    return float(finite.abs().max()) if finite.numel() else 0.0
