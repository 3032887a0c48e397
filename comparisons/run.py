"""Running both engines through the same run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

import pandas as pd

from comparisons.comparison import Comparison, compare_traces
from pyvae.data import ImageData
from pyvae.engine import Engine
from pyvae.files import output_folder, write_file
from pyvae.recipes import Recipe
from pyvae.settings import Settings
from pyvae.trace import Trace, csv_text
from pyvae.training import Progress, train

__all__ = ["run_comparisons"]

INTERRUPTED = "interrupted"


class Watcher(Protocol):
    """Shows a run's progress."""

    def observe(self, progress: Progress) -> None: ...


def run_comparisons(
    python: Engine,
    reference: Engine,
    recipe: Recipe,
    runs: Sequence[Settings],
    data: ImageData,
    out: Path,
    watch: Callable[[Engine, Settings], AbstractContextManager[Watcher]],
    say: Callable[[str], object] = print,
) -> list[Comparison]:
    """Trains every run with both engines on the same draws, and compares.

    Traces are written to `out/traces/OBJECTIVE-ENGINE`. If a run is interrupted, what was
    computed so far is left in `out/interrupted` and the exception goes on.

    Arguments:
        python: The engine under test.
        reference: What it is held against.
        recipe, data: What is trained, on which images.
        runs: One for each objective.
        out: An existing folder.
        watch: Gives a context manager that shows a run's progress.
        say: Called with one line on where the results of an interrupted run are.
    """
    traces: list[Trace] = []
    try:
        for settings in runs:
            for engine in (python, reference):
                traces.append(Trace.of_run(engine, recipe, settings, data))
                with watch(engine, settings) as watcher:
                    train(
                        engine,
                        recipe,
                        settings,
                        data,
                        trace=traces[-1],
                        observe=watcher.observe,
                    )
    except BaseException:
        if any(trace.steps for trace in traces):
            say(f"kept what was computed: {keep_interrupted(traces, out)}")
        raise
    _clear_traces(out / INTERRUPTED)
    _clear_traces(out / "traces")
    _save_traces(traces, out / "traces")
    return [compare_traces(a, b) for a, b in zip(traces[::2], traces[1::2], strict=True)]


def keep_interrupted(traces: Sequence[Trace], out: Path) -> Path:
    """Leaves what was computed in a folder of its own, apart from finished results."""
    traces = [trace for trace in traces if trace.steps]
    _clear_traces(out / INTERRUPTED)
    folder = output_folder(out / INTERRUPTED)
    history = pd.concat([trace.history() for trace in traces], ignore_index=True)
    write_file(folder / "history.csv", csv_text(history))
    _save_traces(traces, folder)
    return folder


def _clear_traces(folder: Path) -> None:
    """Removes what an earlier comparison left, and nothing else: the folder is the user's."""
    saved = [path.parent for path in folder.glob("*/trace.json")]
    for trace in saved:
        Trace.remove(trace)
    if saved:
        (folder / "history.csv").unlink(missing_ok=True)
        if not any(folder.iterdir()):
            folder.rmdir()


def _save_traces(traces: Sequence[Trace], folder: Path) -> None:
    for trace in traces:
        trace.save(output_folder(folder / f"{trace.settings.objective}-{trace.engine}"))
