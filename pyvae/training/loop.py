"""The one training loop, for every recipe, objective and engine."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import closing, suppress
from typing import Any, NamedTuple

import torch
from numpy.typing import NDArray

from pyvae.data.images import ImageData
from pyvae.engines.allocator import give_freed_memory_back
from pyvae.engines.engine import DivergedError, Engine
from pyvae.model.recipe import Recipe
from pyvae.model.settings import Settings
from pyvae.model.stages import Probe
from pyvae.trace.trace import Trace
from pyvae.training.checkpoint import Checkpoint, run_of
from pyvae.training.feeds import CPU, InjectedFeed, OwnFeed
from pyvae.training.inputs import check_data
from pyvae.training.not_finite import first_not_finite

__all__ = ["Progress", "start", "train", "training_steps"]


class Progress(NamedTuple):
    """Where a run stands; `trace` is complete up to the end of the last epoch."""

    step: int
    steps: int
    epoch_ended: bool
    trace: Trace
    losses: torch.Tensor  # the terms of this step, in the objective's order
    checkpoint: Callable[[], Checkpoint]  # what to go on from; completes the trace up to here


def train(
    engine: Engine,
    recipe: Recipe,
    settings: Settings,
    data: ImageData,
    *,
    trace: Trace | None = None,
    observe: Callable[[Progress], object] | None = None,
    **options: Any,
) -> Trace:
    """Trains a recipe's network and returns what happened.

    If `settings.rng` is `injected`, everything random comes from `Draws(settings.seed)` and is
    handed to the engine, so that engines given the same settings and data go through the same
    run; else the engine draws it with its own generator, seeded once.

    Arguments:
        engine: Who computes.
        recipe: What is trained.
        settings: How.
        data: On which images.
        trace: An empty trace to be filled as the run goes, for who wants to keep what was
            computed when the run is interrupted; by default a new one.
        observe: Called after every step.
        options: `probe`, `state`, `resume` and `stop` of `training_steps`.

    Returns:
        The trace, complete.

    Raises:
        UserError: If there are fewer images than one batch, or training diverges.
    """
    if trace is None:
        settings.steps_per_epoch(len(data))  # enough images? asked before anything is started
        trace = Trace.of_run(engine, recipe, settings, data)
    with closing(training_steps(engine, recipe, settings, data, trace, **options)) as steps:
        for progress in steps:
            if observe is not None:
                observe(progress)
    return trace


def training_steps(
    engine: Engine,
    recipe: Recipe,
    settings: Settings,
    data: ImageData,
    trace: Trace,
    *,
    probe: Callable[[int], Probe | None] | None = None,
    state: Callable[[int], Mapping[str, NDArray] | None] | None = None,
    resume: Checkpoint | None = None,
    stop: Callable[[], bool] | None = None,
) -> Generator[Progress, None, None]:
    """The training loop, one step at a time, so that two engines can go side by side.

    Arguments:
        engine, recipe, settings, data: As for `train`.
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
    steps_per_epoch = settings.steps_per_epoch(len(data))
    steps = settings.total_steps(len(data))
    check_data(recipe, data)
    start(engine, recipe, settings)
    step, order = 0, None
    if resume is not None:
        step, order = resume.step, resume.order
        engine.restore(resume.state)
        if resume.generator is not None:
            engine.restore_generator(resume.generator)
    device = getattr(engine, "device", CPU)
    give = (
        InjectedFeed(recipe, settings, data, device)
        if settings.rng == "injected"
        else OwnFeed(engine, recipe, settings, data, device, order)
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
                raise DivergedError(step, first_not_finite(seen, recipe)) from error
            losses.append(newest)
            epoch_ended = step % steps_per_epoch == 0 or step == steps
            if epoch_ended and not keep():
                raise DivergedError(trace.steps + 1)
            yield Progress(step, steps, epoch_ended, trace, newest, checkpoint)
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
