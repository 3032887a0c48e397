r"""Recipe `beta`: a perceptron with squared error and a KL weighted by beta.

The article's loss is the mean squared error over all pixels of all images plus 0.001 times the
KL, a mean over images: on the scale of a sum over pixels the weight is 0.784.
"""

from __future__ import annotations

from torch import Tensor, nn

from pyvae.model.draws import Draw, Normal
from pyvae.model.hyperparameters import Hyper
from pyvae.model.modules import Drawn
from pyvae.model.recipe import GaussianVAE, Recipe

__all__ = ["BETA", "BetaVAE", "Decoder", "Encoder"]


class Encoder(nn.Module):
    """Images to the posterior's mean and log-variance."""

    def __init__(self, latent_dim: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(784, 128)
        self.relu1 = nn.ReLU()
        self.mean_layer = nn.Linear(128, latent_dim)
        self.log_variance_layer = nn.Linear(128, latent_dim)

    def forward(self, x: Tensor, draws: Drawn | None = None) -> tuple[Tensor, Tensor]:
        x = self.relu1(self.fc1(x))  # (B, 128)
        return self.mean_layer(x), self.log_variance_layer(x)  # (B, L) each


class Decoder(nn.Module):
    """Latents to pixels."""

    def __init__(self, latent_dim: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(latent_dim, 128)
        self.relu1 = nn.ReLU()
        self.fc2 = nn.Linear(128, 784)
        self.sigmoid = nn.Sigmoid()

    def forward(self, z: Tensor, draws: Drawn | None = None) -> Tensor:
        x = self.relu1(self.fc1(z))  # (B, 128)
        return self.sigmoid(self.fc2(x))  # (B, 784)


class BetaVAE(GaussianVAE):
    """The article's network.

    Shapes:
        x: (B, 784), pixels in [0, 1].
        draws: `noise` (B, L).
    """

    def __init__(self, latent_dim: int, **hyper: float) -> None:
        super().__init__(Encoder(latent_dim), Decoder(latent_dim))


def _draws(latent_dim: int, **hyper: float) -> dict[str, Draw]:
    return {"noise": Normal((latent_dim,))}


BETA = Recipe(
    name="beta",
    title="perceptron with squared error and a weighted KL, two latent dimensions",
    source="Chinese write-up “Variational autoencoder, with PyTorch code” (Clay, 2024)",
    network=BetaVAE,
    draws=_draws,
    objectives=("beta",),
    epochs=100,
    batch_size=128,
    latent_dim=2,
    learning_rate=2e-3,
    hyper=(Hyper("beta", 0.001, "weight of the KL"),),
)
