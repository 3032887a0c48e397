"""The `pyvae` command. Other packages add subcommands through the entry-point group
`pyvae.commands`: each entry is a function that takes the typer application."""

from __future__ import annotations

import errno
import inspect
import io
import logging
import os
import re
import sys
from collections.abc import Callable
from functools import partial
from importlib import metadata, util
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from typer.exceptions import TyperException

from pyvae.cli import options
from pyvae.cli.unexpected import unexpected
from pyvae.errors import UserError, print_error, printable
from pyvae.plugins import open_plugins
from pyvae.runs.signals import terminated_as_interrupted

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from pyvae.trace.trace import Trace

__all__ = ["build_app", "main"]

COMMANDS = "pyvae.commands"
UNUSABLE, UNEXPECTED, INTERRUPTED, CLOSED_PIPE = 2, 70, 130, 141
EXIT_CODES = (
    "Exit codes: 0 done, agree or equivalent; 1 disagree, different or inconclusive; 2 unusable "
    "input or environment; 70 unexpected error; 130 interrupted."
)
NO_MEMORY = ("out of memory", "can't allocate memory")  # in PyTorch's words
LIKE_DECIDES = (  # pyvae trace --like: what the other trace says
    "recipe", "variant", "objective", "epochs", "steps", "batch_size", "latent_dim",
    "learning_rate", "set_", "dtype", "seed", "rng",
)  # fmt: skip


def main(arguments: list[str] | None = None) -> int:
    """Runs the command line.

    Arguments:
        arguments: By default those of this process, which is the command's alone then.

    Returns:
        The exit code: 0 done (compare: agree), 1 disagree, 2 unusable input or environment, 70 an
        unexpected error, 130 interrupted, 141 nobody reads what is printed any more.
    """
    if arguments is None:
        _own_matplotlib()
    _never_unwritable()
    try:
        with terminated_as_interrupted():
            result = build_app()(arguments, standalone_mode=False)
        if sys.stdout is not None:
            sys.stdout.flush()  # what goes wrong is told here, not when Python ends
    except (UserError, TyperException) as error:
        return _complain(error.format_message() if isinstance(error, TyperException) else error)
    except SystemExit as error:  # typer's and rich's answer to a closed pipe
        if not _is_closed_pipe(error.__context__):
            raise
        _leave_unwritten()
        return CLOSED_PIPE
    except OSError as error:  # a file that cannot be read or written, a full disk
        _leave_unwritten()
        if _is_closed_pipe(error):  # nobody reads any more, such as head -1: nothing is to be said
            return CLOSED_PIPE
        if error.errno == errno.ENOSPC and error.filename is None:
            return _complain("no space is left for standard output, or on the disk")
        return _complain(error)
    except KeyboardInterrupt:
        result = INTERRUPTED
    except RuntimeError as error:
        if not any(words in str(error) for words in NO_MEMORY):
            return _not_foreseen(error)
        said = str(error).strip().partition("\n")[0]
        return _complain(f"PyTorch finds no memory ({said}); try a smaller --batch-size")
    except Exception as error:
        return _not_foreseen(error)
    # typer makes it of KeyboardInterrupt; of torchrun's processes the first one tells it
    if result == INTERRUPTED and os.environ.get("RANK", "0") == "0":
        print("pyvae: interrupted", file=sys.stderr)
    return result if isinstance(result, int) else 0


def _own_matplotlib() -> None:
    """Neither a backend for notebooks or screens nor the user's `matplotlibrc` is read: both can
    keep matplotlib from being imported."""
    os.environ["MPLBACKEND"] = "agg"
    found = util.find_spec("matplotlib")
    if found is not None and found.origin:
        os.environ["MATPLOTLIBRC"] = str(Path(found.origin).parent / "mpl-data" / "matplotlibrc")
    logging.getLogger("matplotlib").setLevel(logging.ERROR)  # it tells of its caches, too


