"""A program that is recorded while it uses a network and does not train it: forward passes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from torch import nn

from pyvae.errors import UserError, print_error
from pyvae.recording.checks import check_model
from pyvae.recording.given.replay import Replay
from pyvae.recording.networks import Networks
from pyvae.recording.parameters import Parameters
from pyvae.recording.recording import Recording
from pyvae.recording.step import Step
from pyvae.trace.program_folder import remove_program

__all__ = ["Passes"]


class Passes(Recording):
    """A program whose forward passes are recorded: a step is a call of the network, with all that
    is computed until it is called once more. Of several networks that are called one after the
    other, a step has each once.

    Arguments:
        model: The network; None: those that the program calls, by the names of its variables.
        folder: Of the trace.
        steps, every: As in `record`.
        replay: What the program draws instead of its own masks and numbers.
        load: Lets a network that is called first start from another trace's parameters.
        quiet: Whether nothing is said.
        whole: Returns the outermost module that a module is part of, and its name.
    """

    def __init__(
        self,
        model: nn.Module | None,
        folder: Path,
        steps: int | None,
        every: int,
        replay: Replay | None = None,
        load: Callable[[Parameters], None] = lambda parameters: None,
        quiet: bool = False,
        whole: Callable[[nn.Module], tuple[nn.Module, str]] | None = None,
    ) -> None:
        self._networks = Networks(model)
        super().__init__(self._networks, [], folder, steps, every, replay, quiet)
        self.no_step = "the model was not called. Call record before that."
        self._load = load
        self._noted = quiet
        self._whole = whole
        self._called: set[nn.Module] = set()  # those that this step has called
        self._going_on = "The program goes on."
        self._watch.passes = self._enter
        if replay is not None:
            replay.ahead = True

    @property
    def wanted(self) -> int | None:
        return self._steps

    def discard(self) -> None:
        """Ends the recording, if it goes on, and removes its trace."""
        if self.goes_on():
            self._take_out()
        remove_program(self.folder)
        self._failed = "discarded"
        self._leave_nothing()

    def _in_words(self, steps: int | None) -> str:
        if steps == 1:
            return "1 forward pass"
        return "all forward passes" if steps is None else f"at most {steps} forward passes"

    def _missing(self) -> str:
        return ""  # the program calls the network as often as it does

    def _resume(self) -> None:
        self._begin_step(1)

    def _begin_step(self, number: int) -> None:
        """Watches a step, or not; calls of the network are seen anyhow."""
        self._number = number
        self._called = set()
        self._terms = {}
        watch = self._watch
        if watch.step is not None:
            watch.step.keep_draws()
        watch.before = watch.step
        watch.forget()
        watch.on = (number - 1) % self._every == 0
        if self._replay is not None:
            self._replay.number = number
        self._hooks.install()

    def _enter(self, module: nn.Module) -> None:
        """The program calls a network; a call within another's is not told. One that is not to be
        recorded begins no step."""
        if not self.goes_on():
            return  # discarded by what saw this call before
        if self._failed:
            self._end("")
            return
        known = {id(one) for one in self._networks.parameters()}
        own = [id(one) in known for one in module.parameters()]
        if self._whole is not None and not all(own):
            self._take_in(module, self._whole)
        elif not any(own):
            return
        if self._watch.broken:  # the program has caught an error, and tries again
            self._begin_step(self._number)
        elif module in self._called:
            self._finish()
            if self._failed or len(self.trace.steps) == self._steps:
                self._end("")
                return
            self._begin_step(self._number + 1)
        self._called.add(module)

    def _take_in(
        self, module: nn.Module, whole: Callable[[nn.Module], tuple[nn.Module, str]]
    ) -> None:
        """Adds the network that a module is part of."""
        network, name = whole(module)
        try:
            network = check_model(network)
            own = Networks()
            own.held[self._networks.add(network, name)] = network
            self._load(Parameters(own, []))
        except UserError:
            self.cancel()
            raise
        self._watch.learn_more()

    def _finish(self) -> None:
        """Writes the step, if the network was called in it and has returned."""
        step = self._watch.step
        if self._failed or step is None or not step.is_open or self._watch.broken:
            return
        try:
            step.after_pass()
            self._write(step)
            self._note_attention(step)
        except Exception as error:
            self._fail(error)

    def _note_attention(self, step: Step) -> None:
        """Says once that attention is not computed as it would be without the recording."""
        slower = any(
            call.layer == "multihead_attention"
            and not call.training
            and not any(v.tensor is not None and v.tensor.requires_grad for _, v in call.outputs)
            for call in step.used
        )
        if slower and not self._noted:
            self._noted = True
            print_error(
                "attention is recorded without PyTorch's fast path for evaluation, as which it "
                "cannot be seen: its last bits may be others than without a recording"
            )

    def _end(self, ended: str) -> None:
        if self.goes_on() and len(self.trace.steps) != self._steps:
            self._watch.on = False
            self._finish()
        super()._end(ended)
