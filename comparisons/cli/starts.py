"""What the runs of `pyvae compare` start from."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pyvae.cli.options.shared import STEPS

if TYPE_CHECKING:
    from comparisons.cli.options import Request
    from pyvae.model.settings import Settings
    from pyvae.model.start import Start
    from pyvae.recipes import Recipe

__all__ = ["BOTH", "default_steps", "make_starts", "objectives_to_compare", "settle_start"]

INITIAL, TRAINED, BOTH = "initial", "trained", "both"
NAMES = (INITIAL, TRAINED, BOTH)
STEPS_EACH = 20  # from each start: with the steps that are looked into as long as 42 from one


def settle_start(request: Request, recipe: Recipe) -> str:
    """What the runs start from: one of `NAMES`, or the absolute path of a run's folder.

    Where nothing was asked for it is both, if pyvae ships a trained state that fits; from the same
    seed it is the initial parameters, for which that seed is given. A folder that is resumed and
    says nothing was begun when there was no --start: it goes on from initial parameters.

    Raises:
        UserError: If it is neither a name nor a folder.
    """
    from pyvae.cli.again import is_resumed
    from pyvae.runs.starts import trained_start

    asked = request.run.start
    if asked is not None:
        return asked if asked in NAMES else _run_folder(asked)
    if request.run.rng != "injected" or is_resumed(request.context):
        return INITIAL
    settings = recipe.settings(latent_dim=request.run.latent_dim)
    return INITIAL if trained_start(recipe, settings) is None else BOTH


def _run_folder(asked: str) -> str:
    """The absolute path of the folder that was named."""
    from pyvae.errors import UserError

    why = "is a file" if asked and Path(asked).exists() else "does not exist"
    if not asked or not Path(asked).is_dir():
        raise UserError(
            f"--start '{asked}'" + (f" {why}" if asked else ""),
            expected=f"{', '.join(NAMES)}, or the folder of a run that pyvae train wrote",
        )
    return str(Path(asked).resolve())


def objectives_to_compare(start: str, recipe: Recipe) -> Sequence[str]:
    """The published objectives; where a run is started from, those of them that there is a run of,
    or else those of the recipe's further ones."""
    from pyvae.runs.starts import objectives_of

    if start in NAMES:
        return recipe.objectives
    there = objectives_of(Path(start))
    for names in (recipe.objectives, recipe.further):
        found = [name for name in names if name in there]
        if found:
            return found
    return recipe.objectives


def default_steps(start: str) -> int:
    """The steps of a run if nothing is said: from both starts so many that it takes as long."""
    return STEPS_EACH if start == BOTH else STEPS


def make_starts(start: str, recipe: Recipe, settings: Settings) -> list[Start | None]:
    """The starts of a run, in the order in which they are compared; None: initial parameters.

    Raises:
        UserError: If there is no trained state that fits, or the run to start from does not.
    """
    from pyvae.errors import UserError
    from pyvae.runs.starts import start_from_run, trained_start

    if start not in NAMES:
        return [start_from_run(Path(start), recipe, settings)]
    if start == INITIAL:
        return [None]
    trained = trained_start(recipe, settings)
    if trained is None:
        shipped = trained_start(recipe)
        why = (
            f"pyvae ships no trained state of recipe {recipe.name}"
            if shipped is None
            else f"pyvae's trained state of recipe {recipe.name} has other latent dimensions than "
            f"{settings.latent_dim}"
        )
        raise UserError(f"--start {start}: {why}", "use --start initial, or --start RUN")
    return [trained] if start == TRAINED else [None, trained]