def _never_unwritable() -> None:
    """Characters that standard output has no code for (a name that is no UTF-8, or any but ASCII
    where the locale is C) are written as escapes, as on standard error: a run of hours must not
    end in an error for its folder's name."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def _is_closed_pipe(error: BaseException | None) -> bool:
    return isinstance(error, OSError) and error.errno == errno.EPIPE


def _leave_unwritten() -> None:
    """What is left in a buffer that cannot be written would be an error once more when Python
    ends."""
    for stream in (sys.__stdout__, sys.__stderr__):
        if stream is None:
            continue
        try:
            stream.flush()
        except OSError:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, stream.fileno())
            os.close(nowhere)


def _complain(error: object) -> int:
    # of torchrun's processes all meet the same mistake, and the first one tells it
    if os.environ.get("RANK", "0") != "0" and not getattr(error, "of_one_process", False):
        return UNUSABLE
    if str(error).split():  # `pyvae` alone shows its help and has nothing to say
        print_error(str(error))
    return UNUSABLE


def _not_foreseen(error: Exception) -> int:
    print_error(unexpected(error))
    return UNEXPECTED


def build_app() -> typer.Typer:
    """The application with the commands of all installed packages."""
    app = typer.Typer(
        help="VAEs of published write-ups in PyTorch, held against their R originals.",
        epilog=EXIT_CODES,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
        add_completion=False,
        no_args_is_help=True,
    )
    app.callback()(_about)
    app.command("train")(train_command)
    app.command("trace")(trace_command)
    app.command("reproduce")(reproduce_command)
    app.command("verify")(verify_command)
    app.command("sample")(sample_command)
    app.command("figures")(figures_command)
    app.command("recipes")(recipes_command)
    app.command("doctor")(doctor_command)
    for _ in open_plugins(COMMANDS, lambda add: add(app)):
        pass
    for command in app.registered_commands:
        command.help = _unwrapped(command.help or inspect.getdoc(command.callback) or "")
    return app


def _unwrapped(text: str) -> str:
    """A text whose paragraphs are lines: the terminal's width alone breaks them."""
    paragraphs = re.split(r"\n\s*\n", inspect.cleandoc(text))
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)


def _print_version(asked: bool) -> None:
    if asked:
        print(f"pyvae {metadata.version('pyvae')}")
        raise typer.Exit


def _about(
    version: Annotated[
        bool,
        typer.Option(
            "--version", help="Print the version.", is_eager=True, callback=_print_version
        ),
    ] = False,
) -> None:
    """What stands in front of a command."""


def train_command(
    context: typer.Context,
    recipe: Annotated[
        str | None, typer.Argument(metavar="RECIPE", help="See pyvae recipes.")
    ] = None,
    variant: options.Variant = None,
    objective: options.Objective = None,
    data: options.Data = "auto",
    epochs: options.Epochs = None,
    steps: options.Steps = None,
    batch_size: options.BatchSize = None,
    latent_dim: options.LatentDim = None,
    learning_rate: options.LearningRate = None,
    set_: options.Set = None,
    dtype: options.Dtype = "float32",
    seed: options.Seed = 2,
    rng: options.Rng = "injected",
    device: options.Device = "auto",
    precision: options.Precision = "full",
    threads: options.OwnThreads = None,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Where to (default: runs/RECIPE).")
    ] = None,
    resume: Annotated[
        Path | None,
        typer.Option(
            metavar="RUN",
            help="Go on with the run in this folder, to the same bits: one that was interrupted, "
            "or, with a larger --epochs or --steps, one that is finished; without RECIPE and other "
            "options.",
        ),
    ] = None,
    overwrite: Annotated[
        bool,
        typer.Option(
            "--overwrite", help="Train from the beginning, in place of a run that is in DIR."
        ),
    ] = False,
) -> None:
    """Trains a recipe; leaves a trace and figures in DIR, a folder for each objective.

    A run that was interrupted, killed or ran into a full disk goes on from its last checkpoint
    (one every 20 seconds, PYVAE_CHECKPOINT_SECONDS) with --resume, or with the same command; one
    that is finished goes on where it ended if more epochs or steps are asked for. Another run in
    DIR is not replaced without --overwrite.
    Each batch goes over several processes under torchrun: torchrun --nproc-per-node 2 -m pyvae
    train ...
    """
    import torch

    from pyvae.engines.data_parallel import torchrun_shares
    from pyvae.engines.devices import set_threads
    from pyvae.model.hyperparameters import parse_hyper
    from pyvae.recipes import get_recipe
    from pyvae.runs.run_json import arguments_of, invoke_again, is_resumed
    from pyvae.runs.train import train_runs

    if resume is not None:
        invoke_again(context, resume)
        return
    if recipe is None:
        raise UserError("no RECIPE", expected="one of pyvae recipes, or --resume RUN")
    chosen = get_recipe(recipe, variant)
    runs = chosen.runs(
        objective,
        epochs=epochs,
        steps=steps,
        batch_size=batch_size,
        latent_dim=latent_dim,
        learning_rate=learning_rate,
        hyper=parse_hyper(set_ or []),
        dtype=dtype,
        seed=seed,
        rng=rng,
    )
    set_threads(threads)
    folder = out or Path("runs") / chosen.name
    settled = {"threads": torch.get_num_threads(), "out": folder, "overwrite": None}
    arguments = arguments_of(context, **settled)
    with torchrun_shares(device) as shares:
        train_runs(
            chosen, runs, data, folder, device, precision, shares, arguments, is_resumed(context),
            overwrite,
        )  # fmt: skip
        if shares.is_first:
            draw_run(folder)
            print(f"written: {printable(str(folder))}")


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

    from pyvae.cli.step_set import StepSet
    from pyvae.engines.devices import set_threads
    from pyvae.engines.registry import open_engine
    from pyvae.model.hyperparameters import parse_hyper
    from pyvae.recipes import get_recipe
    from pyvae.runs.record import write_traces
    from pyvae.runs.repeat import repeat_of
    from pyvae.runs.run_json import arguments_of
    from pyvae.terminal.console import Terminal
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
        repeat = repeat_of(like)
        _check_like(context, repeat.data)
        chosen, runs = repeat.recipe, repeat.runs
        data = repeat.data or data
        threads = threads or repeat.threads
        adam = adam or (repeat.adam if engine == "pytorch" else None)
    probed = StepSet.parse(probe)
    set_threads(threads)
    console = Terminal()
    with open_engine(engine, device="cpu", adam=adam, recipe=chosen.name) as computing:
        images = load_for(
            chosen, data, runs[0], say=lambda line: console.print(line, soft_wrap=True)
        )
        probed.check(runs[0].total_steps(len(images)))
        again: dict[str, None] = {} if like is None else dict.fromkeys(LIKE_DECIDES)
        arguments = arguments_of(context, threads=torch.get_num_threads(), **again)
        write_traces(
            computing, chosen, runs, images, out, probed, follow, console, draws, arguments
        )
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

    from pyvae.engines.devices import set_threads
    from pyvae.parallel.jobs import Workers
    from pyvae.parallel.workers import check_fan_out, open_workers
    from pyvae.reproduction.reproduce import choose_articles, reproduce
    from pyvae.runs.run_json import arguments_of
    from pyvae.terminal.console import Terminal

    chosen = choose_articles(article)
    set_threads(threads)
    check_fan_out(jobs, scheduler)
    console = Terminal()
    here = scheduler is None and jobs in (None, 1)
    opened: AbstractContextManager[Workers | None] = nullcontext()
    if not here:
        opened = open_workers(
            jobs or 0,
            scheduler,
            torch.get_num_threads(),
            say=lambda line: console.print(line, soft_wrap=True),
        )
    folder = out or Path("reproduced-quick" if quick else "reproduced")
    with opened as workers:
        reproduce(
            chosen,
            data,
            folder,
            console,
            quick=quick,
            seeds=seeds,
            epochs=epochs,
            latent_dim=latent_dim,
            device=device,
            workers=workers,
            arguments=arguments_of(context, threads=torch.get_num_threads(), out=folder),
        )


