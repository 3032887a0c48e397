"""`pyvae train`: runs that are kept in a folder, in one process or in several."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path

from rich.console import Console

from pyvae.data.images import ImageData
from pyvae.engines.data_parallel import ALONE, Shares
from pyvae.engines.engine import DivergedError
from pyvae.engines.pytorch import PyTorchEngine
from pyvae.errors import UserError
from pyvae.files.writing import remove_remains
from pyvae.metrics.collapse import latents_in_words
from pyvae.model.objectives import OBJECTIVES
from pyvae.model.recipe import Recipe
from pyvae.model.run import Run
from pyvae.model.settings import Settings
from pyvae.runs.folder_lock import FolderLock
from pyvae.runs.kept_run import KeptRun
from pyvae.runs.run_json import write_run
from pyvae.runs.signals import stopping_between_steps
from pyvae.terminal.console import Terminal
from pyvae.terminal.step_progress import RunProgress
from pyvae.trace.trace import Trace
from pyvae.training.callbacks import Progress
from pyvae.training.inputs import load_for
from pyvae.training.loop import train

__all__ = ["train_runs"]

NOTHING_TO_TRAIN = (
    "nothing was left to train: --epochs N or --steps N with a larger N goes on from here, "
    "--overwrite trains from the beginning"
)


def train_runs(
    recipe: Recipe,
    runs: Sequence[Settings],
    data: str,
    folder: Path,
    device: str = "auto",
    precision: str = "full",
    shares: Shares = ALONE,
    arguments: Sequence[str] = (),
    resumed: bool = False,
    overwrite: bool = False,
) -> None:
    """Trains one run after the other and writes their traces, as far as they came.

    A run that was interrupted in this folder goes on where it was, and one that came to its end
    where that was, if more steps are asked for, without a changed bit. Nothing is trained twice.

    Arguments:
        recipe: What is trained.
        runs: How, for each objective.
        data: The images' name, as `pyvae.data.images.load_data` takes it.
        folder: Gets a folder for each objective.
        device, precision: Of `pyvae.engines.pytorch.PyTorchEngine`.
        shares: What this process computes; the first one shows the progress and writes.
        arguments: The command that does this, for `run.json`; without, there is none.
        resumed: Whether `--resume` was given: what else there is to do is told accordingly.
        overwrite: Train from the beginning, in place of whatever is there.

    Raises:
        UserError: If something of it cannot be had or used, or the folder holds another run, and
            that is not to be overwritten.
    """
    console = Terminal(quiet=not shares.is_first)
    engine = PyTorchEngine(device, precision=precision, shares=shares)
    images = load_for(recipe, data, runs[0], say=lambda line: console.print(line, soft_wrap=True))
    runs[0].total_steps(len(images))  # enough images? asked before anything is written
    shares.check(runs[0].batch_size)
    with ExitStack() as stack:
        lock = stack.enter_context(FolderLock(folder)) if shares.is_first else None
        kept_runs = []
        for settings in runs:
            trace = Trace.of_run(Run(recipe, settings, images), engine)
            place = folder / settings.objective
            kept_runs.append(KeptRun(place, trace, afresh=overwrite, longer=True))
        _check(kept_runs, folder, resumed)

        def write_about() -> None:
            if not arguments:
                return
            write_run(
                folder, arguments, recipe.name, runs, images.describe(),
                {engine.name: kept_runs[0].trace.environment},
            )  # fmt: skip

        def look_after_the_folder() -> bool:
            """Whether it had to be made again."""
            if lock is None or not lock.check():
                return False
            console.print(f"'{folder}' was removed: writing it again", soft_wrap=True)
            write_about()
            return True

        if lock is not None:
            write_about()
        for kept in kept_runs:
            _train(engine, recipe, images, kept, console, shares, look_after_the_folder, folder)
        if all(kept.complete for kept in kept_runs):
            console.print(NOTHING_TO_TRAIN, soft_wrap=True)


def _check(kept_runs: Sequence[KeptRun], folder: Path, resumed: bool) -> None:
    """Raises UserError where another run, or one that cannot be read, would be replaced."""
    for kept in kept_runs:
        finish = kept.other and kept.unfinished and not resumed
        kept.check(
            (f"finish it with {_resume(folder)}, " if finish else "")
            + "choose another --out, or give the command with --overwrite to train from the "
            "beginning in its place"
        )


def _train(
    engine: PyTorchEngine,
    recipe: Recipe,
    images: ImageData,
    kept: KeptRun,
    console: Console,
    shares: Shares,
    look_after_the_folder: Callable[[], bool],
    folder: Path,
) -> None:
    """One run, from where it stands."""
    trace, settings = kept.trace, kept.trace.settings
    about = OBJECTIVES[settings.objective]
    console.print(f"{about.title}: {about.formula}", soft_wrap=True)
    if kept.found:
        console.print(f"{about.title}: {kept.found}", soft_wrap=True)
    if kept.complete:
        kept.finish()
        _say_latents(trace, console)
        return
    title = f"{about.title} on {trace.data['name']}, {engine.device.type}"
    if shares.several:
        title += f", {shares.number} processes"
    try:
        with (
            stopping_between_steps() as told,
            RunProgress(title, settings.batch_size, console, epochs=True) as progress,
        ):

            def observe(now: Progress) -> None:
                removed = look_after_the_folder()
                stop = told() and now.step < now.steps
                if shares.is_first:
                    kept.observe(now, now=stop or removed)
                kept.show(now, progress.observe)
                if stop:
                    raise KeyboardInterrupt

            train(
                Run(recipe, settings, images), engine,
                trace=trace, callbacks=[observe], resume=kept.checkpoint,
            )  # fmt: skip
            stop = told()
    except BaseException as error:
        if trace.steps and shares.is_first:  # what was computed
            with suppress(UserError, OSError):  # why it failed is said, not why this fails
                kept.keep()
            if isinstance(error, DivergedError):
                kept_words = "the last checkpoint whose numbers are all finite"
            else:
                kept_words = f"{_resume(folder)} goes on from there"
            if kept.saved and shares.is_first:
                with suppress(OSError):  # a terminal that was closed
                    console.print(f"kept after step {kept.saved}: {kept_words}", soft_wrap=True)
        raise
    if shares.is_first:
        kept.keep()
        remove_remains(kept.folder)
    _say_latents(trace, console)
    if stop:  # in the last step: this run is complete, the next one does not begin
        raise KeyboardInterrupt


def _say_latents(trace: Trace, console: Console) -> None:
    title = OBJECTIVES[trace.settings.objective].title
    for line in latents_in_words(trace):
        console.print(f"{title}: {line}", soft_wrap=True)


def _resume(folder: Path) -> str:
    return f"pyvae train {shlex.join([f'--resume={folder}'])}"
