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
    Concat,
    Drawn,
    FirstHalf,
    Multiply,
    Reparameterise,
    SecondHalf,
)
from pyvae.model.recipe import Recipe
from pyvae.model.stages import Stage
from pyvae.recipes.clustering import DIVERGENCES, HYPER, LEAK, NORM, TOTAL, PzY
from pyvae.recipes.clustering_modules import ClusteringVAE

__all__ = ["CLUSTERING_TOY", "PxZ", "QyX", "QzXY"]

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


class QzXY(nn.Module):
    """q(z|x, y)."""

    def __init__(self, latent_dim: int, clusters: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(2, 40)
        self.fc2 = nn.Linear(2, clusters)
        self.multiply = Multiply()
        self.concat = Concat()
        self.fc3 = nn.Linear(40 + clusters, HIDDEN)
        self.bn3 = BatchNorm(HIDDEN)
        self.lrelu3 = nn.LeakyReLU(0.2)
        self.fc4 = nn.Linear(HIDDEN, 2 * latent_dim)
        self.mean = FirstHalf()
        self.log_var = SecondHalf()
        self.reparameterise = Reparameterise()

    def forward(
        self, x: Tensor, y: Tensor, noise: Tensor | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        x = self.concat(self.fc1(x), self.multiply(self.fc2(x), y))  # (B, 40 + K)
        x = self.fc4(self.lrelu3(self.bn3(self.fc3(x))))  # (B, 2 L)
        mu, log_var = self.mean(x), self.log_var(x)  # (B, L) each
        if noise is None and not self.training:
            return mu, log_var, mu
        return mu, log_var, self.reparameterise(mu, log_var, noise)


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
        PxZ(latent_dim), PzY(latent_dim, clusters), QyX(clusters), QzXY(latent_dim, clusters),
        clusters, temperature,
    )  # fmt: skip


def _draws(latent_dim: int, clusters: int = 3, **hyper: float) -> dict[str, Draw]:
    return {"gumbel": Gumbel((clusters,)), "noise": Normal((latent_dim,))}


STAGES = (
    Stage("input", "input"),
    Stage("qy_x.fc1", "linear", ("input",)),
    Stage("qy_x.bn1", "batch_norm", ("qy_x.fc1",), None, NORM),
    Stage("qy_x.relu1", "relu", ("qy_x.bn1",)),
    Stage("qy_x.fc2", "linear", ("qy_x.relu1",)),
    Stage("qy_x.softmax", "softmax", ("qy_x.fc2",)),
    Stage(
        "gumbel_softmax", "gumbel_softmax", ("qy_x.softmax",), "gumbel",
        {"temperature": "temperature"},
    ),
    Stage("qz_xy.fc1", "linear", ("input",)),
    Stage("qz_xy.fc2", "linear", ("input",)),
    Stage("qz_xy.multiply", "multiply", ("qz_xy.fc2", "gumbel_softmax")),
    Stage("qz_xy.concat", "concat", ("qz_xy.fc1", "qz_xy.multiply")),
    Stage("qz_xy.fc3", "linear", ("qz_xy.concat",)),
    Stage("qz_xy.bn3", "batch_norm", ("qz_xy.fc3",), None, NORM),
    Stage("qz_xy.lrelu3", "leaky_relu", ("qz_xy.bn3",), None, LEAK),
    Stage("qz_xy.fc4", "linear", ("qz_xy.lrelu3",)),
    Stage("qz_xy.mean", "first_half", ("qz_xy.fc4",)),
    Stage("qz_xy.log_var", "second_half", ("qz_xy.fc4",)),
    Stage("qz_xy.reparameterise", "reparameterise", ("qz_xy.mean", "qz_xy.log_var"), "noise"),
    Stage("px_z.fc1", "linear", ("qz_xy.reparameterise",)),
    Stage("px_z.bn1", "batch_norm", ("px_z.fc1",), None, NORM),
    Stage("px_z.lrelu1", "leaky_relu", ("px_z.bn1",), None, LEAK),
    Stage("px_z.fc2", "linear", ("px_z.lrelu1",)),
    Stage("pz_y.fc1", "linear", ("gumbel_softmax",)),
    Stage("pz_y.bn1", "batch_norm", ("pz_y.fc1",), None, NORM),
    Stage("pz_y.lrelu1", "leaky_relu", ("pz_y.bn1",), None, LEAK),
    Stage("pz_y.fc2", "linear", ("pz_y.lrelu1",)),
    Stage("pz_y.mean", "first_half", ("pz_y.fc2",)),
    Stage("pz_y.log_var", "second_half", ("pz_y.fc2",)),
    Stage("reconstruction", "gaussian", ("px_z.fc2", "input"), None,
          {"variance": "variance", "per": "sum"}),
    *DIVERGENCES,
    Stage(
        "regulariser", "sum", ("categorical_kl", "gaussian_kl"), None, {"weights": (1, "beta")}
    ),
    TOTAL,
)  # fmt: skip

CLUSTERING_TOY = Recipe(
    name="clustering-toy",
    title="the clustering VAE on points in the plane",
    source="Japanese write-up “Unsupervised clustering with a VAE”",
    network=_network,
    draws=_draws,
    stages=STAGES,
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
