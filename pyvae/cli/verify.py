"""pyvae verify."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from pyvae.cli.options.choices import DATA, complete
from pyvae.cli.options.shared import QUIET, RecipeFile

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
    recipe: RecipeFile = None,
    quiet: Annotated[bool, typer.Option(*QUIET, help="Show results, and no progress.")] = False,
) -> None:
    """Repeat the first steps of a run and check that every bit is the same.

    If --steps covers the whole run, parameters, latent means and samples are checked, too.
    Versions that have changed since are named. Exit code 0: the same bits; 1: other bits; 2: the
    run cannot be repeated.
    """
    from pyvae.recipes import open_recipe
    from pyvae.runs.verify import verify
    from pyvae.terminal.console import Terminal
    from pyvae.terminal.step_progress import ShowProgress

    if recipe is not None:
        open_recipe(recipe)
    console = Terminal(progress=not quiet)
    done = verify(
        run, steps, data=data, threads=threads, callbacks=[ShowProgress(console=console)],
        log=partial(console.print, soft_wrap=True),
    )  # fmt: skip
    same = all(one.same for one in done)
    console.print(f"verdict: {'the same bits' if same else 'other bits'}")
    raise typer.Exit(0 if same else 1)
