"""pyvae compare."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from comparisons.cli.live import compare_engines
from comparisons.cli.options import (
    ComparedRun,
    EngineOptions,
    NativeOptions,
    OutputOptions,
    Request,
    StageOptions,
)
from comparisons.cli.programs import compare_recorded_programs
from comparisons.cli.saved import compare_saved_traces
from comparisons.cli.seeds import compare_over_seeds
from pyvae.cli.options.grouped import grouped
from pyvae.cli.options.shared import RecipeName
from pyvae.errors import UserError

__all__ = ["add_commands"]


def add_commands(app: typer.Typer) -> None:
    """Adds `compare` to the `pyvae` command."""
    app.command("compare")(compare_command)


@grouped
def compare_command(
    context: typer.Context,
    *,
    traces: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="[TRACE_A TRACE_B]",
            help="Two saved traces to compare, or two recorded programs, instead of two engines.",
        ),
    ] = None,
    engines: EngineOptions,
    recipe: RecipeName = "conv",
    run: ComparedRun,
    stages: StageOptions,
    seeds: NativeOptions,
    output: OutputOptions,
) -> None:
    """Compare Python and R step by step, two saved traces, or two recorded programs.

    Trains the recipe's network with both engines on the same draws. If they disagree, the first
    step, stage and element where they part is named. Without --epochs and --steps it runs 42 steps
    (six epochs of the digits), or as many as rounding leaves comparable: 10 for clustering. conv
    is compared twice, 20 steps each: from initial parameters, and from a trained state (--start).

    With --rng native both engines are trained over many seeds and tested for equivalence.

    An interrupted comparison continues when you give the same command again, or use --resume. Exit
    code 0: agree (equivalent); 1: disagree (different, inconclusive); 2: unusable input or
    environment.
    """
    from pyvae.cli.again import repeat_command
    from pyvae.terminal.console import Terminal
    from pyvae.trace.program import is_program_trace

    if output.resume is not None:
        repeat_command(context, output.resume)
        return
    console = Terminal(progress=not output.quiet)
    request = Request(context, console, recipe, run, engines, stages, seeds, output)
    if traces and any(is_program_trace(path) for path in traces):
        code = compare_recorded_programs(request, traces)
    elif traces:
        code = compare_saved_traces(request, traces)
    elif stages.map_ is not None or stages.accept:
        name = "--map" if stages.map_ is not None else "--accept"
        raise UserError(
            f"{name} is for two recorded programs",
            f"name both: pyvae compare TRACE_A TRACE_B {name}",
        )
    elif run.rng == "native":
        code = compare_over_seeds(request)
    else:
        code = compare_engines(request)
    raise typer.Exit(code)
