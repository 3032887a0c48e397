r"""Measures a VAE's latent dimensions: how many vary, how far, and how well they tell labels.

All functions take latent means as tensors or arrays (N, L), a row for each image, in units of
the prior's standard deviation. Variances divide by N, as in `comparisons.seeds.measures`.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pyvae.errors import UserError

__all__ = [
    "ACTIVE",
    "MarkedGap",
    "PosteriorSpread",
    "active_units",
    "kl_by_dimension",
    "knn_accuracy",
    "marked_gap",
    "posterior_spread",
]


ACTIVE = 0.01  # a dimension is active if the variance of its means is above this


class PosteriorSpread(NamedTuple):
    r"""The spread of each latent dimension, (L,) each, float64.

    Attributes:
        mu_sd: Standard deviation of :math:`\mu_l(x)` over images: 0 where the dimension is
            silent, near 1 where it carries much.
        log_var_sd: Standard deviation of :math:`\log \sigma_l^2(x)` over images.
        mean_sigma: Mean of :math:`\sigma_l(x)` over images: near 1 where the posterior is the
            prior.
    """

    mu_sd: NDArray[np.float64]
    log_var_sd: NDArray[np.float64]
    mean_sigma: NDArray[np.float64]


class MarkedGap(NamedTuple):
    """The widest gap between the spreads of latent dimensions; see `marked_gap`.

    Attributes:
        ratio: Spread just above the gap over the spread just below it, 1 or more.
        above: How many dimensions lie above the gap, 1 to L - 1.
        smallest_above: The spread just above the gap.
        largest_below: The spread just below the gap.
    """

    ratio: float
    above: int
    smallest_above: float
    largest_below: float


def active_units(mu: Tensor | NDArray, threshold: float = ACTIVE) -> float:
    r"""Returns the number of latent dimensions that vary with the image.

    .. math:: \#\{l : \mathrm{Var}_x(\mu_l(x)) > 0.01\}

    Burda, Grosse & Salakhutdinov (2016), "Importance weighted autoencoders", section 5.2,
    https://arxiv.org/abs/1509.00519.

    Arguments:
        mu: Latent means (N, L).
        threshold: The variance above which a dimension is active.

    Returns:
        A whole number from 0 to L, or NaN where `mu` is not finite.

    Raises:
        UserError: If `mu` is not (N, L) with at least one image.
    """
    means = _matrix(mu)
    # NaN > 0.01 is false: without this, a diverged run would have no active units, a number
    if not np.isfinite(means).all():
        return math.nan
    return float((means.var(axis=0) > threshold).sum())


def kl_by_dimension(
    mu: Tensor | NDArray,
    log_var: Tensor | NDArray,
    prior_mu: Tensor | NDArray | None = None,
    prior_log_var: Tensor | NDArray | None = None,
) -> NDArray[np.float64]:
    r"""Returns the KL divergence of the posterior from the prior for each latent dimension.

    .. math:: \mathrm{E}_x\Big[\tfrac12 \Big(\log \frac{s_l^2}{\sigma_l^2} - 1 +
        \frac{\sigma_l^2 + (\mu_l - m_l)^2}{s_l^2}\Big)\Big]

    of :math:`N(\mu_l, \sigma_l^2)` from :math:`N(m_l, s_l^2)`. Both are factorised, so the sum over
    dimensions is the whole KL divergence. Kingma & Welling (2014), "Auto-encoding variational
    Bayes", appendix B, https://arxiv.org/abs/1312.6114.

    Arguments:
        mu: Posterior means (N, L).
        log_var: Logarithms of the posterior variances (N, L).
        prior_mu, prior_log_var: The prior's, (N, L) each; by default N(0, I).

    Returns:
        (L,), the mean over images in nats.

    Raises:
        UserError: If they are not (N, L), or not all of the same shape.
    """
    means = _matrix(mu)
    zeros = np.zeros_like(means)
    given = {"log_var": log_var, "prior_mu": prior_mu, "prior_log_var": prior_log_var}
    others = [zeros if value is None else _matrix(value, name) for name, value in given.items()]
    for name, value in zip(given, others, strict=True):
        if value.shape != means.shape:
            raise UserError(f"{name} of shape {value.shape}", expected=f"that of mu, {means.shape}")
    log_variances, centres, log_spreads = others
    distance = (means - centres) ** 2 / np.exp(log_spreads)
    ratio = log_variances - log_spreads  # log(sigma^2 / s^2)
    return 0.5 * (np.expm1(ratio) - ratio + distance).mean(axis=0)


def posterior_spread(mu: Tensor | NDArray, log_var: Tensor | NDArray) -> PosteriorSpread:
    r"""Returns how far each latent dimension's mean and log-variance vary between images.

    .. math:: \mathrm{sd}_x(\mu_l(x)), \quad \mathrm{sd}_x(\log \sigma_l^2(x)), \quad
        \mathrm{E}_x[\sigma_l(x)]

    By the law of total variance :math:`\mathrm{sd}_x(\mu_l)^2 + \mathrm{E}_x[\sigma_l^2]` is the
    variance of the aggregated posterior: Hoffman & Johnson (2016), "ELBO surgery", NIPS
    workshop, http://approximateinference.org/accepted/HoffmanJohnson2016.pdf.

    Arguments:
        mu: Posterior means (N, L).
        log_var: Logarithms of the posterior variances (N, L).

    Raises:
        UserError: If they are not (N, L), or not of the same shape.
    """
    means, log_variances = _matrix(mu), _matrix(log_var, "log_var")
    if means.shape != log_variances.shape:
        raise UserError(
            f"log_var of shape {log_variances.shape}", expected=f"that of mu, {means.shape}"
        )
    sigma = np.exp(0.5 * log_variances)  # (N, L)
    return PosteriorSpread(means.std(axis=0), log_variances.std(axis=0), sigma.mean(axis=0))


def marked_gap(mu: Tensor | NDArray, floor: float = 0.0) -> MarkedGap:
    r"""Finds the widest gap between the spreads of latent dimensions.

    With the standard deviations over images :math:`s_l = \mathrm{sd}_x(\mu_l(x))` in falling
    order :math:`s_{(1)} \ge \dots \ge s_{(L)}`, it is the largest ratio of neighbours:

    .. math:: \max_{1 \le i < L} s_{(i)} / s_{(i+1)}

    i is `above`, the number of dimensions above the gap; of equal ratios the first counts. A
    ratio near 1 means that spreads fall off without a gap; it is infinite where the spread
    below is 0 (0 over 0 counts as 1). Nothing says that the widest gap lies between
    used and unused dimensions: dimensions of spread 1e-3 and 1e-6 are both silent. With
    `floor`, smaller spreads count as if they were `floor`, so that only gaps above it count.

    This measure has no published source. It puts a number on what the R article shows in its
    figure of latent means: a few variables stand out and the others stay near 0.

    Arguments:
        mu: Latent means (N, L), L of 2 or more.
        floor: Spread below which differences do not count; 0.1, the square root of the
            threshold of `active_units`, looks at active dimensions only.

    Returns:
        The gap; ratio and spreads are NaN, and `above` is 0, where `mu` is not finite.

    Raises:
        UserError: If `mu` is not (N, L), or L is 1, or `floor` is negative.
    """
    means = _matrix(mu)
    if means.shape[1] < 2:
        raise UserError("a gap needs 2 latent dimensions or more, not 1")
    if floor < 0:
        raise UserError(f"floor is {floor:g}", expected="0 or more")
    if not np.isfinite(means).all():
        return MarkedGap(math.nan, 0, math.nan, math.nan)
    spread = np.maximum(np.sort(means.std(axis=0))[::-1], floor)  # (L,)
    upper, lower = spread[:-1], spread[1:]  # (L - 1,)
    ratio = np.divide(upper, lower, out=np.where(upper > 0, np.inf, 1.0), where=lower > 0)
    place = int(ratio.argmax())
    return MarkedGap(float(ratio[place]), place + 1, float(upper[place]), float(lower[place]))


def knn_accuracy(
    train_latents: Tensor | NDArray,
    train_labels: Tensor | NDArray,
    test_latents: Tensor | NDArray,
    test_labels: Tensor | NDArray,
    k: int = 10,
) -> float:
    """Returns the accuracy of k-nearest-neighbours classification of test latents.

    Each test image gets the label of most of its k nearest training latents, by Euclidean distance,
    votes of equal weight (scikit-learn's `KNeighborsClassifier`). Cover &
    Hart (1967), "Nearest neighbor pattern classification", IEEE Transactions on Information
    Theory 13, https://doi.org/10.1109/TIT.1967.1053964.

    Arguments:
        train_latents: (N, L).
        train_labels: (N,), whole numbers.
        test_latents: (M, L).
        test_labels: (M,), whole numbers.
        k: Neighbours, 1 to N.

    Returns:
        A share in [0, 1], or NaN where a latent is not finite.

    Raises:
        UserError: If shapes do not fit together or `k` is not in 1 to N.
    """
    from sklearn.neighbors import KNeighborsClassifier  # a second: only for who needs it

    train, test = _matrix(train_latents, "train_latents"), _matrix(test_latents, "test_latents")
    answers = []
    for name, latents, labels in (("train", train, train_labels), ("test", test, test_labels)):
        answers.append(torch.as_tensor(labels).cpu().numpy())
        if answers[-1].shape != latents.shape[:1]:
            raise UserError(
                f"{name}_labels of shape {answers[-1].shape}", expected=f"({len(latents)},)"
            )
    if train.shape[1] != test.shape[1]:
        raise UserError(
            f"test latents of {test.shape[1]} dimensions",
            expected=f"{train.shape[1]}, as the training latents have",
        )
    if not 1 <= k <= len(train):
        raise UserError(f"k is {k}", expected=f"1 to {len(train)}, the number of training latents")
    if not (np.isfinite(train).all() and np.isfinite(test).all()):
        return math.nan
    nearest = KNeighborsClassifier(n_neighbors=k).fit(train, answers[0])
    return float((nearest.predict(test) == answers[1]).mean())


def _matrix(values: Tensor | NDArray, name: str = "mu") -> NDArray[np.float64]:
    """Checks values and returns them as (N, L), float64."""
    array = torch.as_tensor(values).detach().cpu().double().numpy()
    if array.ndim != 2 or not array.size:
        raise UserError(f"{name} of shape {array.shape}", expected="(N, L), at least one image")
    return array
