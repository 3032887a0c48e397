"""The one training loop, for every recipe, objective and engine."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import closing, suppress

import torch
from numpy.typing import NDArray

from pyvae.engines.abilities import Abilities
from pyvae.engines.allocator import give_freed_memory_back
from pyvae.engines.engine import DivergedError, Engine
from pyvae.model.run import Run
from pyvae.model.stages import Probe
from pyvae.trace.trace import Trace
from pyvae.training.callbacks import Callback, Calls, Progress
from pyvae.training.checkpoint import Checkpoint, run_identity
from pyvae.training.feeds import CPU, InjectedFeed, OwnFeed
from pyvae.training.inputs import check_engine, check_run
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
        callbacks: Watch the training, and may end it: each a `Callback`, or a function of a
            `Progress` that is called after every step.
        trace: An empty trace to be filled as the run goes, to keep what was computed when the run
            is interrupted; by default a new one.
        resume: As for `training_steps`.
        probe: As for `training_steps`.
        state: As for `training_steps`.

    Returns:
        The trace, complete.

    Raises:
        UserError: If there are fewer images than one batch, training diverges, or an argument is
            of another type.

    Example:
        >>> train(run, PyTorchEngine(), [lambda now: print(now.step)])  # doctest: +SKIP
    """
    check_run(run)  # before any callback starts
    check_engine(engine)
    calls = Calls(callbacks)
    trace = Trace.of_run(run, engine) if trace is None else trace
    steps = training_steps(
        run, engine, trace, resume=resume, probe=probe, state=state, stop=lambda: calls.stopped
    )
    with closing(steps), calls.around(run, trace):
        for now in steps:
            calls.after(now)
    return trace


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
    check_run(run)
    check_engine(engine)
    start(engine, run)
    if resume is not None:
        engine.restore(resume.state)
        if resume.generator is not None:
            engine.restore_generator(resume.generator)
    give = _feed(run, engine, None if resume is None else resume.order)
    done = _Done(run, engine, trace, give, 0 if resume is None else resume.step)
    try:
        while done.step < run.steps and not (done.step and stop is not None and stop()):
            step = done.step + 1
            x, drawn = give(step)
            begin = None if state is None else state(step)
            if begin is not None:
                engine.restore(begin)
            seen = None if probe is None else probe(step)
            try:
                losses = engine.step(x, drawn, **({} if seen is None else {"probe": seen}))
            except DivergedError as error:
                seen = _probed_again(engine, x, drawn) if seen is None else seen
                raise DivergedError(step, first_not_finite(seen, run.recipe)) from error
            yield done.add(losses)
    finally:
        done.write(finite=False)  # interrupted: what was computed
        give.close()
        give_freed_memory_back()
    _complete(trace, engine, give, done.step)


class _Done:
    """The steps that are done.

    Losses of the current epoch stay on the engine's device until it ends.

    Arguments:
        run, engine, trace, give: Of the training.
        step: The last step that was done before it began.
    """

    def __init__(
        self, run: Run, engine: Engine, trace: Trace, give: InjectedFeed | OwnFeed, step: int
    ) -> None:
        self.run, self.engine, self.trace, self.give, self.step = run, engine, trace, give, step
        self._losses: list[torch.Tensor] = []

    def add(self, losses: torch.Tensor) -> Progress:
        """Counts a step.

        Raises:
            DivergedError: If a loss of the epoch, which ends here, is not finite.
        """
        self.step += 1
        self._losses.append(losses)
        total = self.run.steps
        epoch_ended = self.step % self.run.steps_per_epoch == 0 or self.step == total
        if epoch_ended:
            self.write()
        return Progress(
            self.run, self.engine, self.step, total, epoch_ended, self.trace, losses,
            self.checkpoint,
        )  # fmt: skip

    def write(self, finite: bool = True) -> None:
        """Writes the losses so far into the trace, up to the first that is not finite.

        Raises:
            DivergedError: If there is one, and all of them have to be finite.
        """
        taken = self._losses if self.give.device == CPU else finite_losses(self._losses)
        if taken:
            self.trace.extend((self.step - 1) // self.run.steps_per_epoch, taken)
        missing = len(self._losses) - len(taken)
        self._losses.clear()
        if missing and finite:
            raise DivergedError(self.trace.steps + 1)

    def checkpoint(self) -> Checkpoint:
        """Where the training stands after the last step that was counted."""
        self.write()
        return Checkpoint(
            self.step, self.engine.state(), self.engine.generator_state(), self.give.order,
            self.trace.losses, self.trace.epochs, run_identity(self.trace),
        )  # fmt: skip


def _feed(run: Run, engine: Engine, order: NDArray | None) -> InjectedFeed | OwnFeed:
    device = getattr(engine, "device", CPU)
    if run.settings.rng == "injected":
        return InjectedFeed(run, device)
    return OwnFeed(run, engine, device, order)


def _complete(trace: Trace, engine: Engine, give: InjectedFeed | OwnFeed, step: int) -> None:
    """Writes into the trace what is computed after the last step.

    The article draws its latent means from the last batch, with dropout still on.
    """
    x = give.images(step)
    trace.latent_means = {
        "training": engine.latent_means(x, give.after(step), training=True),
        "evaluation": engine.latent_means(x, None, training=False),
    }
    trace.samples = engine.decode(give.latents())
    trace.parameters = engine.parameters()


def _probed_again(engine: Engine, x: torch.Tensor, drawn: Mapping[str, NDArray] | None) -> Probe:
    """The values on the way through a step that diverged and so was not taken.

    Where the engine draws itself, its draws are others the second time.
    """
    seen: Probe = {}
    with suppress(Exception):  # it is known to fail
        engine.step(x, drawn, probe=seen)
    return seen


def finite_losses(losses: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    """The losses before the first that is NaN or infinite, copied from the GPU.

    This waits for the GPU, once an epoch. On the CPU the engine itself refuses such a step.
    """
    if not losses:
        return []
    taken = torch.stack(list(losses)).cpu()
    spoilt = (~torch.isfinite(taken[:, 0])).nonzero()
    return list(taken[: int(spoilt[0]) if len(spoilt) else len(taken)])


def start(engine: Engine, run: Run) -> None:
    """Makes an engine ready for the first step of a run.

    Raises:
        UserError: If the engine cannot run the recipe with these settings, or the run starts from
            the parameters of another network.
    """
    recipe, settings = run.recipe, run.settings
    abilities = getattr(engine, "abilities", Abilities())
    abilities.check_run(engine.name, recipe, settings)
    injected = settings.rng == "injected"
    engine.start(
        recipe,
        settings,
        recipe.initial_parameters(settings.seed, settings.latent_dim, **settings.hyper)
        if injected
        else None,
    )
    if run.start is not None:
        run.start.check(recipe, settings)
        engine.restore(run.start.state(settings.dtype))
