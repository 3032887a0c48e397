"""Terms of the losses: likelihoods and divergences, in nats summed over a batch.

`pyvae.model.derive.stages` sees their calls: each is open to `torch.overrides`.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import wrap_torch_function

from pyvae.model.kernels.binary_cross_entropy import summed_binary_cross_entropy
from pyvae.model.kernels.choice import is_fast

__all__ = [
    "bernoulli_reconstruction",
    "cross_entropy",
    "expected_prior",
    "gaussian_reconstruction",
    "half_mu_squared",
    "kl",
    "kl_categorical",
    "kl_gaussians",
    "squared_error",
]

TINY = 1e-20  # in the clustering article's logarithms


@wrap_torch_function(lambda pixels, x: (pixels, x))
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
    if pixels.is_cuda:
        return _without_refusal(pixels, x)
    if is_fast() and not x.requires_grad:
        return summed_binary_cross_entropy(pixels, x)
    return F.binary_cross_entropy(pixels, x, reduction="sum")


def _without_refusal(pixels: Tensor, x: Tensor) -> Tensor:
    """Returns NaN if a probability is NaN: CUDA's kernel would end all that runs on the GPU."""
    numbers = torch.nan_to_num(pixels, nan=0.5)
    refused = (pixels - numbers).detach().sum()  # 0, or NaN
    return F.binary_cross_entropy(numbers, x, reduction="sum") + refused


@wrap_torch_function(lambda mean, x, variance: (mean, x))
def gaussian_reconstruction(mean: Tensor, x: Tensor, variance: float) -> Tensor:
    r"""Negative Gaussian log-likelihood with a fixed variance.

    .. math:: \tfrac12 \sum (x - m)^2 / \sigma^2 + \log 2 \pi \sigma^2

    Arguments:
        mean: Means :math:`m`, shape (B, F).
        x: Points, shape (B, F).
        variance: :math:`\sigma^2`, the same for all.

    Returns:
        The sum over points and coordinates in nats, shape ().
    """
    return 0.5 * torch.sum((x - mean) ** 2 / variance + math.log(2 * math.pi * variance))


@wrap_torch_function(lambda pixels, x: (pixels, x))
def squared_error(pixels: Tensor, x: Tensor) -> Tensor:
    r"""Mean squared error :math:`\frac{1}{B F} \sum (x - p)^2` over all pixels of all images.

    It is not in nats: up to scale and a constant it is the negative log-likelihood of a Gaussian
    of unknown variance.

    Arguments:
        pixels, x: Pixels in [0, 1], shape (B, 784).

    Returns:
        The mean over images and pixels, shape ().
    """
    return F.mse_loss(pixels, x)


@wrap_torch_function(lambda mu, log_var: (mu, log_var))
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


@wrap_torch_function(lambda mu, log_var: (mu, log_var))
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


@wrap_torch_function(lambda mu, log_var: (mu, log_var))
def expected_prior(mu: Tensor, log_var: Tensor) -> Tensor:
    r"""The VAE's KL without exactly the posterior's entropy: :math:`-E_q \log p(z)`.

    .. math:: \tfrac12 \sum \mu^2 + \sigma^2

    The KL is this minus the entropy :math:`\tfrac12 \sum 1 + \log 2 \pi + \log \sigma^2`; the
    constant :math:`\tfrac12 L \log 2 \pi` of both is left out.

    Arguments:
        mu: Posterior means, shape (B, L).
        log_var: Logarithms of the posterior variances, shape (B, L).

    Returns:
        The sum over images and dimensions in nats, shape ().
    """
    return 0.5 * torch.sum(mu.pow(2) + log_var.exp())


@wrap_torch_function(lambda mu1, log_var1, mu2, log_var2: (mu1, log_var1, mu2, log_var2))
def kl_gaussians(mu1: Tensor, log_var1: Tensor, mu2: Tensor, log_var2: Tensor) -> Tensor:
    r"""KL divergence of :math:`N(\mu_1, \sigma_1^2)` from :math:`N(\mu_2, \sigma_2^2)`.

    .. math:: -\tfrac12 \sum 1 + \log \sigma_1^2 - \log \sigma_2^2 - \sigma_1^2 / \sigma_2^2
        - (\mu_2 - \mu_1)^2 / \sigma_2^2

    Arguments:
        mu1, log_var1, mu2, log_var2: Means and logarithms of variances, shape (B, L).

    Returns:
        The sum over images and dimensions in nats, shape ().
    """
    ratio = log_var1.exp() / log_var2.exp()
    distance = (mu2 - mu1) ** 2 / log_var2.exp()
    return -0.5 * torch.sum(1 + log_var1 - log_var2 - ratio - distance)


@wrap_torch_function(lambda pi: (pi,))
def kl_categorical(pi: Tensor) -> Tensor:
    r"""KL divergence of a categorical distribution from the uniform one over its K classes.

    .. math:: \sum_k \pi_k \log(\pi_k + 10^{-20}) - \pi_k \log(1/K + 10^{-20})

    Arguments:
        pi: Probabilities, shape (B, K).

    Returns:
        The sum over images in nats, shape ().
    """
    uniform = math.log(1 / pi.shape[1] + TINY)
    return torch.sum(pi * torch.log(pi + TINY) - pi * uniform)


@wrap_torch_function(lambda pi, labels: (pi, labels))
def cross_entropy(pi: Tensor, labels: Tensor) -> Tensor:
    r"""The clustering article's cross entropy of labels: softmax is applied to :math:`\pi` again.

    .. math:: -\sum_k y_k \log \mathrm{softmax}(\pi)_k

    It hands the classifier's probabilities to a function that expects logits, so that the loss
    of an image cannot fall below :math:`-\log(e / (e + K - 1))`, 1.46 nats for ten classes.

    Arguments:
        pi: Probabilities, shape (B, K).
        labels: One-hot, shape (B, K).

    Returns:
        The sum over images in nats, shape ().
    """
    return -torch.sum(labels * torch.log_softmax(pi, 1))
