"""A program that is being recorded: which steps are taken, and how it ends."""

from __future__ import annotations

import atexit
import os
import platform
import shutil
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from pyvae.errors import UserError, print_error
from pyvae.recording.given.program import this_program
from pyvae.recording.given.replay import Replay
from pyvae.recording.hooks import Hooks
from pyvae.recording.keras.network import is_keras, keras_version
from pyvae.recording.parameters import Parameters
from pyvae.recording.seen.optimisers import leaves_its_state_alone
from pyvae.recording.step import Step
from pyvae.recording.watch import Watch
from pyvae.trace.program import ProgramStep, ProgramTrace, step_path
from pyvae.trace.program_folder import remove_program

__all__ = ["Recording", "running"]

KEPT_FREE = 2**26  # bytes that a recording leaves on the disk
# trace.json is written anew after every step, of many steps after every hundredth part of them: a
# program that is killed loses no more
STEPS_A_LISTING = 100
_running: list[Recording] = []


def running() -> Recording | None:
    """The recording that goes on, if there is one."""
    return _running[0] if _running else None


class Recording:
    """A program that is being recorded (`record` makes one).

    Attributes:
        folder: Of the trace.
        trace: What was recorded so far.
        no_step: What is said if the program makes no step.
    """

    def __init__(
        self,
        model: nn.Module,
        optimisers: Sequence[Optimizer],
        folder: Path,
        steps: int | None,
        every: int,
        replay: Replay | None,
        quiet: bool = False,
    ) -> None:
        self.folder = folder
        self.no_step = (
            "the optimizer's step() was not called. Call record before the training loop."
        )
        program = this_program()
        self.trace = ProgramTrace(
            "pytorch",
            program.language,
            program=program.name,
            environment={**_environment(), **program.environment},
        )
        self._model = model
        self._optimisers = list(optimisers)
        self._steps, self._every = steps, every
        self._calls = [0] * len(self._optimisers)  # of each optimiser's step
        self._taken = [0] * len(self._optimisers)
        self._last = [0] * len(self._optimisers)  # which call was recorded last
        self._replay = replay
        self._watch = Watch(model, self._parameters, self._fail, replay, self._note_transform)
        self._hooks = Hooks(self._watch, self._note_scale, self._compiled)
        self._known: Parameters | None = None
        self._terms: dict[str, Any] = {}
        self._handles: list[Any] = []
        self._own = os.getpid()
        self._number = 1  # of the step that the program makes
        self._listed = 0  # steps that trace.json has
        self._said = quiet
        self._transformed = False
        self._failed = ""
        self._going_on = "The training goes on."
        self.late = False  # whether the program made an optimiser after its first step

    def _repr_html_(self) -> str:
        return self.trace._repr_html_()

    # Beginning and end ---------------------------------------------------------------------------

    def begin(self) -> None:
        """Begins to record."""
        for at, one in enumerate(self._optimisers):
            before = one.register_step_pre_hook(self._before_update(at))
            after = one.register_step_post_hook(self._after_update(at))
            self._handles.append((one, before, after))
        self._parameters()
        _running.append(self)
        atexit.register(self.end_of_program)
        self._resume()

    def enter(self, module: nn.Module, given: tuple[Any, ...]) -> None:
        """A module was being called when the recording began."""
        self._hooks.enter(module, given)

    def stop(self) -> None:
        """Ends the recording: what was recorded so far is the whole trace."""
        if self.goes_on():
            self._end("")

    def losses(self, **terms: Any) -> None:
        """Names further terms of the loss of this step, such as `losses(kl=kl)`."""
        if self.goes_on() and self._watch.on:
            self._terms |= terms

    def shares(self, model: nn.Module) -> bool:
        """Whether a model has a module that is being recorded."""
        mine = {id(one) for one in self._model.modules()}
        return any(id(one) in mine for one in model.modules())

    def __enter__(self) -> Recording:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self.goes_on():
            self._end(self._missing() if kind is None else f"the program ended: {kind.__name__}")

    def goes_on(self) -> bool:
        """Whether it has not ended."""
        return self in _running

    def cancel(self) -> None:
        """Ends the recording before its first step, and leaves nothing behind."""
        self._failed = "cancelled"
        self._end("")

    def end_of_program(self, ended: str = "") -> None:
        """Ends the recording, if it goes on: the program makes no more steps; `ended` says why, if
        that is no reason of the recording's own."""
        if self.goes_on() and os.getpid() == self._own:
            self._end(self._missing() or ended)

    def _missing(self) -> str:
        if self.wanted is None:
            return ""
        made = f"the program made {len(self.trace.steps)} of {self.wanted} steps to record"
        return made + ("; those of an optimizer made later are not recorded" if self.late else "")

    @property
    def wanted(self) -> int | None:
        """How many steps are to be recorded; None if all are."""
        return None if self._steps is None else self._steps * len(self._optimisers)

    def _end(self, ended: str) -> None:
        """Takes everything out again, and writes the trace."""
        self._take_out()
        ended = self._failed or ended
        self.trace.complete, self.trace.ended = not ended, ended
        if not self.trace.steps:
            self._leave_nothing()
            return
        with suppress(UserError, OSError):
            self._save()
            return
        # There is no room for it: what it does not list yet makes some, the last step first.
        while len(self.trace.steps) > self._listed:
            step_path(self.folder, self.trace.steps.pop().step).unlink(missing_ok=True)
            if not self.trace.steps:
                self._leave_nothing()
                return
            with suppress(UserError, OSError):  # else the earlier one stays
                self._save()

    def _save(self) -> None:
        self.trace.save(self.folder)
        self._listed = len(self.trace.steps)

    def _take_out(self) -> None:
        self._watch.on = False
        self._hooks.remove()
        for optimiser, before, after in self._handles:
            before.remove()
            # the hooks may be running right now; one that is not the last stays, and does nothing
            if next(reversed(optimiser._optimizer_step_post_hooks), None) == after.id:
                after.remove()
        self._handles = []
        for step in (self._watch.step, self._watch.before):
            if step is not None:
                step.release()
        self._watch.step = self._watch.before = None
        if self in _running:
            _running.remove(self)
        atexit.unregister(self.end_of_program)

    def _leave_nothing(self) -> None:
        for folder in (self.folder / "steps", self.folder):
            with suppress(OSError):  # it has something of the user's
                folder.rmdir()
        if not self._failed:
            print_error(f"no step was recorded to '{self.folder}': {self.no_step}")

    def _fail(self, error: Exception) -> None:
        """Ends the recording, and not the training: at the next update, when nothing of it is
        running."""
        if self._failed:
            return
        self._watch.on = False
        self._failed = f"in step {self._number}: {_what(error)}"[:500]
        print_error(f"recording to '{self.folder}' ended {self._failed}. {self._going_on}")

    # Steps ---------------------------------------------------------------------------------------

    def _parameters(self) -> Parameters:
        self._known = Parameters(self._model, self._optimisers, self._known)
        return self._known

    def _is_wanted(self, at: int) -> bool:
        """Whether an optimiser's next step is to be recorded."""
        more = self._steps is None or self._taken[at] < self._steps
        return more and self._calls[at] % self._every == 0

    def _resume(self) -> None:
        """Watches the next step, or not."""
        self._watch.forget()
        self._terms = {}
        self._number = sum(self._calls) + 1
        self._watch.on = any(map(self._is_wanted, range(len(self._optimisers))))
        if self._replay is not None:
            self._replay.number = self._number
        if self._watch.on:
            self._hooks.install()
        else:
            self._hooks.remove()

    def _before_update(self, at: int) -> Any:
        def before(optimiser: Optimizer, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            if not self.goes_on() or not self._watch.on or not self._is_wanted(at):
                return
            closure = any(callable(one) for one in (*args, *kwargs.values()))
            first = self._calls[at] == 0 or self._last[at] != self._calls[at]
            name = "optimizer" if len(self._optimisers) == 1 else f"optimizer.{at}"
            try:
                step = self._watch.open()
                step.before_update(optimiser, name, first, closure)
                self._watch.updating = not closure and leaves_its_state_alone(optimiser)
            except Exception as error:
                self._fail(error)

        return before

    def _after_update(self, at: int) -> Any:
        def after(optimiser: Optimizer, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            if not self.goes_on():
                return
            wanted = self._watch.on and self._is_wanted(at)
            self._calls[at] += 1
            try:
                if wanted:
                    self._watch.updated(optimiser)
                    self._take(at, optimiser)
                self._keep_before()
            except Exception as error:
                self._fail(error)
            if self._failed or self._is_over():
                self._end("")
            else:
                self._resume()

        return after

    def _is_over(self) -> bool:
        return self._steps is not None and min(self._taken) >= self._steps

    def _keep_before(self) -> None:
        """Keeps a step's values where the next optimiser may use them."""
        step, before = self._watch.step, self._watch.before
        if len(self._optimisers) > 1:
            self._watch.before = step
            step = before
        if step is not None:
            step.release()

    def _take(self, at: int, optimiser: Optimizer) -> None:
        """Writes a step that an optimiser has ended."""
        step = self._watch.open()
        step.after_update(optimiser)
        self._taken[at] += 1
        self._last[at] = self._calls[at]
        self._write(step)

    def _write(self, step: Step) -> None:
        step.put_terms(self._terms)
        stages = step.finish()
        step.arrays |= self._watch.untrained.take(step.used)
        self._check_room(step)
        if not self.trace.steps:
            remove_program(self.folder)  # an earlier trace, which may be overwritten
        if stages not in self.trace.networks:
            self.trace.networks.append(stages)
        self.trace.parameters = step.parameters.listed
        if step.rounded:
            self.trace.environment["computed_in"] = step.rounded
        if any(map(is_keras, self._model.modules())):
            self.trace.environment["keras"] = keras_version()
        self.trace.save_step(
            self.folder,
            ProgramStep(
                self._number,
                self.trace.networks.index(stages),
                step.optimiser,
                step.generator,
                step.returned_names(),
            ),
            step.arrays,
        )
        self.trace.complete, self.trace.ended = False, self._missing()
        steps = len(self.trace.steps)
        if steps % max(1, steps // STEPS_A_LISTING) == 0:
            self._save()

    def _check_room(self, step: Step) -> None:
        """Says once how much room the recording takes, and leaves the user's disk some.

        Raises:
            UserError: If there is too little.
        """
        size = step.size()
        if not self._said:
            self._said = True
            count = step.parameters.count()
            steps = self.wanted
            many = self._in_words(steps)
            much = f"{_bytes(size)} a step" if steps is None else _bytes(size * steps)
            print_error(
                f"recording {many} of {count:,} parameters to '{self.folder}': about {much}"
            )
        free = shutil.disk_usage(self.folder).free
        if free < size + KEPT_FREE:
            raise UserError(f"disk full: a step takes {_bytes(size)}, and {_bytes(free)} are free")

    def _in_words(self, steps: int | None) -> str:
        """So many steps, in words."""
        return "all steps" if steps is None else f"{steps} step{'s' if steps > 1 else ''}"

    def _note_scale(self, factor: float) -> None:
        if "loss_scale" not in self.trace.environment:
            print_error(
                f"a GradScaler multiplies the loss by {factor:g}: the trace has the loss and the "
                "gradients of the scaled one, and what the optimizer was given"
            )
        self.trace.environment["loss_scale"] = f"{factor:g}"

    def _note_transform(self) -> None:
        """Says once that a part of the program cannot be seen."""
        if not self._transformed:
            self._transformed = True
            print_error(
                "what torch.func computes (vmap, grad, jacrev, ...) is not recorded step by step: "
                "its results are, where the model, the loss or the optimizer takes them"
            )

    def _compiled(self, model: object) -> None:
        """What torch.compile makes of the model cannot be seen."""
        if isinstance(model, nn.Module) and self.shares(model):
            self._fail(UserError("the program compiles the model with torch.compile"))


def _environment() -> dict[str, str]:
    version = torch.__version__.partition("+")[0]
    return {
        "python": platform.python_version(),
        "torch": version,
        "libtorch": version,
        "threads": str(torch.get_num_threads()),
        "platform": platform.platform(),
    }


def _what(error: Exception) -> str:
    """An error in words, without what to do about it."""
    if isinstance(error, UserError):
        return error.problem
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


def _bytes(size: int) -> str:
    for unit, least in (("GB", 1e9), ("MB", 1e6)):
        if size >= least:
            return f"{size / least:,.1f} {unit}"
    return f"{size / 1e3:,.1f} kB"
