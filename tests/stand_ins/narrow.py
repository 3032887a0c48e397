"""Recipes with few channels and features: the same stages and parameters by name, a fraction of the
numbers and of the time. For tests that do not ask for the published widths."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from torch import nn
from torch.nn.modules.conv import _ConvNd

from pyvae.model.draws import Draw, Keep
from pyvae.model.kernels.channels_last import ConvTranspose2d
from pyvae.model.modules import BatchNorm, Unflatten
from pyvae.recipes import RECIPES
from pyvae.recipes.clustering import CLUSTERING, SEMI_SUPERVISED, ImageQzXY, PxZ, PzY, QyX
from pyvae.recipes.clustering_modules import ClusteringVAE, QzXY
from pyvae.recipes.conv import CONV, ConvVAE
from pyvae.recipes.strided_conv import STRIDED_CONV, StridedConvVAE

__all__ = ["CHANNELS", "HIDDEN", "NARROW", "NARROW_CONV"]

CHANNELS = 8  # of the second convolution
HIDDEN = 32  # features before the last layers of encoder and decoder


def _narrowed(make: Callable[..., None]) -> Callable[..., None]:
    """An `__init__` that draws the parameters of those layers alone that are left in the end: to
    draw the published widths, most of which are replaced, would take longer than a step."""
    kinds = (nn.Linear, _ConvNd)
    draws = [kind.reset_parameters for kind in kinds]

    def narrowed(network: nn.Module, *args: int) -> None:
        for kind in kinds:
            kind.reset_parameters = lambda layer: None
        try:
            make(network, *args)
        finally:
            for kind, draw in zip(kinds, draws, strict=True):
                kind.reset_parameters = draw
        for layer in network.modules():
            if isinstance(layer, kinds):
                layer.reset_parameters()

    return narrowed


class _NarrowConv(ConvVAE):
    @_narrowed
    def __init__(self, latent_dim: int) -> None:
        super().__init__(latent_dim)
        encoder, decoder = self.encoder, self.decoder
        encoder.conv1 = nn.Conv2d(1, 4, 3)
        encoder.conv2 = nn.Conv2d(4, CHANNELS, 3)
        encoder.fc1 = nn.Linear(12 * 12 * CHANNELS, HIDDEN)
        encoder.fc2 = nn.Linear(HIDDEN, latent_dim)
        encoder.fc3 = nn.Linear(HIDDEN, latent_dim)
        decoder.conv1 = ConvTranspose2d(128, HIDDEN, 1)
        decoder.conv2 = ConvTranspose2d(HIDDEN, 784, 1)


def _draws(latent_dim: int) -> dict[str, Draw]:
    return CONV.draws(latent_dim) | {
        "dropout1": Keep((CHANNELS, 12, 12), 0.25),
        "dropout2": Keep((HIDDEN,), 0.5),
    }


class _NarrowStridedConv(StridedConvVAE):
    @_narrowed
    def __init__(self, latent_dim: int) -> None:
        super().__init__(latent_dim)
        encoder, decoder = self.encoder, self.decoder
        encoder.conv1 = nn.Conv2d(1, 4, 3, stride=2, padding=1)
        encoder.conv2 = nn.Conv2d(4, 8, 3, stride=2, padding=1)
        encoder.fc = nn.Linear(7 * 7 * 8, 2 * latent_dim)
        decoder.fc = nn.Linear(latent_dim, 7 * 7 * 8)
        decoder.unflatten = Unflatten(8)
        decoder.deconv1 = nn.ConvTranspose2d(8, 8, 3, stride=2)
        decoder.deconv2 = nn.ConvTranspose2d(8, 4, 3, stride=2)
        decoder.conv = nn.Conv2d(4, 1, 4)


class _NarrowQzXY(ImageQzXY):
    def __init__(self, latent_dim: int, clusters: int) -> None:
        QzXY.__init__(self, latent_dim, clusters, features=7 * 7 * 8, hidden=32)

    def add_features(self) -> None:
        super().add_features()
        self.conv1, self.bn1 = nn.Conv2d(1, 4, 4, stride=2, padding=1), BatchNorm(4)
        self.conv2, self.bn2 = nn.Conv2d(4, 8, 4, stride=2, padding=1), BatchNorm(8)


class _NarrowQyX(QyX):
    @_narrowed
    def __init__(self, clusters: int) -> None:
        super().__init__(clusters)
        self.conv1, self.bn1 = nn.Conv2d(1, 4, 4, padding=2), BatchNorm(4)
        self.conv2, self.bn2 = nn.Conv2d(4, 8, 4, padding=2), BatchNorm(8)
        self.fc1 = nn.Linear(7 * 7 * 8, 256)


class _NarrowPxZ(PxZ):
    @_narrowed
    def __init__(self, latent_dim: int) -> None:
        super().__init__(latent_dim)
        self.fc2, self.bn1 = nn.Linear(40, 64), BatchNorm(64)
        self.fc3, self.unflatten = nn.Linear(64, 7 * 7 * 8), Unflatten(8)
        self.deconv1, self.bn2 = nn.ConvTranspose2d(8, 4, 4, stride=2, padding=1), BatchNorm(4)
        self.deconv2 = nn.ConvTranspose2d(4, 1, 4, stride=2, padding=1)


def _clustering(latent_dim: int, clusters: int = 10, temperature: float = 0.5, **hyper: float):
    return ClusteringVAE(
        _NarrowPxZ(latent_dim), PzY(latent_dim, clusters), _NarrowQyX(clusters),
        _NarrowQzXY(latent_dim, clusters), clusters, temperature, labelled="labels" in hyper,
    )  # fmt: skip


NARROW_CONV = replace(CONV, network=_NarrowConv, draws=_draws)
NARROW = RECIPES | {
    "conv": NARROW_CONV,
    "strided-conv": replace(STRIDED_CONV, network=_NarrowStridedConv),
    "clustering": replace(CLUSTERING, network=_clustering),
    "clustering-semi-supervised": replace(SEMI_SUPERVISED, network=_clustering),
}
