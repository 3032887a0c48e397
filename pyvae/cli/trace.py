"""pyvae trace."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pyvae.cli import options
from pyvae.errors import UserError

__all__ = ["trace_command"]

LIKE_DECIDES = (  # pyvae trace --like: what the other trace says
    "recipe", "variant", "objective", "epochs", "steps", "batch_size", "latent_dim",
    "learning_rate", "set_", "dtype", "seed", "rng",
)  # fmt: skip


def trace_command(
    context: typer.Context,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Where to.")],
    engine: Annotated[
        str, typer.Option(metavar="NAME", help="Who computes: pytorch, base-r or r-torch.")
    ] = "pytorch",
    recipe: options.Recipe = "conv",
    variant: options.Variant = None,
    objective: options.Objective = None,
    data: options.Data = "auto",
    epochs: options.Epochs = None,
    steps: options.Steps = None,
    batch_size: options.BatchSize = None,
    latent_dim: options.LatentDim = None,
    learning_rate: options.LearningRate = None,
    set_: options.Set = None,
    dtype: options.Dtype = "float64",
    seed: options.Seed = 2,
    rng: options.Rng = "injected",
    adam: options.WhoseAdam = None,
    threads: options.OwnThreads = None,
    probe: options.Probed = "1",
    follow: Annotated[
        Path | None,
        typer.Option(metavar="TRACE", help="Start every step from the state of this trace."),
    ] = None,
    draws: Annotated[
        bool,
        typer.Option("--draws", help="Write what the run is given, too, for another engine."),
    ] = False,
    like: Annotated[
        Path | None,
        typer.Option(
            metavar="TRACE",
            help="Do again what this trace says was run, on as many threads, with Adam in the "
            "same order of operations.",
        ),
    ] = None,
) -> None:
    """Writes what one engine does in a run, to be held against another's by pyvae compare.

    Of the steps given by --probe it also writes what every stage returned: 0.6 GB a step at the
    published batch size in float64.
    """
    import torch

    from pyvae.cli.again import arguments_of
    from pyvae.cli.step_set import StepSet
    from pyvae.engines.devices import set_threads
    from pyvae.engines.registry import open_engine
    from pyvae.model.hyperparameters import parse_hyper
    from pyvae.model.run import Run
    from pyvae.recipes import get_recipe
    from pyvae.runs.record import record_traces
    from pyvae.runs.repeat import read_repeat
    from pyvae.runs.run_folder import RunFolder
    from pyvae.terminal.console import Terminal
    from pyvae.terminal.step_progress import ShowProgress
    from pyvae.training.inputs import load_for

    if like is None:
        chosen = get_recipe(recipe, variant)
        runs = chosen.runs(
            objective,
            epochs=epochs,
            steps=options.STEPS if epochs is None and steps is None else steps,
            batch_size=batch_size,
            latent_dim=latent_dim,
            learning_rate=learning_rate,
            hyper=parse_hyper(set_ or []),
            dtype=dtype,
            seed=seed,
            rng=rng,
        )
    else:
        repeat = read_repeat(like)
        _check_like(context, repeat.data)
        chosen, runs = repeat.recipe, repeat.runs
        data = repeat.data or data
        threads = threads or repeat.threads
        adam = adam or (repeat.adam if engine == "pytorch" else None)
    probed = StepSet.parse(probe)
    set_threads(threads)
    console = Terminal()

    def log(line: str) -> None:
        console.print(line, soft_wrap=True)

    with open_engine(engine, device="cpu", adam=adam, recipe=chosen.name) as computing:
        images = load_for(chosen, data, runs[0], log)
        probed.check(runs[0].total_steps(len(images)))
        again: dict[str, None] = {} if like is None else dict.fromkeys(LIKE_DECIDES)
        arguments = arguments_of(context, threads=torch.get_num_threads(), **again)
        record_traces(
            RunFolder(out, arguments, log), [Run(chosen, one, images) for one in runs], computing,
            [ShowProgress(console=console)], probed=probed, follow=follow, draws=draws,
        )  # fmt: skip
    console.print(f"written: {out}", soft_wrap=True)


def _check_like(context: typer.Context, data: str) -> None:
    """Raises UserError for options that the trace to be like decides."""
    for name in (*LIKE_DECIDES, *(["data"] if data else [])):
        source = context.get_parameter_source(name)
        if source is not None and source.name == "COMMANDLINE":
            option = "--" + name.strip("_").replace("_", "-")
            raise UserError(
                f"{option} together with --like", f"leave out {option}", expected="one of them"
            )
