"""A run: a recipe, trained with settings, on data."""

from __future__ import annotations

from dataclasses import dataclass

from pyvae.data.images import ImageData
from pyvae.model.objectives import OBJECTIVES, Objective
from pyvae.model.recipe import Recipe
from pyvae.model.settings import Settings
from pyvae.model.stages import Quantity
from pyvae.model.start import Start

__all__ = ["Run"]


@dataclass(frozen=True)
class Run:
    """What is trained, how, and on which images.

    Attributes:
        recipe: The network, its draws and its published settings.
        settings: Objective, batch size, seed and whatever else can be chosen.
        data: Images (or points) that the recipe takes.
        start: What it starts from; by default the recipe's initial parameters for the seed.

    Example:
        >>> from pyvae import get_recipe, load_data
        >>> conv = get_recipe("conv")
        >>> Run(conv, conv.settings(epochs=1, batch_size=100), load_data("digits")).steps
        17
    """

    recipe: Recipe
    settings: Settings
    data: ImageData
    start: Start | None = None

    @property
    def objective(self) -> Objective:
        """The objective that is minimised."""
        return OBJECTIVES[self.settings.objective]

    @property
    def steps_per_epoch(self) -> int:
        """Whole batches in one pass over the data.

        Raises:
            UserError: If there are fewer images than one batch.
        """
        return self.settings.steps_per_epoch(len(self.data))

    @property
    def steps(self) -> int:
        """Steps of the whole run.

        Raises:
            UserError: If there are fewer images than one batch.
        """
        return self.settings.total_steps(len(self.data))

    @property
    def quantities(self) -> list[Quantity]:
        """Everything that a probe of a step holds, in the order of computation."""
        return self.recipe.quantities(self.settings)
