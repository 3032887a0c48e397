r"""Recipe `conv`: the R article that trains a VAE, and again without the entropy term (EMAE).

Network, settings and both objectives are those of the article's R torch code, which follows
Schmon (2022), torch_R_examples. Dropout stays on throughout, as there; pixels are divided by
255; the last incomplete batch of an epoch is dropped.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pyvae.draws import Keep, Normal
from pyvae.recipes.recipe import VAE, Recipe, VAEOutput

__all__ = ["CONV", "ConvVAE", "Decoder", "Dropout", "Encoder"]

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


class Encoder(nn.Module):
    """Images to the posterior's mean and log-variance."""

    def __init__(self, latent_dim: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 32, 3)
        self.conv2 = nn.Conv2d(32, 64, 3)
        self.dropout1 = Dropout(0.25)
        self.dropout2 = Dropout(0.5)
        self.fc1 = nn.Linear(9216, 128)
        self.fc2 = nn.Linear(128, latent_dim)
        self.fc3 = nn.Linear(128, latent_dim)

    def forward(self, x: Tensor, draws: Drawn | None = None) -> tuple[Tensor, Tensor]:
        draws = draws or {}
        x = x.reshape(-1, 1, 28, 28)  # (B, 1, 28, 28)
        x = F.relu(self.conv1(x))  # (B, 32, 26, 26)
        x = F.relu(self.conv2(x))  # (B, 64, 24, 24)
        x = F.max_pool2d(x, 2)  # (B, 64, 12, 12)
        x = self.dropout1(x, draws.get("dropout1"))
        x = x.flatten(1)  # (B, 9216)
        x = F.relu(self.fc1(x))  # (B, 128)
        x = self.dropout2(x, draws.get("dropout2"))
        return self.fc2(x), self.fc3(x)  # (B, L) each


class Decoder(nn.Module):
    """Latents to pixels. The transposed convolutions are 1x1 on a 1x1 image."""

    def __init__(self, latent_dim: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(latent_dim, 128)
        self.fc2 = nn.Linear(128, 128)
        self.conv1 = nn.ConvTranspose2d(128, 256, 1)
        self.conv2 = nn.ConvTranspose2d(256, 784, 1)

    def forward(self, z: Tensor) -> Tensor:
        x = F.relu(self.fc1(z))  # (B, 128)
        x = F.relu(self.fc2(x))
        x = x.reshape(-1, 128, 1, 1)  # (B, 128, 1, 1)
        x = F.relu(self.conv1(x))  # (B, 256, 1, 1)
        x = self.conv2(x)  # (B, 784, 1, 1)
        return torch.sigmoid(x.reshape(-1, 784))  # (B, 784)


class ConvVAE(VAE):
    r"""The article's network: encoder, reparameterised sample, decoder.

    .. math:: z = \mu + \exp(\tfrac12 \log \sigma^2) \, \epsilon

    Kingma & Welling (2014), "Auto-encoding variational Bayes", section 2.4.

    Arguments:
        latent_dim: Latent dimensions, L.

    Shapes:
        x: (B, 784), pixels in [0, 1].
        draws: `dropout1` (B, 64, 12, 12) and `dropout2` (B, 128), bool, True to keep;
            `noise` (B, L). What is absent is drawn natively.
    """

    def __init__(self, latent_dim: int) -> None:
        super().__init__()
        self.encoder = Encoder(latent_dim)
        self.decoder = Decoder(latent_dim)

    def forward(self, x: Tensor, draws: Drawn | None = None) -> VAEOutput:
        mu, log_var = self.encoder(x, draws)
        noise = (draws or {}).get("noise")
        if noise is None:
            noise = torch.randn_like(mu)
        z = mu + torch.exp(0.5 * log_var) * noise  # (B, L)
        return VAEOutput(self.decoder(z), mu, log_var)


def _draws(latent_dim: int) -> dict[str, Keep | Normal]:
    return {
        "dropout1": Keep((64, 12, 12), 0.25),
        "dropout2": Keep((128,), 0.5),
        "noise": Normal((latent_dim,)),
    }


CONV = Recipe(
    name="conv",
    title="convolutional VAE and EMAE of the R article",
    source="R article “VAE by EM” (R torch, after Schmon 2022, torch_R_examples)",
    network=ConvVAE,
    draws=_draws,
    objectives=("vae", "emae"),
    epochs=50,
    batch_size=250,
    latent_dim=30,
    learning_rate=1e-3,
)
