"""The one training loop, for every recipe, objective and engine."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import ExitStack, closing, suppress

import torch
from numpy.typing import NDArray

from pyvae.engines.allocator import give_freed_memory_back
from pyvae.engines.engine import DivergedError, Engine
from pyvae.model.recipe import Recipe
from pyvae.model.run import Run
from pyvae.model.settings import Settings
from pyvae.model.stages import Probe
from pyvae.trace.trace import Trace
from pyvae.training.callbacks import Callback, Progress, StopTraining, as_callbacks
from pyvae.training.checkpoint import Checkpoint, run_of
from pyvae.training.feeds import CPU, InjectedFeed, OwnFeed
from pyvae.training.inputs import check_data
from pyvae.training.not_finite import first_not_finite

__all__ = ["start", "train", "training_steps"]


def train(
    run: Run,
    engine: Engine,
    callbacks: Sequence[Callback | Callable[[Progress], object]] = (),
    *,
    trace: Trace | None = None,
    resume: Checkpoint | None = None,
    probe: Callable[[int], Probe | None] | None = None,
    state: Callable[[int], Mapping[str, NDArray] | None] | None = None,
) -> Trace:
    """Trains a recipe's network and returns what happened.

    If `settings.rng` is `injected`, everything random comes from `Draws(settings.seed)` and is
    given to the engine, so engines with the same settings and data go through the same run;
    otherwise the engine draws with its own generator, seeded once.

    Arguments:
        run: What is trained.
        engine: Computes the steps.
        callbacks: Look on, and may end the training: each a `Callback`, or a function of a
            `Progress` that is called after every step.
        trace: An empty trace to be filled as the run goes, to keep what was computed when the run
            is interrupted; by default a new one.
        resume, probe, state: As for `training_steps`.

    Returns:
        The trace, complete.

    Raises:
        UserError: If there are fewer images than one batch, or training diverges.

    Example:
        >>> train(run, PyTorchEngine(), [lambda now: print(now.step)])  # doctest: +SKIP
    """
    if trace is None:
        assert run.steps  # noqa: S101 (enough images? asked before anything is started)
        trace = Trace.of_run(run, engine)
    now: Progress | None = None
    stopped = False

    def ended(callback: Callback) -> Callable[..., None]:
        return lambda kind, error, traceback: callback.on_end(now, error)

    steps = training_steps(
        run, engine, trace, resume=resume, probe=probe, state=state, stop=lambda: stopped
    )
    called = as_callbacks(callbacks)
    with closing(steps), ExitStack() as ends:
        for callback in called:
            callback.on_start(run, trace)
            ends.push(ended(callback))
        while True:
            now = None  # the step that begins may fail
            now = next(steps, None)
            if now is None:
                return trace
            for callback in called:
                try:
                    callback.on_step(now)
                except StopTraining:
                    stopped = True


def training_steps(
    run: Run,
    engine: Engine,
    trace: Trace,
    *,
    probe: Callable[[int], Probe | None] | None = None,
    state: Callable[[int], Mapping[str, NDArray] | None] | None = None,
    resume: Checkpoint | None = None,
    stop: Callable[[], bool] | None = None,
) -> Generator[Progress, None, None]:
    """The training loop, one step at a time, so that two engines can go side by side.

    Arguments:
        run, engine: As for `train`.
        trace: Is filled as the run goes.
        probe: Asked before every step (counted from 1) for a dict in which to collect what the
            step's stages return; None for a step that is not probed.
        state: Asked before every step for the state to start it from; None to go on.
        resume: Go on from here; the trace holds the steps until then.
        stop: Asked after every step whether to end the run there; the trace is then complete up
            to that step.

    Raises:
        UserError: If there are fewer images than one batch, or training diverges.
    """
    steps_per_epoch, steps = run.steps_per_epoch, run.steps
    check_data(run.recipe, run.data)
    start(engine, run.recipe, run.settings)
    step, order = 0, None
    if resume is not None:
        step, order = resume.step, resume.order
        engine.restore(resume.state)
        if resume.generator is not None:
            engine.restore_generator(resume.generator)
    device = getattr(engine, "device", CPU)
    give = (
        InjectedFeed(run, device)
        if run.settings.rng == "injected"
        else OwnFeed(run, engine, device, order)
    )
    losses: list[torch.Tensor] = []  # of the current epoch, left on their device until it ends

    def keep() -> bool:
        """Writes the epoch's losses down; whether all of them are numbers."""
        taken = losses if device == CPU else numbers(losses)
        if taken:
            trace.extend((step - 1) // steps_per_epoch, taken)
        sound = len(taken) == len(losses)
        losses.clear()
        return sound

    def checkpoint() -> Checkpoint:
        if not keep():
            raise DivergedError(trace.steps + 1)
        return Checkpoint(
            step, engine.state(), engine.generator_state(), give.order,
            trace.losses, trace.epochs, run_of(trace),
        )  # fmt: skip

    try:
        while step < steps and not (step and stop is not None and stop()):
            step += 1
            x, drawn = give(step)
            begin = None if state is None else state(step)
            if begin is not None:
                engine.restore(begin)
            seen = None if probe is None else probe(step)
            asked = {} if seen is None else {"probe": seen}
            try:
                newest = engine.step(x, drawn, **asked)
            except DivergedError as error:
                seen = _probed_again(engine, x, drawn) if seen is None else seen
                raise DivergedError(step, first_not_finite(seen, run.recipe)) from error
            losses.append(newest)
            epoch_ended = step % steps_per_epoch == 0 or step == steps
            if epoch_ended and not keep():
                raise DivergedError(trace.steps + 1)
            yield Progress(run, step, steps, epoch_ended, trace, newest, checkpoint)
    finally:
        keep()  # interrupted: what was computed
        give.close()
        give_freed_memory_back()

    # The article draws its latent means from the last batch, with dropout still on.
    x = give.images(step)
    trace.latent_means = {
        "training": engine.latent_means(x, give.after(step), training=True),
        "evaluation": engine.latent_means(x, None, training=False),
    }
    trace.samples = engine.decode(give.latents())
    trace.parameters = engine.parameters()


def _probed_again(engine: Engine, x: torch.Tensor, drawn: Mapping[str, NDArray] | None) -> Probe:
    """What a step that diverged, and so was not taken, sees on the way; with other draws, where the
    engine makes them itself."""
    seen: Probe = {}
    with suppress(Exception):  # that it fails is known, and why is what is asked
        engine.step(x, drawn, probe=seen)
    return seen


def numbers(losses: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    """The steps before the first whose loss is NaN or infinite, brought from the GPU that computed
    them, which is waited for here, once an epoch. (On the CPU the engine refuses such a step
    itself.)"""
    if not losses:
        return []
    taken = torch.stack(list(losses)).cpu()
    spoilt = (~torch.isfinite(taken[:, 0])).nonzero()
    return list(taken[: int(spoilt[0]) if len(spoilt) else len(taken)])


def start(engine: Engine, recipe: Recipe, settings: Settings) -> None:
    """Makes an engine ready for the first step of a run.

    Raises:
        UserError: If the engine cannot run the recipe with these settings.
    """
    injected = settings.rng == "injected"
    engine.start(
        recipe,
        settings,
        recipe.initial_parameters(settings.seed, settings.latent_dim, **settings.hyper)
        if injected
        else None,
    )
