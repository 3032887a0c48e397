"""Training one run of a write-up into its folder."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from pyvae.engines.pytorch import PyTorchEngine
from pyvae.reproduction.planned import PlannedRun
from pyvae.runs.keep import found_training, kept_training
from pyvae.runs.kept_run import KeptRun
from pyvae.trace.trace import Trace
from pyvae.training.callbacks import Progress

__all__ = ["check_folders", "read_finished", "train_planned"]


def train_planned(
    planned: PlannedRun,
    device: str,
    on_step: Callable[[Progress], object] = lambda progress: None,
    log: Callable[[str], object] = lambda line: None,
) -> Trace:
    """Trains a run in this process, or what is left of it.

    Arguments:
        planned: The run.
        device: Where to train.
        on_step: Called after every step.
        log: Called with a line on what was found of an earlier call.

    Raises:
        UserError: If the run cannot be trained, or its folder not be written.
    """
    run = planned.run
    return kept_training(
        run.recipe.name, run.settings, run.data, planned.folder, test=planned.test, device=device,
        checkpoint_every=planned.checkpoint_every, observe=on_step, say=log,
    )  # fmt: skip


def read_finished(
    planned: PlannedRun, device: str, log: Callable[[str], object] = lambda line: None
) -> Trace | None:
    """The trace of a run that was trained to its end; None of another."""
    trace = Trace.of_run(planned.run, PyTorchEngine(device))
    kept = KeptRun(planned.folder, trace)
    if not kept.complete:
        return None
    log(f"{planned.folder.name}: {kept.found}")
    return trace


def check_folders(runs: Iterable[PlannedRun], device: str) -> None:
    """Checks that no folder holds another run.

    Raises:
        UserError: If one does.
    """
    engine = PyTorchEngine(device)
    for planned in runs:
        if planned.folder.is_dir():
            found_training(planned.folder, Trace.of_run(planned.run, engine))
