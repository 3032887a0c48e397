"""pyvae compare of two saved traces."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from comparisons.cli.given import _given, _option
from pyvae.errors import UserError

if TYPE_CHECKING:
    from rich.console import Console

    from comparisons.runs.comparison import Comparison
    from pyvae.runs.folder_lock import FolderLock

__all__ = []


def _compare_saved(
    context: typer.Context,
    console: Console,
    traces: list[Path],
    exact: bool,
    out: Path,
    hold: Callable[[], FolderLock],
) -> list[Comparison]:
    from comparisons.cli.progress import progress_on
    from comparisons.report.write import introduce_saved
    from comparisons.runs.saved import compare_traces
    from comparisons.runs.saved_folder import check_output, describe_saved, set_aside
    from comparisons.runs.saved_pairs import load_pairs
    from pyvae.cli.again import arguments_of

    if len(traces) != 2:
        count = f"{len(traces)} trace{'s' if len(traces) > 1 else ''}"
        raise UserError(count, "see pyvae compare --help", expected="two traces, or none")
    for name in context.params:
        if _given(context, name) and name not in ("traces", "out", "report", "exact"):
            raise UserError(
                f"{_option(name)} together with two traces",
                "the traces say what was run",
                expected="--out, --report and --exact alone",
            )
    check_output(out, traces)

    pairs = load_pairs(*traces)
    introduce_saved(pairs, exact, console)
    comparisons = [compare_traces(a, b, exact, progress_on(console)) for a, b in pairs]
    hold()
    set_aside(out, lambda line: console.print(line, soft_wrap=True))
    there = [path.resolve() for path in traces]
    describe_saved(out, comparisons, arguments_of(context, traces=there))
    return comparisons
