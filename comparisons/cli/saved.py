"""pyvae compare of two saved traces."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pyvae.cli.given import option, was_given
from pyvae.errors import UserError

if TYPE_CHECKING:
    from comparisons.cli.options import Request
    from pyvae.model.settings import Settings
    from pyvae.terminal.step_progress import RunProgress

__all__ = ["compare_saved_traces"]

ALLOWED = ("traces", "out", "report", "exact")  # the traces say everything else


def compare_saved_traces(request: Request, traces: Sequence[Path]) -> int:
    """Compares two traces, writes the results and prints them.

    Returns:
        The exit code.

    Raises:
        UserError: If there are not two, an option does not apply to them, or they cannot be
            compared.
    """
    from comparisons.report.write import conclude, introduce_saved
    from comparisons.runs.saved import compare_saved, load_pairs
    from comparisons.runs.saved_folder import check_output, describe_saved, set_aside
    from pyvae.cli.again import command_words

    out, exact = request.output.out, request.stages.exact is True
    _check_options(request, traces)
    check_output(out, traces)
    pairs = load_pairs(*traces)
    introduce_saved(pairs, exact, request.console)
    comparisons = [
        compare_saved(a, b, exact, lambda name, run: _progress(request, name, run))
        for a, b in pairs
    ]
    request.lock()
    set_aside(out, request.log)
    there = [path.resolve() for path in traces]
    describe_saved(out, comparisons, command_words(request.context, traces=there))
    return conclude(request.console, comparisons, out, request.output.report)


def _check_options(request: Request, traces: Sequence[Path]) -> None:
    if len(traces) != 2:
        count = f"{len(traces)} trace{'s' if len(traces) > 1 else ''}"
        raise UserError(count, "see pyvae compare --help", expected="two traces, or none")
    for name in request.context.params:
        if name not in ALLOWED and was_given(request.context, name):
            raise UserError(
                f"{option(name)} cannot be used with two traces, which say what was run",
                f"leave out {option(name)}; only --out, --report and --exact apply",
            )


def _progress(request: Request, name: str, settings: Settings) -> RunProgress:
    from pyvae.model.objectives import OBJECTIVES
    from pyvae.terminal.step_progress import RunProgress

    title = f"{OBJECTIVES[settings.objective].title} in {name}"
    return RunProgress(title, settings.batch_size, request.console)
