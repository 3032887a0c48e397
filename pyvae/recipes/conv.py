r"""Recipe `conv`: the R article that trains a VAE, and again without the entropy term (EMAE).

Network, settings and both objectives are those of the article's R torch code, which follows
Schmon (2022), torch_R_examples. Dropout stays on throughout, as there; pixels are divided by
255; the last incomplete batch of an epoch is dropped.
"""

from __future__ import annotations

from torch import Tensor, nn

from pyvae.model.draws import Draw, Keep, Normal
from pyvae.model.kernels.channels_last import ConvTranspose2d
from pyvae.model.kernels.onednn_blocks import from_blocks, relu_then_pool, to_blocks
from pyvae.model.modules import Drawn, Dropout
from pyvae.model.recipe import GaussianVAE, Recipe

__all__ = ["CONV", "ConvVAE", "Decoder", "Encoder"]


class Encoder(nn.Module):
    """Images to the posterior's mean and log-variance."""

    def __init__(self, latent_dim: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 32, 3)
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv2d(32, 64, 3)
        self.relu2 = nn.ReLU()
        self.pool = nn.MaxPool2d(2)
        self.dropout1 = Dropout(0.25)
        self.flatten = nn.Flatten()
        self.fc1 = nn.Linear(9216, 128)
        self.relu3 = nn.ReLU()
        self.dropout2 = Dropout(0.5)
        self.fc2 = nn.Linear(128, latent_dim)
        self.fc3 = nn.Linear(128, latent_dim)

    def forward(self, x: Tensor, draws: Drawn | None = None) -> tuple[Tensor, Tensor]:
        draws = draws or {}
        x = to_blocks(x.reshape(-1, 1, 28, 28), self.conv1, self.conv2)  # (B, 1, 28, 28)
        x = self.relu1(self.conv1(x))  # (B, 32, 26, 26)
        x = self.conv2(x)  # (B, 64, 24, 24)
        x = from_blocks(relu_then_pool(self.relu2, self.pool, x))  # (B, 64, 12, 12)
        x = self.dropout1(x, draws.get("dropout1"))
        x = self.flatten(x)  # (B, 9216)
        x = self.relu3(self.fc1(x))  # (B, 128)
        x = self.dropout2(x, draws.get("dropout2"))
        return self.fc2(x), self.fc3(x)  # (B, L) each


class Decoder(nn.Module):
    """Latents to pixels. The transposed convolutions are 1x1 on a 1x1 image."""

    def __init__(self, latent_dim: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(latent_dim, 128)
        self.relu1 = nn.ReLU()
        self.fc2 = nn.Linear(128, 128)
        self.relu2 = nn.ReLU()
        self.conv1 = ConvTranspose2d(128, 256, 1)
        self.relu3 = nn.ReLU()
        self.conv2 = ConvTranspose2d(256, 784, 1)
        self.sigmoid = nn.Sigmoid()

    def forward(self, z: Tensor, draws: Drawn | None = None) -> Tensor:
        x = self.relu1(self.fc1(z))  # (B, 128)
        x = self.relu2(self.fc2(x))
        x = x.reshape(-1, 128, 1, 1)  # (B, 128, 1, 1)
        x = self.relu3(self.conv1(x))  # (B, 256, 1, 1)
        x = self.conv2(x)  # (B, 784, 1, 1)
        return self.sigmoid(x.reshape(-1, 784))  # (B, 784)


class ConvVAE(GaussianVAE):
    r"""The article's network: encoder, reparameterised sample, decoder.

    Arguments:
        latent_dim: Latent dimensions, L.

    Shapes:
        x: (B, 784), pixels in [0, 1].
        draws: `dropout1` (B, 64, 12, 12) and `dropout2` (B, 128), bool, True to keep;
            `noise` (B, L). What is absent is drawn natively.
    """

    def __init__(self, latent_dim: int) -> None:
        super().__init__(Encoder(latent_dim), Decoder(latent_dim))


def _draws(latent_dim: int) -> dict[str, Draw]:
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
    further=("em",),
    exact=True,  # R's torch has its bits
)
