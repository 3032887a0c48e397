"""An optimiser's state that is not the one that the step before left."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from comparisons.ports.expected.update import Update
from comparisons.ports.updates.parts import Part, optimised, state_of
from comparisons.ports.updates.ways.candidate import Candidate, with_settings

__all__ = ["other_states"]

MOST = 64  # parameters of one shape whose states are tried


def other_states(part: Part) -> Iterator[Candidate]:
    """Yields what the update would be with another state before it, or another gradient.

    Arguments:
        part: The update.
    """
    if any(value.any() for value in part.before.values()):
        yield Candidate(
            "the optimiser's state begins anew at this step (a resume without it?)",
            lambda one: with_settings(replace(one, before={})),
            once=True,
        )
        if "step" in part.before:
            yield Candidate(
                "the count of steps begins anew at this step (bias correction as in step 1), the "
                "moments go on",
                lambda one: with_settings(replace(one, before=_counted(one))),
                once=True,
            )
            yield Candidate(
                "the moments begin anew at this step, the count of steps goes on",
                lambda one: with_settings(replace(one, before=_emptied(one))),
                once=True,
            )
        for other, state in _others(part, lambda name: _state(part, name)):
            if _is_like(with_settings(replace(part, before=state)), part):
                yield Candidate(
                    f"{part.name} goes on from the state of {other}: the states are exchanged, or "
                    "in another order",
                    _Other(lambda one, name: replace(one, before=_state(one, name) or {})),
                    once=True,
                )
                break
    for other, gradient in _others(part, lambda name: _gradient(part, name)):
        if _is_like(with_settings(replace(part, gradient=gradient)), part):
            yield Candidate(
                f"{part.name} is updated with the gradient of {other}",
                _Other(_with_gradient_of),
            )
            break
    if _last_gradient(part) is not None:
        yield Candidate(
            "the update is made of the gradient of the step before (step() before backward()?)",
            _stale,
        )


def _with_gradient_of(part: Part, name: str) -> Part:
    gradient = _gradient(part, name)
    return part if gradient is None else replace(part, gradient=gradient)


def _counted(part: Part) -> dict[str, Tensor]:
    return {k: torch.zeros_like(v) if k == "step" else v for k, v in part.before.items()}


def _emptied(part: Part) -> dict[str, Tensor]:
    return {k: v if k == "step" else torch.zeros_like(v) for k, v in part.before.items()}


@dataclass(frozen=True)
class _Other:
    """An update with what belongs to whichever parameter of the same shape explains it."""

    exchange: Callable[[Part, str], Part]

    def __call__(self, part: Part) -> Update | None:
        for name in _same_shape(part):
            found = with_settings(self.exchange(part, name))
            if _is_like(found, part):
                return found
        return None


def _others(part: Part, get: Callable[[str], Any]) -> Iterator[tuple[str, Any]]:
    for name in _same_shape(part):
        found = get(name)
        if found is not None:
            yield name, found


def _same_shape(part: Part) -> list[str]:
    arrays = part.own.step.arrays
    shape = arrays[f"start/{part.name}"].shape
    return [
        name
        for name in optimised(part.own)
        if name != part.name
        and f"start/{name}" in arrays
        and arrays[f"start/{name}"].shape == shape
    ][:MOST]


def _state(part: Part, name: str) -> dict[str, Tensor] | None:
    found = state_of(part.own, name)
    return None if found is None else {k: part.of(x.numpy()) for k, x in found.items()}


def _gradient(part: Part, name: str) -> Tensor | None:
    arrays = part.own.step.arrays
    for kind in ("given", "gradient"):
        if f"{kind}/{name}" in arrays:
            return part.of(arrays[f"{kind}/{name}"])
    return None


def _last_gradient(part: Part) -> Tensor | None:
    arrays = part.own.before.arrays if part.own.before is not None else {}
    for kind in ("given", "gradient"):
        value = arrays.get(f"{kind}/{part.name}")
        if value is not None:
            return part.of(value)
    return None


def _stale(part: Part) -> Update | None:
    gradient = _last_gradient(part)
    return None if gradient is None else with_settings(replace(part, gradient=gradient))


def _is_like(found: Update | None, part: Part) -> bool:
    if found is None:
        return False
    size = float((part.right.parameter - part.parameter).abs().max())
    rest = float((found.parameter - part.parameter).abs().max())
    return rest <= max(1e-3 * size, part.noise)
