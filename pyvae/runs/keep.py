"""Training into a folder, once: a run that was done is read, one that was interrupted goes on,
and so does a shorter one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pyvae.data.images import ImageData
from pyvae.engines.pytorch import PyTorchEngine
from pyvae.errors import UserError
from pyvae.files.arrays import write_arrays
from pyvae.files.csv import csv_text
from pyvae.files.reading import UNREADABLE, read_numbers
from pyvae.files.writing import output_folder, remove_file, remove_remains, write_file
from pyvae.metrics.held_out import evaluate
from pyvae.model.run import Run
from pyvae.model.settings import Settings
from pyvae.recipes import get_recipe
from pyvae.runs.kept_run import KeptRun
from pyvae.runs.signals import stopping_between_steps
from pyvae.trace.trace import Trace
from pyvae.training.callbacks import Progress
from pyvae.training.loop import train

__all__ = ["TEST_HISTORY", "found_training", "kept_training", "read_test_history"]

TEST_HISTORY = "test_history.csv"


def kept_training(
    recipe: str,
    settings: Settings,
    data: ImageData,
    folder: Path,
    *,
    test: ImageData | None = None,
    device: str = "auto",
    checkpoint_every: int = 0,
    observe: Callable[[Progress], object] = lambda progress: None,
    say: Callable[[str], object] = lambda line: None,
) -> Trace:
    """Trains a recipe, or takes what an earlier call has left of the same run.

    Arguments:
        recipe, settings, data: What is trained.
        folder: Where the trace is kept.
        test: Images that the loss is computed on at the end of every epoch, into
            `test_history.csv`; None for none.
        device: For `PyTorchEngine`.
        checkpoint_every: The parameters are written down each time so many epochs are done, into
            `checkpoints/epoch-010.safetensors` and so on; 0 for never.
        observe: Called after every step.
        say: Called with a line on what was found.

    Raises:
        UserError: If the run cannot be trained, the folder not be written, or it holds another run.
    """
    engine = PyTorchEngine(device)
    chosen = get_recipe(recipe)
    trace = Trace.of_run(Run(chosen, settings, data), engine)
    kept = found_training(folder, trace)
    if kept.found:
        say(f"{folder.name}: {kept.found}")
    if kept.complete:
        return trace
    begun = kept.checkpoint is not None
    tests: list[dict[Any, Any]] = []
    if begun:
        tests = read_test_history(folder).to_dict("records")

    def at_each_step(progress: Progress) -> None:
        if progress.epoch_ended and test is not None:
            epoch = int(progress.trace.epochs[-1])
            terms = evaluate(engine.network, recipe, settings, test, seed=epoch)
            tests[:] = [row for row in tests if row["epoch"] < epoch]
            tests.append({"epoch": epoch, **terms})
            write_file(output_folder(folder) / TEST_HISTORY, csv_text(pd.DataFrame(tests)))
        if progress.epoch_ended and checkpoint_every:
            epoch = int(progress.trace.epochs[-1])
            if epoch % checkpoint_every == 0:
                place = output_folder(folder / "checkpoints")
                write_arrays(place / f"epoch-{epoch:03d}.safetensors", engine.parameters())
        stop = told() and progress.step < progress.steps
        kept.observe(progress, now=stop)
        kept.show(progress, observe)
        if stop:
            raise KeyboardInterrupt

    with stopping_between_steps() as told:
        train(
            Run(chosen, settings, data), engine,
            trace=trace, callbacks=[at_each_step], resume=kept.checkpoint,
        )  # fmt: skip
    kept.keep()
    if test is None:
        remove_file(folder / TEST_HISTORY)  # of another run
    for place in (folder, folder / "checkpoints"):
        remove_remains(place)  # of a process that was killed
    if told():  # in the last step: the next run does not begin
        raise KeyboardInterrupt
    return trace


def found_training(folder: Path, trace: Trace) -> KeptRun:
    """What there is of a run in its folder.

    Raises:
        UserError: If there is another run, or one that cannot be read, which would be replaced.
    """
    kept = KeptRun(folder, trace, longer=True)
    kept.check("choose another --out, or delete that folder")
    return kept


def read_test_history(folder: Path) -> pd.DataFrame:
    """One row per epoch: epoch, and the objective's terms on the test images, per image.

    Memory: 40 times the file's size, and 1 MiB.

    Raises:
        UserError: If there is such a file, and it cannot be read.
    """
    path = folder / TEST_HISTORY
    if not path.is_file():
        return pd.DataFrame({"epoch": []})
    try:
        columns = read_numbers(path)
        epoch = columns["epoch"]
        if not ((epoch >= 1) & (epoch < 2**53) & (epoch % 1 == 0)).all():
            raise ValueError("an epoch that is no whole number from 1")
    except UNREADABLE as error:
        raise UserError(
            f"'{path}' cannot be read ({error})",
            "delete the run's folder to start again",
            expected="the losses of test images as an interrupted run wrote them",
        ) from error
    return pd.DataFrame(columns | {"epoch": epoch.astype(np.int64)})
