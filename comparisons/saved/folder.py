"""The folder that a comparison of two saved traces is written into."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from pathlib import Path

from comparisons.runs.kept_traces import INTERRUPTED, TRACES
from comparisons.steps.comparison import Comparison
from pyvae.errors import UserError
from pyvae.runs.run_json import RUN_FILE, write_run

__all__ = ["check_output", "describe_saved", "set_aside"]

EARLIER = "earlier"


def check_output(out: Path, traces: Sequence[Path]) -> None:
    """Raises UserError if results would be written over the traces that are compared, or over a
    comparison that was interrupted."""
    for trace in traces:
        there, here = trace.resolve(), out.resolve()
        if there in (here, *here.parents) or here / TRACES in (there, *there.parents):
            raise UserError(
                f"'{out}' holds the trace '{trace}', or is part of it: the results would be "
                "written among its files",
                "choose another folder with --out",
            )
    if (out / INTERRUPTED).is_dir():
        raise UserError(
            f"'{out}' holds a comparison that was interrupted",
            f"finish it with pyvae compare --resume={out}, or choose another folder with --out",
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
