"""Values and calls of a step, as they are seen before they have names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

__all__ = ["Call", "Kept", "Source", "Value", "tensors_in", "to_array", "unseen", "version_of"]

# Types that a trace has, by those that it lacks.
TYPES = {np.dtype(lacks): np.dtype(has) for lacks, has in (
    ("int8", "int32"), ("int16", "int32"), ("uint16", "int32"), ("uint32", "int64"),
    ("uint64", "int64"))}  # fmt: skip
DEEPEST = 8  # of tuples and dicts within each other
PLAIN = {int, float, bool, str, type(None), torch.dtype, torch.device}  # most arguments


class unseen:  # noqa: N801 - as torch.no_grad, which is slower
    """Computes without gradients, and without being recorded."""

    __slots__ = ("_gradients", "_unheard")

    def __enter__(self) -> None:
        self._gradients = torch.is_grad_enabled()
        self._unheard = torch._C.DisableTorchFunction()
        self._unheard.__enter__()
        torch._C._set_grad_enabled(False)

    def __exit__(self, *error: Any) -> None:
        torch._C._set_grad_enabled(self._gradients)
        self._unheard.__exit__(*error)


def to_array(tensor: Tensor) -> NDArray | None:
    """Copies a tensor into an array of a type that traces have; None if there is no such type
    (complex and quantised numbers), or it has no values (the meta device)."""
    with unseen():
        if tensor.is_complex() or tensor.is_quantized or tensor.is_meta or tensor.is_nested:
            return None
        held = tensor.detach()
        if held.layout is not torch.strided:
            held = held.to_dense()
        if held.is_floating_point() and held.dtype not in (
            torch.float16, torch.float32, torch.float64,
        ):  # fmt: skip
            held = held.float()
        array = np.array(held.cpu().numpy(), order="C")
    return array.astype(TYPES.get(array.dtype, array.dtype), copy=False)


def version_of(tensor: Tensor) -> int:
    """How often a tensor was changed in place; 0 if PyTorch does not count it."""
    with torch._C.DisableTorchFunction():
        return 0 if tensor.is_inference() else tensor._version


def tensors_in(given: object) -> list[tuple[str, Tensor]]:
    """The tensors within tuples, lists and dicts, each with its place: `.0`, `.1.hidden`."""
    found: list[tuple[str, Tensor]] = []
    _find(given, "", found, DEEPEST)
    return found


def _find(given: object, name: str, found: list[tuple[str, Tensor]], deeper: int) -> None:
    if isinstance(given, Tensor):
        found.append((name, given))
    elif deeper and isinstance(given, tuple | list):  # by far the most, and quickly told
        for at, one in enumerate(given):
            if type(one) not in PLAIN:
                _find(one, f"{name}.{at}", found, deeper - 1)
    elif deeper and isinstance(given, Mapping):
        for key, one in given.items():
            _find(one, f"{name}.{key}", found, deeper - 1)
    elif deeper and isinstance(given, Sequence) and not isinstance(given, str | bytes):
        for at, one in enumerate(given):
            _find(one, f"{name}.{at}", found, deeper - 1)


class Value:
    """A tensor as it was at one moment.

    Attributes:
        tensor: The tensor, which is kept alive so that no other gets its identity; None when the
            step is over.
        version: How often it had been changed in place.
        array: Its values then; None if a trace has no such type.
        gradients: What `backward` brought for it, one array a call of it.
        call: What returned it.
        name: Its name in the trace, once the step is over.
    """

    __slots__ = ("array", "call", "gradients", "hook", "name", "tensor", "version")

    def __init__(self, tensor: Tensor, array: NDArray | None, call: Call) -> None:
        self.tensor: Tensor | None = tensor
        self.version = version_of(tensor)
        self.array = array
        self.gradients: list[NDArray] = []
        self.hook: torch.utils.hooks.RemovableHandle | None = None
        self.call = call
        self.name = ""

    def is_now(self, tensor: Tensor) -> bool:
        """Whether a tensor is still what it was then."""
        return self.tensor is tensor and self.version == version_of(tensor)

    def gradient(self) -> NDArray | None:
        """The gradient of all calls of `backward` together."""
        if not self.gradients:
            return None
        total = self.gradients[0]
        for one in self.gradients[1:]:
            total = total + one
        return total

    def release(self) -> None:
        if self.hook is not None:
            self.hook.remove()
        self.hook = self.tensor = None


class Kept(str):
    """The name of a parameter that is taken in the order in which the trace keeps it."""

    __slots__ = ()


Source = Value | str  # where an input comes from: a value, or a parameter by its name


@dataclass(eq=False)
class Call:
    """One call of a layer or function.

    Attributes:
        name: Its name, without the number of the call.
        layer: As in `pyvae.trace.program.ProgramStage`.
        inputs: What goes in, in the order of arguments.
        roles: Parameters, by role.
        options: Settings.
        training: Whether it was in training mode.
        made_by: Who made the call: `model`; `loss`, if what it takes comes from the model; `other`.
        outputs: What it returned, each with its place within tuples and dicts.
        mask: Which elements a dropout layer kept.
        order: How many calls were made before.
        named: Its name in the trace, once the step is over.
    """

    name: str
    layer: str
    inputs: list[Source] = field(default_factory=list)
    roles: dict[str, Source] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)
    training: bool = True
    made_by: str = "model"
    outputs: list[tuple[str, Value]] = field(default_factory=list)
    mask: NDArray | None = None
    order: int = 0
    named: str = ""

    def sources(self) -> Iterator[Source]:
        yield from self.inputs
        yield from self.roles.values()
