"""A small variational autoencoder to be recorded, whose loss is written in functions."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from recorded.ported import Program


class Vae(nn.Module):
    """Returns the pixels, mu, log_var and the images.

    Arguments:
        noise: Makes the noise for mu.
        sd: Makes the deviation of log_var.
    """

    def __init__(self, noise=torch.randn_like, sd=lambda log_var: torch.exp(0.5 * log_var)):
        super().__init__()
        self.fc1, self.mu, self.log_var = nn.Linear(64, 16), nn.Linear(16, 5), nn.Linear(16, 5)
        self.fc2 = nn.Linear(5, 64)
        self.noise, self.sd = noise, sd

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        x = x.flatten(1)
        h = torch.tanh(self.fc1(x))
        mu, log_var = self.mu(h), self.log_var(h)
        z = mu + self.sd(log_var) * self.noise(mu)
        return torch.sigmoid(self.fc2(z)), mu, log_var, x


@dataclass
class VaeProgram(Program):
    """Trained on images of numbers between 0 and 1."""

    dtype: torch.dtype = torch.float64
    steps: int = 2

    def data(self, step: int) -> tuple[Tensor, Tensor]:
        drawn = torch.Generator().manual_seed(7 * step)
        x = torch.rand(12, 1, 8, 8, generator=drawn, dtype=torch.float64).to(self.dtype)
        return x, x


def reconstruction(pixels: Tensor, x: Tensor) -> Tensor:
    return F.binary_cross_entropy(pixels, x, reduction="sum")


def divergence(mu: Tensor, log_var: Tensor) -> Tensor:
    return -0.5 * torch.sum(1 + log_var - mu**2 - log_var.exp())


def vae(bce=reconstruction, kl=divergence, total=lambda bce, kl: bce + kl, **network) -> Program:
    """A program with another loss, or another network.

    Arguments:
        bce: Of pixels and images.
        kl: Of mu and log_var.
        total: Of the two.
        **network: As of `Vae`.
    """

    def loss(out, _):
        pixels, mu, log_var, x = out
        return total(bce(pixels, x), kl(mu, log_var))

    return VaeProgram(network=lambda: Vae(**network), loss=loss)
