"""The results of a comparison: tables, pictures, a report, and lines on the terminal."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import pandas as pd
from rich.console import Console

from comparisons.report import figures
from comparisons.report.tables import print_comparison
from comparisons.steps.comparison import Comparison, summary
from pyvae.errors import print_error
from pyvae.figures.style import draw_or_log
from pyvae.files.csv import csv_text
from pyvae.files.writing import write_file
from pyvae.trace.trace import Trace

__all__ = ["conclude", "introduce_saved", "write_pictures", "write_tables"]


def introduce_saved(pairs: Sequence[tuple[Trace, Trace]], exact: bool, console: Console) -> None:
    """Prints what two traces on disk are of."""
    for a, b in pairs:
        console.print(
            f"{a.data['name']}: {a.steps} steps of {a.settings.batch_size}, {a.settings.dtype}, "
            f"{a.engine} ({a.folder}) against {b.engine} ({b.folder})"
            + (", every bit has to be equal" if exact else ""),
            soft_wrap=True,
        )
        threads = [trace.environment.get("threads") for trace in (a, b)]
        if exact and threads[0] != threads[1]:
            console.print(
                f"threads: {threads[0]} against {threads[1]}; another number of threads changes "
                "the order of sums, and the last bits (pyvae trace --like keeps the number)",
                soft_wrap=True,
            )


def conclude(
    console: Console, comparisons: Sequence[Comparison], folder: Path, report: bool
) -> int:
    """Writes and prints what was found; returns the exit code.

    Numbers come first: a picture that cannot be drawn costs a line, and nothing of the verdict.
    """
    about = summary(comparisons)
    write_tables(comparisons, folder)
    write_file(folder / "comparison.json", json.dumps(about, indent=2, allow_nan=False) + "\n")
    for comparison in comparisons:
        print_comparison(comparison, console)
    write_pictures(comparisons, folder)
    page = folder / "report.html"
    page.unlink(missing_ok=True)  # of an earlier comparison
    if report:
        from comparisons.report.html import write_report

        write_report(comparisons, page, shlex.join(["pyvae", *sys.argv[1:]]))
    console.print(f"written: {folder}", soft_wrap=True)
    console.print(f"verdict: {about['verdict']}")
    return 0 if about["verdict"] == "agree" else 1


def write_tables(comparisons: Sequence[Comparison], folder: Path) -> None:
    """The losses, latent means and stages, as CSV."""
    tables = {
        "history.csv": [comparison.history() for comparison in comparisons],
        "latent_means.csv": [comparison.latent_means() for comparison in comparisons],
        "stages.csv": [comparison.stage_table() for comparison in comparisons],
    }
    for name, parts in tables.items():
        table = pd.concat(parts, ignore_index=True)
        if table.empty:  # no step was inspected
            (folder / name).unlink(missing_ok=True)
        else:
            write_file(folder / name, csv_text(table))


def write_pictures(comparisons: Sequence[Comparison], folder: Path) -> None:
    """The pictures of what both engines have got to; a line for one that cannot be drawn."""
    pictures = {
        "loss_history.png": figures.loss_history_figure,
        "latent_means.png": figures.latent_means_figure,
        "samples.png": figures.samples_figure,
    }
    for name, make in pictures.items():
        shown = figures.shown_in(name, comparisons)
        if shown:
            draw_or_log(partial(make, shown), folder / name, print_error)
        else:
            (folder / name).unlink(missing_ok=True)  # of an earlier comparison
