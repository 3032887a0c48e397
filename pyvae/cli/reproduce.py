"""pyvae reproduce."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pyvae.cli import options

__all__ = ["reproduce_command"]


def reproduce_command(
    context: typer.Context,
    article: Annotated[
        str,
        typer.Argument(
            metavar="ARTICLE", help="conv, mlp, strided-conv, beta, clustering, or all."
        ),
    ],
    quick: Annotated[
        bool, typer.Option("--quick", help="Fewer epochs, one seed: a look in minutes.")
    ] = False,
    data: options.Data = "auto",
    seeds: Annotated[
        int | None, typer.Option(metavar="N", help="Seeds (default: 1 to 5, by article).")
    ] = None,
    epochs: options.Epochs = None,
    latent_dim: options.LatentDim = None,
    device: options.Device = "auto",
    threads: options.OwnThreads = None,
    jobs: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="Train so many runs side by side, in processes (default: 1). Each has --threads "
            "threads: N times as many should not exceed the cores.",
        ),
    ] = None,
    scheduler: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS",
            help="Instead of --jobs: a Dask scheduler, such as tcp://host:8786, whose workers "
            "train the runs. They have to see DIR.",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Where to (default: reproduced, or reproduced-quick)."),
    ] = None,
) -> None:
    """Does a write-up again: trains it as published, draws its figures, measures its claims.

    Leaves a folder for each article with a README.md that shows all figures, and published.csv:
    what the article says, what was measured (median and range over seeds), and a verdict. What
    was trained is kept: the same command trains nothing twice. With --jobs or --scheduler the runs
    go side by side, to the same numbers: with the same --threads every bit is the same.
    """
    from contextlib import AbstractContextManager, nullcontext

    import torch

    from pyvae.cli.again import arguments_of
    from pyvae.engines.devices import set_threads
    from pyvae.parallel.jobs import Workers
    from pyvae.parallel.workers import check_workers, open_workers
    from pyvae.reproduction.articles import choose_articles
    from pyvae.reproduction.plan import Plan
    from pyvae.reproduction.report import ConsoleReport
    from pyvae.reproduction.reproduce import reproduce
    from pyvae.terminal.console import Terminal

    choose_articles(article)  # before workers are started
    plan = Plan(quick, seeds, epochs, latent_dim)
    set_threads(threads)
    check_workers(jobs, scheduler)
    report = ConsoleReport(Terminal())
    here = scheduler is None and jobs in (None, 1)
    opened: AbstractContextManager[Workers | None] = nullcontext()
    if not here:
        opened = open_workers(jobs or 0, scheduler, torch.get_num_threads(), report.log)
    folder = out or Path("reproduced-quick" if quick else "reproduced")
    with opened as workers:
        reproduce(
            article,
            folder,
            plan,
            data=data,
            device=device,
            workers=workers,
            report=report,
            arguments=arguments_of(context, threads=torch.get_num_threads(), out=folder),
        )
