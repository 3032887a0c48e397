"""What an optimiser should have made of its gradients, in float64, by PyTorch's own optimisers.

They are run on the recorded parameters, gradients and state. In float64 the order of operations, in
which R torch's optimisers differ from PyTorch's, is no matter.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from comparisons.ports.expected.call import takes
from comparisons.ports.expected.optimisers import OPTIMISERS, settings_of, state_name
from comparisons.ports.expected.recompute import REFUSED, as_tensor
from pyvae.trace.program import ProgramStep

__all__ = ["Update", "expected_update", "one_update", "state_before"]

Arrays = Mapping[str, NDArray]
# A gradient, its parameter's place in the group (from 1), and the group's settings
Changed = Callable[[Tensor, int, Mapping[str, Any]], Tensor]
# Optimisers that count their steps, but compute nothing from the number
COUNTS_ONLY = ("rmsprop", "adadelta", "rprop")


@dataclass(frozen=True)
class Update:
    """What one update makes of a parameter, in float64.

    Attributes:
        parameter: After the step.
        state: The optimiser's state of it after the step, by the names that the trace has.
    """

    parameter: Tensor
    state: dict[str, Tensor] = field(default_factory=dict)


def expected_update(step: ProgramStep, arrays: Arrays, before: Arrays) -> dict[str, Update]:
    """Computes every parameter and the optimiser's state after a step.

    Arguments:
        step: As it was recorded.
        arrays: Of the step.
        before: The optimiser's state before it: the arrays of the step before (`state/NAME.KEY`),
            or the state alone by NAME.KEY. What `arrays` have as `before/NAME.KEY` comes first.

    Returns:
        By the name of the parameter; left out is what the optimiser did not get a gradient of, and
        what does not follow from what was recorded.
    """
    return updates(step, arrays, before)


def updates(
    step: ProgramStep,
    arrays: Arrays,
    before: Arrays,
    change: Changed | None = None,
    without: Sequence[str] = (),
) -> dict[str, Update]:
    """As `expected_update`, with the gradients changed first, and some settings left out."""
    if step.optimiser is None:
        return {}
    found: dict[str, Update] = {}
    for number, group in enumerate(step.optimiser.groups):
        settings = settings_of(step.optimiser, number)
        if settings is None:
            continue
        left = {name: value for name, value in settings.items() if name not in without}
        for place, name in enumerate(group.parameters, 1):
            gradient = _gradient(name, arrays)
            state = state_before(name, step, arrays, before)
            if gradient is None or state is None or f"start/{name}" not in arrays:
                continue
            try:
                start = as_tensor(arrays[f"start/{name}"])
                if change is not None:
                    gradient = change(gradient, place, settings)
                update = _update(step.optimiser.kind, left, start, gradient, state)
                found[name] = _as_recorded(update, name, arrays, state)
            except REFUSED:
                continue
    return found


def _gradient(name: str, arrays: Arrays) -> Tensor | None:
    """The gradient that the optimiser got."""
    for kind in ("given", "gradient"):
        if f"{kind}/{name}" in arrays:
            return as_tensor(arrays[f"{kind}/{name}"])
    return None


def state_before(
    name: str, step: ProgramStep, arrays: Arrays, before: Arrays
) -> dict[str, NDArray] | None:
    """Returns an optimiser's state of a parameter before a step, by key.

    Returns:
        Empty if there was none yet; None if there was one that was not recorded.
    """
    found: dict[str, NDArray] = {}
    for source, prefixes in ((before, ("", "state/")), (arrays, ("before/",))):
        for prefix in prefixes:
            start = f"{prefix}{name}."
            for entry, value in source.items():
                key = entry.removeprefix(start)
                if entry.startswith(start) and "." not in key and np.size(value):
                    found[key] = value  # LibTorch's optimisers have an empty one for none
    if found or step.step == 1:
        return found
    after = {entry for entry in arrays if entry.startswith(f"state/{name}.")}
    counted = arrays.get(f"state/{name}.step")
    if not after or (counted is not None and float(np.reshape(counted, -1)[0]) == 1):
        return {}
    return None


def one_update(
    kind: str,
    settings: Mapping[str, Any],
    start: Tensor,
    gradient: Tensor,
    state: Mapping[str, Tensor],
) -> Update | None:
    """Computes one parameter's update.

    Arguments:
        kind: Of the optimiser, as traces name it.
        settings: As PyTorch's optimiser takes them.
        start, gradient: Of the parameter.
        state: Of the parameter before the step, by PyTorch's names; empty if there is none.

    Returns:
        None if the optimiser is not known, or refuses any of it.
    """
    try:
        return _update(kind, settings, start, gradient, {k: x.numpy() for k, x in state.items()})
    except REFUSED:
        return None


def _update(
    of: str,
    settings: Mapping[str, Any],
    start: Tensor,
    gradient: Tensor,
    state: Mapping[str, NDArray],
) -> Update:
    kind: Any = OPTIMISERS[of]
    known = takes(kind.__init__)
    parameter = torch.nn.Parameter(start.clone())
    parameter.grad = gradient.to(start.dtype).reshape(start.shape)
    with torch.inference_mode(False):
        one = kind([parameter], **settings, **({"foreach": False} if "foreach" in known else {}))
        if state and "step" not in state and of.endswith(COUNTS_ONLY):
            one.state[parameter]["step"] = torch.tensor(0.0)
        for key, value in state.items():
            one.state[parameter][state_name(key)] = _state(key, value, start)
        one.step()
    after = one.state[parameter]
    return Update(
        parameter.detach(),
        {
            key: torch.as_tensor(value).detach().to(torch.float64)
            for key, value in after.items()
            if value is not None and (key != "step" or not state or "step" in state)
        },
    )


def _as_recorded(
    update: Update, name: str, arrays: Arrays, before: Mapping[str, NDArray]
) -> Update:
    """An update whose state has the names that the trace has for it."""
    start = f"state/{name}."
    keys = [*before, *(entry.removeprefix(start) for entry in arrays if entry.startswith(start))]
    names = {state_name(key): key for key in keys}
    return Update(update.parameter, {names.get(key, key): v for key, v in update.state.items()})


def _state(key: str, value: NDArray, start: Tensor) -> Tensor:
    """A state as PyTorch keeps it: numbers as tensors of shape (), in the type that they had, and
    others as the parameter."""
    if key in ("step", "mu_product", "mu", "eta"):
        return torch.from_numpy(np.array(value)).reshape(())
    return as_tensor(value).to(torch.float64).reshape(start.shape)
