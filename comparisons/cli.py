"""The `compare` subcommand."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pyvae import options

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.table import Table

    from comparisons.comparison import Comparison

__all__ = ["add_commands"]

# Beyond so many steps two float32 runs of MNIST drift apart by rounding alone: measured, the
# largest relative difference of the loss is 1e-6 after 42 steps and 4e-4 after 240.
FLOAT32_STEPS = 50
STEPS = 42  # what a comparison runs if nothing else is said: six epochs of the digits


def add_commands(app: typer.Typer) -> None:
    """Adds `compare` to the `pyvae` command."""
    app.command("compare")(compare_command)


def compare_command(
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
    out: Annotated[Path, typer.Option(metavar="DIR", help="Where to.")] = Path("comparison"),
) -> None:
    """Trains the R article's network in Python and in R on the same draws, and compares.

    Without --epochs and --steps it runs 42 steps (six epochs of the digits). Exit code 0:
    agree, 1: disagree, 2: unusable input or environment.
    """
    from rich.console import Console

    from comparisons.comparison import summary
    from comparisons.run import run_comparisons
    from pyvae.data import load_data
    from pyvae.engine import PyTorchEngine
    from pyvae.files import output_folder, write_file
    from pyvae.objectives import OBJECTIVES
    from pyvae.progress import RunProgress
    from pyvae.recipes import get_recipe
    from pyvae.settings import Settings
    from r_bridge.engines import check_r_engine, make_r_engine

    recipe = get_recipe("conv")
    if epochs is None and steps is None:
        steps = STEPS
    runs = Settings.runs_of_recipe(
        recipe,
        objective,
        epochs=epochs,
        steps=steps,
        batch_size=batch_size,
        latent_dim=latent_dim,
        learning_rate=learning_rate,
        dtype=dtype,
        seed=seed,
    )
    check_r_engine(engine)
    console = Console(markup=False, highlight=False)
    images = load_data(data, say=lambda line: console.print(line, soft_wrap=True))
    total = runs[0].total_steps(len(images))
    with make_r_engine(engine) as reference:
        folder = output_folder(out)
        console.print(
            f"{images.name}: {len(images):,} images, {total} steps of {runs[0].batch_size}, "
            f"{dtype}, PyTorch against {reference.name}",
            soft_wrap=True,
        )
        if dtype == "float32" and total > FLOAT32_STEPS:
            console.print(
                f"float32: beyond {FLOAT32_STEPS} steps rounding alone drives two runs apart; "
                "a disagreement shows no mistake unless --dtype float64 shows it too",
                soft_wrap=True,
            )

        def watch(engine, settings) -> RunProgress:
            title = f"{OBJECTIVES[settings.objective].title} in {engine.name}"
            return RunProgress(title, settings.batch_size, console)

        def warn(line: str) -> None:
            print(line, file=sys.stderr)

        python = PyTorchEngine("cpu")
        comparisons = run_comparisons(python, reference, recipe, runs, images, folder, watch, warn)

    write_results(comparisons, folder)
    about = summary(comparisons)
    write_file(folder / "comparison.json", json.dumps(about, indent=2, allow_nan=False) + "\n")
    for comparison in comparisons:
        console.print(agreement_table(comparison))
        for name, agreement in comparison.quantities.items():
            if agreement.problem:
                console.print(f"{name}: {agreement.problem}", soft_wrap=True)
            elif not agreement.agrees:
                console.print(f"{name}: worst at {agreement.worst}", soft_wrap=True)
    console.print(f"written: {folder}", soft_wrap=True)
    console.print(f"verdict: {about['verdict']}")
    raise typer.Exit(0 if about["verdict"] == "agree" else 1)


def write_results(comparisons: Sequence[Comparison], folder: Path) -> None:
    """Tables and pictures."""
    import pandas as pd

    from comparisons import figures
    from pyvae.figures import save_figure
    from pyvae.files import write_file
    from pyvae.trace import csv_text

    history = pd.concat([comparison.history() for comparison in comparisons], ignore_index=True)
    write_file(folder / "history.csv", csv_text(history))
    means = pd.concat([c.latent_means() for c in comparisons], ignore_index=True)
    write_file(folder / "latent_means.csv", csv_text(means))
    save_figure(figures.loss_history_figure(comparisons), folder / "loss_history.png")
    save_figure(figures.latent_means_figure(comparisons), folder / "latent_means.png")
    save_figure(figures.samples_figure(comparisons), folder / "samples.png")


def agreement_table(comparison: Comparison) -> Table:
    """One objective's agreement, with the tolerance that would have sufficed."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    from pyvae.objectives import OBJECTIVES

    about = OBJECTIVES[comparison.objective]
    settings = comparison.python.settings
    last = comparison.python.history().iloc[-1]
    table = Table(
        title=f"{about.title}: {about.formula}",
        caption=f"last step: {last.total:,.2f} nats, sum over {settings.batch_size} images; "
        f"{last.nats_per_image:.3f} nats per image",
        title_justify="left",
        caption_justify="left",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        padding=(0, 1, 0, 0),
    )
    for header in ("", "max abs", "max rel", "max ULP", "needed", "allowed", "of each", "verdict"):
        table.add_column(header, no_wrap=True)
    for name, agreement in comparison.quantities.items():
        verdict = Text("agree", "green") if agreement.agrees else Text("disagree", "red")
        table.add_row(
            name.replace("_", " "),
            f"{agreement.max_abs:.1e}",
            f"{agreement.max_rel:.1e}",
            f"{agreement.max_ulp:.0e}" if agreement.max_ulp > 9999 else str(agreement.max_ulp),
            f"{agreement.required_rtol:.1e}",
            f"{agreement.rule.rtol:.0e}",
            agreement.rule.scale,
            verdict,
        )
    return table
