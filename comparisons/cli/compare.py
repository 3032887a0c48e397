"""The `compare` subcommand."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from comparisons.cli.given import _given, _option
from comparisons.cli.live import _compare_live, _say_passed_over
from comparisons.cli.saved import _compare_saved
from comparisons.cli.seeds import NATIVE_OPTIONS, _compare_native
from pyvae.cli import options
from pyvae.errors import UserError

if TYPE_CHECKING:
    from pyvae.runs.folder_lock import FolderLock

__all__ = ["add_commands"]


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
            "their unit: nats per image, mostly.",
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
    scheduler: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS",
            help="With --rng native, instead of --jobs: a Dask scheduler, such as "
            "tcp://host:8786, whose workers do the runs.",
        ),
    ] = None,
    repetitions: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="With --rng native: do it so often, with other seeds, and count the verdicts.",
        ),
    ] = None,
    recipe: options.Recipe = "conv",
    variant: options.Variant = None,
    objective: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="One of the recipe's objectives, or both that were published, or all (default: "
            "those that were published); conv has vae, emae and em.",
        ),
    ] = None,
    data: options.Data = "auto",
    epochs: options.Epochs = None,
    steps: options.Steps = None,
    batch_size: options.BatchSize = None,
    latent_dim: options.LatentDim = None,
    learning_rate: options.LearningRate = None,
    set_: options.Set = None,
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
    resume: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Go on with the comparison in this folder, which was interrupted, to the same "
            "bits; without other options.",
        ),
    ] = None,
) -> None:
    """Trains a recipe's network in Python and in R on the same draws, and compares; or compares
    two traces made anywhere.

    Without --epochs and --steps it runs 42 steps (six epochs of the digits), or as many as two
    faithful runs stay together: 10 of the clustering recipes. Where the two disagree, the first
    step, stage and element in which they part is named. A run that was interrupted goes on where
    it stopped when the same command is given again, or with --resume. With --rng native both are
    trained over many seeds and tested for equivalence. Exit code 0: agree (equivalent), 1: disagree
    (different, inconclusive), 2: unusable input or environment.
    """
    from comparisons.agreement.tolerances import steps_until_drift
    from comparisons.runs.sides import choose_sides
    from pyvae.cli.again import arguments_of, invoke_again
    from pyvae.model.hyperparameters import parse_hyper
    from pyvae.recipes import get_recipe
    from pyvae.runs.folder_lock import FolderLock
    from pyvae.terminal.console import Terminal

    if resume is not None:
        invoke_again(context, resume)
        return
    console = Terminal()
    held = context.with_resource(ExitStack())  # until the command has ended

    def hold() -> FolderLock:
        return held.enter_context(FolderLock(out))

    if traces:
        from comparisons.report.write import conclude

        comparisons = _compare_saved(context, console, traces, exact is True, out, hold)
        raise typer.Exit(conclude(console, comparisons, out, report))
    native = rng == "native"
    others = ("mode", "probe", "report", "exact") if native else NATIVE_OPTIONS
    for name in (name for name in others if _given(context, name)):
        raise UserError(
            f"{_option(name)} with --rng {rng}",
            "leave it out",
            expected="it with another --rng" if native else "it with --rng native",
        )
    chosen = get_recipe(recipe, variant)
    sides = choose_sides(under_test, engine, rng, exact, adam, chosen.name)
    _say_passed_over(console, sides)
    if epochs is None and steps is None:
        steps = options.STEPS
        if not native and mode == "free":
            steps = min(steps, steps_until_drift(chosen.name, "float64", False) or steps)
    changes = {
        "epochs": epochs,
        "steps": steps,
        "batch_size": batch_size,
        "latent_dim": latent_dim,
        "learning_rate": learning_rate,
        "hyper": parse_hyper(set_ or []),
        "dtype": dtype or ("float32" if native else "float64"),
        "seed": seed,
        "rng": sides.rng(sides.under_test),
    }
    several = objective is None and len(chosen.objectives) > 1
    runs = chosen.runs("both" if several else objective, **changes)
    if native:
        asked = (seeds, margin, margin_units, margin_spread, threads, repetitions)
        where = (jobs, scheduler)
        arguments = arguments_of(context, engine=sides.reference, threads=threads or 1)
        verdict = _compare_native(
            console, out, hold, arguments, sides, chosen, runs, data, *asked, *where
        )
        console.print(f"written: {out}", soft_wrap=True)
        console.print(f"verdict: {verdict}")
        raise typer.Exit(0 if verdict in ("equivalent", "calibrated") else 1)
    comparisons = _compare_live(
        context, console, out, sides, chosen, runs, data, threads, mode, probe
    )
    from comparisons.report.write import conclude  # matplotlib, which no error has to wait for

    raise typer.Exit(conclude(console, comparisons, out, report))
