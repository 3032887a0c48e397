"""The `compare` subcommand."""

from __future__ import annotations

import json
import os
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pyvae import options
from pyvae.errors import UserError
from pyvae.files import output_folder

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from comparisons.comparison import Comparison
    from comparisons.sides import Sides

__all__ = ["add_commands"]

# Beyond so many steps two float32 runs of MNIST drift apart by rounding alone: measured, the
# largest relative difference of the loss is 1e-6 after 42 steps and 4e-4 after 240.
FLOAT32_STEPS = 50
NATIVE_OPTIONS = (
    "seeds",
    "margin",
    "margin_units",
    "margin_spread",
    "jobs",
    "repetitions",
)


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
        str,
        typer.Option(
            metavar="NAME",
            help="The reference: base-r, r-torch, or auto (r-torch where it is installed).",
        ),
    ] = "auto",
    under_test: Annotated[
        str,
        typer.Option(
            metavar="NAME", help="What is held against it: pytorch, or base-r or r-torch."
        ),
    ] = "pytorch",
    rng: Annotated[
        str,
        typer.Option(
            metavar="HOW",
            help="injected: both get the same draws; seeded: both draw for themselves from the "
            "same seed; native: each draws as it does, over --seeds seeds.",
        ),
    ] = "injected",
    exact: Annotated[
        bool | None,
        typer.Option(
            "--exact/--no-exact",
            help="Every bit has to be equal (default: with --rng seeded and r-torch).",
            show_default=False,
        ),
    ] = None,
    adam: options.WhoseAdam = None,
    threads: options.Threads = None,
    seeds: Annotated[
        int | None, typer.Option(metavar="N", help="With --rng native: seeds of each side.")
    ] = None,
    margin: Annotated[
        float | None,
        typer.Option(
            metavar="X",
            help="With --rng native: the largest difference of losses that does not matter, in "
            "nats per image.",
        ),
    ] = None,
    margin_units: Annotated[
        float | None,
        typer.Option(metavar="X", help="The same for active units, in dimensions (default: 2)."),
    ] = None,
    margin_spread: Annotated[
        float | None,
        typer.Option(metavar="X", help="The same for the spread of latent means (default: 0.05)."),
    ] = None,
    jobs: Annotated[
        int | None,
        typer.Option(
            metavar="N", help="With --rng native: processes side by side (default: one a core)."
        ),
    ] = None,
    repetitions: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="With --rng native: do it so often, with other seeds, and count the verdicts.",
        ),
    ] = None,
    objective: Annotated[str, typer.Option(metavar="NAME", help="both, vae or emae.")] = "both",
    data: options.Data = "auto",
    epochs: options.Epochs = None,
    steps: options.Steps = None,
    batch_size: options.BatchSize = None,
    latent_dim: options.LatentDim = None,
    learning_rate: options.LearningRate = None,
    dtype: Annotated[
        str | None,
        typer.Option(
            metavar="TYPE",
            help="float32 or float64 (default: float64; with --rng native float32).",
        ),
    ] = None,
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
    disagree, the first step, stage and element in which they part is named. A run that was
    interrupted goes on where it stopped when the same command is given again. With --rng native
    both are trained over many seeds and tested for equivalence. Exit code 0: agree (equivalent),
    1: disagree (different, inconclusive), 2: unusable input or environment.
    """
    from rich.console import Console

    from comparisons.sides import choose_sides

    console = Console(markup=False, highlight=False)
    if traces:
        comparisons = _compare_saved(context, traces, exact is True)
        folder = output_folder(out)
        _introduce_saved(comparisons, console)
        raise typer.Exit(_conclude(console, comparisons, folder, report))
    native = rng == "native"
    others = ("mode", "probe", "report", "exact") if native else NATIVE_OPTIONS
    for name in (name for name in others if _given(context, name)):
        raise UserError(
            f"{_option(name)} with --rng {rng}",
            "it with another --rng" if native else "it with --rng native",
            "leave it out",
        )
    sides = choose_sides(under_test, engine, rng, exact, adam)
    if engine == "auto":
        _say_why_not_r_torch(console)
    changes = {
        "epochs": epochs,
        "steps": options.STEPS if epochs is None and steps is None else steps,
        "batch_size": batch_size,
        "latent_dim": latent_dim,
        "learning_rate": learning_rate,
        "dtype": dtype or ("float32" if native else "float64"),
        "seed": seed,
        "rng": sides.rng(sides.under_test),
    }
    if native:
        asked = (seeds, margin, margin_units, margin_spread, jobs, threads, repetitions)
        verdict = _compare_native(console, out, sides, objective, data, changes, *asked)
        console.print(f"written: {out}", soft_wrap=True)
        console.print(f"verdict: {verdict}")
        raise typer.Exit(0 if verdict in ("equivalent", "calibrated") else 1)
    comparisons, folder = _compare_live(
        console, out, sides, objective, data, changes, threads, mode, probe
    )
    raise typer.Exit(_conclude(console, comparisons, folder, report))


def _conclude(
    console: Console, comparisons: Sequence[Comparison], folder: Path, report: bool
) -> int:
    """Writes and prints what was found; returns the exit code."""
    from comparisons.comparison import summary
    from comparisons.tables import print_comparison
    from pyvae.files import write_file

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
    return 0 if about["verdict"] == "agree" else 1


def _say_why_not_r_torch(console: Console) -> None:
    """A word where R's torch is there and cannot be used."""
    from r_bridge.r_torch import find_r_torch

    found = find_r_torch()
    problem = found.problem()
    if found.version and problem:
        console.print(f"{problem[0]}: using base-r ({problem[2]})", soft_wrap=True)


