"""Any recipe's own network trained by a plain loop, as `plain_loop` trains the R article's:
torchvision's images one by one, dropout and noise drawn by PyTorch, its default Adam."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.utils.data import DataLoader
from torchvision import datasets

from benchmarks.given.case import Case
from pyvae.data.images import ImageData
from pyvae.model.objectives import OBJECTIVES
from pyvae.model.recipe import Recipe
from pyvae.model.settings import Settings

__all__ = ["train"]


def train(images: datasets.MNIST, case: Case) -> Iterator[float]:
    """Trains without an end, and gives the loss of every step as it is done."""
    recipe, settings = case.chosen()
    objective = OBJECTIVES[settings.objective]
    loader = DataLoader(images, batch_size=settings.batch_size, shuffle=True, drop_last=True)
    network = recipe.network(settings.latent_dim, **settings.hyper)
    given = _given(images, recipe, settings)
    optimizer = torch.optim.Adam(network.parameters(), lr=settings.learning_rate)
    for _ in range(settings.epochs):
        for batch, _ in loader:
            x = batch.reshape(-1, 784)  # (B, 784)
            loss = objective(x, network(x, given), settings.hyper)["total"]
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            yield loss.item()


def _given(images: datasets.MNIST, recipe: Recipe, settings: Settings) -> dict[str, Tensor]:
    """What every step is given besides its batch: images with labels, taken once."""
    if recipe.given is None:
        return {}
    data = ImageData("mnist", images.data.reshape(len(images), -1), images.targets, "")
    return {name: torch.from_numpy(value) for name, value in recipe.given(data, settings).items()}
