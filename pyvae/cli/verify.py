"""pyvae verify."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from pyvae.cli.choices import DATA, complete
from pyvae.errors import UserError

__all__ = ["verify_command"]


def verify_command(
    run: Annotated[
        Path, typer.Argument(metavar="RUN", help="A folder of pyvae train, trace or compare.")
    ],
    steps: Annotated[
        int, typer.Option(metavar="N", help="Steps to repeat; at most those the run has.")
    ] = 10,
    data: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|FILE",
            help="Training data, where the run does not name it.",
            autocompletion=complete(DATA),
        ),
    ] = None,
    threads: Annotated[
        int | None, typer.Option(metavar="N", help="CPU threads (default: as in the run).")
    ] = None,
) -> None:
    """Repeat the first steps of a run and check that every bit is the same.

    If --steps covers the whole run, parameters, latent means and samples are checked, too.
    Versions that have changed since are named. Exit code 0: the same bits; 1: other bits; 2: the
    run cannot be repeated.
    """
    from pyvae.engines.devices import set_threads
    from pyvae.engines.registry import open_engine
    from pyvae.model.objectives import OBJECTIVES
    from pyvae.recipes import get_recipe
    from pyvae.runs.verify import data_of, traces_of, verify
    from pyvae.terminal.console import Terminal
    from pyvae.terminal.step_progress import RunProgress
    from pyvae.training.inputs import load_for

    if steps < 1:
        raise UserError(f"--steps {steps}", expected="1 or more")
    console = Terminal()
    same = True
    for trace in traces_of(run):
        about = trace.environment
        had = about.get("threads", "")
        set_threads(threads or (int(had) if had.isdecimal() else None))
        images = load_for(
            get_recipe(trace.recipe),
            data_of(trace, data),
            None,
            partial(console.print, soft_wrap=True),
        )
        adam = about.get("adam") if trace.engine == "pytorch" else None
        device, precision = about.get("device", "cpu"), about.get("precision", "full")
        objective = OBJECTIVES[trace.settings.objective]
        title = f"{objective.title} in {trace.engine}"
        console.print(f"{objective.title}: {objective.formula}", soft_wrap=True)
        with (
            open_engine(trace.engine, device, adam, precision) as engine,
            RunProgress(title, trace.settings.batch_size, console) as progress,
        ):
            done = verify(trace, engine, images, steps, progress.observe)
        if done.changed:
            console.print(f"{title}: {'; '.join(done.changed)}", soft_wrap=True)
        console.print(f"{title}: {done}", soft_wrap=True)
        same = same and done.same
    console.print(f"verdict: {'the same bits' if same else 'other bits'}")
    raise typer.Exit(0 if same else 1)
