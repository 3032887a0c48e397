"""The runs of a write-up: which there are, and training one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from rich.console import Console

from pyvae.data.images import ImageData, load_split
from pyvae.engines.pytorch import PyTorchEngine
from pyvae.model.objectives import OBJECTIVES
from pyvae.model.run import Run
from pyvae.model.settings import Settings
from pyvae.recipes import get_recipe
from pyvae.reproduction.article import Planned
from pyvae.runs.keep import found_training, kept_training
from pyvae.terminal.step_progress import RunProgress
from pyvae.trace.trace import Trace

__all__ = ["PlannedRun", "Sets", "check_folders", "runs_of", "sets_of", "settings_of", "train_here"]

PIXELS, POINTS = 784, 2  # numbers of an image, and of a point

Sets = tuple[ImageData, ImageData]  # to train on, to test with


@dataclass(frozen=True)
class PlannedRun:
    """One run: a planned one with one seed.

    Attributes:
        planned: What a write-up trains.
        settings: With the seed.
        folder: Where it is kept.
    """

    planned: Planned
    settings: Settings
    folder: Path

    @property
    def title(self) -> str:
        objective = OBJECTIVES[self.settings.objective].title
        return f"{self.planned.recipe} ({objective}), seed {self.settings.seed}"


def runs_of(
    planned: Planned,
    folder: Path,
    *,
    quick: bool = False,
    seeds: int | None = None,
    epochs: int | None = None,
    latent_dim: int | None = None,
) -> list[PlannedRun]:
    """A planned run with all its seeds, each in a folder of its own below `folder`; otherwise as
    `pyvae.reproduction.reproduce.reproduce` takes its arguments."""
    first = planned.first_seed
    count = seeds or (1 if quick else planned.seeds)
    runs = []
    for seed in range(first, first + count):
        settings = settings_of(planned, seed, quick, epochs, latent_dim)
        runs.append(PlannedRun(planned, settings, folder / planned.folder(settings)))
    return runs


def settings_of(
    planned: Planned, seed: int, quick: bool, epochs: int | None, latent_dim: int | None
) -> Settings:
    """The settings for one seed; points are trained in full."""
    if get_recipe(planned.recipe).features == POINTS:
        epochs = None  # they take seconds
    settings = planned.settings(seed, quick, epochs)
    if latent_dim is None:
        return settings
    changed = replace(planned, changes={**planned.changes, "latent_dim": latent_dim})
    return changed.settings(seed, quick, epochs)


def check_folders(runs: Sequence[PlannedRun], sets: Sets, device: str) -> None:
    """Raises UserError where another run is in the way, before the first of them is trained."""
    engine = PyTorchEngine(device)
    for run in runs:
        if run.folder.is_dir():
            recipe = get_recipe(run.planned.recipe)
            trace = Trace.of_run(Run(recipe, run.settings, sets_of(run.planned, sets)[0]), engine)
            found_training(run.folder, trace)


def sets_of(planned: Planned, sets: Sets) -> Sets:
    """What it is trained on and tested with: the images, or the points."""
    return sets if get_recipe(planned.recipe).features == PIXELS else load_split("toy")


def train_here(
    run: PlannedRun, sets: Sets, device: str, console: Console, say: Callable[[str], object]
) -> Trace:
    """Trains a run, or what is left of it, in this process."""
    train, test = sets_of(run.planned, sets)
    with RunProgress(run.title, run.settings.batch_size, console) as progress:
        return kept_training(
            run.planned.recipe, run.settings, train, run.folder,
            test=test if run.planned.test else None, device=device,
            checkpoint_every=run.planned.checkpoint_every,
            observe=progress.observe, say=say,
        )  # fmt: skip
