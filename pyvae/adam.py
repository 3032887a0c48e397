"""Adam in the order of operations of R's torch."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

__all__ = ["ADAMS", "RTorchAdam"]


class RTorchAdam(torch.optim.Optimizer):
    r"""Adam, with the operations in the order of R's `torch::optim_adam`.

    .. math::
        m &\leftarrow \beta_1 m + (1 - \beta_1) g \\
        v &\leftarrow \beta_2 v + (1 - \beta_2) g^2 \\
        \theta &\leftarrow \theta
            - \frac{\eta}{1 - \beta_1^t} \frac{m}{\sqrt{v} / \sqrt{1 - \beta_2^t} + \epsilon}

    Kingma & Ba (2015), "Adam: a method for stochastic optimization", algorithm 1,
    https://arxiv.org/abs/1412.6980. The first line is R's
    `exp_avg$mul_(beta1)$add_(grad, alpha = 1 - beta1)`
    (https://github.com/mlverse/torch, R/optim-adam.R; `optim_ignite_adam` rounds alike), where
    `torch.optim.Adam` has `exp_avg.lerp_(grad, 1 - beta1)`: the same formula, rounded
    differently from the second step on. All else is the same in both. With this optimiser a
    run in PyTorch and one in R's torch, from the same seed, are equal in every bit.

    Arguments:
        params: Parameters to optimise.
        lr: Step size, :math:`\eta`.
        betas: Decay rates of the two moments.
        eps: :math:`\epsilon`.
    """

    def __init__(
        self,
        params: Iterable[Tensor],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
    ) -> None:
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """One step; parameters without a gradient are left alone."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._update(parameter, parameter.grad, group)
        return loss

    def _update(self, parameter: Tensor, gradient: Tensor, group: dict[str, Any]) -> None:
        state = self.state[parameter]
        if not state:
            state["step"] = torch.tensor(0.0)
            state["exp_avg"] = torch.zeros_like(parameter)
            state["exp_avg_sq"] = torch.zeros_like(parameter)
        state["step"] += 1
        step = state["step"].item()
        beta1, beta2 = group["betas"]
        moment1, moment2 = state["exp_avg"], state["exp_avg_sq"]
        moment1.mul_(beta1).add_(gradient, alpha=1 - beta1)
        moment2.mul_(beta2).addcmul_(gradient, gradient, value=1 - beta2)
        # not ** 0.5: in some steps (the 1270th is the first) that differs from R's sqrt
        denominator = (moment2.sqrt() / math.sqrt(1 - beta2**step)).add_(group["eps"])
        parameter.addcdiv_(moment1, denominator, value=-(group["lr"] / (1 - beta1**step)))


ADAMS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "torch": torch.optim.Adam,
    "r-torch": RTorchAdam,
}
