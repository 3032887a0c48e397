"""The traces of a comparison in its folder.

Finished ones are in `traces/OBJECTIVE-ENGINE`, those of a comparison that was interrupted in
`interrupted/OBJECTIVE-ENGINE`; of a run that did not start from initial parameters in
`OBJECTIVE-START-ENGINE`.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from pathlib import Path

import pandas as pd

from comparisons.steps.comparison import run_name
from pyvae.files.csv import csv_text
from pyvae.files.writing import output_folder, remove_file, write_file
from pyvae.runs.kept_run import KeptRun
from pyvae.trace.trace import Trace
from pyvae.training.checkpoint import Checkpoint

__all__ = ["INTERRUPTED", "TRACES", "finish", "keep_interrupted", "kept_run"]

TRACES, INTERRUPTED = "traces", "interrupted"


def kept_run(out: Path, trace: Trace, mode: str, resumed: bool) -> KeptRun:
    """Where a run is kept: with what there is of it, if it was interrupted; never in place of
    another run, which somebody may want to go on with.

    Arguments:
        out: The comparison's folder.
        trace: Of the run; is filled with what is found.
        mode: A re-synchronised run does not go on: nothing of an earlier run is taken.
        resumed: Whether a finished trace in `traces` is taken, too.
    """
    folder, name = out / INTERRUPTED, _name(trace)
    if mode == "resync":
        run = KeptRun(folder / f"{name}-resync", replace(trace))
        run.trace = trace
        return run
    if resumed:
        run = KeptRun(out / TRACES / name, trace)
        if run.complete:
            return run
    for path in sorted(folder.glob("*/trace.json")):
        if re.fullmatch(rf"{re.escape(name)}(-\d+)?", path.parent.name):
            run = KeptRun(path.parent, trace)
            if run.complete or run.checkpoint:
                return run
    others = ""
    for number in itertools.count(1):
        run = KeptRun(folder / (f"{name}-{number}" if number > 1 else name), trace)
        if not run.taken:
            break
        others = others or run.found
    run.found = run.found or others  # why it starts again
    return run


def keep_interrupted(runs: Sequence[KeptRun], out: Path) -> Path:
    """Leaves what was computed in a folder of its own, apart from finished results."""
    runs = [run for run in runs if run.trace.steps]
    folder = output_folder(out / INTERRUPTED)
    history = pd.concat([run.trace.history() for run in runs], ignore_index=True)
    write_file(folder / "history.csv", csv_text(history))
    for run in runs:
        run.save_trace()
    return folder


def finish(runs: Sequence[KeptRun], out: Path) -> None:
    """Writes complete traces; then removes those of an earlier comparison, and what was kept of
    these while they ran."""
    for run in runs:
        run.trace.save(output_folder(out / TRACES / _name(run.trace)))
    names = {_name(run.trace) for run in runs}
    earlier = {path.parent for path in (out / TRACES).glob("*/trace.json")}
    _remove_traces(out / TRACES, earlier, lambda name: name not in names)
    kept = {run.folder.name for run in runs}
    # of one whose removal was interrupted trace.json went first
    interrupted = {path for path in (out / INTERRUPTED).glob("*") if Trace.left_in(path)}
    _remove_traces(out / INTERRUPTED, interrupted, lambda name: name in kept)


def _remove_traces(folder: Path, found: Collection[Path], is_old: Callable[[str], bool]) -> None:
    """Removes the traces of these names that an earlier comparison left, and nothing else: the
    folder is the user's."""
    mine = [path for path in found if is_old(path.name)]
    if found and len(mine) == len(found):
        remove_file(folder / "history.csv")
    for path in mine:
        Checkpoint.remove(path)
        Trace.remove(path)
    if mine and not any(folder.iterdir()):
        folder.rmdir()


def _name(trace: Trace) -> str:
    return f"{run_name(trace)}-{trace.engine}"
