r"""Measures how well a VAE explains images: ELBO, reconstruction, importance-weighted bound.

All are means over the images in nats per image, for a Bernoulli likelihood and the prior
:math:`N(0, I)`. They take two functions, so that any network can be measured:
`encode` maps images (B, P) to (mu, log_var) of (B, L) each, and `decode` maps latents (B, L) to
pixels (B, P) in [0, 1]; P is 784 for images of 28x28. Both must be in evaluation mode: no
dropout, batch norm from running statistics.

Noise is drawn by `pyvae.model.draws.Draws`: sample s of all images follows from (seed, s) alone. So
the same seed gives every function here the same latents, more samples begin with those of
fewer, and `batch_size` bounds memory without changing any result by more than rounding.

If a run diverged, the result is NaN, as in the run's own losses.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from pyvae.errors import UserError
from pyvae.model.draws import Draws

__all__ = [
    "Decode",
    "ElboParts",
    "Encode",
    "Reconstruction",
    "elbo_parts",
    "importance_weighted_bound",
    "reconstruction_at",
]

Encode = Callable[[Tensor], tuple[Tensor, Tensor]]
Decode = Callable[[Tensor], Tensor]


class ElboParts(NamedTuple):
    """The negative ELBO and its two parts, each the mean over images in nats per image."""

    reconstruction: float
    kl: float
    negative_elbo: float


class Reconstruction(NamedTuple):
    """The reconstruction term, the mean over images in nats per image.

    Attributes:
        at_mu: At z = mu.
        at_samples: At z drawn from the posterior; mean over samples.
    """

    at_mu: float
    at_samples: float


@torch.no_grad()
def elbo_parts(
    x: Tensor,
    encode: Encode,
    decode: Decode,
    seed: int = 0,
    samples: int = 1,
    batch_size: int = 1000,
) -> ElboParts:
    r"""Returns the negative evidence lower bound (ELBO) in two parts, the first by sampling.

    .. math:: -\tfrac1S \sum_s \log p(x \mid z_s)
        \;+\; -\tfrac12 \sum_l 1 + \log \sigma_l^2 - \mu_l^2 - \sigma_l^2,
        \qquad z_s = \mu + \sigma \epsilon_s

    Kingma & Welling (2014), "Auto-encoding variational Bayes", section 2.3 (eq. 7) and
    appendix B, https://arxiv.org/abs/1312.6114. Logarithms of pixels are held at -100 or above,
    as in `pyvae.model.objectives.bernoulli_reconstruction`. Where pixels lie between 0 and 1 the
    reconstruction is a cross-entropy: `x` is then no outcome of a Bernoulli variable.

    Arguments:
        x: Images (N, P), pixels in [0, 1].
        encode, decode: See the head of this file.
        seed: The seed of the noise, 0 or more.
        samples: Latents per image, S.
        batch_size: At most this many images or latents go through the network at a time.

    Raises:
        UserError: If `x` is not as described, `encode` or `decode` returns other shapes, pixels
            leave [0, 1], or `seed`, `samples` or `batch_size` is too small.
    """
    mu, log_var = _posterior(x, encode, seed, samples, batch_size)
    terms = -0.5 * (1 + log_var - mu.square() - log_var.exp())  # (N, L)
    kl = terms.sum(1, dtype=torch.float64).mean().item()
    total = 0.0
    for draw in _sampled(x, mu, log_var, decode, seed, samples, batch_size):
        total += draw.nats.sum().item()
    reconstruction = total / (samples * len(x))
    return ElboParts(reconstruction, kl, reconstruction + kl)


@torch.no_grad()
def reconstruction_at(
    x: Tensor,
    encode: Encode,
    decode: Decode,
    seed: int = 0,
    samples: int = 1,
    batch_size: int = 1000,
) -> Reconstruction:
    r"""Returns the reconstruction term at the posterior's mean, and at samples of the posterior.

    .. math:: -\log p(x \mid z = \mu) \quad\text{and}\quad
        -\tfrac1S \sum_s \log p(x \mid z = \mu + \sigma \epsilon_s)

    The first is what an autoencoder without noise would pay; the difference is the price of
    the posterior's variance. Kingma & Welling (2014), section 2.3,
    https://arxiv.org/abs/1312.6114. Arguments and errors are those of `elbo_parts`.
    """
    mu, log_var = _posterior(x, encode, seed, samples, batch_size)
    at_mu = at_samples = 0.0
    for rows in _slices(len(x), batch_size):
        at_mu += _nats(x[rows], mu[rows][None], decode).sum().item()
    for draw in _sampled(x, mu, log_var, decode, seed, samples, batch_size):
        at_samples += draw.nats.sum().item()
    return Reconstruction(at_mu / len(x), at_samples / (samples * len(x)))


@torch.no_grad()
def importance_weighted_bound(
    x: Tensor,
    encode: Encode,
    decode: Decode,
    k: int,
    seed: int = 0,
    batch_size: int = 1000,
) -> float:
    r"""Returns a lower bound of the log-likelihood from k samples of the posterior.

    .. math:: L_k = \mathrm{E}\Big[\log \frac1k \sum_{s=1}^k
        \frac{p(x \mid z_s)\, p(z_s)}{q(z_s \mid x)}\Big] \le \log p(x),
        \qquad z_s \sim q(z \mid x)

    by log-sum-exp, one draw of the k samples per image. In expectation it rises with k, to
    :math:`\log p(x)`; at k = 1 it is the ELBO with its KL sampled as well. Burda, Grosse &
    Salakhutdinov (2016), "Importance weighted autoencoders", eq. 8,
    https://arxiv.org/abs/1509.00519 (which reports :math:`-L_{5000}`).

    Arguments:
        x: Images (N, P), pixels in [0, 1]; the likelihood is one where they are 0 or 1.
        encode, decode: See the head of this file.
        k: Samples per image.
        seed: The seed of the noise, 0 or more.
        batch_size: At most this many images or latents go through the network at a time.

    Returns:
        The bound, the mean over images in nats per image: minus a negative log-likelihood.

    Raises:
        UserError: As `elbo_parts`, with `k` for `samples`.
    """
    mu, log_var = _posterior(x, encode, seed, k, batch_size, name="k")
    total = torch.full((len(x),), -math.inf, dtype=torch.float64, device=mu.device)  # (N,)
    half_log_var = 0.5 * log_var.sum(1, dtype=torch.float64)  # (N,)
    for rows, z, epsilon, nats in _sampled(x, mu, log_var, decode, seed, k, batch_size):
        # log p(z) - log q(z|x); the two normalisers' (2 pi)^(L/2) cancel
        ratio = 0.5 * (epsilon.square() - z.square()).sum(2, dtype=torch.float64)  # (S, B)
        log_weight = -nats + ratio + half_log_var[rows]  # (S, B)
        total[rows] = torch.logaddexp(total[rows], log_weight.logsumexp(0))
    return (total - math.log(k)).mean().item()


class _Sampled(NamedTuple):
    """Some samples of some images' posteriors, decoded."""

    rows: slice  # the images, B of them
    z: Tensor  # (S, B, L)
    epsilon: Tensor  # (S, B, L), z = mu + sigma * epsilon
    nats: Tensor  # (S, B), -log p(x|z), float64