def verify_command(
    run: Annotated[
        Path, typer.Argument(metavar="RUN", help="A folder of pyvae train, trace or compare.")
    ],
    steps: Annotated[
        int, typer.Option(metavar="N", help="How many steps; of shorter runs, all.")
    ] = 10,
    data: Annotated[
        str | None,
        typer.Option(metavar="NAME|FILE.npz", help="The images, where the run does not say it."),
    ] = None,
    threads: Annotated[
        int | None, typer.Option(metavar="N", help="Threads (default: as many as the run had).")
    ] = None,
) -> None:
    """Runs the first steps of a run again and says whether every bit still comes out.

    With as many steps as the run has, parameters, latent means and samples are held against what
    was written, too. Versions that have changed are named. Exit code 0: the same bits, 1: others,
    2: it cannot be run again.
    """
    from pyvae.engines.devices import set_threads
    from pyvae.engines.registry import open_engine
    from pyvae.model.objectives import OBJECTIVES
    from pyvae.recipes import get_recipe
    from pyvae.runs.verify import data_of, traces_of, verify
    from pyvae.terminal.console import Terminal
    from pyvae.terminal.step_progress import RunProgress
    from pyvae.training.inputs import load_for

    if steps < 1:
        raise UserError(f"--steps {steps}", expected="1 or more")
    console = Terminal()
    same = True
    for trace in traces_of(run):
        about = trace.environment
        had = about.get("threads", "")
        set_threads(threads or (int(had) if had.isdecimal() else None))
        images = load_for(
            get_recipe(trace.recipe),
            data_of(trace, data),
            say=lambda line: console.print(line, soft_wrap=True),
        )
        adam = about.get("adam") if trace.engine == "pytorch" else None
        device, precision = about.get("device", "cpu"), about.get("precision", "full")
        objective = OBJECTIVES[trace.settings.objective]
        title = f"{objective.title} in {trace.engine}"
        console.print(f"{objective.title}: {objective.formula}", soft_wrap=True)
        with (
            open_engine(trace.engine, device, adam, precision) as engine,
            RunProgress(title, trace.settings.batch_size, console) as progress,
        ):
            done = verify(trace, engine, images, steps, progress.observe)
        if done.changed:
            console.print(f"{title}: {'; '.join(done.changed)}", soft_wrap=True)
        console.print(f"{title}: {done}", soft_wrap=True)
        same = same and done.same
    console.print(f"verdict: {'the same bits' if same else 'other bits'}")
    raise typer.Exit(0 if same else 1)


