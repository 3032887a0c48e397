"""The losses of test images, epoch by epoch, beside a run's trace."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from pyvae.data.images import ImageData
from pyvae.errors import UserError
from pyvae.files.csv import csv_text
from pyvae.files.reading import UNREADABLE, read_numbers
from pyvae.files.writing import output_folder, write_file
from pyvae.model.run import Run
from pyvae.trace.trace import Trace
from pyvae.training.callbacks import Progress
from pyvae.training.validation import Validate

__all__ = ["TEST_HISTORY", "EvaluateEpochs", "read_test_history"]

TEST_HISTORY = "test_history.csv"


class EvaluateEpochs(Validate):
    """Computes the objective on test images after every epoch, into `test_history.csv`.

    Arguments:
        test: The images.
        folder: The run's own; rows that are there of a run that goes on stay.
    """

    def __init__(self, test: ImageData, folder: Path) -> None:
        super().__init__(test)
        self.folder = folder

    def on_start(self, run: Run, trace: Trace) -> None:
        super().on_start(run, trace)
        kept = read_test_history(self.folder).to_dict("records") if trace.steps > 0 else []
        self.rows = [{str(name): value for name, value in row.items()} for row in kept]

    def on_step(self, now: Progress) -> None:
        super().on_step(now)
        if now.epoch_ended:
            table = pd.DataFrame(self.rows)
            write_file(output_folder(self.folder) / TEST_HISTORY, csv_text(table))

    def seed(self, epoch: int) -> int:
        return epoch


def read_test_history(folder: Path) -> pd.DataFrame:
    """One row per epoch: epoch, and the objective's terms on the test images, per image.

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
            raise ValueError("an epoch is no whole number from 1")
    except UNREADABLE as error:
        raise UserError(
            f"'{path}' cannot be read ({error})", "delete the run's folder to start again"
        ) from error
    return pd.DataFrame(columns | {"epoch": epoch.astype(np.int64)})
