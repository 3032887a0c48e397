"""What layers that normalise have in common: means and variances over some of the axes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from comparisons.ports.mistakes.general.options import USUAL

__all__ = ["Normalised", "along", "fitted_eps"]

Named = tuple[str, Tensor]


def along(values: Tensor, x: Tensor) -> Tensor:
    """One number for each channel, so that it meets them in x."""
    return values.reshape(-1, *[1] * (x.dim() - 2))


@dataclass(frozen=True)
class Normalised:
    """Values that are brought to mean 0 and variance 1.

    Attributes:
        x: In the shape in which `axes` are averaged over.
        axes: Over which the statistics are taken.
        eps: What is added to the variance.
        after: From the normalised values to what the layer returns: weight and bias.
        running: Mean and variance that are given, in evaluation mode.
    """

    x: Tensor
    axes: Sequence[int]
    eps: float
    after: Callable[[Tensor], Tensor]
    running: tuple[Tensor, Tensor] | None = None

    @property
    def mean(self) -> Tensor:
        if self.running is not None:
            return self.running[0]
        return self.x.mean(tuple(self.axes), keepdim=True)

    @property
    def variance(self) -> Tensor:
        if self.running is not None:
            return self.running[1]
        return self.x.var(tuple(self.axes), correction=0, keepdim=True)

    @property
    def count(self) -> int:
        """Of how many numbers each statistic is taken; 0 if it is given."""
        return 0 if self.running is not None else self.x.numel() // self.variance.numel()

    def over(self, mean: Tensor | float, root: Tensor | float) -> Tensor:
        return self.after((self.x - mean) / root)

    def mistaken(self) -> Iterator[Named]:
        """Usual mistakes in the statistics."""
        mean, variance, eps = self.mean, self.variance, self.eps
        root = (variance + eps).sqrt()
        if self.count > 1:
            unbiased = variance * (self.count / (self.count - 1))
            yield (
                "the unbiased variance, divided by n - 1, where it is divided by n",
                self.over(mean, (unbiased + eps).sqrt()),
            )
            yield (
                "epsilon added to the unbiased standard deviation, where it is to the variance",
                self.over(mean, unbiased.sqrt() + eps),
            )
        yield "epsilon is outside the square root", self.over(mean, variance.sqrt() + eps)
        yield "divided by the variance, not by its square root", self.over(mean, variance + eps)
        yield "the mean is not subtracted", self.over(0.0, root)
        yield "not divided by the standard deviation", self.over(mean, 1.0)
        if self.running is None:
            square = (self.x**2).mean(tuple(self.axes), keepdim=True)
            words = "divided by the root mean square, the mean not subtracted (RMS norm)"
            yield words, self.over(0.0, (square + eps).sqrt())
        yield "no normalisation", self.over(0.0, 1.0)


def fitted_eps(one: Normalised, found: Tensor) -> float | None:
    """The epsilon with which the variance gives what was found, from the place where the variance
    hides it least; None if it is a usual one, which has been tried.

    Arguments:
        one: What is normalised.
        found: What was recorded of the layer.
    """
    centred = one.x - one.mean
    zero = one.after(torch.zeros_like(centred))
    weight = one.after(torch.ones_like(centred)) - zero
    if found.shape != zero.shape:
        return None
    weighted = weight.reshape(one.x.shape) * centred
    axes = tuple(one.axes)
    square = (weighted**2).sum(axes, keepdim=True)
    inverse = ((found - zero).reshape(one.x.shape) * weighted).sum(axes, keepdim=True) / square
    usable = (square > 0) & (inverse > 0)
    if not usable.any():
        return None
    place = int(torch.where(usable, one.variance, torch.inf).argmin())
    variance = one.variance.flatten()[place].item()
    other = float(f"{1 / inverse.flatten()[place].item() ** 2 - variance:.4g}")
    is_noise = other <= 1e-9 * variance
    usual = any(abs(other - eps) <= 0.01 * eps for eps in USUAL["eps"])
    return None if is_noise or usual else other
