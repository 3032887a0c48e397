"""The R article's network trained by the loop that a user of PyTorch would write, without any
trick: what pyvae is held against. `plain_loop.R` is the same in R's torch.

    python benchmarks/plain_loops/plain_loop.py FOLDER     MNIST in torchvision's layout
"""

from __future__ import annotations

import sys
from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader
from torchvision import datasets, transforms

__all__ = ["VAE", "Decoder", "Encoder", "load", "train"]


class Encoder(nn.Module):
    """Images to the posterior's mean and log-variance."""

    def __init__(self, latent_dim: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 32, 3)
        self.conv2 = nn.Conv2d(32, 64, 3)
        self.dropout1 = nn.Dropout(0.25)
        self.dropout2 = nn.Dropout(0.5)
        self.fc1 = nn.Linear(9216, 128)
        self.fc2 = nn.Linear(128, latent_dim)
        self.fc3 = nn.Linear(128, latent_dim)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x = F.relu(self.conv1(x))  # (B, 32, 26, 26)
        x = F.relu(self.conv2(x))  # (B, 64, 24, 24)
        x = F.max_pool2d(x, 2)  # (B, 64, 12, 12)
        x = self.dropout1(x)
        x = torch.flatten(x, 1)  # (B, 9216)
        x = F.relu(self.fc1(x))  # (B, 128)
        x = self.dropout2(x)
        return self.fc2(x), self.fc3(x)  # (B, L) each


class Decoder(nn.Module):
    """Latents to pixels."""

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
        return torch.sigmoid(x.reshape(-1, 1, 28, 28))  # (B, 1, 28, 28)


class VAE(nn.Module):
    """Encoder, a sample of the posterior, decoder."""

    def __init__(self, latent_dim: int) -> None:
        super().__init__()
        self.encoder = Encoder(latent_dim)
        self.decoder = Decoder(latent_dim)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        mu, log_var = self.encoder(x)
        z = mu + torch.exp(0.5 * log_var) * torch.randn_like(mu)  # (B, L)
        return self.decoder(z), mu, log_var


def load(folder: str) -> datasets.MNIST:
    """The training images of MNIST, in torchvision's layout."""
    return datasets.MNIST(folder, train=True, transform=transforms.ToTensor())


def train(
    images: datasets.MNIST, batch_size: int = 250, latent_dim: int = 30, epochs: int = 50
) -> Iterator[float]:
    """Trains, and gives the loss of every step as it is done."""
    loader = DataLoader(images, batch_size=batch_size, shuffle=True, drop_last=True)
    network = VAE(latent_dim)
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
    for _ in range(epochs):
        for x, _ in loader:
            pixels, mu, log_var = network(x)
            reconstruction = F.binary_cross_entropy(pixels, x, reduction="sum")
            kl = -0.5 * torch.sum(1 + log_var - mu.pow(2) - log_var.exp())
            loss = reconstruction + kl
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            yield loss.item()


if __name__ == "__main__":
    for step, loss in enumerate(train(load(sys.argv[1])), start=1):
        print(f"step {step}: {loss / 250:.3f} nats per image")
