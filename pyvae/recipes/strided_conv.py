r"""Recipe `strided-conv`: a convolutional VAE whose convolutions halve the image.

The transposed convolutions of the decoder give 7, 15 and 31 pixels a side; a 4x4 convolution
brings them to 28. The article trains it with 2 and with 4 latent dimensions.
"""

from __future__ import annotations

from torch import Tensor, nn

from pyvae.model.draws import Draw, Normal
from pyvae.model.kernels.channels_last import Conv2d, ConvTranspose2d
from pyvae.model.kernels.to_one_channel import Conv2dToOne
from pyvae.model.modules import Drawn, FirstHalf, SecondHalf, Unflatten
from pyvae.model.recipe import GaussianVAE, Recipe

__all__ = ["STRIDED_CONV", "Decoder", "Encoder", "StridedConvVAE"]


class Encoder(nn.Module):
    """Images to the posterior's mean and log-variance."""

    def __init__(self, latent_dim: int) -> None:
        super().__init__()
        self.conv1 = Conv2d(1, 32, 3, stride=2, padding=1)
        self.relu1 = nn.ReLU()
        self.conv2 = Conv2d(32, 64, 3, stride=2, padding=1)
        self.relu2 = nn.ReLU()
        self.flatten = nn.Flatten()
        self.fc = nn.Linear(7 * 7 * 64, 2 * latent_dim)
        self.mean = FirstHalf()
        self.log_var = SecondHalf()

    def forward(self, x: Tensor, draws: Drawn | None = None) -> tuple[Tensor, Tensor]:
        x = x.reshape(-1, 1, 28, 28)  # (B, 1, 28, 28)
        x = self.relu1(self.conv1(x))  # (B, 32, 14, 14)
        x = self.relu2(self.conv2(x))  # (B, 64, 7, 7)
        x = self.fc(self.flatten(x))  # (B, 2 L)
        return self.mean(x), self.log_var(x)  # (B, L) each


class Decoder(nn.Module):
    """Latents to pixels."""

    def __init__(self, latent_dim: int) -> None:
        super().__init__()
        self.fc = nn.Linear(latent_dim, 7 * 7 * 64)
        self.relu1 = nn.ReLU()
        self.unflatten = Unflatten(64)
        self.deconv1 = ConvTranspose2d(64, 64, 3, stride=2)
        self.relu2 = nn.ReLU()
        self.deconv2 = ConvTranspose2d(64, 32, 3, stride=2)
        self.relu3 = nn.ReLU()
        self.conv = Conv2dToOne(32, 4)
        self.flatten = nn.Flatten()
        self.sigmoid = nn.Sigmoid()

    def forward(self, z: Tensor, draws: Drawn | None = None) -> Tensor:
        x = self.unflatten(self.relu1(self.fc(z)))  # (B, 64, 7, 7)
        x = self.relu2(self.deconv1(x))  # (B, 64, 15, 15)
        x = self.relu3(self.deconv2(x))  # (B, 32, 31, 31)
        x = self.conv(x)  # (B, 1, 28, 28)
        return self.sigmoid(self.flatten(x))  # (B, 784)


class StridedConvVAE(GaussianVAE):
    """The article's network.

    Shapes:
        x: (B, 784), pixels in [0, 1].
        draws: `noise` (B, L).
    """

    def __init__(self, latent_dim: int) -> None:
        super().__init__(Encoder(latent_dim), Decoder(latent_dim))


def _draws(latent_dim: int) -> dict[str, Draw]:
    return {"noise": Normal((latent_dim,))}


STRIDED_CONV = Recipe(
    name="strided-conv",
    title="convolutional VAE with strides, two latent dimensions (the article: also four)",
    source="Korean write-up “Implementing a VAE with convolutional layers” (2021)",
    network=StridedConvVAE,
    draws=_draws,
    objectives=("elbo",),
    epochs=50,
    batch_size=100,
    latent_dim=2,
    learning_rate=1e-3,
)