def _sampled(
    x: Tensor,
    mu: Tensor,
    log_var: Tensor,
    decode: Decode,
    seed: int,
    samples: int,
    batch_size: int,
) -> Iterator[_Sampled]:
    """All samples of all images, at most `batch_size` latents at a time."""
    draws = Draws(seed)
    sigma = (0.5 * log_var).exp()  # (N, L)
    at_once = max(1, batch_size // len(x))
    for first in range(0, samples, at_once):
        chosen = range(first, min(first + at_once, samples))
        noise = np.stack([draws.normal("metrics", s, tuple(mu.shape)) for s in chosen])
        drawn = torch.from_numpy(noise).to(mu)  # (S, N, L)
        for rows in _slices(len(x), batch_size):
            epsilon = drawn[:, rows]  # (S, B, L)
            z = mu[rows] + sigma[rows] * epsilon  # (S, B, L)
            yield _Sampled(rows, z, epsilon, _nats(x[rows], z, decode))


def _nats(x: Tensor, z: Tensor, decode: Decode) -> Tensor:
    """-log p(x|z) in nats, summed over pixels, (S, B): images (B, P), latents (S, B, L)."""
    pixels = decode(z.flatten(0, 1))  # (S * B, P)
    wanted = (z.shape[0] * z.shape[1], x.shape[1])
    if pixels.shape != wanted:
        raise UserError(f"decode returned shape {tuple(pixels.shape)}", expected=f"{wanted}")
    low, high = (bound.item() for bound in pixels.aminmax())
    if math.isnan(low):  # the run diverged; binary_cross_entropy would raise
        return torch.full(z.shape[:2], math.nan, dtype=torch.float64, device=z.device)
    if low < 0 or high > 1:
        raise UserError(
            f"decode returned pixels from {low:.3g} to {high:.3g}",
            "end the decoder with a sigmoid",
            expected="probabilities in [0, 1]",
        )
    target = x.to(pixels).expand(z.shape[0], *x.shape).flatten(0, 1)  # (S * B, P)
    losses = F.binary_cross_entropy(pixels, target, reduction="none")  # (S * B, P)
    return losses.sum(1, dtype=torch.float64).reshape(z.shape[:2])  # (S, B)


def _posterior(
    x: Tensor, encode: Encode, seed: int, samples: int, batch_size: int, name: str = "samples"
) -> tuple[Tensor, Tensor]:
    """Checks the arguments; returns mu and log_var of all images, (N, L) each."""
    for label, value, least in (
        (name, samples, 1),
        ("batch_size", batch_size, 1),
        ("seed", seed, 0),
    ):
        if value < least:
            raise UserError(f"{label} is {value}", expected=f"{least} or more")
    if x.ndim != 2 or not x.numel():
        raise UserError(
            f"images of shape {tuple(x.shape)}", expected="(N, pixels), at least one image"
        )
    if not x.is_floating_point() or not (x.min() >= 0 and x.max() <= 1):
        raise UserError(
            f"images of {x.dtype} from {x.min().item():.3g} to {x.max().item():.3g}",
            "divide bytes by 255",
            expected="floats in [0, 1]",
        )
    parts = [encode(x[rows]) for rows in _slices(len(x), batch_size)]
    mu, log_var = (torch.cat(column) for column in zip(*parts, strict=True))
    if mu.shape != log_var.shape or mu.ndim != 2 or len(mu) != len(x):
        found = f"{tuple(mu.shape)} and {tuple(log_var.shape)}"
        raise UserError(
            f"encode returned mu and log_var of {found} for {len(x)} images",
            expected=f"({len(x)}, L) for both",
        )
    return mu, log_var


def _slices(images: int, batch_size: int) -> list[slice]:
    return [slice(first, first + batch_size) for first in range(0, images, batch_size)]
