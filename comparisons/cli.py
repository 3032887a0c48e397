"""The `compare` subcommand."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pyvae import options
from pyvae.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from comparisons.comparison import Comparison

__all__ = ["add_commands"]

# Beyond so many steps two float32 runs of MNIST drift apart by rounding alone: measured, the
# largest relative difference of the loss is 1e-6 after 42 steps and 4e-4 after 240.
FLOAT32_STEPS = 50


def add_commands(app: typer.Typer) -> None:
    """Adds `compare` to the `pyvae` command."""
    app.command("compare")(compare_command)


def compare_command(
    context: typer.Context,
    traces: Annotated[
        list[Path] | None,
        typer.Argument(metavar="[TRACE_A TRACE_B]", help="Two traces of pyvae trace."),
    ] = None,
    engine: Annotated[
        str, typer.Option(metavar="NAME", help="The reference: auto, base-r or r-torch.")
    ] = "auto",
    objective: Annotated[str, typer.Option(metavar="NAME", help="both, vae or emae.")] = "both",
    data: options.Data = "auto",
    epochs: options.Epochs = None,
    steps: options.Steps = None,
    batch_size: options.BatchSize = None,
    latent_dim: options.LatentDim = None,
    learning_rate: options.LearningRate = None,
    dtype: options.Dtype = "float64",
    seed: options.Seed = 2,
    mode: Annotated[
        str,
        typer.Option(
            metavar="MODE",
            help="free: each goes its own way; resync: every step starts from PyTorch's state.",
        ),
    ] = "free",
    probe: Annotated[
        str | None,
        typer.Option(
            metavar="STEPS",
            help="Steps to look into, stage by stage: 1, or 1,3-5, or all, or none "
            "(default: 1; with --mode resync all).",
        ),
    ] = None,
    report: Annotated[bool, typer.Option("--report", help="Write report.html, too.")] = False,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Where to.")] = Path("comparison"),
) -> None:
    """Trains the R article's network in Python and in R on the same draws, and compares; or
    compares two traces made anywhere.

    Without --epochs and --steps it runs 42 steps (six epochs of the digits). Where the two
    disagree, the first step, stage and element in which they part is named. Exit code 0: agree,
    1: disagree, 2: unusable input or environment.
    """
    from rich.console import Console

    from comparisons.comparison import summary
    from comparisons.tables import print_comparison
    from pyvae.files import output_folder, write_file

    console = Console(markup=False, highlight=False)
    if traces:
        comparisons = _compare_saved(context, traces)
        folder = output_folder(out)
        _introduce_saved(comparisons, console)
    else:
        comparisons, folder = _compare_live(
            console,
            out,
            engine,
            mode,
            probe,
            objective=objective,
            data=data,
            epochs=epochs,
            steps=steps,
            batch_size=batch_size,
            latent_dim=latent_dim,
            learning_rate=learning_rate,
            dtype=dtype,
            seed=seed,
        )
    write_results(comparisons, folder)
    about = summary(comparisons)
    write_file(folder / "comparison.json", json.dumps(about, indent=2, allow_nan=False) + "\n")
    for comparison in comparisons:
        print_comparison(comparison, console)
    if report:
        from comparisons.report import write_report

        write_report(comparisons, folder / "report.html", shlex.join(["pyvae", *sys.argv[1:]]))
    else:
        (folder / "report.html").unlink(missing_ok=True)  # of an earlier comparison
    console.print(f"written: {folder}", soft_wrap=True)
    console.print(f"verdict: {about['verdict']}")
    raise typer.Exit(0 if about["verdict"] == "agree" else 1)


def _compare_saved(context: typer.Context, traces: list[Path]) -> list[Comparison]:
    from comparisons.offline import compare_saved, load_pairs

    if len(traces) != 2:
        count = f"{len(traces)} trace{'s' if len(traces) > 1 else ''}"
        raise UserError(count, "two traces, or none", "see pyvae compare --help")
    for name in context.params:
        source = context.get_parameter_source(name)
        given = source is not None and source.name == "COMMANDLINE"
        if given and name not in ("traces", "out", "report"):
            option = "--" + name.replace("_", "-")
            raise UserError(
                f"{option} together with two traces",
                "--out and --report alone",
                "the traces say what was run",
            )
    return [compare_saved(a, b) for a, b in load_pairs(*traces)]


def _introduce_saved(comparisons: Sequence[Comparison], console: Console) -> None:
    for comparison in comparisons:
        a, b = comparison.under_test, comparison.reference
        console.print(
            f"{a.data['name']}: {a.steps} steps of {a.settings.batch_size}, {a.settings.dtype}, "
            f"{a.engine} ({a.folder}) against {b.engine} ({b.folder})",
            soft_wrap=True,
        )


def _compare_live(
    console: Console,
    out: Path,
    engine: str,
    mode: str,
    probe: str | None,
    objective: str,
    data: str,
    **changes: Any,
) -> tuple[list[Comparison], Path]:
    from comparisons.run import run_comparisons
    from pyvae.data import load_data
    from pyvae.engine import PyTorchEngine
    from pyvae.errors import choose
    from pyvae.files import output_folder
    from pyvae.objectives import OBJECTIVES
    from pyvae.progress import RunProgress
    from pyvae.recipes import get_recipe
    from pyvae.settings import Settings
    from pyvae.steps import StepSet
    from r_bridge.engines import check_r_engine, make_r_engine

    recipe = get_recipe("conv")
    if changes["epochs"] is None and changes["steps"] is None:
        changes["steps"] = options.STEPS
    runs = Settings.runs_of_recipe(recipe, objective, **changes)
    choose("mode", mode, ("free", "resync"))
    probed = StepSet.parse(probe or ("all" if mode == "resync" else "1"))
    check_r_engine(engine)
    images = load_data(data, say=lambda line: console.print(line, soft_wrap=True))
    total = runs[0].total_steps(len(images))
    probed.check(total)
    with make_r_engine(engine) as reference:
        folder = output_folder(out)
        console.print(
            f"{images.name}: {len(images):,} images, {total} steps of {runs[0].batch_size}, "
            f"{runs[0].dtype}, PyTorch against {reference.name}"
            + (", every step from PyTorch's state" if mode == "resync" else ""),
            soft_wrap=True,
        )
        if runs[0].dtype == "float32" and total > FLOAT32_STEPS and mode == "free":
            console.print(
                f"float32: beyond {FLOAT32_STEPS} steps rounding alone drives two runs apart; "
                "--mode resync tells a mistake from rounding",
                soft_wrap=True,
            )

        def watch(name: str, settings: Settings) -> RunProgress:
            title = f"{OBJECTIVES[settings.objective].title} in {name}"
            return RunProgress(title, settings.batch_size, console)

        def warn(line: str) -> None:
            print(line, file=sys.stderr)

        python = PyTorchEngine("cpu")
        comparisons = run_comparisons(
            python, reference, recipe, runs, images, folder, watch, warn, mode, probed
        )
    return comparisons, folder


def write_results(comparisons: Sequence[Comparison], folder: Path) -> None:
    """Tables and pictures."""
    import pandas as pd

    from comparisons import figures
    from pyvae.figures import save_figure
    from pyvae.files import write_file
    from pyvae.trace import csv_text

    tables = {
        "history.csv": [comparison.history() for comparison in comparisons],
        "latent_means.csv": [comparison.latent_means() for comparison in comparisons],
        "stages.csv": [comparison.stage_table() for comparison in comparisons],
    }
    for name, parts in tables.items():
        table = pd.concat(parts, ignore_index=True)
        if table.empty:  # no step was looked into
            (folder / name).unlink(missing_ok=True)
        else:
            write_file(folder / name, csv_text(table))
    save_figure(figures.loss_history_figure(comparisons), folder / "loss_history.png")
    save_figure(figures.latent_means_figure(comparisons), folder / "latent_means.png")
    save_figure(figures.samples_figure(comparisons), folder / "samples.png")
