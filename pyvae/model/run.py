"""A run: a recipe, trained with settings, on data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pyvae.data.images import ImageData
from pyvae.errors import UserError, given
from pyvae.files.html import notebook_html
from pyvae.model.objectives import OBJECTIVES, Objective
from pyvae.model.recipe import Recipe
from pyvae.model.settings import Settings
from pyvae.model.stages import Quantity
from pyvae.model.start import Start

__all__ = ["Run", "as_runs"]

GIVE = {
    "recipe": ("a recipe", "use get_recipe('{}')", "conv"),
    "settings": ("the recipe's settings", "use recipe.settings(epochs=1)", ""),
    "data": ("images", "use load_data('{}')", "digits"),
}


def as_runs(runs: Run | Sequence[Run]) -> Sequence[Run]:
    """One run, or several, as a sequence.

    Raises:
        UserError: If it is something else.
    """
    if isinstance(runs, Run):
        return [runs]
    if not isinstance(runs, Sequence) or not all(isinstance(one, Run) for one in runs):
        raise UserError(
            f"{given(runs)} is not what can be trained",
            "use Run(recipe, recipe.settings(epochs=1), load_data('digits'))",
            expected="a Run, or a list of them",
        )
    return runs


@dataclass(frozen=True)
class Run:
    """What is trained, how, and on which images.

    Attributes:
        recipe: The network, its draws and its published settings.
        settings: Objective, batch size, seed and whatever else can be chosen.
        data: Images (or points) that the recipe takes.
        start: What it starts from; by default the recipe's initial parameters for the seed.

    Raises:
        UserError: If one is of another type.

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

    def __post_init__(self) -> None:
        for name, kind in (("recipe", Recipe), ("settings", Settings), ("data", ImageData)):
            value = getattr(self, name)
            if not isinstance(value, kind):
                what, remedy, usual = GIVE[name]
                said = f"Run was given {given(value)} for its {name}"
                name_of = value if isinstance(value, str) else usual
                raise UserError(said, remedy.format(name_of), expected=what)
        if not isinstance(self.start, Start | None):
            raise UserError(
                f"Run was given {given(self.start)} for its start",
                "leave it out for the recipe's initial parameters",
                expected="a pyvae.model.start.Start",
            )

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
    def is_exact(self) -> bool:
        """Whether every bit is that of PyTorch's own kernels, whatever an engine's `kernels` are:
        of exact recipes, and in double precision, which is there to be compared."""
        return self.recipe.exact or self.settings.dtype == "float64"

    @property
    def quantities(self) -> list[Quantity]:
        """Everything that a probe of a step holds, in the order of computation."""
        return self.recipe.quantities(self.settings)

    def __repr__(self) -> str:
        return f"<{self._in_words()}>"

    def _in_words(self) -> str:
        settings = self.settings
        return (
            f"Run of recipe {self.recipe.name}, {self.objective.title}, on {self.data.name}: "
            f"{settings.epochs} epochs"
            + ("" if settings.steps is None else f", at most {settings.steps} steps")
        )

    def _repr_html_(self) -> str:
        settings, start = self.settings, self.start
        lines = (
            self.recipe.title,
            f"loss: {self.objective.formula}",
            f"{len(self.data):,} images, batch {settings.batch_size}, {settings.latent_dim} latent "
            f"dimensions, Adam {settings.learning_rate:g}, {settings.dtype}, seed {settings.seed}",
            f"starts from {start.title}" if start else "",
        )
        return notebook_html(self._in_words(), lines)
