"""What R asks without a network: what a recipe is, and images in a file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from pyvae.recipes import open_recipe
from r_bridge.from_r.exchange import Packed, answers, unpack

__all__ = ["describe", "save_images"]


@answers
def describe(recipe: str) -> dict[str, Any]:
    """Returns a recipe's published settings, its objectives, its hyperparameters, and the number of
    its inputs with the shape of an image (channels, height, width).

    Arguments:
        recipe: A name, or `FILE.py:NAME`, which the user has typed.
    """
    found = open_recipe(recipe)
    return {
        "name": found.name,
        "objectives": [*found.objectives, *found.further],
        "published": len(found.objectives),
        "hyper": [one.name for one in found.hyper],
        "features": found.features,
        "shape": list(found.shape),
        "epochs": found.epochs,
        "batch_size": found.batch_size,
        "latent_dim": found.latent_dim,
        "learning_rate": found.learning_rate,
    }


@answers
def save_images(path: str, x: Packed, labels: Packed | None = None) -> str:
    """Writes images as an .npz file for `pyvae compare --data`."""
    arrays = {"images": np.ascontiguousarray(unpack(x))}
    if labels is not None:
        arrays["labels"] = unpack(labels).astype(np.int64)
    np.savez(Path(path), **arrays)  # type: ignore[arg-type]
    return path
