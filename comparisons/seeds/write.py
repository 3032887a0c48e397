"""What a comparison over seeds leaves in its folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from comparisons.seeds.figure import equivalence_figure
from comparisons.seeds.many_seeds import ManySeeds
from comparisons.seeds.measures import RunOutcome, measures
from pyvae.errors import print_error
from pyvae.figures.style import draw_or_log
from pyvae.files.csv import csv_text
from pyvae.files.writing import write_file
from pyvae.model.objectives import OBJECTIVES

__all__ = ["write_many_seeds"]


def write_many_seeds(found: ManySeeds, folder: Path) -> None:
    """Writes measures.csv, history.csv and comparison.json; without repetitions also
    equivalence.png."""
    _write_tables(found, folder)
    if found.options.repetitions == 1:
        by_objective = {
            one.objective: (one.under_test, one.reference, one.results)
            for one in found.repetitions[0]
        }
        path = folder / "equivalence.png"
        draw_or_log(lambda: equivalence_figure(by_objective), path, print_error)
    about = json.dumps(found.as_dict(), indent=2, allow_nan=False)
    write_file(folder / "comparison.json", about + "\n")


def _write_tables(found: ManySeeds, folder: Path) -> None:
    """Every loss and every measure of every run."""
    rows, histories = [], []
    for number, compared in enumerate(found.repetitions, start=1):
        for one in compared:
            for outcome in (*one.under_test, *one.reference):
                key: dict[str, Any] = {"repetition": number} if len(found.repetitions) > 1 else {}
                key |= {"engine": outcome.engine, "objective": outcome.objective}
                key |= {"seed": outcome.seed}
                rows.append(key | measures(outcome))
                histories.append(_history(outcome, key))
    write_file(folder / "measures.csv", csv_text(pd.DataFrame(rows)))
    write_file(folder / "history.csv", csv_text(pd.concat(histories, ignore_index=True)))


def _history(outcome: RunOutcome, key: dict[str, Any]) -> pd.DataFrame:
    objective = OBJECTIVES[outcome.objective]
    table = pd.DataFrame(outcome.losses, columns=list(objective.terms))
    table.insert(0, "epoch", outcome.epochs)
    table.insert(1, "step", np.arange(1, len(table) + 1))
    for place, (name, value) in enumerate(key.items()):
        table.insert(place, name, value)
    table[objective.column] = outcome.loss_per_image
    return table
