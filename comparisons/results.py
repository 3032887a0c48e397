"""What a comparison leaves: tables, pictures, a report, words on the terminal."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from rich.console import Console

from comparisons import figures
from comparisons.comparison import Comparison, summary
from comparisons.tables import print_comparison
from pyvae.figures import save_figure
from pyvae.files import write_file
from pyvae.trace import csv_text

__all__ = ["conclude", "introduce_saved", "write_results"]


def introduce_saved(comparisons: Sequence[Comparison], console: Console) -> None:
    """Says what two traces on disk are of."""
    for comparison in comparisons:
        a, b = comparison.under_test, comparison.reference
        console.print(
            f"{a.data['name']}: {a.steps} steps of {a.settings.batch_size}, {a.settings.dtype}, "
            f"{a.engine} ({a.folder}) against {b.engine} ({b.folder})"
            + (", every bit has to be equal" if comparison.exact else ""),
            soft_wrap=True,
        )
        threads = [trace.environment.get("threads") for trace in (a, b)]
        if comparison.exact and threads[0] != threads[1]:
            console.print(
                f"threads: {threads[0]} against {threads[1]}; another number changes the order of "
                "sums, and with it the last bits (pyvae trace --like takes over the number)",
                soft_wrap=True,
            )


def conclude(
    console: Console, comparisons: Sequence[Comparison], folder: Path, report: bool
) -> int:
    """Writes and prints what was found; returns the exit code."""
    write_results(comparisons, folder)
    about = summary(comparisons)
    write_file(folder / "comparison.json", json.dumps(about, indent=2, allow_nan=False) + "\n")
    for comparison in comparisons:
        print_comparison(comparison, console)
    if report:
        from comparisons.report import write_report

        write_report(comparisons, folder / "report.html", shlex.join(["pyvae", *sys.argv[1:]]))
    else:
        (folder / "report.html").unlink(missing_ok=True)  # of an earlier comparison
    console.print(f"written: {folder}", soft_wrap=True)
    console.print(f"verdict: {about['verdict']}")
    return 0 if about["verdict"] == "agree" else 1


def write_results(comparisons: Sequence[Comparison], folder: Path) -> None:
    """Tables and pictures."""
    tables = {
        "history.csv": [comparison.history() for comparison in comparisons],
        "latent_means.csv": [comparison.latent_means() for comparison in comparisons],
        "stages.csv": [comparison.stage_table() for comparison in comparisons],
    }
    for name, parts in tables.items():
        table = pd.concat(parts, ignore_index=True)
        if table.empty:  # no step was looked into
            (folder / name).unlink(missing_ok=True)
        else:
            write_file(folder / name, csv_text(table))
    save_figure(figures.loss_history_figure(comparisons), folder / "loss_history.png")
    save_figure(figures.latent_means_figure(comparisons), folder / "latent_means.png")
    save_figure(figures.samples_figure(comparisons), folder / "samples.png")
