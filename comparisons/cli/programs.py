"""pyvae compare of two recorded programs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pyvae.cli.options.given import option, was_given
from pyvae.errors import UserError

if TYPE_CHECKING:
    from comparisons.cli.options import Request

__all__ = ["compare_recorded_programs"]

ALLOWED = ("traces", "out", "report", "exact", "map_", "accept", "quiet")


def compare_recorded_programs(request: Request, traces: Sequence[Path]) -> int:
    """Compares two recorded programs, writes the results and prints them.

    Returns:
        The exit code.

    Raises:
        UserError: If an option does not apply to them, one is the trace of a recipe, or they cannot
            be compared.
    """
    from comparisons.cli.progress import count_on
    from comparisons.ports.compare import compare_programs
    from comparisons.report.ports.conclude import conclude
    from comparisons.saved.folder import check_output, set_aside
    from pyvae.cli.again import command_words

    _check_options(request, traces)
    out = request.output.out
    check_output(out, traces)
    exact, accept = request.stages.exact is True, request.stages.accept or ()
    a, b = traces
    with count_on(request.console, "steps compared") as progress:
        found = compare_programs(a, b, request.stages.map_, exact, progress, accept)
    request.lock()
    set_aside(out, request.log)
    command = command_words(request.context)
    given = request.stages.map_
    return conclude(found, request.console, out, command, request.output.report, given)


def _check_options(request: Request, traces: Sequence[Path]) -> None:
    from pyvae.trace.program import is_program_trace

    if len(traces) != 2:
        raise UserError("1 trace", "see pyvae compare --help", expected="two traces, or none")
    for name in request.context.params:
        if name not in ALLOWED and was_given(request.context, name):
            raise UserError(
                f"{option(name)} cannot be used with two recorded programs",
                f"leave out {option(name)}; only --map, --accept, --out, --report and --exact "
                "apply",
            )
    for path in traces:
        if not is_program_trace(path) and path.is_dir() and any(path.rglob("trace.json")):
            raise UserError(
                f"'{path}' is the trace of a recipe, the other one that of a recorded program",
                "compare two of one kind",
            )
