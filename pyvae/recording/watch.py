"""What is known of a program while it is recorded: the step, the modules that are being called, and
whether `backward` is running."""

from __future__ import annotations

import functools
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Concatenate, ParamSpec, TypeVar

import torch
from torch import Tensor, nn
from torch._C import _functorch
from torch.optim import Optimizer

from pyvae.errors import UserError
from pyvae.recording.given.replay import Replay
from pyvae.recording.keras.layers import put_together
from pyvae.recording.keras.network import is_symbolic
from pyvae.recording.parameters import Parameters
from pyvae.recording.seen.generators import draw_mask, generator_state
from pyvae.recording.seen.masks_within import DrawnWithin, drops_within, masks_as_one
from pyvae.recording.seen.untrained import Untrained
from pyvae.recording.seen.values import Call, Source, Value, tensors_in, unseen
from pyvae.recording.seen.without_gradients import WithoutGradients
from pyvae.recording.step import Backward, Step

__all__ = ["Entered", "Watch", "calls_a_network", "first_tensor", "survived"]

Done = TypeVar("Done")
Given = ParamSpec("Given")


def survived(
    method: Callable[Concatenate[Any, Given], Done],
) -> Callable[Concatenate[Any, Given], Done | None]:
    """Makes an error of the recorder end the recording, and not the program. For methods of a
    `Watch`, or of what has one as `watch`."""

    @functools.wraps(method)
    def attempt(self: Any, /, *args: Given.args, **kwargs: Given.kwargs) -> Done | None:
        try:
            return method(self, *args, **kwargs)
        except UserError:  # of a replay, which the program must not go on without
            raise
        except Exception as error:
            (self if isinstance(self, Watch) else self.watch).failed(error)
            return None

    return attempt


@dataclass
class Entered:
    """A call that has begun.

    Attributes:
        name: Its name, without the number of the call.
        sources: Where its tensors come from, by identity: calls in place change them.
        state: The generator's, if it is a dropout layer.
        within: Sees the masks that it draws within itself, if it does.
        layer: Whether nothing within it is recorded.
        main: Functions of which one is the whole of it, and is called after it.
        start: How many calls the step had.
    """

    name: str
    sources: dict[int, Source] = field(default_factory=dict)
    state: Tensor | None = None
    within: DrawnWithin | None = None
    layer: bool = False
    main: tuple[str, ...] = ()
    start: int = 0

    def close(self) -> None:
        """The call has ended: no further masks are its own."""
        if self.within is not None:
            self.within.close()


def calls_a_network(module: nn.Module, given: Sequence[object] = ()) -> bool:
    """Whether the call of a module is one of a network that computes numbers: it has parameters,
    and is called neither by torch.jit.trace nor by a function of torch.func."""
    if torch.jit.is_tracing() or _functorch.peek_interpreter_stack() is not None:
        return False
    return not is_symbolic(given) and next(module.parameters(), None) is not None


