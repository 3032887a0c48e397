r"""Recipe `clustering`: a VAE with a categorical variable y, sampled by Gumbel-softmax, and its
variant `semi-supervised` with 100 labels.

Kingma et al. (2014), "Semi-supervised learning with deep generative models",
https://arxiv.org/abs/1406.5298, with z drawn from a prior that depends on y. What the article
samples and does not use (a z of p(z|y) in every step) is left out.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from pyvae.errors import UserError
from pyvae.model.draws import Draw, Draws, Gumbel, Keep, Normal
from pyvae.model.hyperparameters import Hyper
from pyvae.model.kernels.channels_last import Conv2d, ConvTranspose2d
from pyvae.model.kernels.image_block import image_block
from pyvae.model.kernels.norm_block import norm_block
from pyvae.model.kernels.transposed_to_one import ConvTranspose2dToOne
from pyvae.model.modules import (
    BatchNorm,
    Drawn,
    Dropout,
    FirstHalf,
    SecondHalf,
    Unflatten,
)
from pyvae.model.recipe import Given, Recipe
from pyvae.recipes.clustering_modules import ClusteringVAE, QzXY

if TYPE_CHECKING:
    from pyvae.data.images import ImageData
    from pyvae.model.settings import Settings

__all__ = ["CLUSTERING", "SEMI_SUPERVISED", "ImageQzXY", "PxZ", "PzY", "QyX"]


class ImageQzXY(QzXY):
    """q(z|x, y) of images."""

    def __init__(self, latent_dim: int, clusters: int) -> None:
        super().__init__(latent_dim, clusters, features=128 * 7 * 7, hidden=1024)

    def add_features(self) -> None:
        self.conv1 = nn.Conv2d(1, 64, 4, stride=2, padding=1)
        self.bn1 = BatchNorm(64)
        self.lrelu1 = nn.LeakyReLU(0.2)
        self.conv2 = Conv2d(64, 128, 4, stride=2, padding=1)
        self.bn2 = BatchNorm(128)
        self.lrelu2 = nn.LeakyReLU(0.2)
        self.flatten = nn.Flatten()

    def features(self, x: Tensor) -> Tensor:
        x = x.reshape(-1, 1, 28, 28)  # (B, 1, 28, 28)
        x = image_block(x, self.conv1, self.bn1, self.lrelu1)  # (B, 64, 14, 14)
        x = norm_block(self.conv2(x), self.bn2, self.lrelu2)  # (B, 128, 7, 7)
        return self.flatten(x)  # (B, 6272)


class QyX(nn.Module):
    """q(y|x): probabilities of the clusters."""

    def __init__(self, clusters: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 64, 4, padding=2)
        self.bn1 = BatchNorm(64)
        self.relu1 = nn.ReLU()
        self.pool1 = nn.MaxPool2d(2)
        self.conv2 = Conv2d(64, 128, 4, padding=2)
        self.bn2 = BatchNorm(128)
        self.relu2 = nn.ReLU()
        self.pool2 = nn.MaxPool2d(2)
        self.flatten = nn.Flatten()
        self.fc1 = nn.Linear(7 * 7 * 128, 256)
        self.dropout = Dropout(0.4)
        self.relu3 = nn.ReLU()
        self.fc2 = nn.Linear(256, clusters)
        self.softmax = nn.Softmax(1)

    def forward(self, x: Tensor, draws: Drawn | None = None) -> Tensor:
        x = x.reshape(-1, 1, 28, 28)  # (B, 1, 28, 28)
        x = image_block(
            x, self.conv1, self.bn1, self.relu1, self.pool1
        )  # (B, 64, 14, 14), from 29x29
        x = norm_block(self.conv2(x), self.bn2, self.relu2, self.pool2)  # (B, 128, 7, 7)
        x = self.fc1(self.flatten(x))  # (B, 256)
        x = self.relu3(self.dropout(x, (draws or {}).get("dropout")))
        return self.softmax(self.fc2(x))  # (B, K)


class PzY(nn.Module):
    """p(z|y)."""

    def __init__(self, latent_dim: int, clusters: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(clusters, 1024)
        self.bn1 = BatchNorm(1024)
        self.lrelu1 = nn.LeakyReLU(0.2)
        self.fc2 = nn.Linear(1024, 2 * latent_dim)
        self.mean = FirstHalf()
        self.log_var = SecondHalf()

    def forward(self, y: Tensor) -> tuple[Tensor, Tensor]:
        y = self.fc2(self.lrelu1(self.bn1(self.fc1(y))))  # (B, 2 L)
        return self.mean(y), self.log_var(y)  # (B, L) each


class PxZ(nn.Module):
    """p(x|z)."""

    def __init__(self, latent_dim: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(latent_dim, 40)
        self.fc2 = nn.Linear(40, 1024)
        self.bn1 = BatchNorm(1024)
        self.lrelu1 = nn.LeakyReLU(0.2)
        self.fc3 = nn.Linear(1024, 128 * 7 * 7)
        self.lrelu2 = nn.LeakyReLU(0.2)
        self.unflatten = Unflatten(128)
        self.deconv1 = ConvTranspose2d(128, 64, 4, stride=2, padding=1)
        self.bn2 = BatchNorm(64)
        self.lrelu3 = nn.LeakyReLU(0.2)
        self.deconv2 = ConvTranspose2dToOne(64, 4, stride=2, padding=1)
        self.flatten = nn.Flatten()
        self.sigmoid = nn.Sigmoid()

    def forward(self, z: Tensor, draws: Drawn | None = None) -> Tensor:
        x = self.lrelu1(self.bn1(self.fc2(self.fc1(z))))  # (B, 1024)
        x = self.unflatten(self.lrelu2(self.fc3(x)))  # (B, 128, 7, 7)
        x = norm_block(self.deconv1(x), self.bn2, self.lrelu3)  # (B, 64, 14, 14)
        x = self.deconv2(x)  # (B, 1, 28, 28)
        return self.sigmoid(self.flatten(x))  # (B, 784)


def _network(latent_dim: int, clusters: int = 10, temperature: float = 0.5, **hyper: float):
    """Its parts, created in the article's order."""
    return ClusteringVAE(
        PxZ(latent_dim), PzY(latent_dim, clusters), QyX(clusters), ImageQzXY(latent_dim, clusters),
        clusters, temperature, labelled="labels" in hyper,
    )  # fmt: skip


