r"""Recipe `clustering`: a VAE with a categorical variable y, sampled by Gumbel-softmax, and its
variant `semi-supervised` with 100 labels.

Kingma et al. (2014), "Semi-supervised learning with deep generative models",
https://arxiv.org/abs/1406.5298, with z drawn from a prior that depends on y. What the article
samples and does not use (a z of p(z|y) in every step) is left out.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from pyvae.errors import UserError
from pyvae.model.draws import Draw, Draws, Gumbel, Keep, Normal
from pyvae.model.hyperparameters import Hyper
from pyvae.model.modules import (
    BatchNorm,
    Concat,
    Drawn,
    Dropout,
    FirstHalf,
    Multiply,
    Reparameterise,
    SecondHalf,
    Unflatten,
)
from pyvae.model.recipe import Recipe
from pyvae.model.stages import Stage
from pyvae.recipes.clustering_modules import ClusteringVAE

if TYPE_CHECKING:
    from pyvae.data.images import ImageData
    from pyvae.model.settings import Settings

__all__ = ["CLUSTERING", "SEMI_SUPERVISED", "PxZ", "PzY", "QyX", "QzXY"]


class QzXY(nn.Module):
    """q(z|x, y)."""

    def __init__(self, latent_dim: int, clusters: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 64, 4, stride=2, padding=1)
        self.bn1 = BatchNorm(64)
        self.lrelu1 = nn.LeakyReLU(0.2)
        self.conv2 = nn.Conv2d(64, 128, 4, stride=2, padding=1)
        self.bn2 = BatchNorm(128)
        self.lrelu2 = nn.LeakyReLU(0.2)
        self.flatten = nn.Flatten()
        self.fc1 = nn.Linear(128 * 7 * 7, 40)
        self.fc2 = nn.Linear(128 * 7 * 7, clusters)
        self.multiply = Multiply()
        self.concat = Concat()
        self.fc3 = nn.Linear(40 + clusters, 1024)
        self.bn3 = BatchNorm(1024)
        self.lrelu3 = nn.LeakyReLU(0.2)
        self.fc4 = nn.Linear(1024, 2 * latent_dim)
        self.mean = FirstHalf()
        self.log_var = SecondHalf()
        self.reparameterise = Reparameterise()

    def forward(
        self, x: Tensor, y: Tensor, noise: Tensor | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        x = x.reshape(-1, 1, 28, 28)  # (B, 1, 28, 28)
        x = self.lrelu1(self.bn1(self.conv1(x)))  # (B, 64, 14, 14)
        x = self.lrelu2(self.bn2(self.conv2(x)))  # (B, 128, 7, 7)
        x = self.flatten(x)  # (B, 6272)
        x = self.concat(self.fc1(x), self.multiply(self.fc2(x), y))  # (B, 40 + K)
        x = self.fc4(self.lrelu3(self.bn3(self.fc3(x))))  # (B, 2 L)
        mu, log_var = self.mean(x), self.log_var(x)  # (B, L) each
        if noise is None and not self.training:
            return mu, log_var, mu
        return mu, log_var, self.reparameterise(mu, log_var, noise)


class QyX(nn.Module):
    """q(y|x): probabilities of the clusters."""

    def __init__(self, clusters: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 64, 4, padding=2)
        self.bn1 = BatchNorm(64)
        self.relu1 = nn.ReLU()
        self.pool1 = nn.MaxPool2d(2)
        self.conv2 = nn.Conv2d(64, 128, 4, padding=2)
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
        x = self.pool1(self.relu1(self.bn1(self.conv1(x))))  # (B, 64, 14, 14), from 29x29
        x = self.pool2(self.relu2(self.bn2(self.conv2(x))))  # (B, 128, 7, 7), from 15x15
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
        self.deconv1 = nn.ConvTranspose2d(128, 64, 4, stride=2, padding=1)
        self.bn2 = BatchNorm(64)
        self.lrelu3 = nn.LeakyReLU(0.2)
        self.deconv2 = nn.ConvTranspose2d(64, 1, 4, stride=2, padding=1)
        self.flatten = nn.Flatten()
        self.sigmoid = nn.Sigmoid()

    def forward(self, z: Tensor, draws: Drawn | None = None) -> Tensor:
        x = self.lrelu1(self.bn1(self.fc2(self.fc1(z))))  # (B, 1024)
        x = self.unflatten(self.lrelu2(self.fc3(x)))  # (B, 128, 7, 7)
        x = self.lrelu3(self.bn2(self.deconv1(x)))  # (B, 64, 14, 14)
        x = self.deconv2(x)  # (B, 1, 28, 28)
        return self.sigmoid(self.flatten(x))  # (B, 784)


def _network(latent_dim: int, clusters: int = 10, temperature: float = 0.5, **hyper: float):
    """Its parts, created in the article's order."""
    return ClusteringVAE(
        PxZ(latent_dim), PzY(latent_dim, clusters), QyX(clusters), QzXY(latent_dim, clusters),
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


def labelled_images(data: ImageData, settings: Settings) -> dict[str, NDArray]:
    """The images whose labels are told: the first of a permutation that follows from the seed.

    Returns:
        `labelled` (N, 784), pixels in [0, 1], and `labels` (N, K), one-hot.

    Raises:
        UserError: If the data has no labels, fewer images than are asked for, labels that count
            from 1, or other classes than there are clusters.
    """
    number, clusters = int(settings.hyper["labels"]), int(settings.hyper["clusters"])
    if data.labels is None:
        raise UserError(
            f"{data.name} has no labels", "use --data mnist", expected="images with labels"
        )
    data.check_counted_from_0(clusters)
    largest, classes = int(data.labels.max()), len(data.labels.unique())
    if largest >= clusters:
        raise UserError(
            f"--set clusters={clusters} with labels up to {largest} ({classes} classes)",
            expected=f"a cluster for each label from 0: {largest + 1} or more",
        )
    if number < classes:
        raise UserError(
            f"--set labels={number} with {classes} classes",
            expected=f"at least a label for each class: {classes} or more",
        )
    if number > len(data):
        raise UserError(f"--set labels={number}", expected=f"no more than the {len(data)} images")
    chosen = Draws(settings.seed).permutation("labelled", len(data))[:number]
    labels = np.eye(clusters, dtype=settings.dtype)[data.labels[torch.from_numpy(chosen)].numpy()]
    return {"labelled": data.batch(chosen, settings.torch_dtype).numpy(), "labels": labels}


def _heads(part: str) -> tuple[str, str]:
    return f"{part}.mean", f"{part}.log_var"


HALVING: dict[str, Any] = {"stride": 2, "padding": 1}
WIDE: dict[str, Any] = {"stride": 1, "padding": 2}
NORM: dict[str, Any] = {"momentum": 0.1, "eps": 1e-5}
LEAK: dict[str, Any] = {"slope": 0.2}


def _classifier_stages(x: str, at: str = "", mask: str = "dropout") -> tuple[Stage, ...]:
    """q(y|x) of the images x; `at` stands before the names of a second use."""

    def stage(
        name: str, layer: str, *inputs: str, draw: str | None = None, **options: Any
    ) -> Stage:
        return Stage(
            f"{at}qy_x.{name}", layer,
            tuple(one if one == x else f"{at}qy_x.{one}" for one in inputs),
            draw, options, f"qy_x.{name}" if at else "",
        )  # fmt: skip

    return (
        stage("conv1", "conv2d", x, **WIDE),
        stage("bn1", "batch_norm", "conv1", **NORM),
        stage("relu1", "relu", "bn1"),
        stage("pool1", "max_pool2d", "relu1"),
        stage("conv2", "conv2d", "pool1", **WIDE),
        stage("bn2", "batch_norm", "conv2", **NORM),
        stage("relu2", "relu", "bn2"),
        stage("pool2", "max_pool2d", "relu2"),
        stage("flatten", "flatten", "pool2"),
        stage("fc1", "linear", "flatten"),
        stage("dropout", "dropout", "fc1", draw=mask, p=0.4),
        stage("relu3", "relu", "dropout"),
        stage("fc2", "linear", "relu3"),
        stage("softmax", "softmax", "fc2"),
    )


def _posterior_stages(x: str, y: str, at: str = "", noise: str = "noise") -> tuple[Stage, ...]:
    """q(z|x, y) and a sample z."""

    def stage(
        name: str, layer: str, *inputs: str, draw: str | None = None, **options: Any
    ) -> Stage:
        return Stage(
            f"{at}qz_xy.{name}", layer,
            tuple(one if one in (x, y) else f"{at}qz_xy.{one}" for one in inputs),
            draw, options, f"qz_xy.{name}" if at else "",
        )  # fmt: skip

    return (
        stage("conv1", "conv2d", x, **HALVING),
        stage("bn1", "batch_norm", "conv1", **NORM),
        stage("lrelu1", "leaky_relu", "bn1", **LEAK),
        stage("conv2", "conv2d", "lrelu1", **HALVING),
        stage("bn2", "batch_norm", "conv2", **NORM),
        stage("lrelu2", "leaky_relu", "bn2", **LEAK),
        stage("flatten", "flatten", "lrelu2"),
        stage("fc1", "linear", "flatten"),
        stage("fc2", "linear", "flatten"),
        stage("multiply", "multiply", "fc2", y),
        stage("concat", "concat", "fc1", "multiply"),
        stage("fc3", "linear", "concat"),
        stage("bn3", "batch_norm", "fc3", **NORM),
        stage("lrelu3", "leaky_relu", "bn3", **LEAK),
        stage("fc4", "linear", "lrelu3"),
        stage("mean", "first_half", "fc4"),
        stage("log_var", "second_half", "fc4"),
        stage("reparameterise", "reparameterise", "mean", "log_var", draw=noise),
    )


def _decoder_stages(z: str, at: str = "") -> tuple[Stage, ...]:
    """p(x|z)."""

    def stage(name: str, layer: str, *inputs: str, **options: Any) -> Stage:
        return Stage(
            f"{at}px_z.{name}", layer,
            tuple(one if one == z else f"{at}px_z.{one}" for one in inputs),
            None, options, f"px_z.{name}" if at else "",
        )  # fmt: skip

    return (
        stage("fc1", "linear", z),
        stage("fc2", "linear", "fc1"),
        stage("bn1", "batch_norm", "fc2", **NORM),
        stage("lrelu1", "leaky_relu", "bn1", **LEAK),
        stage("fc3", "linear", "lrelu1"),
        stage("lrelu2", "leaky_relu", "fc3", **LEAK),
        stage("unflatten", "unflatten", "lrelu2", channels=128),
        stage("deconv1", "conv_transpose2d", "unflatten", **HALVING),
        stage("bn2", "batch_norm", "deconv1", **NORM),
        stage("lrelu3", "leaky_relu", "bn2", **LEAK),
        stage("deconv2", "conv_transpose2d", "lrelu3", **HALVING),
        stage("flatten", "flatten", "deconv2"),
        stage("sigmoid", "sigmoid", "flatten"),
    )


NETWORK_STAGES = (
    Stage("input", "input"),
    *_classifier_stages("input"),
    Stage(
        "gumbel_softmax", "gumbel_softmax", ("qy_x.softmax",), "gumbel",
        {"temperature": "temperature"},
    ),
    *_posterior_stages("input", "gumbel_softmax"),
    *_decoder_stages("qz_xy.reparameterise"),
    Stage("pz_y.fc1", "linear", ("gumbel_softmax",)),
    Stage("pz_y.bn1", "batch_norm", ("pz_y.fc1",), None, NORM),
    Stage("pz_y.lrelu1", "leaky_relu", ("pz_y.bn1",), None, LEAK),
    Stage("pz_y.fc2", "linear", ("pz_y.lrelu1",)),
    Stage("pz_y.mean", "first_half", ("pz_y.fc2",)),
    Stage("pz_y.log_var", "second_half", ("pz_y.fc2",)),
)  # fmt: skip
DIVERGENCES = (
    Stage("categorical_kl", "kl_categorical", ("qy_x.softmax",), None, {"per": "sum"}),
    Stage("gaussian_kl", "kl_gaussians", (*_heads("qz_xy"), *_heads("pz_y")), None, {"per": "sum"}),
)
TOTAL = Stage("total", "sum", ("reconstruction", "regulariser"), None, {"weights": (1, 1)})
STAGES = (
    *NETWORK_STAGES,
    Stage("reconstruction", "bce", ("px_z.sigmoid", "input"), None, {"per": "sum"}),
    *DIVERGENCES,
    Stage(
        "regulariser", "sum", ("categorical_kl", "gaussian_kl"), None, {"weights": (1, "beta")}
    ),
    TOTAL,
)  # fmt: skip
AT = "labelled."
SEMI_SUPERVISED_STAGES = (
    *NETWORK_STAGES,
    Stage("labelled", "input", (), "labelled"),
    Stage("labels", "input", (), "labels"),
    *_classifier_stages("labelled", AT, "labelled_dropout"),
    *_posterior_stages("labelled", "labels", AT, "labelled_noise"),
    *_decoder_stages(f"{AT}qz_xy.reparameterise", AT),
    Stage("unlabelled_reconstruction", "bce", ("px_z.sigmoid", "input"), None, {"per": "sum"}),
    Stage(
        "labelled_reconstruction", "bce", (f"{AT}px_z.sigmoid", "labelled"), None, {"per": "sum"}
    ),
    Stage(
        "reconstruction", "sum", ("unlabelled_reconstruction", "labelled_reconstruction"), None,
        {"weights": (1, "labelled_weight")},
    ),
    *DIVERGENCES,
    Stage("cross_entropy", "cross_entropy", (f"{AT}qy_x.softmax", "labels"), None, {"per": "sum"}),
    Stage(
        "regulariser", "sum", ("categorical_kl", "gaussian_kl", "cross_entropy"), None,
        {"weights": (1, "beta", "alpha")},
    ),
    TOTAL,
)  # fmt: skip

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
    stages=STAGES,
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
    stages=SEMI_SUPERVISED_STAGES,
    objectives=("semi-supervised",),
    hyper=(
        *HYPER,
        Hyper("labels", 100, "number of images with a label", whole=True, least=1),
        Hyper("alpha", 1000, "weight of the labels' cross entropy"),
        Hyper("labelled_weight", 100 / 60000, "weight of the labelled images' reconstruction"),
    ),
    given=labelled_images,
)
