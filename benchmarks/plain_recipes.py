"""Any recipe's own network trained by a plain loop, as `plain_loop` trains the R article's:
torchvision's images one by one, dropout and noise drawn by PyTorch, its default Adam."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch.utils.data import DataLoader
from torchvision import datasets

from benchmarks.case import Case
from pyvae.model.objectives import OBJECTIVES

__all__ = ["train"]


def train(images: datasets.MNIST, case: Case) -> Iterator[float]:
    """Trains without an end, and gives the loss of every step as it is done."""
    recipe, settings = case.chosen()
    objective = OBJECTIVES[settings.objective]
    loader = DataLoader(images, batch_size=settings.batch_size, shuffle=True, drop_last=True)
    network = recipe.network(settings.latent_dim, **settings.hyper)
    optimizer = torch.optim.Adam(network.parameters(), lr=settings.learning_rate)
    for _ in range(settings.epochs):
        for batch, _ in loader:
            x = batch.reshape(-1, 784)  # (B, 784)
            loss = objective(x, network(x), settings.hyper)["total"]
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            yield loss.item()
