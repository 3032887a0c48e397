r"""Recipe `clustering-toy`: the clustering VAE on points in the plane, K = 3.

The article shows it and leaves its details out, except for a Gaussian likelihood of fixed
variance: the perceptrons below are ours, as are the points (`pyvae.data.images.load_toy`).
"""

from __future__ import annotations

from torch import Tensor, nn

from pyvae.model.draws import Draw, Gumbel, Normal
from pyvae.model.hyperparameters import Hyper
from pyvae.model.modules import (
    BatchNorm,
    Drawn,
)
from pyvae.model.recipe import Recipe
from pyvae.recipes.clustering import HYPER, PzY
from pyvae.recipes.clustering_modules import ClusteringVAE, QzXY

__all__ = ["CLUSTERING_TOY", "PxZ", "QyX"]

HIDDEN = 128


class QyX(nn.Module):
    """q(y|x): probabilities of the clusters."""

    def __init__(self, clusters: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(2, HIDDEN)
        self.bn1 = BatchNorm(HIDDEN)
        self.relu1 = nn.ReLU()
        self.fc2 = nn.Linear(HIDDEN, clusters)
        self.softmax = nn.Softmax(1)

    def forward(self, x: Tensor, draws: Drawn | None = None) -> Tensor:
        return self.softmax(self.fc2(self.relu1(self.bn1(self.fc1(x)))))  # (B, K)


class PxZ(nn.Module):
    """p(x|z): the mean of a Gaussian."""

    def __init__(self, latent_dim: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(latent_dim, HIDDEN)
        self.bn1 = BatchNorm(HIDDEN)
        self.lrelu1 = nn.LeakyReLU(0.2)
        self.fc2 = nn.Linear(HIDDEN, 2)

    def forward(self, z: Tensor, draws: Drawn | None = None) -> Tensor:
        return self.fc2(self.lrelu1(self.bn1(self.fc1(z))))  # (B, 2)


def _network(latent_dim: int, clusters: int = 3, temperature: float = 0.5, **hyper: float):
    return ClusteringVAE(
        PxZ(latent_dim),
        PzY(latent_dim, clusters),
        QyX(clusters),
        QzXY(latent_dim, clusters, features=2, hidden=HIDDEN),
        clusters,
        temperature,
    )


def _draws(latent_dim: int, clusters: int = 3, **hyper: float) -> dict[str, Draw]:
    return {"gumbel": Gumbel((clusters,)), "noise": Normal((latent_dim,))}


CLUSTERING_TOY = Recipe(
    name="clustering-toy",
    title="the clustering VAE on points in the plane",
    source="Japanese write-up “Unsupervised clustering with a VAE”",
    network=_network,
    draws=_draws,
    objectives=("clustering-points",),
    epochs=100,
    batch_size=100,
    latent_dim=2,
    learning_rate=1e-3,
    hyper=(
        Hyper("clusters", 3, "number of clusters, K", whole=True, least=2, most=1000),
        HYPER[1],
        Hyper("beta", 1, "weight of KL(q(z|x,y) || p(z|y))"),
        Hyper("variance", 0.05, "variance of the likelihood", above=True),
    ),
    features=2,
)
