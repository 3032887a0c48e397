"""pyvae verify."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["verify_command"]


def verify_command(
    run: Annotated[
        Path, typer.Argument(metavar="RUN", help="A folder of pyvae train, trace or compare.")
    ],
    steps: Annotated[
        int, typer.Option(metavar="N", help="How many steps; of shorter runs, all.")
    ] = 10,
    data: Annotated[
        str | None,
        typer.Option(metavar="NAME|FILE.npz", help="The images, where the run does not say it."),
    ] = None,
    threads: Annotated[
        int | None, typer.Option(metavar="N", help="Threads (default: as many as the run had).")
    ] = None,
) -> None:
    """Runs the first steps of a run again and says whether every bit still comes out.

    With as many steps as the run has, parameters, latent means and samples are held against what
    was written, too. Versions that have changed are named. Exit code 0: the same bits, 1: others,
    2: it cannot be run again.
    """
    from pyvae.runs.verify import verify
    from pyvae.terminal.console import Terminal
    from pyvae.terminal.step_progress import ShowProgress

    console = Terminal()
    done = verify(
        run, steps, data=data, threads=threads, callbacks=[ShowProgress(console=console)],
        log=lambda line: console.print(line, soft_wrap=True),
    )  # fmt: skip
    same = all(one.same for one in done)
    console.print(f"verdict: {'the same bits' if same else 'other bits'}")
    raise typer.Exit(0 if same else 1)
