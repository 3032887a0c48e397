"""Which runs a reproduction trains."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from pyvae.data.images import load_split
from pyvae.errors import UserError
from pyvae.model.run import Run
from pyvae.model.settings import Settings
from pyvae.recipes import get_recipe
from pyvae.reproduction.article import Article
from pyvae.reproduction.planned import Planned, PlannedRun, Split

__all__ = ["Plan", "datasets"]

POINTS = 2  # coordinates


@dataclass(frozen=True)
class Plan:
    """What a reproduction does differently from the write-up.

    Attributes:
        quick: Train one seed for fewer epochs; said on every figure.
        seeds: Number of seeds, instead of as many as each article plans.
        epochs: Number of epochs, instead of the published ones; said on every figure. Points are
            trained in full.
        latent_dim: Latent dimensions, instead of the published ones.

    Raises:
        UserError: If a number is below 1.

    Example:
        >>> Plan(quick=True, seeds=2)
        Plan(quick=True, seeds=2, epochs=None, latent_dim=None)
    """

    quick: bool = False
    seeds: int | None = None
    epochs: int | None = None
    latent_dim: int | None = None

    def __post_init__(self) -> None:
        for name in ("seeds", "epochs", "latent_dim"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise UserError(f"--{name.replace('_', '-')} {value}", expected="1 or more")

    def settings(self, planned: Planned, seed: int) -> Settings:
        """The settings of a planned run for one seed."""
        epochs = self.epochs
        if get_recipe(planned.recipe).features == POINTS:
            epochs = None  # they take seconds
        if self.latent_dim is not None:
            changes = {**planned.changes, "latent_dim": self.latent_dim}
            planned = replace(planned, changes=changes)
        return planned.settings(seed, self.quick, epochs)

    def runs(self, planned: Planned, split: Split, folder: Path) -> list[PlannedRun]:
        """A planned run with all its seeds, each in its own folder below `folder`.

        Arguments:
            planned: Of an article.
            split: Images to train on and to test with.
            folder: Of all runs.
        """
        train, test = datasets(planned, split)
        recipe = get_recipe(planned.recipe)
        first = planned.first_seed
        count = self.seeds or (1 if self.quick else planned.seeds)
        return [
            PlannedRun(
                Run(recipe, settings, train),
                folder / planned.folder(settings),
                test if planned.test else None,
                planned.checkpoint_every,
            )
            for settings in (self.settings(planned, seed) for seed in range(first, first + count))
        ]

    def article_runs(
        self, articles: Iterable[Article], split: Split, folder: Path
    ) -> Mapping[str, Mapping[str, list[PlannedRun]]]:
        """The runs of articles, by the article's name and the planned run's key.

        Raises:
            UserError: If there are fewer images than one batch, or a setting is out of its range.
        """
        found = {
            article.name: {
                planned.key: self.runs(planned, split, folder) for planned in article.planned
            }
            for article in articles
        }
        for runs in found.values():
            for planned_runs in runs.values():
                run = planned_runs[0].run
                run.settings.steps_per_epoch(len(run.data))  # asked before anything is trained
        return found


def datasets(planned: Planned, split: Split) -> Split:
    """The data of a planned run: the images, or the points."""
    return split if get_recipe(planned.recipe).features != POINTS else load_split("toy")