def sample_command(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A folder of pyvae train.")],
    out: Annotated[Path, typer.Option(metavar="FILE", help="The picture to write.")],
    n: Annotated[int, typer.Option("-n", metavar="N", help="How many images.")] = 16,
    seed: Annotated[int, typer.Option(metavar="N", help="Of the latents drawn.")] = 1,
) -> None:
    """Draws images (or points) from the prior through the decoder of a trained run."""
    from pyvae.figures.style import check_figure_path, draw_figure
    from pyvae.files.writing import output_folder
    from pyvae.runs.trained import load_traces, sample

    if not 1 <= n <= 10_000:
        raise UserError(f"-n {n}", expected="1 to 10000 images")
    if not 0 <= seed < 2**63:
        raise UserError(f"--seed {seed}", expected="0 to 2^63 - 1")
    check_figure_path(out)
    traces = load_traces(run)
    if len(traces) > 1:
        names = " or ".join(str(run / trace.settings.objective) for trace in traces)
        raise UserError(f"'{run}' holds {len(traces)} runs", expected=names)
    output_folder(out.parent)
    prior = "p(z|y), the clusters in turn" if "clusters" in traces[0].settings.hyper else "N(0, I)"
    samples = sample(traces[0], n, seed)
    draw_figure(lambda: _samples_figure(samples, traces[0], prior), out)
    print(f"written: {printable(str(out))}")


def figures_command(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A folder of pyvae train.")],
) -> None:
    """Draws the figures of a trained run into its folder."""
    draw_run(run, asked_for=True)
    print(f"written: {printable(str(run))}")


def draw_run(run: Path, asked_for: bool = False) -> None:
    """Loss history, samples and latent means of all traces of a run.

    Arguments:
        run: Its folder.
        asked_for: A picture that cannot be drawn is an error, not a line.

    Raises:
        UserError: If the run is not there or not whole.
    """
    from pyvae.figures import style as figures
    from pyvae.runs.trained import load_traces

    traces = load_traces(run)
    for trace in traces:
        if "training" not in trace.latent_means:
            raise UserError(
                f"'{trace.folder}' has no latent means in training mode",
                expected="all that docs/trace-format.md lists",
            )
    pictures: dict[str, Callable[[], Figure]] = {
        "loss_history": lambda: figures.loss_history_figure(traces),
        "latent_means": lambda: figures.latent_means_figure(traces),
    }
    for trace in traces:
        if trace.samples is not None:
            pictures[f"samples_{trace.settings.objective}"] = partial(
                _samples_figure, trace.samples, trace, "N(0, I)"
            )
    for name, make in pictures.items():
        path = run / f"{name}.png"
        if asked_for:
            figures.draw_figure(make, path)
        else:
            figures.save_or_say(make, path, print_error)


def _samples_figure(samples: NDArray, trace: Trace, prior: str) -> Figure:
    """Images in a grid, or points in the plane."""
    from pyvae.figures.points import points_figure
    from pyvae.figures.style import samples_figure
    from pyvae.model.objectives import OBJECTIVES

    title = OBJECTIVES[trace.settings.objective].title
    if samples.shape[1] == 2:
        return points_figure(samples, None, f"{title}: {len(samples)} points from {prior}")
    return samples_figure(samples, f"{title}: {len(samples)} images from {prior}")


def recipes_command() -> None:
    """Lists the recipes with their published settings."""
    from pyvae.model.objectives import OBJECTIVES
    from pyvae.recipes import RECIPES, variants

    for recipe in RECIPES.values():
        print(f"{recipe.name}: {recipe.title}")
        print(f"    source: {recipe.source}")
        for name in (*recipe.objectives, *recipe.further):
            print(f"    objective {name}: {OBJECTIVES[name].formula}")
        print(
            f"    settings: {recipe.epochs} epochs, batch {recipe.batch_size}, "
            f"{recipe.latent_dim} latent dimensions, Adam {recipe.learning_rate:g}"
        )
        for hyper in recipe.hyper:
            print(f"    --set {hyper.name}={hyper.value:g}: {hyper.what}")
        if variants(recipe.name):
            print(f"    variants: {', '.join(variants(recipe.name))}")


def doctor_command() -> None:
    """Says what is there, what is missing and what to do about it."""
    from pyvae.cli.doctor import examine

    raise typer.Exit(examine())
