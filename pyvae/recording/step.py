"""What is recorded of one step, until it is written."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.optim import Optimizer

from pyvae.recording.keras.channels import in_kept_order
from pyvae.recording.keras.numbers import with_numbers
from pyvae.recording.parameters import Parameters
from pyvae.recording.seen.generators import state_checksum
from pyvae.recording.seen.naming import comes_from_model, name_stages, used_calls
from pyvae.recording.seen.optimisers import (
    describe_optimiser,
    given_gradient,
    optimised,
    state_arrays,
)
from pyvae.recording.seen.unfilled import Unfilled
from pyvae.recording.seen.values import Call, Kept, Source, Value, to_array
from pyvae.recording.seen.without_gradients import WithoutGradients
from pyvae.trace.program import Optimiser, ProgramStage

__all__ = ["Backward", "Step"]

Arrays = dict[str, NDArray]
OF_PARAMETER = {"start", "gradient", "given", "before", "state", "parameter", "buffer"}
_order = itertools.count(1)  # of calls, over all steps


class Backward:
    """Whether `backward` is running: gradients that other functions ask for are not the loss's.

    Arguments:
        failed: Called with an error of the recorder.
    """

    def __init__(self, failed: Callable[[Exception], None]) -> None:
        self.depth = 0
        self.failed = failed


def _keep(gradients: list[NDArray], backward: Backward) -> Callable[[Tensor], None]:
    """A hook that copies gradients; it holds no tensor, which would then never be freed."""

    def keep(gradient: Tensor | None) -> None:
        if gradient is None or not backward.depth:  # None: of an output that nothing uses
            return
        try:
            array = to_array(gradient)
        except Exception as error:
            backward.failed(error)
            return
        if array is not None:
            gradients.append(array)

    return keep


class Step:
    """The calls of a step, with their values and gradients.

    Arguments:
        parameters: Returns the model's, as they are now.
        backward: Knows whether `backward` is running.
        before: The step before, whose values may be used once more: a GAN's generated images.
        without_gradients: Knows what was computed from the model and is not recorded.

    Attributes:
        arrays: What is written of it.
        calls: All calls that were seen.
        used: Those that belong to it, once it is over.
        generator: The checksum of the generator's state when the model was first called.
        is_open: Whether the model was called.
        optimiser: Who made the update.
        parameters: Their names.
        unfilled: Memory that no function has filled yet.
        rounded: The type of values that are written as float32, which has more digits.
    """

    def __init__(
        self,
        parameters: Callable[[], Parameters],
        backward: Backward,
        before: Step | None = None,
        without_gradients: WithoutGradients | None = None,
    ) -> None:
        self.arrays: Arrays = {}
        self.calls: list[Call] = []
        self.used: list[Call] = []
        self.generator = ""
        self.is_open = False
        self.optimiser: Optimiser | None = None
        self.parameters = parameters()
        self._parameters = parameters
        self._backward = backward
        self._without_gradients = without_gradients
        self._values: dict[int, Value] = {}
        self._before = {} if before is None else before._values
        self._left = {} if before is None else before._later
        self._later: Arrays = {}  # gradients that `backward` left for other optimisers
        self.rounded = ""
        self._returned: list[Source] = []
        self._losses: list[tuple[float, Source | None]] = []
        self.unfilled = Unfilled()

    def open(self) -> None:
        """Copies what the model starts from."""
        self.is_open = True
        self.generator = state_checksum()
        self.copy_start()

    def copy_start(self) -> None:
        """Copies parameters and buffers, those that are known already left out."""
        self.parameters = self._parameters()
        for name, tensor in self.parameters.tensors():
            if f"start/{name}" not in self.arrays:
                self._put(f"start/{name}", to_array(tensor))

    def _put(self, key: str, array: NDArray | None) -> None:
        if array is not None:
            self.arrays[key] = array

    def find(self, tensor: Tensor, as_it_was: bool = False) -> Source | None:
        """Where a tensor comes from; None if it is not known, or was changed since and is not to be
        taken as it was."""
        for values in (self._values, self._before):
            value = values.get(id(tensor))
            if value is not None and (as_it_was or value.is_now(tensor)):
                return value
        return self.parameters.name_of(tensor)

    def add(self, call: Call) -> Call:
        call.order = next(_order)
        self.calls.append(call)
        return call

    def replace(self, start: int, calls: Iterable[Call]) -> None:
        """Puts other calls in the place of those from a number on."""
        self.calls[start:] = calls
        for call in self.calls[start:]:
            call.order = next(_order)

    def put_value(self, call: Call, place: str, tensor: Tensor) -> Value:
        """Copies a tensor that a call returned, and waits for its gradient."""
        array = self.unfilled.without_chance(tensor, to_array(tensor))
        value = Value(tensor, array, call)
        if tensor.dtype is torch.bfloat16:
            self.rounded = "bfloat16"
        if tensor.requires_grad:
            value.hook = tensor.register_hook(_keep(value.gradients, self._backward))
        call.outputs.append((place, value))
        self._values[id(tensor)] = value
        return value

    def source(self, tensor: Tensor, as_it_was: bool = False, written: bool = False) -> Source:
        """Where a tensor comes from: from outside, if it is not known; `written` if a function is
        about to change it in place."""
        known = self.find(tensor, as_it_was)
        return self.put_input(tensor, written) if known is None else known

    def put_input(self, tensor: Tensor, written: bool = False) -> Value:
        """Copies a tensor that comes from outside, or was computed by something that is not seen:
        then option `grad_fn` says by what, or `without_gradients` that it was from the model."""
        call = Call("input", "input", made_by="other")
        if tensor.grad_fn is not None:
            call.options["grad_fn"] = type(tensor.grad_fn).__name__
        elif self._is_computed(tensor):
            call.options["without_gradients"] = True
        value = self.put_value(self.add(call), "", tensor)
        is_empty = written and self.unfilled.is_empty(tensor)
        if value.array is not None and is_empty:  # read as it is, NumPy may have filled it
            value.array = np.zeros_like(value.array)
        return value

    def _is_computed(self, tensor: Tensor) -> bool:
        known = self._without_gradients
        return known is not None and tensor.is_floating_point() and known.has(tensor)

    def add_returned(self, tensors: Iterable[Tensor]) -> None:
        """Notes what a network has returned to the program."""
        self._returned += [self.source(one) for one in tensors]

    def returned_names(self) -> tuple[str, ...]:
        """Their names, once the step is over."""
        return tuple(one if isinstance(one, str) else one.name for one in self._returned)

    def add_loss(self, tensors: Sequence[Tensor], weights: Sequence[Tensor | None]) -> None:
        """Notes what `backward` is called on."""
        for tensor, weight in zip(tensors, weights, strict=True):
            values = tensor.detach().double()
            total = float((values if weight is None else values * weight.double()).sum())
            self._losses.append((total, self.find(tensor)))

    def copy_gradients(self) -> None:
        """Copies the gradients that `backward` has left."""
        for name, tensor in self.parameters.tensors("parameter"):
            if tensor.grad is not None:
                self._put(f"gradient/{name}", to_array(tensor.grad))

    def before_update(self, optimiser: Optimizer, name: str, first: bool, closure: bool) -> None:
        """Notes what an optimiser is given.

        Arguments:
            optimiser: The optimiser, before its update.
            name: Its name in the trace.
            first: Whether its state before the update is to be copied.
            closure: Whether it calls `backward` itself, once or more often.
        """
        self.parameters = self._parameters()  # lazy ones have a shape by now
        self.optimiser = describe_optimiser(optimiser, name, self.parameters)
        if first:
            self.arrays |= state_arrays(optimiser, self.parameters, "before")
        for key, tensor in () if closure else optimised(optimiser, self.parameters):
            gradient = given_gradient(optimiser, tensor)
            if gradient is not None:
                self._give(key, to_array(gradient))

    def _give(self, name: str, array: NDArray | None) -> None:
        left = self.arrays.get(f"gradient/{name}", self._left.get(name))
        if array is None:
            return
        if left is not None:
            self.arrays[f"gradient/{name}"] = left
        if left is None:  # `backward` was not seen
            self.arrays[f"gradient/{name}"] = array
        elif left.tobytes() != array.tobytes():
            self.arrays[f"given/{name}"] = array

    def after_update(self, optimiser: Optimizer) -> None:
        """Copies what an optimiser has left."""
        mine = set()
        for name, tensor in optimised(optimiser, self.parameters):
            mine.add(name)
            self._put(f"parameter/{name}", to_array(tensor))
        for name, tensor in self.parameters.tensors("buffer"):
            self._put(f"buffer/{name}", to_array(tensor))
        for name, _ in self.parameters.tensors("parameter"):
            if name not in mine:  # another optimiser's, or left from its step
                left = self.arrays.pop(f"gradient/{name}", self._left.get(name))
                if left is not None:
                    self._later[name] = left
        self.arrays |= state_arrays(optimiser, self.parameters, "state")

    def after_pass(self) -> None:
        """Copies what a forward pass has left: buffers, and parameters if the program has computed
        gradients, as it may have changed them by itself."""
        self.parameters = self._parameters()  # lazy ones have a shape by now
        for kind in ("parameter", "buffer") if self._losses else ("buffer",):
            for name, tensor in self.parameters.tensors(kind):
                self._put(f"{kind}/{name}", to_array(tensor))

    def keep_draws(self) -> None:
        """Forgets all but what was drawn and not used: the next step may take it."""
        kept = {}
        for key, value in {**self._before, **self._values}.items():
            if value.call.layer == "draw" and value.call not in self.used:
                kept[key] = value
            else:
                value.release()
        self._values, self._before = kept, {}

    def put_terms(self, terms: dict[str, Any]) -> None:
        """Notes loss terms that the program names."""
        with torch.no_grad():
            for name, term in terms.items():
                self.arrays[f"loss/{name}"] = np.array(float(term), np.float64)

    def finish(self) -> tuple[ProgramStage, ...]:
        """Names the stages, and puts their values into `arrays`."""
        losses = [one for one in self._losses if comes_from_model(one[1])] or self._losses
        ends = [one for _, one in losses if isinstance(one, Value)]
        returned = [one for one in self._returned if isinstance(one, Value)]
        self.used = self._in_kept_order(used_calls(self.calls, ends, returned))
        if self.parameters.kernels:  # of Keras
            self.used = with_numbers(self.used)
        stages = name_stages(self.used, self.parameters.names())
        for call in self.used:
            if call.mask is not None:
                self.arrays[f"draw/{call.named}"] = call.mask
            for _, value in call.outputs:
                self._put(f"forward/{value.name}", value.array)
                self._put(f"gradient/{value.name}", value.gradient())
                value.gradients.clear()  # the next step may use it once more
        if losses:
            self.arrays["loss/total"] = np.array(sum(loss for loss, _ in losses), np.float64)
        if len(losses) > 1:
            for at, (loss, _) in enumerate(losses, 1):
                self.arrays[f"loss/backward.{at}"] = np.array(loss, np.float64)
        for name, kernel in self.parameters.kernels.items():
            for key in [*self.arrays]:
                kind, _, rest = key.partition("/")
                if kind in OF_PARAMETER and (rest == name or rest.rpartition(".")[0] == name):
                    end = rest.removeprefix(name)
                    for own, array in kernel.kept(name, self.arrays.pop(key)).items():
                        self.arrays[f"{kind}/{own}{end}"] = array
        return stages

    def _in_kept_order(self, calls: Iterable[Call]) -> list[Call]:
        """The calls, with what brings a parameter into the program's own order, where the trace
        keeps it in another one, and a call takes it as the program has it."""
        found: list[Call] = []
        turns: list[Call] = []
        for call in calls:
            begun = len(found)
            for at, one in enumerate(call.inputs):
                call.inputs[at] = self._as_it_is(one, found)
            for role, one in call.roles.items():
                call.roles[role] = self._as_it_is(one, found)
            turns += [one for one in found[begun:] if one.layer == "permute"]
            found.append(call)
        return in_kept_order(found, turns) if turns else found

    def _as_it_is(self, source: Source, calls: list[Call]) -> Source:
        kernel = None if isinstance(source, Value) else self.parameters.kernels.get(source)
        start = None if isinstance(source, Value) else self.arrays.get(f"start/{source}")
        if kernel is None or start is None or isinstance(source, Kept):
            return source
        calls += kernel.calls(Kept(source), start)
        return calls[-1].outputs[0][1]

    def size(self) -> int:
        """Bytes that it takes on disk."""
        return sum(array.nbytes + len(key) + 60 for key, array in self.arrays.items())

    def release(self) -> None:
        """Lets go of the tensors."""
        for value in self._values.values():
            value.release()
        self._before = {}
