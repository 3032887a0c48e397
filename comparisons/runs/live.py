"""Running both engines through the same runs, and comparing."""

from __future__ import annotations

from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass
from pathlib import Path

from comparisons.runs.kept_traces import finish, keep_interrupted, kept_run
from comparisons.runs.one_objective import OneObjective
from comparisons.steps.comparison import Comparison, tell_starts_apart
from comparisons.steps.pair import Pair
from comparisons.steps.progress import ProgressOf, not_shown
from pyvae.engines.engine import Engine
from pyvae.files.writing import output_folder
from pyvae.model.run import Run, as_runs
from pyvae.runs.kept_run import KeptRun
from pyvae.runs.run_folder import RunFolder

__all__ = ["CompareOptions", "compare"]


@dataclass(frozen=True)
class CompareOptions:
    """How two engines are compared.

    Attributes:
        mode: `free`, or `resync`: each step starts from the state of the engine under test.
        inspect: The steps, counted from 1, whose stages are compared.
        exact: Whether every bit has to be equal.
        resumed: Whether runs whose complete traces are in `traces` are not run again.
    """

    mode: str = "free"
    inspect: Container[int] = (1,)
    exact: bool = False
    resumed: bool = False


def compare(
    runs: Run | Sequence[Run],
    under_test: Engine,
    reference: Engine,
    out: RunFolder | Path | str,
    options: CompareOptions | None = None,
    *,
    progress: ProgressOf = not_shown,
    log: Callable[[str], object] = print,
) -> list[Comparison]:
    """Trains with two engines on the same draws, and compares.

    Where they disagree they run again, to find the first place where they part. Traces are written
    to `OUT/traces`. An interrupted comparison is kept in `OUT/interrupted`: the same call later
    goes on from there (mode `free`).

    Arguments:
        runs: What is trained: one run, or one for each objective and what it starts from
            (`Run.start`).
        under_test: The engine under test.
        reference: What it is held against.
        out: The folder that traces are written to; a `RunFolder` if more is written there.
        options: How to compare.
        progress: Makes a callback that shows the progress of what is named.
        log: Called with a line on an interrupted run.

    Returns:
        One comparison for each run.

    Raises:
        UserError: If an engine cannot run, training diverges, or the folder cannot be written.

    Example:
        >>> with open_engine("base-r") as base_r:  # doctest: +SKIP
        ...     (found,) = compare(run, PyTorchEngine("cpu"), base_r, "comparison")
        ...     print(found.agrees)
        True
    """
    if not isinstance(out, RunFolder):
        with RunFolder(Path(out), log=log) as mine:
            return compare(runs, under_test, reference, mine, options, progress=progress, log=log)
    options = options or CompareOptions()
    folder = output_folder(out.path)
    kept: list[KeptRun] = []
    comparisons = []
    try:
        for run in as_runs(runs):
            pair = Pair(run, under_test, reference, options.exact)
            traces = pair.new_traces()
            traces[1].mode = options.mode
            both = [kept_run(folder, trace, options.mode, options.resumed) for trace in traces]
            kept += both
            objective = OneObjective(pair, both, progress, log, out)
            comparisons.append(objective.compare(options.mode, options.inspect))
    except BaseException:
        if any(run.trace.steps for run in kept):
            log(f"kept what was computed: {keep_interrupted(kept, folder)}")
        raise
    finish(kept, folder)
    return tell_starts_apart(comparisons)
