"""pyvae trace."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pyvae.cli.options import choices
from pyvae.cli.options.given import option, was_given
from pyvae.cli.options.grouped import grouped
from pyvae.cli.options.shared import (
    COMPUTE,
    OUTPUT,
    RECORDED,
    STEPS,
    WHAT,
    AdamName,
    Probe,
    Quiet,
    RecipeName,
    RunOptions,
    Threads,
    choice,
    in_panel,
)
from pyvae.errors import UserError

if TYPE_CHECKING:
    from pyvae.model.start import Start
    from pyvae.runs.repeat import Repeat

__all__ = ["trace_command"]

LIKE_DECIDES = (  # pyvae trace --like: what the other trace says
    "recipe", "variant", "objective", "epochs", "steps", "batch_size", "latent_dim",
    "learning_rate", "set_", "dtype", "seed", "rng",
)  # fmt: skip

recorded = in_panel(RECORDED)


@dataclass(frozen=True)
class TracedRun(RunOptions):
    """What one engine runs."""

    dtype: Annotated[str | None, choice("Floating-point type.", choices.DTYPES, WHAT)] = "float64"
    like: Annotated[
        Path | None,
        in_panel(WHAT)(
            metavar="TRACE",
            help="Repeat the run recorded in TRACE: same settings, threads and variant of Adam.",
        ),
    ] = None


@dataclass(frozen=True)
class TraceCompute:
    """Which engine computes, and how."""

    engine: Annotated[
        str,
        in_panel(COMPUTE)(
            metavar="NAME",
            help=f"Engine: {', '.join(choices.engines())}.",
            autocompletion=choices.complete(choices.engines()),
        ),
    ] = "pytorch"
    adam: AdamName = None
    threads: Threads = None


@dataclass(frozen=True)
class Recorded:
    """What is recorded beside the losses and the parameters at the end."""

    probe: Probe = "1"
    follow: Annotated[
        Path | None,
        recorded(
            metavar="TRACE",
            help="Start every step from the state recorded in TRACE, which has that step among "
            "its --probe steps.",
        ),
    ] = None
    draws: Annotated[
        bool,
        recorded(
            "--draws",
            help="Also record batches, dropout masks and noise, to feed to another engine.",
        ),
    ] = False


@grouped
def trace_command(
    context: typer.Context,
    *,
    recipe: RecipeName = "conv",
    what: TracedRun,
    compute: TraceCompute,
    record: Recorded,
    out: Annotated[Path, in_panel(OUTPUT)(metavar="DIR", help="Output folder.")],
    quiet: Quiet = False,
) -> None:
    """Record what one engine computes in a run, for pyvae compare.

    Without --epochs and --steps it runs 42 steps. In the steps given by --probe it records what
    every stage returned: 0.6 GB a step for conv at the published batch size in float64.
    """
    import torch

    from pyvae.cli.again import command_words
    from pyvae.cli.options.step_set import StepSet
    from pyvae.engines.registry import get_abilities, open_engine, resolve_rng
    from pyvae.model.run import Run
    from pyvae.recipes import open_recipe
    from pyvae.runs.record import record_traces
    from pyvae.runs.run_folder import RunFolder
    from pyvae.terminal.console import Terminal
    from pyvae.terminal.step_progress import ShowProgress
    from pyvae.training.inputs import load_for

    data, threads, adam, kernels = what.data, compute.threads, compute.adam, "torch"
    if what.like is None:
        chosen = open_recipe(recipe, what.variant)
        settings = what.runs(
            chosen, steps=what.steps_or(STEPS), rng=resolve_rng(what.rng, compute.engine)
        )
        starts: list[Start | None] = [None] * len(settings)
    else:
        repeat = _read_like(context, what.like, recipe)
        chosen, settings, starts = repeat.recipe, repeat.runs, repeat.starts
        data = repeat.data or data
        threads = threads or repeat.threads
        kernels = repeat.kernels
        adam = adam or (repeat.adam if len(get_abilities(compute.engine).adams) > 1 else None)
    probed = StepSet.parse(record.probe)
    console = Terminal(progress=not quiet)
    log = partial(console.print, soft_wrap=True)
    with open_engine(
        compute.engine, "cpu", adam, recipe=chosen.name, threads=threads, kernels=kernels
    ) as engine:
        images = load_for(chosen, data, settings[0], log)
        probed.check(settings[0].total_steps(len(images)))
        decided = {} if what.like is None else _decided_by_like(recipe)
        words = command_words(context, threads=torch.get_num_threads(), **decided)
        runs = [Run(chosen, one, images, at) for one, at in zip(settings, starts, strict=True)]
        record_traces(
            RunFolder(out, words, log), runs, engine,
            [ShowProgress(console=console)], probed=probed, follow=record.follow,
            draws=record.draws,
        )  # fmt: skip
    log(f"written: {out}")


def _read_like(context: typer.Context, like: Path, recipe: str) -> Repeat:
    """What to repeat; raises UserError for options that it decides.

    Arguments:
        recipe: `FILE.py:NAME` where the trace is of a recipe of the user's own.
    """
    from pyvae.recipes import open_recipe
    from pyvae.recipes.from_file import names_recipe_file
    from pyvae.runs.repeat import read_repeat

    own = open_recipe(recipe) if names_recipe_file(recipe) else None
    repeat = read_repeat(like)
    if own is not None and repeat.recipe.name != own.name:
        raise UserError(
            f"'{like}' is of recipe '{repeat.recipe.name}', not of '{own.name}'",
            "leave out --recipe" if repeat.recipe.file is None else "name that one",
        )
    _check_like(context, repeat.data, own is not None)
    return repeat


def _decided_by_like(recipe: str) -> dict[str, None]:
    """The options that are left out of the command that repeats one with --like."""
    from pyvae.recipes.from_file import names_recipe_file

    own = names_recipe_file(recipe)  # no file is run because a trace names it
    return {name: None for name in LIKE_DECIDES if not (own and name == "recipe")}


def _check_like(context: typer.Context, data: str, own: bool) -> None:
    """Raises UserError for options that the trace to be like decides."""
    for name in (*LIKE_DECIDES, *(["data"] if data else [])):
        if was_given(context, name) and not (own and name == "recipe"):
            raise UserError(
                f"{option(name)} cannot be used with --like", f"leave out {option(name)} or --like"
            )
