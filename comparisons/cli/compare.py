"""The `compare` subcommand."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pyvae.cli import options
from pyvae.errors import UserError, printable

if TYPE_CHECKING:
    from rich.console import Console

    from comparisons.runs.comparison import Comparison
    from comparisons.runs.sides import Sides
    from pyvae.model.settings import Settings
    from pyvae.recipes import Recipe
    from pyvae.runs.folder_lock import FolderLock

__all__ = ["add_commands"]

NATIVE_OPTIONS = (
    "seeds",
    "margin",
    "margin_units",
    "margin_spread",
    "jobs",
    "scheduler",
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
    from pyvae.model.hyperparameters import parse_hyper
    from pyvae.recipes import get_recipe
    from pyvae.runs.folder_lock import FolderLock
    from pyvae.runs.run_json import arguments_of, invoke_again
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
    if engine == "auto" and chosen.name == "conv":
        _say_why_not_r_torch(console)
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
        context, console, out, hold, sides, chosen, runs, data, threads, mode, probe
    )
    from comparisons.report.write import conclude  # matplotlib, which no error has to wait for

    raise typer.Exit(conclude(console, comparisons, out, report))


def _say_why_not_r_torch(console: Console) -> None:
    """A word where R's torch is there and cannot be used."""
    from r_bridge.installed.r_torch import find_r_torch

    found = find_r_torch()
    problem = found.problem()
    if found.version and problem:
        console.print(f"{problem[0]}: using base-r ({problem[2]})", soft_wrap=True)


def _given(context: typer.Context, name: str) -> bool:
    source = context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


def _option(name: str) -> str:
    return "--" + name.strip("_").replace("_", "-")


def _compare_native(
    console: Console,
    out: Path,
    hold: Callable[[], FolderLock],
    arguments: Sequence[str],
    sides: Sides,
    recipe: Recipe,
    runs: list[Settings],
    data: str,
    seeds: int | None,
    margin: float | None,
    margin_units: float | None,
    margin_spread: float | None,
    threads: int | None,
    repetitions: int | None,
    jobs: int | None,
    scheduler: str | None,
) -> str:
    from comparisons.seeds.compare import NativeOptions, run_native
    from comparisons.seeds.equivalence import Margins
    from pyvae.model.objectives import OBJECTIVES
    from pyvae.parallel.workers import check_fan_out, open_workers
    from pyvae.training.inputs import load_for

    unit = OBJECTIVES[runs[0].objective].unit or "the loss's unit"
    for name, value, example in (("--seeds", seeds, 10), ("--margin", margin, 2)):
        if value is None:
            raise UserError(
                f"--rng native without {name}",
                f"add {name} {example}" + (f" ({unit})" if name == "--margin" else ""),
                expected=(
                    "how many seeds each side has, and the largest difference that does not "
                    "matter, fixed before you look"
                ),
            )
    further = {"units": margin_units, "spread": margin_spread}
    margins = Margins(margin, **{k: v for k, v in further.items() if v is not None})  # type: ignore[arg-type]
    asked = NativeOptions(
        seeds or 0,
        margins,
        1 if threads is None else threads,
        1 if repetitions is None else repetitions,
    )
    check_fan_out(jobs, scheduler)

    def say(line: str) -> None:
        console.print(line, soft_wrap=True)

    images = load_for(recipe, data, runs[0], say)
    runs[0].total_steps(len(images))  # enough images? asked before anything is started
    processes = os.cpu_count() or 1 if jobs is None else jobs
    with open_workers(processes, scheduler, asked.threads, say) as workers:
        return run_native(
            console, out, sides, recipe, runs, images, workers, asked, hold, arguments
        )