def _given(context: typer.Context, name: str) -> bool:
    source = context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


def _option(name: str) -> str:
    return "--" + name.replace("_", "-")


def _compare_native(
    console: Console,
    out: Path,
    sides: Sides,
    objective: str,
    data: str,
    changes: dict[str, Any],
    seeds: int | None,
    margin: float | None,
    margin_units: float | None,
    margin_spread: float | None,
    jobs: int | None,
    threads: int | None,
    repetitions: int | None,
) -> str:
    from comparisons.equivalence import Margins
    from comparisons.native_cli import NativeOptions, run_native
    from pyvae.data import load_data
    from pyvae.recipes import get_recipe
    from pyvae.settings import Settings

    for name, value, example in (("--seeds", seeds, 10), ("--margin", margin, 2)):
        if value is None:
            raise UserError(
                f"--rng native without {name}",
                "how many seeds each side has, and the largest difference that does not matter, "
                "fixed before you look",
                f"add {name} {example}" + (" (nats per image)" if name == "--margin" else ""),
            )
    further = {"units": margin_units, "spread": margin_spread}
    margins = Margins(margin, **{k: v for k, v in further.items() if v is not None})  # type: ignore[arg-type]
    recipe = get_recipe("conv")
    runs = Settings.runs_of_recipe(recipe, objective, **changes)
    asked = NativeOptions(
        seeds or 0,
        margins,
        os.cpu_count() or 1 if jobs is None else jobs,
        1 if threads is None else threads,
        1 if repetitions is None else repetitions,
    )
    images = load_data(data, say=lambda line: console.print(line, soft_wrap=True))
    runs[0].total_steps(len(images))  # enough images? asked before anything is started
    return run_native(console, out, sides, recipe, runs, images, asked)


def _compare_saved(context: typer.Context, traces: list[Path], exact: bool) -> list[Comparison]:
    from comparisons.offline import compare_saved, load_pairs

    if len(traces) != 2:
        count = f"{len(traces)} trace{'s' if len(traces) > 1 else ''}"
        raise UserError(count, "two traces, or none", "see pyvae compare --help")
    for name in context.params:
        if _given(context, name) and name not in ("traces", "out", "report", "exact"):
            raise UserError(
                f"{_option(name)} together with two traces",
                "--out, --report and --exact alone",
                "the traces say what was run",
            )
    return [compare_saved(a, b, exact) for a, b in load_pairs(*traces)]


def _introduce_saved(comparisons: Sequence[Comparison], console: Console) -> None:
    for comparison in comparisons:
        a, b = comparison.under_test, comparison.reference
        console.print(
            f"{a.data['name']}: {a.steps} steps of {a.settings.batch_size}, {a.settings.dtype}, "
            f"{a.engine} ({a.folder}) against {b.engine} ({b.folder})"
            + (", every bit has to be equal" if comparison.exact else ""),
            soft_wrap=True,
        )
        threads = [trace.environment.get("threads") for trace in (a, b)]
        if comparison.exact and threads[0] != threads[1]:
            console.print(
                f"threads: {threads[0]} against {threads[1]}; another number changes the order of "
                "sums, and with it the last bits (pyvae trace --like takes over the number)",
                soft_wrap=True,
            )


def _compare_live(
    console: Console,
    out: Path,
    sides: Sides,
    objective: str,
    data: str,
    changes: dict[str, Any],
    threads: int | None,
    mode: str,
    probe: str | None,
) -> tuple[list[Comparison], Path]:
    from comparisons.run import run_comparisons
    from comparisons.sides import open_sides
    from pyvae.data import load_data
    from pyvae.errors import choose
    from pyvae.objectives import OBJECTIVES
    from pyvae.progress import RunProgress
    from pyvae.recipes import get_recipe
    from pyvae.settings import Settings
    from pyvae.steps import StepSet
    from pyvae.training import start

    recipe = get_recipe("conv")
    runs = Settings.runs_of_recipe(recipe, objective, **changes)
    choose("mode", mode, ("free", "resync"))
    probed = StepSet.parse(probe or ("all" if mode == "resync" else "1"))
    images = load_data(data, say=lambda line: console.print(line, soft_wrap=True))
    total = runs[0].total_steps(len(images))
    probed.check(total)
    with open_sides(sides, threads) as (under_test, reference):
        for engine in (under_test, reference):
            start(engine, recipe, runs[0])  # can it? asked before anything is written
        folder = output_folder(out)
        console.print(
            f"{images.name}: {len(images):,} images, {total} steps of {runs[0].batch_size}, "
            f"{runs[0].dtype}, {sides}"
            + (f", every step from {under_test.name}'s state" if mode == "resync" else "")
            + (f", both from seed {runs[0].seed}" if sides.randomness == "seeded" else "")
            + (", every bit has to be equal" if sides.exact else ""),
            soft_wrap=True,
        )
        drifts = runs[0].dtype == "float32" and total > FLOAT32_STEPS
        if drifts and mode == "free" and not sides.exact:
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

        comparisons = run_comparisons(
            under_test, reference, recipe, runs, images, folder, watch, warn, mode, probed,
            sides.exact,
        )  # fmt: skip
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
