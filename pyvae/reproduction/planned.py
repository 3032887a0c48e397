"""The runs of a write-up."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pyvae.data.images import ImageData
from pyvae.model.run import Run
from pyvae.model.settings import Settings
from pyvae.recipes import get_recipe

__all__ = ["Planned", "PlannedRun", "Split"]

Split = tuple[ImageData, ImageData]  # to train on, to test with


@dataclass(frozen=True)
class PlannedRun:
    """A run of a write-up: one seed.

    Attributes:
        run: Recipe, settings with the seed, and the data to train on.
        folder: Where it is kept.
        test: Images whose loss is computed after every epoch; None for none.
        checkpoint_every: Epochs between two copies of the parameters; 0 for none.
    """

    run: Run
    folder: Path
    test: ImageData | None = None
    checkpoint_every: int = 0

    @property
    def title(self) -> str:
        """Recipe, objective and seed in words."""
        return f"{self.kind}, seed {self.run.settings.seed}"

    @property
    def kind(self) -> str:
        """Recipe and objective in words."""
        return f"{self.run.recipe.name} ({self.run.objective.title})"


@dataclass(frozen=True)
class Planned:
    """What a write-up trains, with some seeds.

    Attributes:
        key: Its name within the article.
        recipe: The recipe's whole name.
        changes: Settings that differ from the recipe's published ones.
        seeds: The number of seeds, unless the plan has another.
        first_seed: The first of them.
        quick: `epochs` or `steps` of a quick look.
        test: Whether the loss on the test set is computed after every epoch.
        checkpoint_every: Epochs between two copies of the parameters; 0 for none.
    """

    key: str
    recipe: str
    changes: Mapping[str, Any] = field(default_factory=dict)
    seeds: int = 1
    first_seed: int = 1
    quick: Mapping[str, int] = field(default_factory=dict)
    test: bool = False
    checkpoint_every: int = 0

    def settings(self, seed: int, quick: bool, epochs: int | None) -> Settings:
        """The settings for one seed."""
        changes = {**self.changes, "seed": seed, "dtype": "float32"}
        if quick:
            changes |= self.quick
        if epochs is not None:
            changes["epochs"] = epochs
        return get_recipe(self.recipe).settings(**changes)

    def folder(self, settings: Settings) -> str:
        """The name of the folder of one run."""
        objectives = get_recipe(self.recipe).objectives
        objective = f"-{settings.objective}" if len(objectives) > 1 else ""
        return f"{self.recipe}{objective}-z{settings.latent_dim}-seed{settings.seed}"
