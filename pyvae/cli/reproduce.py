"""pyvae reproduce."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from pyvae.cli.options import choices
from pyvae.cli.options.grouped import grouped
from pyvae.cli.options.shared import (
    OUTPUT,
    WHAT,
    Data,
    Device,
    Epochs,
    Jobs,
    LatentDim,
    Quiet,
    Scheduler,
    Threads,
    in_panel,
)

__all__ = ["reproduce_command"]

what = in_panel(WHAT)


@dataclass(frozen=True)
class ReproducedRuns:
    """What is trained for an article."""

    quick: Annotated[
        bool, what("--quick", help="One seed and fewer epochs, for a first look in minutes.")
    ] = False
    data: Data = "auto"
    seeds: Annotated[
        int | None, what(metavar="N", help="Number of seeds (default: 1 to 5, by article).")
    ] = None
    epochs: Epochs = None
    latent_dim: LatentDim = None


@dataclass(frozen=True)
class ReproduceCompute:
    """Where the runs are trained."""

    device: Device = "auto"
    threads: Threads = None
    jobs: Jobs = None
    scheduler: Scheduler = None


@dataclass(frozen=True)
class ReproducedOutput:
    """Where the results go."""

    out: Annotated[
        Path | None,
        in_panel(OUTPUT)(
            metavar="DIR", help="Output folder (default: reproduced, or reproduced-quick)."
        ),
    ] = None
    quiet: Quiet = False


@grouped
def reproduce_command(
    context: typer.Context,
    *,
    article: Annotated[
        str,
        typer.Argument(
            metavar="ARTICLE",
            help=f"{', '.join(choices.ARTICLES[:-1])}, or all.",
            autocompletion=choices.complete(choices.ARTICLES),
        ),
    ],
    runs: ReproducedRuns,
    compute: ReproduceCompute,
    where: ReproducedOutput,
) -> None:
    """Repeat a published write-up: train it, draw its figures, measure its claims.

    The output folder gets a folder for each article, with a README.md that shows all figures, and
    published.csv: what the article claims, what was measured (median and range over seeds), and a
    verdict. Trained runs are kept: the same command never trains one twice.

    Results are bitwise identical with and without --jobs or --scheduler on the same kind of CPU
    with the same --threads. --threads applies to each run; set it explicitly.
    """
    from contextlib import AbstractContextManager, nullcontext

    import torch

    from pyvae.cli.again import command_words
    from pyvae.engines.devices import threads_set
    from pyvae.parallel.jobs import Workers
    from pyvae.parallel.workers import check_workers, open_workers
    from pyvae.reproduction.articles import choose_articles
    from pyvae.reproduction.plan import Plan
    from pyvae.reproduction.report import ConsoleReport
    from pyvae.reproduction.reproduce import reproduce
    from pyvae.terminal.console import Terminal

    choose_articles(article)  # before workers are started
    plan = Plan(runs.quick, runs.seeds, runs.epochs, runs.latent_dim)
    jobs, scheduler = compute.jobs, compute.scheduler
    check_workers(jobs, scheduler)
    report = ConsoleReport(Terminal(progress=not where.quiet))
    folder = where.out or Path("reproduced-quick" if runs.quick else "reproduced")
    with threads_set(compute.threads):
        threads = torch.get_num_threads()
        words = command_words(context, threads=threads, out=folder)
        opened: AbstractContextManager[Workers | None] = nullcontext()
        if scheduler is not None or jobs not in (None, 1):
            opened = open_workers(jobs or 0, scheduler, threads, report.log)
        with opened as workers:
            reproduce(
                article, folder, plan, data=runs.data, device=compute.device, workers=workers,
                report=report, arguments=words,
            )  # fmt: skip
