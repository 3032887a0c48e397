"""Training into a folder: runs that are kept, go on after an interruption, or are made longer."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path

from pyvae.engines.data_parallel import ALONE, Shares
from pyvae.engines.engine import DivergedError, Engine
from pyvae.metrics.collapse import latents_in_words
from pyvae.model.run import Run, as_runs
from pyvae.runs.callbacks.keep import train_kept
from pyvae.runs.kept_run import KeptRun
from pyvae.runs.kernels import as_begun
from pyvae.runs.run_folder import RunFolder
from pyvae.trace.trace import Trace
from pyvae.training.callbacks import Callback, Progress
from pyvae.training.inputs import check_run

__all__ = ["train_into"]

NOTHING_TO_TRAIN = (
    "nothing was left to train: --epochs N or --steps N with a larger N goes on from here, "
    "--overwrite trains from the beginning"
)


def train_into(
    folder: RunFolder | Path | str,
    runs: Run | Sequence[Run],
    engine: Engine,
    callbacks: Sequence[Callback | Callable[[Progress], object]] = (),
    *,
    overwrite: bool = False,
    resumed: bool = False,
) -> list[Trace]:
    """Trains one run after the other and keeps them in a folder, as far as they come.

    A run that was interrupted in this folder goes on where it was, and one that came to its end
    where that was, if more steps are asked for, without a changed bit. Nothing is trained twice.

    Arguments:
        folder: Gets a folder for each run, with its objective's name. A `RunFolder` also writes
            `run.json` and logs what is found and done.
        runs: What is trained, each with another objective.
        engine: Computes the steps. Of an engine that is one of several processes (`torchrun`) the
            first process writes.
        callbacks: As for `pyvae.train`, for every run.
        overwrite: Train from the beginning, in place of whatever is there.
        resumed: Whether the user has asked to resume: a message does not propose it again.

    Returns:
        The traces, complete.

    Raises:
        UserError: If a run cannot be trained, or the folder holds another run and that is not to be
            overwritten.
        KeyboardInterrupt: After a signal, when the step that was under way has been kept.

    Example:
        >>> train_into(Path("runs/conv"), run, PyTorchEngine())  # doctest: +SKIP
    """
    runs = as_runs(runs)
    folder = folder if isinstance(folder, RunFolder) else RunFolder(folder)
    shares: Shares = getattr(engine, "shares", ALONE)
    if len({run.settings.objective for run in runs}) < len(runs):
        raise ValueError("two runs have the same objective, and so the same folder")
    for run in runs:  # before anything is written
        check_run(run)
        shares.check(run.settings.batch_size)
    with ExitStack() as stack:
        if shares.is_first:
            stack.enter_context(folder)
        places = [folder.path / run.settings.objective for run in runs]
        stack.enter_context(as_begun(engine, [] if overwrite else places))
        kept_runs = [
            KeptRun(place, Trace.of_run(run, engine), afresh=overwrite, longer=True)
            for run, place in zip(runs, places, strict=True)
        ]
        _check(kept_runs, folder.path, resumed)
        if shares.is_first:
            folder.write_about(runs, [engine])
        for run, kept in zip(runs, kept_runs, strict=True):
            _train(run, engine, kept, callbacks, folder)
        if all(kept.complete for kept in kept_runs):
            folder.log(NOTHING_TO_TRAIN)
    return [kept.trace for kept in kept_runs]


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
    run: Run,
    engine: Engine,
    kept: KeptRun,
    callbacks: Sequence[Callback | Callable[[Progress], object]],
    folder: RunFolder,
) -> None:
    """Trains one run from where it stands."""
    objective = run.objective
    folder.log(f"{objective.title}: {objective.formula}")
    if kept.found:
        folder.log(f"{objective.title}: {kept.found}")
    try:
        train_kept(run, engine, kept, callbacks, folder)
    except BaseException as error:
        if kept.saved and not kept.trace.complete:
            goes_on = f"{_resume(folder.path)} goes on from there"
            if isinstance(error, DivergedError):
                goes_on = "the last checkpoint whose numbers are all finite"
            with suppress(OSError):  # a terminal that was closed
                folder.log(f"kept after step {kept.saved}: {goes_on}")
        raise
    for line in latents_in_words(kept.trace):
        folder.log(f"{objective.title}: {line}")


def _resume(folder: Path) -> str:
    return f"pyvae train {shlex.join([f'--resume={folder}'])}"
