"""What a trace has of an optimiser: its settings, its groups and its state."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor
from torch.optim import Optimizer

from pyvae.recording.keras.optimiser import KerasOptimiser
from pyvae.recording.parameters import Parameters
from pyvae.recording.seen.arguments import json_value
from pyvae.recording.seen.values import tensors_in, to_array
from pyvae.trace.program import Optimiser, OptimiserGroup

__all__ = [
    "describe_optimiser", "given_gradient", "leaves_its_state_alone", "optimised", "state_arrays",
]  # fmt: skip

# How PyTorch computes the update, which is not what it computes; what schedules keep for
# themselves.
LEFT_OUT = {"params", "param_names", "foreach", "fused", "capturable", "differentiable",
            "initial_lr", "max_lr", "min_lr", "base_momentum", "max_momentum"}  # fmt: skip


def describe_optimiser(optimiser: Optimizer, name: str, parameters: Parameters) -> Optimiser:
    """An optimiser with its settings as they are now."""
    return Optimiser(
        name,
        optimiser.kind
        if isinstance(optimiser, KerasOptimiser)
        else type(optimiser).__name__.lower(),
        tuple(
            OptimiserGroup(
                tuple(n for one in group["params"] for n in parameters.listed_names(one)),
                _settings(group),
            )
            for group in optimiser.param_groups
        ),
    )


def _settings(group: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in group.items():
        if isinstance(value, Tensor):
            value = value.tolist()
        kept, said = json_value(value)
        if kept and key not in LEFT_OUT:
            found[key] = said
    return found


def leaves_its_state_alone(optimiser: Optimizer) -> bool:
    """Whether nothing but parameters and its state is left of what an optimiser's `step` computes:
    it is PyTorch's own, and nobody else hooks into it. (An average of the parameters that somebody
    keeps there may be what the loss takes next.)"""
    hooks = (optimiser._optimizer_step_pre_hooks, optimiser._optimizer_step_post_hooks)
    own = type(optimiser).__module__.startswith("torch.optim")
    return own and all(len(ours) == 1 for ours in hooks)


def optimised(optimiser: Optimizer, parameters: Parameters) -> Iterator[tuple[str, Tensor]]:
    """Yields the parameters that an optimiser updates, by name."""
    for group in optimiser.param_groups:
        for one in group["params"]:
            yield parameters.name_of(one) or "", one


def given_gradient(optimiser: Optimizer, tensor: Tensor) -> Tensor | None:
    """The gradient of a parameter that an optimiser is about to use: Keras' are handed theirs."""
    return optimiser.given.get(tensor) if isinstance(optimiser, KerasOptimiser) else tensor.grad


def state_arrays(optimiser: Optimizer, parameters: Parameters, kind: str) -> dict[str, NDArray]:
    """Copies an optimiser's state, as `KIND/PARAMETER.KEY`."""
    found: dict[str, NDArray] = {}
    for name, tensor in optimised(optimiser, parameters):
        state = optimiser.state.get(tensor)
        for key, value in state.items() if isinstance(state, dict) else ():
            at = f"{kind}/{name}.{key}"
            if isinstance(value, int | float):  # bool too
                found[at] = np.array(value, np.float64)
            for place, one in tensors_in(value):
                array = to_array(one)
                if array is not None:
                    found[f"{at}{place}"] = array
    return found