def _compare_saved(
    context: typer.Context,
    console: Console,
    traces: list[Path],
    exact: bool,
    out: Path,
    hold: Callable[[], FolderLock],
) -> list[Comparison]:
    from comparisons.report.write import introduce_saved
    from comparisons.runs.saved import compare_saved, load_pairs
    from comparisons.runs.saved_folder import check_output, describe_saved, set_aside
    from pyvae.model.objectives import OBJECTIVES
    from pyvae.runs.run_json import arguments_of
    from pyvae.terminal.step_progress import RunProgress

    if len(traces) != 2:
        count = f"{len(traces)} trace{'s' if len(traces) > 1 else ''}"
        raise UserError(count, "see pyvae compare --help", expected="two traces, or none")
    for name in context.params:
        if _given(context, name) and name not in ("traces", "out", "report", "exact"):
            raise UserError(
                f"{_option(name)} together with two traces",
                "the traces say what was run",
                expected="--out, --report and --exact alone",
            )
    check_output(out, traces)

    def watch(name: str, settings: Settings) -> RunProgress:
        title = f"{OBJECTIVES[settings.objective].title} in {name}"
        return RunProgress(title, settings.batch_size, console)

    pairs = load_pairs(*traces)
    introduce_saved(pairs, exact, console)
    comparisons = [compare_saved(a, b, exact, watch) for a, b in pairs]
    hold()
    set_aside(out, lambda line: console.print(line, soft_wrap=True))
    there = [path.resolve() for path in traces]
    describe_saved(out, comparisons, arguments_of(context, traces=there))
    return comparisons


def _compare_live(
    context: typer.Context,
    console: Console,
    out: Path,
    hold: Callable[[], FolderLock],
    sides: Sides,
    recipe: Recipe,
    runs: list[Settings],
    data: str,
    threads: int | None,
    mode: str,
    probe: str | None,
) -> list[Comparison]:
    import torch

    from comparisons.agreement.tolerances import is_normalised, steps_until_drift
    from comparisons.runs.live import run_comparisons
    from comparisons.runs.sides import open_sides
    from pyvae.cli.step_set import StepSet
    from pyvae.errors import choose
    from pyvae.model.objectives import OBJECTIVES
    from pyvae.runs.run_json import arguments_of, is_resumed, write_run
    from pyvae.terminal.step_progress import RunProgress
    from pyvae.training.inputs import load_for
    from pyvae.training.loop import start

    choose("mode", mode, ("free", "resync"))
    probed = StepSet.parse(probe or ("all" if mode == "resync" else "1"))
    images = load_for(recipe, data, runs[0], say=lambda line: console.print(line, soft_wrap=True))
    total = runs[0].total_steps(len(images))
    probed.check(total)
    with open_sides(sides, threads) as (under_test, reference):
        for engine in (under_test, reference):
            start(engine, recipe, runs[0])  # can it? asked before anything is written
        lock = hold()
        threads = threads or torch.get_num_threads()
        arguments = arguments_of(context, engine=sides.reference, threads=threads)
        engines = {engine.name: engine.environment() for engine in (under_test, reference)}
        write_run(out, arguments, recipe.name, runs, images.describe(), engines)
        what = "images" if recipe.features == 784 else "points"
        console.print(
            f"{images.name}: {len(images):,} {what}, {total} steps of {runs[0].batch_size}, "
            f"{runs[0].dtype}, {sides}"
            + (f", every step from {under_test.name}'s state" if mode == "resync" else "")
            + (f", both from seed {runs[0].seed}" if sides.randomness == "seeded" else "")
            + (", every bit has to be equal" if sides.exact else ""),
            soft_wrap=True,
        )
        normalised = is_normalised(recipe.stages)
        most = steps_until_drift(recipe.name, runs[0].dtype, normalised)
        if most is not None and total > most and mode == "free" and not sides.exact:
            console.print(
                f"{runs[0].dtype}: beyond {most} steps rounding alone drives two runs apart; "
                "--mode resync tells a mistake from rounding",
                soft_wrap=True,
            )

        def watch(name: str, settings: Settings) -> RunProgress:
            title = f"{OBJECTIVES[settings.objective].title} in {name}"
            return RunProgress(title, settings.batch_size, console)

        def warn(line: str) -> None:
            print(printable(line), file=sys.stderr)

        def guard() -> bool:
            removed = lock.check()
            if removed:
                warn(f"'{out}' was removed: writing it again")
                write_run(out, arguments, recipe.name, runs, images.describe(), engines)
            return removed

        return run_comparisons(
            under_test, reference, recipe, runs, images, out, watch, warn, mode, probed,
            sides.exact, resumed=is_resumed(context), guard=guard,
        )  # fmt: skip
