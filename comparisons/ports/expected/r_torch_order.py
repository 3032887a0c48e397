"""R torch's order of operations, where it is not PyTorch's: the same in exact numbers, and other in
the last bits.

Computed in the type of number of the program, so that it has that side's bits, or is not what made
the difference. Found with R torch 0.17.0.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from comparisons.ports.expected.optimisers import plain_settings, state_name
from comparisons.ports.expected.recompute import REFUSED
from comparisons.ports.expected.update import state_before
from pyvae.trace.program import OptimiserGroup, ProgramStep

__all__ = ["clipped", "r_torch_update"]

Arrays = Mapping[str, NDArray]
State = dict[str, Tensor]
CLIP_EPS = 1e-6  # that both add to a norm before they divide by it
DIGITS = 6  # that a bound is taken to have


def r_torch_update(
    name: str, step: ProgramStep, arrays: Arrays, before: Arrays
) -> dict[str, NDArray]:
    """Computes an update as R torch's optimisers do.

    Arguments:
        name: The parameter.
        step: As it was recorded.
        arrays: Of the step.
        before: As `comparisons.ports.expected.update.expected_update` takes it.

    Returns:
        `parameter`, and the optimiser's state by key; empty if it is an optimiser whose order is
        PyTorch's, or cannot be computed.
    """
    groups = step.optimiser.groups if step.optimiser is not None else ()
    group = next((one for one in groups if name in one.parameters), None)
    gradient = arrays.get(f"given/{name}", arrays.get(f"gradient/{name}"))
    state = state_before(name, step, arrays, before)
    start = arrays.get(f"start/{name}")
    if group is None or gradient is None or start is None or state is None:
        return {}
    try:
        with torch.no_grad():
            return _update(step, group, torch.tensor(start), torch.tensor(gradient), state)
    except REFUSED:
        return {}


def _update(
    step: ProgramStep,
    group: OptimiserGroup,
    parameter: Tensor,
    gradient: Tensor,
    before: Mapping[str, NDArray],
) -> dict[str, NDArray]:
    compute = ORDERS.get(step.optimiser.kind if step.optimiser is not None else "")
    if compute is None:
        return {}
    names = {state_name(key): key for key in before}
    state = {state_name(key): torch.tensor(value) for key, value in before.items()}
    compute(plain_settings(group.settings), parameter, gradient, state)
    found = {names.get(key, key): value.numpy() for key, value in state.items() if key != "step"}
    return {"parameter": parameter.numpy(), **found}


def _moment(state: State, key: str, like: Tensor) -> Tensor:
    return state.setdefault(key, torch.zeros_like(like))


def _adam(decoupled: bool, float32: bool) -> Callable[..., None]:
    """Adam as R has it, and LibTorch (`optim_ignite_adam`).

    Arguments:
        decoupled: Whether the decay is of the parameter (AdamW), not of the gradient.
        float32: Whether the bias corrections are computed in float32.
    """

    def update(settings: Mapping[str, Any], p: Tensor, gradient: Tensor, state: State) -> None:
        lr, eps, decay = settings["lr"], settings["eps"], settings.get("weight_decay", 0)
        beta1, beta2 = settings["betas"]
        count = float(state.get("step", torch.zeros(())).reshape(-1)[0]) + 1
        if decoupled:
            p.mul_(1 - lr * decay)
        elif decay:
            gradient = gradient.add(p, alpha=decay)
        first, second = _moment(state, "exp_avg", p), _moment(state, "exp_avg_sq", p)
        first.mul_(beta1).add_(gradient, alpha=1 - beta1)
        second.mul_(beta2).addcmul_(gradient, gradient, value=1 - beta2)
        if settings.get("amsgrad"):
            largest = _moment(state, "max_exp_avg_sq", p)
            second = largest.copy_(torch.maximum(largest, second))
        number: Any = torch.tensor if float32 else float  # of type float32, or float64
        correction = 1 - number(beta2) ** number(count)
        size = number(lr) / (1 - number(beta1) ** number(count))
        denominator = (second.sqrt() / correction**0.5).add_(eps)
        p.addcdiv_(first, denominator, value=-float(size))

    return update


def _centred_rmsprop(
    settings: Mapping[str, Any], p: Tensor, gradient: Tensor, state: State
) -> None:
    if not settings.get("centered"):
        return
    alpha = settings["alpha"]
    if settings.get("weight_decay"):
        gradient = gradient.add(p, alpha=settings["weight_decay"])
    square, mean = _moment(state, "square_avg", p), _moment(state, "grad_avg", p)
    square.mul_(alpha).addcmul_(gradient, gradient, value=1 - alpha)
    mean.mul_(alpha).add_(gradient, alpha=1 - alpha)
    average = square.addcmul(mean, mean, value=-1).sqrt_().add_(settings["eps"])
    if settings.get("momentum", 0) > 0:
        buffer = _moment(state, "momentum_buffer", p)
        buffer.mul_(settings["momentum"]).addcdiv_(gradient, average)
        p.add_(buffer, alpha=-settings["lr"])
    else:
        p.addcdiv_(gradient, average, value=-settings["lr"])


ORDERS: Mapping[str, Callable[..., None]] = {
    "adam": _adam(decoupled=False, float32=False),
    "ignite_adam": _adam(decoupled=False, float32=False),
    "adamw": _adam(decoupled=True, float32=True),
    "ignite_adamw": _adam(decoupled=True, float32=False),
    "rmsprop": _centred_rmsprop,
    "ignite_rmsprop": _centred_rmsprop,
}


def clipped(arrays: Arrays, names: Sequence[str]) -> dict[str, NDArray]:
    """Clips the gradients that `backward` left by their norm, summed over the parameters in this
    order; the bound is the one that explains what the optimiser was given.

    Arguments:
        arrays: Of a step.
        names: The parameters, in the order in which they are listed.

    Returns:
        The gradients by the parameter's name; empty if they were not clipped so.
    """
    left = {name: arrays[f"gradient/{name}"] for name in names if f"gradient/{name}" in arrays}
    given = {name: arrays[f"given/{name}"] for name in left if f"given/{name}" in arrays}
    if not given or len({one.dtype for one in left.values()}) != 1:
        return {}
    gradients = {name: torch.tensor(one) for name, one in left.items()}
    total = torch.linalg.vector_norm(
        torch.stack([torch.linalg.vector_norm(one) for one in gradients.values()])
    )
    name = max(given, key=lambda one: float(np.abs(left[one]).max(initial=0)))
    at = int(np.abs(left[name]).argmax())
    factor = float(given[name].flat[at]) / float(left[name].flat[at])
    bound = float(f"{factor * (float(total) + CLIP_EPS):.{DIGITS}g}")
    scale = bound / (total + CLIP_EPS)
    return {name: (one * scale).numpy() for name, one in gradients.items()}
