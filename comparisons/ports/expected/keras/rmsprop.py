"""RMSprop as PyTorch has it, and with eps where Keras has it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

__all__ = ["RMSprop"]


class RMSprop(torch.optim.RMSprop):
    """PyTorch's RMSprop; with `eps_inside` each number x of a parameter becomes
    x - lr g / sqrt(v + eps), where PyTorch divides by sqrt(v) + eps.

    Source: https://keras.io/api/optimizers/rmsprop/, Keras 3

    Arguments:
        params, lr, alpha, eps, weight_decay, momentum, centered, maximize: As PyTorch's.
        eps_inside: Whether eps is inside the square root.

    Raises:
        ValueError: If a setting is none that PyTorch takes, or eps is inside the root and there is
            momentum, weight decay or `maximize`.
    """

    def __init__(
        self,
        params: Any,
        lr: float = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0,
        momentum: float = 0,
        centered: bool = False,
        maximize: bool = False,
        eps_inside: bool = False,
    ) -> None:
        super().__init__(
            params, lr, alpha, eps, weight_decay, momentum, centered, foreach=False,
            maximize=maximize,
        )  # fmt: skip
        if eps_inside and any((momentum, weight_decay, maximize)):
            raise ValueError("eps is inside the square root of the plain RMSprop alone")
        self.eps_inside = eps_inside

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        if not self.eps_inside:
            return super().step(closure)
        for group in self.param_groups:
            for one in group["params"]:
                self._move(one, group)
        return None

    def _move(self, one: Tensor, group: dict[str, Any]) -> None:
        state, g, alpha = self.state[one], one.grad, group["alpha"]
        if g is None:
            return
        if "square_avg" not in state:
            state["step"] = torch.zeros(())
            state["square_avg"] = torch.zeros_like(one)
        state["step"] = state["step"] + 1
        variance = state["square_avg"].mul(alpha).addcmul(g, g, value=1 - alpha)  # as PyTorch does
        state["square_avg"] = variance
        if group["centered"]:
            before = state.get("grad_avg", torch.zeros_like(one))
            state["grad_avg"] = before.lerp(g, 1 - alpha)
            variance = variance - state["grad_avg"] ** 2
        one.sub_(group["lr"] * g / (variance + group["eps"]).sqrt())
