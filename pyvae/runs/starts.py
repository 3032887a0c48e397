"""What a run can start from: a run of the user's own, or the trained state that pyvae ships."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from numpy.typing import NDArray

import pyvae.recipes
from pyvae.errors import UserError
from pyvae.model.recipe import Recipe
from pyvae.model.settings import Settings
from pyvae.model.start import Start
from pyvae.runs.state_file import read_state
from pyvae.trace.header import RECIPE_FILE
from pyvae.trace.recipe import recipe_of
from pyvae.trace.trace import Trace
from pyvae.training.checkpoint import Checkpoint

__all__ = [
    "TRAINED",
    "State",
    "last_state",
    "objectives_of",
    "runs_in",
    "start_from_run",
    "start_of_trace",
    "trained_start",
]

TRAINED, RUN = "trained", "run"  # names of starts
STATES = Path(pyvae.recipes.__file__).parent / "states"  # of the package, one for a recipe
WRITTEN_BY = "name the folder that pyvae train wrote"


class State(NamedTuple):
    """Where a run stands.

    Attributes:
        trace: Of the run, complete or not.
        steps: After which step.
        parameters: With running statistics, by name.
        moments: Adam's, if they were kept (`moment1/NAME`).
        damages: In words, what is wrong with newer checkpoints.
    """

    trace: Trace
    steps: int
    parameters: dict[str, NDArray]
    moments: dict[str, NDArray]
    damages: Sequence[str] = ()


def trained_start(recipe: Recipe, settings: Settings | None = None) -> Start | None:
    """The trained state that the package ships for a recipe; None if there is none.

    Arguments:
        recipe: The recipe.
        settings: Of the run that is to start from it: None if the state has other dimensions.
    """
    path = STATES / f"{recipe.name}.safetensors"
    if recipe.file is not None or not path.is_file():
        return None
    about, parameters = read_state(path)
    if settings is not None and settings.latent_dim != about["settings"]["latent_dim"]:
        return None
    return Start(TRAINED, _title(about["steps"], about["data"]["name"]), parameters)


def start_from_run(folder: Path, recipe: Recipe, settings: Settings) -> Start:
    """What a run of `pyvae train` has left: parameters, running statistics and, if a checkpoint of
    the same step was kept, Adam's moments.

    Arguments:
        folder: The run's; of a run that is not finished its last checkpoint is taken.
        recipe, settings: Of the run that is to start from it.

    Raises:
        UserError: If there is no run of this recipe, objective and size, or it or its last
            checkpoint cannot be read.
    """
    option = f"--start {shlex.quote(str(folder))}"
    found = runs_in(folder)
    names = {trace.recipe for trace in found.values()}
    if names != {recipe.name}:
        own = any(RECIPE_FILE in trace.environment for trace in found.values())
        named = "FILE.py:NAME, the file that defines it" if own else min(names)
        raise UserError(
            f"{option}: a run of recipe {', '.join(sorted(names))}, not of {recipe.name}",
            f"use --recipe {named}, or start from another run",
        )
    trace = found.get(settings.objective)
    if trace is None:
        raise UserError(
            f"{option}: a run of objective {' and '.join(found)}, none of {settings.objective}, "
            "and Adam's moments are those of one objective",
            f"use --objective {next(iter(found))}, or start from another run",
        )
    had = trace.settings.latent_dim
    if had != settings.latent_dim:
        raise UserError(
            f"{option}: a run with {had} latent dimensions, not {settings.latent_dim}",
            f"use --latent-dim {had}, or start from another run",
        )
    state = last_state(trace)
    if state.damages:
        raise UserError(
            f"{option}: {state.damages[0]}",
            "start from another run, or remove that checkpoint's two files from "
            f"'{trace.folder}' to start from "
            + (
                "its parameters, without Adam's moments"
                if not state.moments
                else f"the checkpoint of step {state.steps}"
            ),
        )
    moments = "with" if state.moments else "without"
    start = Start(
        RUN,
        f"{_title(state.steps, trace.data['name'])}, {moments} Adam's moments",
        state.parameters,
        state.moments,
        state.steps if state.moments else 0,
        str(folder.resolve()),
    )
    start.check(recipe, settings)
    return start


def objectives_of(folder: Path) -> list[str]:
    """The objectives that there are runs of in a folder.

    Raises:
        UserError: As `start_from_run`.
    """
    return list(runs_in(folder))


def start_of_trace(trace: Trace) -> Start | None:
    """What a recorded run started from, found again; None for initial parameters.

    Raises:
        UserError: If it is not there any more, or has changed since.
    """
    about = trace.start
    if not about:
        return None
    recipe = recipe_of(trace)
    source = str(about.get("source", ""))
    start = (
        start_from_run(Path(source), recipe, trace.settings)
        if source
        else trained_start(recipe, trace.settings)
    )
    if start is None or start.sha256 != about["sha256"]:
        raise UserError(
            f"the run started from {about.get('title', 'a trained state')}, and "
            + (f"'{source}' has changed since" if source else "this pyvae ships another state"),
            "use the state, or the version of pyvae, that it was recorded with",
        )
    return start


def last_state(trace: Trace) -> State:
    """The state that a saved run has got to.

    Raises:
        UserError: If it was interrupted and has no checkpoint.
    """
    assert trace.folder is not None  # noqa: S101 (it was loaded)
    found = Checkpoint.find(trace.folder)
    checkpoint = found.checkpoint
    if trace.complete and (checkpoint is None or checkpoint.step != trace.steps):
        return State(trace, trace.steps, trace.parameters, {}, found.damages)
    if checkpoint is None:
        damaged = f" that can be read: {found.damages[0]}" if found.damages else ""
        raise UserError(
            f"the run in '{trace.folder}' is not finished and has no checkpoint{damaged}",
            "train it to its end, or choose another run",
        )
    kept = checkpoint.state
    parameters = {
        key.partition("/")[2]: value
        for key, value in kept.items()
        if key.startswith(("parameter/", "buffer/"))
    }
    moments = {key: value for key, value in kept.items() if key.startswith("moment")}
    return State(trace, checkpoint.step, parameters, moments, found.damages)


def runs_in(folder: Path) -> dict[str, Trace]:
    """The runs in a folder, finished or not, by objective.

    Raises:
        UserError: If there is none, there are two of one objective, or one cannot be read.
    """
    if not folder.is_dir():
        what = "is a file" if folder.exists() else "does not exist"
        raise UserError(f"'{folder}' {what}", WRITTEN_BY)
    own = (folder / "trace.json").is_file()
    places = [folder] if own else sorted(path.parent for path in folder.glob("*/trace.json"))
    traces = [Trace.load(place) for place in places]
    if not traces:
        raise UserError(f"'{folder}' holds no run", WRITTEN_BY)
    found = {trace.settings.objective: trace for trace in traces}
    if len(found) < len(traces):
        raise UserError(
            f"'{folder}' holds several runs of one objective",
            f"name one of them, such as '{places[0]}'",
        )
    return found


def _title(steps: int, data: str) -> str:
    return f"the parameters after {steps:,} steps of {data}"
