"""Training one run of a write-up into its folder."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from pyvae.engines.pytorch import PyTorchEngine
from pyvae.files.writing import remove_file
from pyvae.reproduction.planned import PlannedRun
from pyvae.runs.callbacks.held_out_history import TEST_HISTORY, EvaluateEpochs
from pyvae.runs.callbacks.keep import KeepParameters, train_kept
from pyvae.runs.kept_run import KeptRun
from pyvae.runs.kernels import kept_kernels
from pyvae.trace.trace import Trace
from pyvae.training.callbacks import Callback, Progress

__all__ = ["check_folders", "engine_of", "read_finished", "train_planned"]


def train_planned(
    planned: PlannedRun,
    device: str,
    callbacks: Sequence[Callback | Callable[[Progress], object]] = (),
    log: Callable[[str], object] = lambda line: None,
) -> Trace:
    """Trains a run in this process, or what is left of it.

    Arguments:
        planned: The run.
        device: Where to train.
        callbacks: As `pyvae.train` takes them.
        log: Called with a line on what was found of an earlier call.

    Raises:
        UserError: If the run cannot be trained, its folder cannot be written, or holds another run.
    """
    engine = engine_of(planned, device)
    kept = _checked(planned, engine)
    if kept.found:
        log(f"{planned.folder.name}: {kept.found}")
    own: list[Callback] = []
    if planned.test is not None:
        own.append(EvaluateEpochs(planned.test, planned.folder))
    if planned.checkpoint_every:
        own.append(KeepParameters(planned.folder, planned.checkpoint_every))
    trace = train_kept(planned.run, engine, kept, [*own, *callbacks])
    if planned.test is None:
        remove_file(planned.folder / TEST_HISTORY)  # of another run
    return trace


def read_finished(
    planned: PlannedRun, device: str, log: Callable[[str], object] = lambda line: None
) -> Trace | None:
    """The trace of a run that was trained to its end; None of another."""
    kept = KeptRun(planned.folder, Trace.of_run(planned.run, engine_of(planned, device)))
    if not kept.complete:
        return None
    log(f"{planned.folder.name}: {kept.found}")
    return kept.trace


def check_folders(runs: Iterable[PlannedRun], device: str) -> dict[Path, int]:
    """Checks that no folder holds another run.

    Returns:
        The steps that are done, by folder, of the runs that there are.

    Raises:
        UserError: If one does.
    """
    return {
        planned.folder: _checked(planned, engine_of(planned, device)).trace.steps
        for planned in runs
        if planned.folder.is_dir()
    }


def engine_of(planned: PlannedRun, device: str) -> PyTorchEngine:
    """With the kernels that the run began with."""
    return PyTorchEngine(device, kernels=kept_kernels(planned.folder) or "fast")


def _checked(planned: PlannedRun, engine: PyTorchEngine) -> KeptRun:
    kept = KeptRun(planned.folder, Trace.of_run(planned.run, engine), longer=True)
    kept.check("choose another --out, or delete that folder")
    return kept