def _draws(latent_dim: int, clusters: int = 10, **hyper: float) -> dict[str, Draw]:
    drawn: dict[str, Draw] = {
        "dropout": Keep((256,), 0.4),
        "gumbel": Gumbel((clusters,)),
        "noise": Normal((latent_dim,)),
    }
    if "labels" in hyper:
        rows = int(hyper["labels"])
        drawn["labelled_dropout"] = Keep((256,), 0.4, rows)
        drawn["labelled_noise"] = Normal((latent_dim,), rows)
    return drawn


def _labelled_shapes(clusters: int, **hyper: float) -> dict[str, tuple[int, ...]]:
    return {"labelled": (784,), "labels": (clusters,)}


def labelled_images(data: ImageData, settings: Settings) -> dict[str, NDArray]:
    """The images that are given with their labels: the first of a permutation drawn from the seed.

    Returns:
        `labelled` (N, 784), pixels in [0, 1], and `labels` (N, K), one-hot.

    Raises:
        UserError: If the data has no labels, fewer images than are asked for, labels that count
            from 1, or other classes than there are clusters.
    """
    number, clusters = int(settings.hyper["labels"]), int(settings.hyper["clusters"])
    if data.labels is None:
        raise UserError(f"{data.name} has no labels", "use data with labels, such as --data mnist")
    data.check_counted_from_0(clusters)
    largest, classes = int(data.labels.max()), len(data.labels.unique())
    if largest >= clusters:
        raise UserError(
            f"--set clusters={clusters} with labels up to {largest} ({classes} classes)",
            expected=f"{largest + 1} or more, one for each label from 0",
        )
    if number < classes:
        raise UserError(
            f"--set labels={number} with {classes} classes",
            expected=f"{classes} or more, one for each class",
        )
    if number > len(data):
        raise UserError(
            f"--set labels={number} with {len(data)} images", expected=f"{len(data)} or fewer"
        )
    chosen = Draws(settings.seed).permutation("labelled", len(data))[:number]
    labels = np.eye(clusters, dtype=settings.dtype)[data.labels[torch.from_numpy(chosen)].numpy()]
    return {"labelled": data.batch(chosen, settings.torch_dtype).numpy(), "labels": labels}


HYPER = (
    Hyper("clusters", 10, "number of clusters, K", whole=True, least=2, most=1000),
    Hyper("temperature", 0.5, "temperature of the Gumbel-softmax", above=True),
    Hyper("beta", 8, "weight of KL(q(z|x,y) || p(z|y))"),
)
CLUSTERING = Recipe(
    name="clustering",
    title="clustering VAE with Gumbel-softmax, unsupervised",
    source="Japanese write-up “Unsupervised clustering with a VAE”",
    network=_network,
    draws=_draws,
    objectives=("clustering",),
    epochs=100,
    batch_size=100,
    latent_dim=2,
    learning_rate=1e-3,
    hyper=HYPER,
)
SEMI_SUPERVISED = replace(
    CLUSTERING,
    name="clustering-semi-supervised",
    title="the same with 100 labels",
    source="Japanese write-up “Semi-supervised clustering with a VAE”",
    objectives=("semi-supervised",),
    hyper=(
        *HYPER,
        Hyper("labels", 100, "number of images with a label", whole=True, least=1),
        Hyper("alpha", 1000, "weight of the labels' cross entropy"),
        Hyper("labelled_weight", 100 / 60000, "weight of the labelled images' reconstruction"),
    ),
    given=Given(_labelled_shapes, labelled_images),
)
