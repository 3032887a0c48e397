"""What the clustering recipes have in common: how their parts q(y|x), q(z|x,y), p(z|y) and p(x|z)
are joined. The parts themselves stand in `clustering` (images) and `clustering_toy` (points)."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from pyvae.model.derive.stages import second_use
from pyvae.model.modules import (
    BatchNorm,
    Concat,
    Drawn,
    FirstHalf,
    GumbelSoftmax,
    Multiply,
    Reparameterise,
    SecondHalf,
)
from pyvae.model.recipe import VAE

__all__ = ["ClusteringOutput", "ClusteringVAE", "Encoder", "Labelled", "QzXY"]


class Labelled(NamedTuple):
    """What a network returns for N images with labels and K classes."""

    x: Tensor  # (N, 784)
    labels: Tensor  # (N, K), one-hot
    pi: Tensor  # (N, K), q(y|x)
    pixels: Tensor  # (N, 784), reconstructed from the labels


class ClusteringOutput(NamedTuple):
    """What a network returns for B images, K clusters and L latent dimensions."""

    pixels: Tensor  # (B, 784)
    mu: Tensor  # (B, L), of q(z|x,y)
    log_var: Tensor  # (B, L)
    pi: Tensor  # (B, K), q(y|x)
    prior_mu: Tensor  # (B, L), of p(z|y)
    prior_log_var: Tensor  # (B, L)
    labelled: Labelled | None = None


class QzXY(nn.Module):
    """q(z|x, y) of features of x, here x itself, and a sample z.

    Arguments:
        latent_dim, clusters: L and K.
        features: Number of features.
        hidden: Units of its hidden layer.
    """

    def __init__(self, latent_dim: int, clusters: int, features: int, hidden: int) -> None:
        super().__init__()
        self.add_features()
        self.fc1 = nn.Linear(features, 40)
        self.fc2 = nn.Linear(features, clusters)
        self.multiply = Multiply()
        self.concat = Concat()
        self.fc3 = nn.Linear(40 + clusters, hidden)
        self.bn3 = BatchNorm(hidden)
        self.lrelu3 = nn.LeakyReLU(0.2)
        self.fc4 = nn.Linear(hidden, 2 * latent_dim)
        self.mean = FirstHalf()
        self.log_var = SecondHalf()
        self.reparameterise = Reparameterise()

    def add_features(self) -> None:
        """Adds the modules that `features` goes through: they come first."""

    def features(self, x: Tensor) -> Tensor:
        """The features (B, features) of a batch."""
        return x

    def forward(
        self, x: Tensor, y: Tensor, noise: Tensor | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        x = self.features(x)
        x = self.concat(self.fc1(x), self.multiply(self.fc2(x), y))  # (B, 40 + K)
        x = self.fc4(self.lrelu3(self.bn3(self.fc3(x))))  # (B, 2 L)
        mu, log_var = self.mean(x), self.log_var(x)  # (B, L) each
        if noise is None and not self.training:
            return mu, log_var, mu
        return mu, log_var, self.reparameterise(mu, log_var, noise)


class Encoder(nn.Module):
    """q(y|x), a sample y of it, and q(z|x,y): images to the posterior's mean and log-variance.

    It shares its modules with the network that it is part of.
    """

    def __init__(self, qy_x: nn.Module, gumbel_softmax: nn.Module, qz_xy: nn.Module) -> None:
        super().__init__()
        self._parts = (qy_x, gumbel_softmax, qz_xy)  # a tuple: not registered a second time

    def forward(self, x: Tensor, draws: Drawn | None = None) -> tuple[Tensor, Tensor]:
        qy_x, gumbel_softmax, qz_xy = self._parts
        y = gumbel_softmax(qy_x(x, draws), (draws or {}).get("gumbel"))
        mu, log_var, _ = qz_xy(x, y, x.new_zeros(()))  # z is not looked at: nothing is drawn
        return mu, log_var


class ClusteringVAE(VAE):
    """x from z from y: p(y) uniform over K, p(z|y) Gaussian, p(x|z); q(y|x) q(z|x,y).

    Arguments:
        px_z, pz_y, qy_x, qz_xy: Its parts.
        clusters: K.
        temperature: Of the Gumbel-softmax that samples y.
        labelled: Whether it is given images with labels.

    Shapes:
        x: (B, 784), pixels in [0, 1].
        draws: `gumbel` (B, K), `noise` (B, L), masks of q(y|x); with labels also `labelled`
            (N, 784), `labels` (N, K) one-hot, `labelled_noise` (N, L) and masks.
    """

    def __init__(
        self,
        px_z: nn.Module,
        pz_y: nn.Module,
        qy_x: nn.Module,
        qz_xy: nn.Module,
        clusters: int,
        temperature: float,
        labelled: bool = False,
    ) -> None:
        super().__init__()
        self.px_z = px_z
        self.pz_y = pz_y
        self.qy_x = qy_x
        self.qz_xy = qz_xy
        self.gumbel_softmax = GumbelSoftmax(temperature)
        self.clusters = clusters
        self.labelled = labelled
        self.encoder = Encoder(qy_x, self.gumbel_softmax, qz_xy)

    @property
    def decoder(self) -> nn.Module:  # type: ignore[override]
        return self.px_z

    def forward(self, x: Tensor, draws: Drawn | None = None) -> ClusteringOutput:
        draws = draws or {}
        pi = self.qy_x(x, draws)  # (B, K)
        y = self.gumbel_softmax(pi, draws.get("gumbel"))  # (B, K)
        mu, log_var, z = self.qz_xy(x, y, draws.get("noise"))  # (B, L)
        pixels = self.px_z(z)  # (B, 784)
        output = ClusteringOutput(pixels, mu, log_var, pi, *self.pz_y(y))
        if not self.labelled or "labelled" not in draws:
            return output
        x, labels = draws["labelled"], draws["labels"]  # (N, 784), (N, K)
        masks = {"dropout": draws["labelled_dropout"]} if "labelled_dropout" in draws else {}
        with second_use("labelled"):
            pi = self.qy_x(x, masks)  # (N, K)
            _, _, z = self.qz_xy(x, labels, draws.get("labelled_noise"))
            return output._replace(labelled=Labelled(x, labels, pi, self.px_z(z)))

    def cluster(self, x: Tensor) -> Tensor:
        """q(y|x), (B, K)."""
        return self.qy_x(x)

    def prior(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log-variance of p(z|y), (B, L) each; y (B, K)."""
        return self.pz_y(y)

    def from_prior(self, noise: Tensor) -> Tensor:
        """Latents (B, L) of p(z|y), the clusters in turn, from standard normal noise."""
        y = torch.eye(self.clusters, dtype=noise.dtype, device=noise.device)
        mu, log_var = self.pz_y(y[torch.arange(len(noise)) % self.clusters])
        return mu + torch.exp(0.5 * log_var) * noise