class Watch:
    """What is known of a program while it is recorded.

    Arguments:
        model: The recorded model.
        parameters: Names its parameters, as they are now.
        failed: Called with an error of the recorder.
        replay: Masks and draws that replace the program's own.
        transformed: Called when a function of torch.func computes something of the program.

    Attributes:
        on: Whether calls are recorded now.
        step: The step that is being recorded; None before its first call.
        before: The step before, where its values may be used once more.
        entered: The modules that are being called, the innermost last.
        updating: Whether one of PyTorch's optimisers makes its update: it computes much, of which
            nothing but its state is left (`updated`).
        paths: Where each module stands in the model.
        untrained: The networks that are called beside the model.
        passes: Told of each network that the program itself calls, if forward passes are recorded.
        broken: Whether such a call has ended with an error in this step.
    """

    def __init__(
        self,
        model: nn.Module,
        parameters: Callable[[], Parameters],
        failed: Callable[[Exception], None],
        replay: Replay | None = None,
        transformed: Callable[[], None] = lambda: None,
    ) -> None:
        self.on = self.updating = False
        self.failed = failed
        self.transformed = transformed
        self.step: Step | None = None
        self.before: Step | None = None
        self.entered: list[Entered] = []
        self.paths: dict[nn.Module, str] = {}
        self.untrained = Untrained()
        self._model = model
        self._parameters = parameters
        self._replay = replay
        self._backward = Backward(failed)
        self._without_gradients = WithoutGradients()
        self._modules: set[int] = set()  # the identities of the model's, in this step
        self._own = (os.getpid(), threading.get_ident())
        self.passes: Callable[[nn.Module], None] | None = None
        self.broken = False
        self._outermost: list[nn.Module] = []  # and itself once more, if it calls itself

    def begin_pass(self, module: nn.Module, given: Sequence[object]) -> None:
        """A module is called: a network, if no other is being called and it has parameters."""
        if self.passes is None or self._own != (os.getpid(), threading.get_ident()):
            return
        if self._outermost:
            self._outermost += [module] if module is self._outermost[0] else []
            return
        if self._backward.depth or not calls_a_network(module, given):
            return
        self._outermost = [module]
        self.passes(module)

    @survived
    def end_pass(self, module: nn.Module, rest: Sequence[Any]) -> None:
        """A module has returned, or raised an error.

        Arguments:
            module: The module.
            rest: Its named arguments and what it returned; None alone if it raised an error.
        """
        if not self._outermost or module is not self._outermost[0]:
            return
        self._outermost.pop()
        if len(rest) < 2:
            self.broken = True
        elif not self._outermost and self.on and self.step is not None and self.step.is_open:
            self.step.add_returned(one for _, one in tensors_in(rest[-1]))

    def learn_more(self) -> None:
        """The model has got further modules, which are called next."""
        if self.step is not None and self.step.is_open:
            with unseen():
                self.step.copy_start()
            self.paths = {one: path for path, one in self._model.named_modules()}

    def listens(self) -> bool:
        """Whether calls are recorded now: not without gradients (unless forward passes are what is
        recorded), within `backward`, a layer, torch.jit.trace or a function of torch.func, whose
        tensors have no numbers yet, or in a worker of a DataLoader."""
        heard = (
            self.on
            and (torch.is_grad_enabled() or self.passes is not None)
            and not self._backward.depth
            and not (self.entered and self.entered[-1].layer)
            and self._own == (os.getpid(), threading.get_ident())
            and not torch.jit.is_tracing()
            and not is_symbolic()
        )
        if heard and _functorch.peek_interpreter_stack() is not None:
            self.transformed()
            return False
        return heard

    @survived
    def follow(self, given: object, returned: object) -> None:
        """Notes what a function that is not recorded computes without gradients."""
        if not self.on or self.updating or torch.is_grad_enabled() or self._backward.depth:
            return
        if self.passes is not None:  # seen as all else
            return
        if self._own != (os.getpid(), threading.get_ident()):
            return
        with torch._C.DisableTorchFunction():
            self._without_gradients.follow(given, returned, self._is_of_model)

    @survived
    def follow_on(self, given: object, returned: object) -> None:
        """Notes what a function, with gradients and not recorded, makes of what was computed
        without: the softmax of what a teacher returns, a target with a reward added."""
        if self.passes is not None:
            return
        with torch._C.DisableTorchFunction():
            self._without_gradients.follow_on(given, returned)

    @survived
    def see_empty(self, returned: object) -> None:
        """A function has returned memory as it was: its numbers say nothing."""
        for _, one in tensors_in(returned):
            self.begin().unfilled.add(one)

    @survived
    def see_filled(self, args: Sequence[Any]) -> None:
        """`args[0][args[1]]` was set."""
        if self.step is not None and self.step.unfilled and len(args) > 1:
            self.step.unfilled.fill(args[0], args[1])

    def enter_other(self, module: nn.Module) -> None:
        """A module is called that is not the model's, or without gradients: a network that is not
        trained, if its parameters are not the model's."""
        inside = self.untrained.inside is not None
        if (
            not self.on
            or self.updating
            or self._backward.depth
            or inside
            or self.passes is not None
        ):
            return
        if self.entered and (self.entered[-1].layer or torch.is_grad_enabled()):
            return
        if self._own != (os.getpid(), threading.get_ident()):
            return
        if _functorch.peek_interpreter_stack() is not None:
            return
        model = self._model
        self._modules = self._modules or {id(one) for one in model.modules()}
        several = model.values() if isinstance(model, nn.ModuleDict) else ()
        whole = {id(model), *map(id, several)}
        with unseen():
            name_of = self.begin().parameters.name_of
            self.untrained.enter(module, self._modules, whole, name_of)

    def leave_other(self, module: nn.Module, output: object) -> None:
        """A module has returned, or raised an error (then the output is None)."""
        if self.untrained.leave(module):
            found = [one for _, one in tensors_in(output) if not one.requires_grad]
            self._without_gradients.add(found)

    @survived
    def see_other(self, layer: str, args: Sequence[Any], kwargs: dict[str, Any]) -> None:
        """A function is called within a network that is not trained."""
        with torch._C.DisableTorchFunction():
            self.untrained.see(layer, args, kwargs)

    def updated(self, optimiser: Optimizer) -> None:
        """An optimiser has made its update, and its state is left."""
        self.updating = False
        with torch._C.DisableTorchFunction():
            states = list(optimiser.state.values())  # of a parameter, or what one shares
            self._without_gradients.add(one for _, one in tensors_in(states))

    def _is_of_model(self, tensor: Tensor) -> bool:
        found = None if self.step is None else self.step.find(tensor)
        return isinstance(found, str) or (found is not None and found.call.made_by != "other")

    def begin(self) -> Step:
        """The step that is being recorded; a new one after an update."""
        self.updating = False
        if self.step is None:
            known = None if self.passes is not None else self._without_gradients
            self.step = Step(self._parameters, self._backward, self.before, known)
            tensors = self.step.parameters.tensors("parameter")
            self._without_gradients.add(one for _, one in tensors)
            if self._replay is not None:
                self._replay.begin_step()
        return self.step

    def open(self) -> Step:
        """The step that is being recorded, with what the model starts from."""
        step = self.begin()
        if not step.is_open:
            with unseen():
                step.open()
            self.paths = {one: path for path, one in self._model.named_modules()}
        return step

    def path_of(self, module: nn.Module) -> str | None:
        """Where a module stands in the model, which is being called; None if it does not."""
        if self.step is None or not self.step.is_open:
            if not any(module is one for one in self._model.modules()):
                return None
            self.open()
        return self.paths.get(module)

    def forget(self) -> None:
        """Ends a step."""
        self.step = None
        self.broken = False
        self._modules = set()
        self.untrained.forget()
        while self.entered:  # an interrupted program has left them
            self.entered.pop().close()

    def enter_backward(
        self, losses: Sequence[Tensor], weights: Sequence[Tensor | None] | None
    ) -> None:
        """`backward` begins; one within another is a part of it."""
        self.updating = False
        self.untrained.learnt()
        if self.on and not self._backward.depth:
            self._add_loss(losses, weights)
        self._backward.depth += 1

    @survived
    def _add_loss(self, losses: Sequence[Tensor], weights: Sequence[Tensor | None] | None) -> None:
        step = self.open()
        with unseen():
            step.add_loss(losses, [None] * len(losses) if weights is None else weights)

    def leave_backward(self) -> None:
        """`backward` has ended."""
        self._backward.depth -= 1
        if self.on and not self._backward.depth:
            self._copy_gradients()

    @survived
    def _copy_gradients(self) -> None:
        self.open().copy_gradients()

    def sources(self, given: object, as_it_was: bool = False) -> dict[int, Source]:
        """Where all tensors within arguments come from, by identity.

        Arguments:
            given: The arguments.
            as_it_was: Whether a tensor of which a part was changed in place since is the earlier
                one: `x[0] += 1` changes `x[0]`, and then sets it in `x`.
        """
        step = self.begin()
        return {id(one): step.source(one, as_it_was, True) for _, one in tensors_in(given)}

    def source(self, entered: Entered, tensor: Tensor) -> Source:
        """Where a tensor came from when a call began."""
        known = entered.sources.get(id(tensor))
        return self.begin().source(tensor) if known is None else known

    def add(self, call: Call, entered: Entered, given: object, output: Any) -> Any:
        """Adds a call with what it returned.

        Arguments:
            call: The call.
            entered: What was noted when it began.
            given: Its arguments.
            output: What it returned.

        Returns:
            What it is to return instead, of a replay; None if it stays as it is.
        """
        replaced = self._replay_mask(call, entered, given, output)
        if replaced is not None:
            output = replaced
        step = self.begin()
        step.add(call)
        for place, tensor in tensors_in(output):
            step.put_value(call, place, tensor)
        first = call.inputs[0] if call.inputs else None
        if entered.state is not None and isinstance(first, Value) and isinstance(output, Tensor):
            p = float(call.options.get("p", 0.5))
            call.mask = draw_mask(call.layer, entered.state, first.array, output, p)
            if replaced is not None and self._replay is not None:
                call.mask = self._replay.last_mask
        if entered.within is not None:
            returned = first_tensor([output])
            dims = 0 if returned is None else returned.dim()
            call.mask = masks_as_one(call.layer, call.options, entered.within.drawn, dims)
            if call.mask is None and self._replay is not None:
                raise self._replay.unreached(call.name)
        return replaced

    def put_together(self, module: nn.Module, entered: Entered) -> None:
        """A layer of Keras has returned, of which nothing but functions is recorded."""
        step = self.begin()
        calls, kernels = step.calls[entered.start :], step.parameters.kernels
        step.replace(entered.start, put_together(module, entered.name, calls, kernels, step.arrays))

    def see_within(
        self, entered: Entered, layer: str, options: Mapping[str, Any], training: bool
    ) -> None:
        """Sees the masks that a layer draws within itself from now on, if it draws any."""
        p = drops_within(layer, options, training)
        if p:
            given = (
                None if self._replay is None else self._replay.within(entered.name or layer, layer)
            )
            entered.within = DrawnWithin(p, given).open()

    def replay_draw(self, call: Call, drawn: Tensor) -> None:
        """Replaces random numbers by those of a replay, if there is one."""
        if self._replay is not None:
            used = bool(self.entered)
            self._replay.put_draw(call.name, call.options, drawn, used)

    def _replay_mask(
        self, call: Call, entered: Entered, given: object, output: object
    ) -> Tensor | None:
        if self._replay is None or entered.state is None or not isinstance(output, Tensor):
            return None
        with torch._C.DisableTorchFunction(), torch.enable_grad():
            return self._replay.drop(
                call.name, first_tensor(given), output, float(call.options.get("p", 0.5))
            )

    @staticmethod
    def state_for(given: object) -> Tensor | None:
        """The state of the generator that a dropout layer draws from."""
        tensor = first_tensor(given)
        return None if tensor is None else generator_state(tensor.device)


def first_tensor(given: object) -> Tensor | None:
    """The first tensor within arguments."""
    return next((tensor for _, tensor in tensors_in(given)), None)
