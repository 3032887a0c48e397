"""What is run: a recipe with the settings that a benchmark changes."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from pyvae.data.images import ImageData
from pyvae.model.settings import Settings
from pyvae.recipes import Recipe, get_recipe

__all__ = ["ENDLESS", "Case"]

ENDLESS = 10**6  # epochs: a side goes on until it is ended


@dataclass(frozen=True)
class Case:
    """One recipe and its settings; those that are None are the published ones.

    Attributes:
        recipe: Its name.
        batch_size, latent_dim: Of the recipe.
        images: Train on the first so many images; None for all.
        dtype: `float32` or `float64`.
    """

    recipe: str = "conv"
    batch_size: int | None = None
    latent_dim: int | None = None
    images: int | None = None
    dtype: str = "float32"

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    def chosen(self) -> tuple[Recipe, Settings]:
        """The recipe, and the settings of a run of it without an end.

        Raises:
            UserError: If there is no such recipe, or a setting is out of its range.
        """
        recipe = get_recipe(self.recipe)
        settings = recipe.settings(
            batch_size=self.batch_size,
            latent_dim=self.latent_dim,
            dtype=self.dtype,
            epochs=ENDLESS,
        )
        return recipe, settings

    def of(self, data: ImageData) -> ImageData:
        """The images that it is trained on."""
        if self.images is None:
            return data
        labels = None if data.labels is None else data.labels[: self.images]
        return ImageData(data.name, data.pixels[: self.images], labels, data.source)
