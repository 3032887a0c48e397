"""The one training loop, for every recipe, objective and engine."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import closing
from typing import Any, NamedTuple

import torch
from numpy.typing import NDArray

from pyvae.data import ImageData
from pyvae.draws import Draws
from pyvae.engine import Engine
from pyvae.recipes.recipe import Recipe
from pyvae.settings import Settings
from pyvae.stages import Probe
from pyvae.trace import Trace

__all__ = ["Progress", "batches", "train", "training_steps"]

SAMPLES = 16


class Progress(NamedTuple):
    """Where a run stands; `trace` is complete up to the end of the last epoch."""

    step: int
    steps: int
    epoch_ended: bool
    trace: Trace
    losses: torch.Tensor  # (3,): total, reconstruction and regulariser of this step


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

    Everything random comes from `Draws(settings.seed)` and is handed to the engine, so that
    engines given the same settings and data go through the same run.

    Arguments:
        engine: Who computes.
        recipe: What is trained.
        settings: How.
        data: On which images.
        trace: An empty trace to be filled as the run goes, for who wants to keep what was
            computed when the run is interrupted; by default a new one.
        observe: Called after every step.
        options: `probe` and `state` of `training_steps`.

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
) -> Generator[Progress, None, None]:
    """The training loop, one step at a time, so that two engines can go side by side.

    Arguments:
        engine, recipe, settings, data: As for `train`.
        trace: Is filled as the run goes.
        probe: Asked before every step (counted from 1) for a dict in which to collect what the
            step's stages return; None for a step that is not probed.
        state: Asked before every step for the state to start it from; None to go on.

    Raises:
        UserError: If there are fewer images than one batch, or training diverges.
    """
    steps_per_epoch = settings.steps_per_epoch(len(data))
    steps = settings.total_steps(len(data))
    engine.start(recipe, settings, recipe.initial_parameters(settings.seed, settings.latent_dim))

    losses: list[torch.Tensor] = []  # of the current epoch, left on their device until it ends
    try:
        for step, x, drawn in batches(recipe, settings, data):
            start = None if state is None else state(step)
            if start is not None:
                engine.restore(start)
            seen = None if probe is None else probe(step)
            asked = {} if seen is None else {"probe": seen}
            losses.append(engine.step(x, drawn, **asked))

            newest = losses[-1]
            epoch = (step - 1) // steps_per_epoch
            epoch_ended = step % steps_per_epoch == 0 or step == steps
            if epoch_ended:
                trace.extend(epoch, losses)
                losses = []
            yield Progress(step, steps, epoch_ended, trace, newest)
    finally:
        if losses:  # interrupted: keep what was computed
            trace.extend(epoch, losses)

    # The article draws its latent means from the last batch, with dropout still on.
    draws = Draws(settings.seed, settings.dtype)
    masks = draws.step(steps, settings.batch_size, recipe.draws(settings.latent_dim))
    trace.latent_means = {
        "training": engine.latent_means(x, masks),
        "evaluation": engine.latent_means(x, None),
    }
    z = draws.normal("samples", 0, (SAMPLES, settings.latent_dim))
    trace.samples = engine.decode(z)
    trace.parameters = engine.parameters()


def batches(
    recipe: Recipe, settings: Settings, data: ImageData
) -> Iterator[tuple[int, torch.Tensor, dict[str, NDArray]]]:
    """What a run is given, step by step: the step from 1, images (B, 784) with pixels in [0, 1],
    and draws. The last incomplete batch of an epoch is dropped."""
    steps_per_epoch = settings.steps_per_epoch(len(data))
    draws = Draws(settings.seed, settings.dtype)
    spec = recipe.draws(settings.latent_dim)
    for step in range(settings.total_steps(len(data))):
        epoch, batch = divmod(step, steps_per_epoch)
        if batch == 0:
            order = draws.batch_order(epoch, len(data))
        chosen = order[batch * settings.batch_size : (batch + 1) * settings.batch_size]
        x = data.batch(chosen, settings.torch_dtype)
        yield step + 1, x, draws.step(step, settings.batch_size, spec)
