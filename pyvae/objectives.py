r"""Objectives: a reconstruction term plus a regulariser, both in nats.

All terms are sums over the images of a batch (and over pixels or latent dimensions), as in
the R article; divide by the number of images for nats per image.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["OBJECTIVES", "Losses", "Objective", "bernoulli_reconstruction", "half_mu_squared", "kl"]


def bernoulli_reconstruction(pixels: Tensor, x: Tensor) -> Tensor:
    r"""Negative Bernoulli log-likelihood (binary cross-entropy) of images.

    .. math:: -\sum x \log p + (1 - x) \log(1 - p)

    Logarithms are held at -100 or above, as `torch.nn.functional.binary_cross_entropy` does.

    Arguments:
        pixels: Probabilities :math:`p` in [0, 1], shape (B, 784).
        x: Pixels in [0, 1], shape (B, 784).

    Returns:
        The sum over images and pixels in nats, shape ().
    """
    return F.binary_cross_entropy(pixels, x, reduction="sum")


def kl(mu: Tensor, log_var: Tensor) -> Tensor:
    r"""KL divergence of the posterior :math:`N(\mu, \sigma^2)` from the prior :math:`N(0, I)`.

    .. math:: -\tfrac12 \sum 1 + \log \sigma^2 - \mu^2 - \sigma^2

    Kingma & Welling (2014), "Auto-encoding variational Bayes", appendix B,
    https://arxiv.org/abs/1312.6114.

    Arguments:
        mu: Posterior means, shape (B, L).
        log_var: Logarithms of the posterior variances, shape (B, L).

    Returns:
        The sum over images and dimensions in nats, shape ().
    """
    return -0.5 * torch.sum(1 + log_var - mu.pow(2) - log_var.exp())


def half_mu_squared(mu: Tensor, log_var: Tensor) -> Tensor:
    r"""The regulariser of the R article's EMAE: :math:`\tfrac12 \sum \mu^2`.

    The VAE's KL without the posterior's entropy, and, in the loss that the article prints,
    without the prior's variance term :math:`\tfrac12 \sum \sigma^2` as well.

    Arguments:
        mu: Posterior means, shape (B, L).
        log_var: Not used; the signature is that of `kl`.

    Returns:
        The sum over images and dimensions in nats, shape ().
    """
    return 0.5 * torch.sum(mu.pow(2))


class Losses(NamedTuple):
    """An objective's value for a batch: sums over images in nats, each of shape ()."""

    total: Tensor
    reconstruction: Tensor
    regulariser: Tensor


@dataclass(frozen=True)
class Objective:
    """Reconstruction + regulariser, both with weight 1.

    Attributes:
        name: The name on the command line.
        title: The name in figures.
        formula: What is minimised, and its scale, in words.
        regulariser: Maps (mu, log_var) to a sum in nats.
    """

    name: str
    title: str
    formula: str
    regulariser: Callable[[Tensor, Tensor], Tensor]

    def __call__(self, x: Tensor, pixels: Tensor, mu: Tensor, log_var: Tensor) -> Losses:
        reconstruction = bernoulli_reconstruction(pixels, x)
        regulariser = self.regulariser(mu, log_var)
        return Losses(reconstruction + regulariser, reconstruction, regulariser)


OBJECTIVES = {
    objective.name: objective
    for objective in (
        Objective("vae", "VAE", "BCE + KL, summed over pixels and images, weights 1 and 1", kl),
        Objective(
            "emae",
            "EMAE",
            "BCE + sum(mu^2)/2, summed over pixels and images, weights 1 and 1",
            half_mu_squared,
        ),
    )
}
