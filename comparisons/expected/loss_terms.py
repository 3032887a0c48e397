r"""The terms of the losses, in float64, from a recipe's declarations.

A term is a sum over images and features (pixels, dimensions, classes), or a mean over images, or
over both; the total is a weighted sum of terms.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from pyvae.model.stages import Stage

__all__ = ["FEATURES", "SUMMANDS", "Term", "kl_normal", "reduced"]

FLOOR = -100.0  # logarithms in the cross entropy are held there


@dataclass(frozen=True)
class Term:
    """What a stage of the loss computes.

    Attributes:
        kind: One of `SUMMANDS`, or `sum` for a weighted sum of other terms.
        per: What its summands are divided by: nothing (`sum`), images (`image`), or both
            (`element`).
        weights: Of the other terms.
        options: Such as the variance of a likelihood.
    """

    kind: str
    per: str = "sum"
    weights: tuple[float, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of_stage(cls, stage: Stage) -> Term:
        """What a stage stands for."""
        options = dict(stage.options)
        per, weights = options.pop("per", "sum"), options.pop("weights", ())
        return cls(stage.layer, per, tuple(weights), options)

    def summands(self, inputs: Sequence[Tensor]) -> Tensor:
        """(B, F), before they are summed."""
        return SUMMANDS[self.kind](*inputs, **self.options)

    def value(self, inputs: Sequence[Tensor]) -> Tensor:
        """The term, ()."""
        if self.kind == "sum":
            weighted = zip(self.weights, inputs, strict=True)
            return torch.stack([weight * value for weight, value in weighted]).sum()
        return reduced(self.summands(inputs), self.per)


def reduced(summands: Tensor, per: str) -> Tensor:
    """The sum of (B, F), divided by images, features, or both."""
    count = {"sum": 1, "image": len(summands), "element": summands.numel()}
    count["feature"] = summands[0].numel()
    return summands.sum() / count[per]


def _bce(q: Tensor, x: Tensor, floor: float = FLOOR) -> Tensor:
    q, x = q.flatten(1), x.flatten(1)
    return -(x * q.log().clamp(min=floor) + (1 - x) * torch.log1p(-q).clamp(min=floor))


def _gaussian(mean: Tensor, x: Tensor, variance: float) -> Tensor:
    return 0.5 * ((x - mean) ** 2 / variance + math.log(2 * math.pi * variance))


def kl_normal(mu: Tensor, log_var: Tensor) -> Tensor:
    return -0.5 * (1 + log_var - mu**2 - log_var.exp())


def _kl_gaussians(mu1: Tensor, log_var1: Tensor, mu2: Tensor, log_var2: Tensor) -> Tensor:
    ratio, distance = (log_var1 - log_var2).exp(), (mu2 - mu1) ** 2 * (-log_var2).exp()
    return -0.5 * (1 + log_var1 - log_var2 - ratio - distance)


def _kl_categorical(pi: Tensor) -> Tensor:
    return pi * (torch.log(pi + 1e-20) - math.log(1 / pi.shape[1] + 1e-20))


SUMMANDS: dict[str, Callable[..., Tensor]] = {
    "bce": _bce,
    "cross_entropy": lambda pi, labels: -labels * torch.log_softmax(pi, 1),
    "expected_prior": lambda mu, log_var: 0.5 * (mu**2 + log_var.exp()),
    "gaussian": _gaussian,
    "half_mu_squared": lambda mu, log_var: 0.5 * mu**2,
    "kl_categorical": _kl_categorical,
    "kl_gaussians": _kl_gaussians,
    "kl_normal": kl_normal,
    "mse": lambda q, x: (q.flatten(1) - x.flatten(1)) ** 2,
}
FEATURES = {  # what a term is summed over in each image, in words
    "bce": "pixels",
    "cross_entropy": "classes",
    "gaussian": "coordinates",
    "kl_categorical": "classes",
    "mse": "pixels",
}
