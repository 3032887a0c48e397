"""The folder that a comparison of two saved traces is written into."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from pathlib import Path

from comparisons.runs.kept_traces import INTERRUPTED, TRACES
from comparisons.steps.comparison import Comparison
from pyvae.errors import UserError
from pyvae.files.reading import says
from pyvae.runs.folder_lock import is_locked
from pyvae.runs.run_json import RUN_FILE, write_run

__all__ = ["check_output", "check_results", "describe_saved", "set_aside"]

EARLIER = "earlier"
RESULT = "comparison.json"
TABLES = ("differences.csv", "names.csv")  # of two programs


def check_output(out: Path, traces: Sequence[Path]) -> None:
    """Raises UserError if results would be written over the traces that are compared, over a
    comparison that was interrupted or is being made, or over files of others."""
    for trace in traces:
        there, here = trace.resolve(), out.resolve()
        if there in (here, *here.parents) or here / TRACES in (there, *there.parents):
            raise UserError(
                f"'{out}' holds the trace '{trace}', or is part of it: the results would be "
                "written among its files",
                "choose another folder with --out",
            )
    check_results(out)
    if is_locked(out):
        return  # which is told when it is to be written
    if (out / INTERRUPTED).is_dir():
        raise UserError(
            f"'{out}' holds a comparison that was interrupted",
            f"finish it with pyvae compare --resume={out}, or choose another folder with --out",
        )


def check_results(out: Path) -> None:
    """Raises UserError if a folder has files that a comparison writes, and it has not written
    them."""
    path = out / RESULT
    there = [name for name in (RESULT, *TABLES) if (out / name).exists()]
    if not there or says(path, "verdict"):
        return
    raise UserError(
        f"'{out}' has a file {there[0]} that no comparison has written",
        "choose another folder with --out",
    )


def set_aside(out: Path, log: Callable[[str], object]) -> None:
    """Moves what an earlier comparison of two engines left, its traces and `run.json`, into a
    folder of its own, so that nothing in this one describes another comparison than the newest."""
    if not (out / TRACES).is_dir():
        return
    for number in itertools.count(1):
        place = out / (EARLIER if number == 1 else f"{EARLIER}-{number}")
        if not place.exists():
            break
    place.mkdir()
    for name in (TRACES, RUN_FILE):
        if (out / name).exists():
            (out / name).rename(place / name)
    log(f"the traces of an earlier comparison are now in {place}")


def describe_saved(out: Path, comparisons: Sequence[Comparison], arguments: Sequence[str]) -> None:
    """Writes `run.json`: what was compared, and the command that does it again."""
    first = comparisons[0]
    sides = (first.under_test, first.reference)
    runs = [comparison.under_test.settings for comparison in comparisons]
    engines = {trace.engine: trace.environment for trace in sides}
    starts = [comparison.under_test.start for comparison in comparisons]
    write_run(
        out, arguments, first.under_test.recipe, runs, first.under_test.data, engines,
        starts=starts,
    )  # fmt: skip
