"""Modules that several recipes share and `torch.nn` does not have: those that take their randomness
as an argument, and small ones that give every step of a network a name."""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pyvae.model.all_reduce import is_shared, summed
from pyvae.model.draws import gumbel_of_uniform

__all__ = [
    "BatchNorm",
    "Concat",
    "Drawn",
    "Dropout",
    "FirstHalf",
    "GumbelSoftmax",
    "Log",
    "Multiply",
    "Reparameterise",
    "SecondHalf",
    "Unflatten",
]

Drawn = Mapping[str, Tensor]


class Dropout(nn.Module):
    r"""Inverted dropout, :math:`x \cdot keep / (1 - p)`, with the mask given or drawn.

    Srivastava et al. (2014), "Dropout: a simple way to prevent neural networks from
    overfitting", JMLR 15. Without a mask it does what `torch.nn.Dropout` does: draws one in
    training mode, does nothing in evaluation mode.

    Shapes:
        x, keep and the result: (*).
    """

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    def forward(self, x: Tensor, keep: Tensor | None = None) -> Tensor:
        if keep is None:
            return F.dropout(x, self.p, self.training)
        return x * (keep.to(x.dtype) / (1 - self.p))


class Reparameterise(nn.Module):
    r"""A sample of the posterior from noise, given or drawn.

    .. math:: z = \mu + \exp(\tfrac12 \log \sigma^2) \, \epsilon

    Kingma & Welling (2014), "Auto-encoding variational Bayes", section 2.4.

    Shapes:
        mu, log_var, noise and the result: (B, L).
    """

    def forward(self, mu: Tensor, log_var: Tensor, noise: Tensor | None = None) -> Tensor:
        if noise is None:
            noise = torch.randn_like(mu)
        return mu + torch.exp(0.5 * log_var) * noise


class GumbelSoftmax(nn.Module):
    r"""A sample from a categorical distribution, made continuous so that it has gradients.

    .. math:: y = \mathrm{softmax}((\log(\pi + 10^{-20}) + g) / \tau), \quad g \sim
        \mathrm{Gumbel}(0, 1)

    Jang, Gu & Poole (2017), "Categorical reparameterization with Gumbel-softmax", section 2.1,
    https://arxiv.org/abs/1611.01144; Maddison, Mnih & Teh (2017), "The concrete distribution".
    In evaluation mode without noise: the probabilities themselves, as the clustering article
    uses them then.

    Arguments:
        temperature: :math:`\tau > 0`; y tends to a one-hot sample as it goes to 0, to the uniform
            distribution as it grows.

    Shapes:
        pi, noise and the result: (B, K); rows sum to 1.
    """

    def __init__(self, temperature: float) -> None:
        super().__init__()
        self.temperature = temperature

    def forward(self, pi: Tensor, noise: Tensor | None = None) -> Tensor:
        if noise is None:
            if not self.training:
                return pi
            noise = gumbel_of_uniform(torch.rand_like(pi), torch.log)
        return torch.softmax((torch.log(pi + 1e-20) + noise) / self.temperature, 1)


class BatchNorm(nn.Module):
    r"""Batch normalisation of features or of channels.

    .. math:: y = \gamma \frac{x - m}{\sqrt{v + \epsilon}} + \beta

    In training mode m and v are the batch's mean and (biased) variance, over images and pixels,
    and the running statistics move towards the batch's by `momentum`, the variance towards the
    unbiased one; in evaluation mode they take the place of m and v. Ioffe & Szegedy (2015),
    "Batch normalization", algorithms 1 and 2, https://arxiv.org/abs/1502.03167.

    The same as `torch.nn.BatchNorm1d` and `BatchNorm2d`, without their count of batches.

    Shapes:
        x and the result: (B, C) or (B, C, H, W).
    """

    running_mean: Tensor
    running_var: Tensor

    def __init__(self, channels: int, momentum: float = 0.1, eps: float = 1e-5) -> None:
        super().__init__()
        self.momentum = momentum
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))

    def forward(self, x: Tensor) -> Tensor:
        if self.training and is_shared():
            return self._over_processes(x)
        return F.batch_norm(
            x, self.running_mean, self.running_var, self.weight, self.bias, self.training,
            self.momentum, self.eps,
        )  # fmt: skip

    def _over_processes(self, x: Tensor) -> Tensor:
        """With the statistics of the whole batch, of which each process has its share."""
        features = [1, -1, *[1] * (x.ndim - 2)]  # (1, C), or (1, C, 1, 1)
        dims = [0, *range(2, x.ndim)]
        images = summed(x.new_tensor(float(x.numel() // x.shape[1])))
        mean = summed(x.sum(dims)) / images  # (C,)
        centred = x - mean.view(features)
        variance = summed((centred**2).sum(dims)) / images  # (C,)
        with torch.no_grad():
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(variance * images / (images - 1), self.momentum)
        scale = self.weight * torch.rsqrt(variance + self.eps)
        return centred * scale.view(features) + self.bias.view(features)


class FirstHalf(nn.Module):
    """The first half of the features: (B, 2L) to (B, L)."""

    def forward(self, x: Tensor) -> Tensor:
        return x[:, : x.shape[1] // 2]


class SecondHalf(nn.Module):
    """The second half of the features: (B, 2L) to (B, L)."""

    def forward(self, x: Tensor) -> Tensor:
        return x[:, x.shape[1] // 2 :]


class Unflatten(nn.Module):
    """Features as square maps: (B, C H H) to (B, C, H, H)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = channels

    def forward(self, x: Tensor) -> Tensor:
        side = round((x.shape[1] / self.channels) ** 0.5)
        return x.reshape(len(x), self.channels, side, side)


class Log(nn.Module):
    """Natural logarithm of every element."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.log(x)


class Multiply(nn.Module):
    """The product, element by element."""

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        return a * b


class Concat(nn.Module):
    """Features side by side: (B, F) and (B, G) to (B, F + G)."""

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        return torch.cat([a, b], 1)
