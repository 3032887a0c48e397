"""pyvae compare of two saved traces."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pyvae.cli.options.given import option, was_given
from pyvae.errors import UserError

if TYPE_CHECKING:
    from comparisons.cli.options import Request

__all__ = ["compare_saved_traces"]

ALLOWED = ("traces", "out", "report", "exact", "quiet")  # the traces say everything else


def compare_saved_traces(request: Request, traces: Sequence[Path]) -> int:
    """Compares two traces, writes the results and prints them.

    Returns:
        The exit code.

    Raises:
        UserError: If there are not two, an option does not apply to them, or they cannot be
            compared.
    """
    from comparisons.cli.progress import progress_on
    from comparisons.report.write import conclude, introduce_saved
    from comparisons.saved.compare import compare_traces
    from comparisons.saved.folder import check_output, describe_saved, set_aside
    from comparisons.saved.pairs import load_pairs
    from pyvae.cli.again import command_words

    console, out = request.console, request.output.out
    from pyvae.recipes import open_recipe
    from pyvae.recipes.from_file import names_recipe_file

    exact = request.stages.exact is True
    if names_recipe_file(request.recipe):  # theirs: nothing else runs a file
        open_recipe(request.recipe)
    _check_options(request, traces)
    check_output(out, traces)
    pairs = load_pairs(*traces)
    introduce_saved(pairs, exact, console)
    comparisons = [compare_traces(a, b, exact, progress_on(console)) for a, b in pairs]
    request.lock()
    set_aside(out, request.log)
    there = [path.resolve() for path in traces]
    describe_saved(out, comparisons, command_words(request.context, traces=there))
    return conclude(console, comparisons, out, request.output.report)


def _check_options(request: Request, traces: Sequence[Path]) -> None:
    if len(traces) != 2:
        count = f"{len(traces)} trace{'s' if len(traces) > 1 else ''}"
        raise UserError(count, "see pyvae compare --help", expected="two traces, or none")
    from pyvae.recipes.from_file import names_recipe_file

    allowed = (*ALLOWED, *(["recipe"] if names_recipe_file(request.recipe) else []))
    for name in request.context.params:
        if name not in allowed and was_given(request.context, name):
            raise UserError(
                f"{option(name)} cannot be used with two traces, which say what was run",
                f"leave out {option(name)}; only --out, --report and --exact apply",
            )
