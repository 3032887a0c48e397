"""Sees which functions are called between the layers of a model, and in its loss."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from pyvae.recording.seen.arguments import Arguments, split_arguments
from pyvae.recording.seen.functions import Function, known_function
from pyvae.recording.seen.generators import DROPOUT
from pyvae.recording.seen.masks_within import DROPS_WITHIN
from pyvae.recording.seen.values import Call, Source, tensors_in, version_of
from pyvae.recording.watch import Entered, Watch, first_tensor, survived

__all__ = ["FunctionCalls", "FunctionMode"]

UNINITIALISED = ("empty", "empty_like", "empty_strided", "new_empty")
MOVES_BUFFERS = ("batch_norm", "instance_norm")


@dataclass
class _EnteredFunction(Entered):
    """A function that is being called.

    Attributes:
        function: Which one.
        arguments: What it is given.
        made_by: As of a `Call`.
        version: How often its first tensor had been changed in place.
    """

    function: Function = field(kw_only=True)
    arguments: Arguments = field(kw_only=True)
    made_by: str = "model"
    version: int = 0


class FunctionMode(TorchFunctionMode):
    """Tells of every function that PyTorch dispatches, while it is in force."""

    def __init__(self, watch: Watch) -> None:
        self._watch = watch
        self._calls = FunctionCalls(watch)

    def __torch_function__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        heard = self._watch.listens()
        if self._watch.untrained.inside is not None:
            self._watch.see_other(getattr(function, "__name__", ""), args, kwargs)
        entered = self._calls.enter(function, args, kwargs) if heard else None
        if entered is None:
            output = function(*args, **kwargs)
            if not heard:
                if function is torch._C._set_grad_enabled:
                    self._watch.updating = False  # what ends an update, interrupted or not
                self._watch.follow((args, kwargs), output)
            elif isinstance(output, Tensor | tuple | list):
                self._watch.follow_on((args, kwargs), output)
                if getattr(function, "__name__", "") in UNINITIALISED:
                    self._watch.see_empty(output)
            if output is None and getattr(function, "__name__", "") == "__setitem__":
                self._watch.see_filled(args)
            return output
        try:
            output = function(*args, **kwargs)
        finally:
            entered.close()
        replaced = self._calls.leave(entered, args, output)
        return output if replaced is None else replaced


class FunctionCalls:
    """Records the calls of functions: those of the model, and those that take what comes from it.
    What else is computed is a tensor from outside where the model takes it."""

    def __init__(self, watch: Watch) -> None:
        self.watch = watch

    @survived
    def enter(
        self, function: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> _EnteredFunction | None:
        """Notes what goes into a function; None if it is not recorded."""
        known = known_function(function)
        if known is None:
            return None
        watch, step = self.watch, self.watch.begin()
        tensors = [tensor for _, tensor in tensors_in([*args, *kwargs.values()])]
        found = {id(one): step.find(one) for one in tensors}
        made_by = "model" if watch.entered else "other"
        if not watch.entered and any(_is_of_model(found[id(one)], one) for one in tensors):
            made_by = "loss"
        if made_by == "other" and not known.draw:
            return None
        if known.layer in MOVES_BUFFERS and made_by == "loss":
            watch.open()  # what the step starts from, which this call changes
        prefix = watch.entered[-1].name if watch.entered else ""
        name = known.draw or known.layer
        is_all = bool(prefix) and known.layer in watch.entered[-1].main
        entered = _EnteredFunction(
            prefix if is_all else f"{prefix}.{name}" if prefix else name,
            {key: one for key, one in found.items() if one is not None},
            function=known,
            arguments=split_arguments(function, known.layer, args, kwargs),
            made_by=made_by,
            version=version_of(tensors[0]) if tensors else 0,
        )
        if known.in_place and not known.draw:
            entered.sources = watch.sources(tensors, known.layer == "index_put")
        if known.layer in DROPOUT and entered.arguments.training:
            entered.state = watch.state_for(args)
        if known.layer in DROPS_WITHIN:
            given = entered.arguments
            watch.see_within(entered, known.layer, given.options, given.training)
        return entered

    @survived
    def leave(self, entered: _EnteredFunction, args: Sequence[Any], output: Any) -> Any:
        """Records the call of a function.

        Returns:
            What it is to return instead; None if it stays as it is.
        """
        watch, known, given = self.watch, entered.function, entered.arguments
        sets = known.layer == "index_put" and output is None  # x[0] = y returns nothing
        if known.layer == "index_put" and known.in_place:
            watch.see_filled(args)
        returned = args[0] if sets else output
        first = first_tensor([returned])
        if first is None or (_is_given(returned, args) and version_of(first) == entered.version):
            return None  # no tensor, or the same: x.to(x.device)
        call = Call(
            entered.name, known.layer, options=given.options, training=given.training,
            made_by=entered.made_by,
        )  # fmt: skip
        if known.draw:
            call.options = {"distribution": known.draw, **given.options}
            call.inputs = [] if known.in_place else list(entered.sources.values())
            call.made_by = "model" if watch.entered else "other"
            watch.replay_draw(call, first)
        else:
            call.inputs = [watch.source(entered, one) for one in given.inputs]
            call.roles = {key: watch.source(entered, one) for key, one in given.roles.items()}
        return watch.add(call, entered, args, returned)


def _is_given(returned: object, args: object) -> bool:
    """Whether a function has returned the tensors that it was given, and no other: of several,
    `broadcast_tensors` may return the first as it is, and the second not."""
    given = [one for _, one in tensors_in(args)]
    found = [one for _, one in tensors_in(returned)]
    return all(one is two for one, two in zip_longest(found, given[: len(found)]))


def _is_of_model(source: Source | None, tensor: Tensor) -> bool:
    """Whether a tensor is a parameter, or was computed by the model or from what it returned; by
    something that was not seen as well, such as a torch.autograd.Function. What the program asks
    for the gradient of, such as the places at which it takes a derivative, counts as well."""
    if isinstance(source, str) or tensor.grad_fn is not None:
        return True
    if tensor.requires_grad and tensor.is_leaf and not isinstance(tensor, nn.Parameter):
        return True
    return source is not None and source.call.made_by != "other"
