"""The options of `pyvae compare`, in groups, and the request that they make up."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from comparisons.ports.judging.why.accepted import KNOWN
from pyvae.cli.options import choices
from pyvae.cli.options.choices import complete
from pyvae.cli.options.shared import (
    COMPUTE,
    OUTPUT,
    WHAT,
    AdamName,
    Quiet,
    RunOptions,
    choice,
    in_panel,
)

if TYPE_CHECKING:
    from pyvae.runs.folder_lock import FolderLock
    from pyvae.terminal.console import Terminal

__all__ = [
    "ComparedRun",
    "EngineOptions",
    "NativeOptions",
    "OutputOptions",
    "Request",
    "StageOptions",
]

ENGINES = "Which engines"
STAGES = "How they are compared"
SEEDS = "With --rng native: many seeds"
MODES = ("free", "resync")
RANDOMNESS = ("injected", "seeded", "native")

engines, stages, seeded, output = map(in_panel, (ENGINES, STAGES, SEEDS, OUTPUT))


@dataclass(frozen=True)
class EngineOptions:
    """Which two engines are compared."""

    engine: Annotated[
        str,
        engines(
            metavar="NAME",
            help=f"Reference: auto, {', '.join(choices.engines())}. auto: the best one that is "
            "installed and has the recipe.",
            autocompletion=complete(["auto", *choices.engines()]),
        ),
    ] = "auto"
    under_test: Annotated[
        str,
        engines(
            metavar="NAME",
            help=f"Engine to test: {', '.join(choices.engines())}.",
            autocompletion=complete(choices.engines()),
        ),
    ] = "pytorch"
    adam: AdamName = None
    threads: Annotated[
        int | None,
        in_panel(COMPUTE)(
            metavar="N",
            help="CPU threads of each engine (default: PyTorch's choice; 1 with --rng native).",
        ),
    ] = None


@dataclass(frozen=True)
class ComparedRun(RunOptions):
    """What both engines train."""

    objective: Annotated[
        str | None,
        in_panel(WHAT)(
            metavar="NAME",
            help="Loss: one of the recipe's objectives, both (the published ones) or all (default: "
            "those that were published). conv has vae, emae and em.",
            autocompletion=choices.complete_objective,
        ),
    ] = None
    dtype: Annotated[
        str | None,
        choice(
            "Floating-point type (default: float64; float32 with --rng native).",
            choices.DTYPES,
            WHAT,
        ),
    ] = None
    rng: Annotated[
        str,
        stages(
            metavar="HOW",
            help="injected: both get the same draws. seeded: both draw for themselves, from the "
            "same seed. native: each draws with its own generator, over --seeds seeds.",
            autocompletion=complete(RANDOMNESS),
        ),
    ] = "injected"
    start: Annotated[
        str | None,
        in_panel(WHAT)(
            metavar="initial|trained|both|RUN",
            help="What the runs start from: initial parameters, the trained state that pyvae "
            "ships, one after the other, or what the run in the folder RUN has left (default: "
            "both, where there is such a state; initial with --rng seeded and native).",
            autocompletion=complete(("initial", "trained", "both")),
            show_default=False,
        ),
    ] = None


@dataclass(frozen=True)
class StageOptions:
    """How two runs are compared."""

    exact: Annotated[
        bool | None,
        stages(
            "--exact/--no-exact",
            help="Require every bit to be equal (default: where that can be, that is, with --rng "
            "seeded and r-torch).",
            show_default=False,
        ),
    ] = None
    mode: Annotated[
        str,
        choice(
            "free: each engine goes its own way. resync: every step starts from the state of the "
            "engine under test.",
            MODES,
            STAGES,
        ),
    ] = "free"
    probe: Annotated[
        str | None,
        stages(
            metavar="STEPS",
            help="Steps to compare stage by stage: 1, or 1,3-5, or all, or none (default: 1; all "
            "with --mode resync).",
        ),
    ] = None

    map_: Annotated[
        Path | None,
        stages(
            "--map",
            metavar="CSV",
            help="Of two recorded programs: names that belong together, in columns a and b "
            "(default: what is found; names.csv in the output folder has it).",
            show_default=False,
        ),
    ] = None
    accept: Annotated[
        list[str] | None,
        stages(
            metavar="NAME",
            help="Of two recorded programs: what their libraries may do otherwise, "
            f"{' or '.join(KNOWN)}. Repeat it for several.",
            autocompletion=complete(KNOWN),
            show_default=False,
        ),
    ] = None


@dataclass(frozen=True)
class NativeOptions:
    """How two engines are compared over many seeds."""

    seeds: Annotated[int | None, seeded(metavar="N", help="Seeds of each engine.")] = None
    margin: Annotated[
        float | None,
        seeded(
            metavar="X",
            help="Largest difference of the losses that does not matter, mostly in nats per image.",
        ),
    ] = None
    margin_units: Annotated[
        float | None,
        seeded(metavar="X", help="The same for the number of active units (default: 2)."),
    ] = None
    margin_spread: Annotated[
        float | None,
        seeded(metavar="X", help="The same for the spread of the latent means (default: 0.05)."),
    ] = None
    jobs: Annotated[
        int | None,
        seeded(metavar="N", help="Runs to train in parallel (default: one for each core)."),
    ] = None
    scheduler: Annotated[
        str | None,
        seeded(
            metavar="ADDRESS",
            help="Dask scheduler whose workers train the runs, such as tcp://host:8786, instead "
            "of --jobs.",
        ),
    ] = None
    repetitions: Annotated[
        int | None,
        seeded(
            metavar="N",
            help="Repeat the whole test N times with other seeds, and count the verdicts.",
        ),
    ] = None


@dataclass(frozen=True)
class OutputOptions:
    """Where the results go."""

    report: Annotated[
        bool, output("--report", help="Also write report.html, a page with all results.")
    ] = False
    out: Annotated[Path, output(metavar="DIR", help="Output folder.")] = Path("comparison")
    resume: Annotated[
        Path | None,
        output(
            metavar="DIR",
            help="Continue the interrupted comparison in this folder, bit for bit. Leave out all "
            "other options.",
        ),
    ] = None
    quiet: Quiet = False


@dataclass(frozen=True)
class Request:
    """All that one `pyvae compare` was asked for.

    Attributes:
        context: The command's.
        console: Prints results and progress.
        recipe: The recipe's name.
        run: What is trained.
        engines, stages, seeds, output: The other groups of options.
    """

    context: typer.Context
    console: Terminal
    recipe: str
    run: ComparedRun
    engines: EngineOptions
    stages: StageOptions
    seeds: NativeOptions
    output: OutputOptions

    @property
    def log(self) -> Callable[[str], None]:
        """Prints one line."""
        return partial(self.console.print, soft_wrap=True)

    def lock(self) -> FolderLock:
        """Makes the output folder and keeps other runs out of it until the command ends.

        Raises:
            UserError: If it cannot be written, or another run writes into it.
        """
        from pyvae.runs.folder_lock import FolderLock

        return self.context.with_resource(FolderLock(self.output.out))
