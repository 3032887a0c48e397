"""What a recorded stage should have returned, in float64, from its own declaration and inputs."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from comparisons.ports.expected.call import Bound, NotRecomputableError, bind
from comparisons.ports.expected.size import check_size, tensors_in
from comparisons.ports.expected.table import LAYERS
from pyvae.trace.program import ProgramStage

__all__ = [
    "REFUSED",
    "Prepared",
    "Recomputed",
    "as_tensor",
    "bound_to",
    "computing",
    "expected_buffers",
    "prepare",
    "recompute",
]

Arrays = Mapping[str, NDArray]
# What PyTorch raises for arguments that do not go together: the file may hold anything.
REFUSED = (
    ArithmeticError, AssertionError, AttributeError, IndexError, KeyError, NotImplementedError,
    RuntimeError, TypeError, ValueError, NotRecomputableError,
)  # fmt: skip
PART_OF_LOSS = 1e-4  # how near a scalar must be to the loss to be the one that `backward` saw


@dataclass(frozen=True)
class Recomputed:
    """What a stage makes of the values that were recorded for it, in float64.

    Attributes:
        outputs: By the name of the value.
        gradients: What the stage adds to the gradient of each of its inputs and parameters, by
            name: of the recorded gradients of its outputs, or of 1 for the loss. Empty if none of
            them was recorded.
        buffers: Buffers after the call, by name.
    """

    outputs: dict[str, Tensor]
    gradients: dict[str, Tensor] = field(default_factory=dict)
    buffers: dict[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class Prepared:
    """A stage's function with the values that were recorded for it.

    Attributes:
        stage: As it was recorded.
        bound: The function and what it is called with.
        leaves: Those of the values that have gradients, by name.
        arrays: Of the step.
    """

    stage: ProgramStage
    bound: Bound
    leaves: Mapping[str, Tensor]
    arrays: Arrays

    def finish(
        self, results: Any, updated: Mapping[str, Tensor], gradients: bool = True
    ) -> Recomputed:
        """What a call returned, and its backward pass.

        Arguments:
            results: A tensor, or tuples of them.
            updated: Buffers after the call, by role.
            gradients: Whether the backward pass is wanted.

        Raises:
            NotRecomputableError: If it returned fewer tensors than were recorded.
        """
        stage, found = self.stage, list(tensors_in(results))
        if len(found) < len(stage.outputs):
            raise NotRecomputableError(f"{len(found)} results for {len(stage.outputs)} names")
        outputs = dict(zip(stage.outputs, found, strict=False))
        return Recomputed(
            {name: one.detach().to(torch.float64) for name, one in outputs.items()},
            _gradients(outputs, self.leaves, self.arrays) if gradients else {},
            {
                stage.parameters[role]: one.detach()
                for role, one in updated.items()
                if role in stage.parameters
            },
        )


def prepare(stage: ProgramStage, arrays: Arrays, index_base: int) -> Prepared | None:
    """Gives a stage's function what was recorded for it.

    Arguments:
        stage: As it was recorded.
        arrays: Of its step, as `ProgramTrace.arrays` returns them.
        index_base: From which number the program counts.

    Returns:
        None if the layer is not known, or a value that it needs was not recorded.
    """
    if stage.layer not in LAYERS:
        return None
    with computing():
        try:
            return _prepare(stage, arrays, index_base)
        except REFUSED:
            return None


def recompute(stage: ProgramStage, arrays: Arrays, index_base: int) -> Recomputed | None:
    """Computes what a stage should have returned, and its backward pass; the arguments and None are
    those of `prepare`."""
    prepared = prepare(stage, arrays, index_base)
    if prepared is None:
        return None
    try:
        with computing():
            return prepared.finish(prepared.bound(), prepared.bound.context["updated"])
    except REFUSED:
        return None


@contextmanager
def computing() -> Iterator[None]:
    """With gradients, and without warnings of what the arguments, which are anyone's, are like."""
    with torch.inference_mode(False), torch.enable_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def expected_buffers(
    stages: Sequence[ProgramStage], arrays: Arrays, index_base: int = 0
) -> dict[str, Tensor]:
    """Computes the network's buffers (running statistics) after a step, in float64.

    A layer that is called several times moves them each time. Left out is what cannot be known.
    """
    now: dict[str, NDArray] = dict(arrays)
    after: dict[str, Tensor] = {}
    for stage in stages:
        found = recompute(stage, now, index_base)
        for name, value in (found.buffers if found else {}).items():
            after[name] = value
            now[f"start/{name}"] = value.numpy()
    return after


def as_tensor(value: NDArray) -> Tensor:
    """An array as a tensor of its own: real numbers as float64, others as they are."""
    value = np.asarray(value)
    kind = np.dtype(np.float64) if value.dtype.kind == "f" else value.dtype
    return torch.from_numpy(np.array(value, dtype=kind))


def _prepare(stage: ProgramStage, arrays: Arrays, index_base: int) -> Prepared:
    names = dict.fromkeys([*stage.inputs, *stage.parameters.values()])
    tensors = {name: as_tensor(_recorded(name, arrays)) for name in names}
    leaves = {
        name: one.requires_grad_() for name, one in tensors.items() if one.dtype.is_floating_point
    }
    return Prepared(stage, bound_to(stage, tensors, arrays, index_base), leaves, arrays)


def bound_to(
    stage: ProgramStage, tensors: Mapping[str, Tensor], arrays: Arrays, index_base: int
) -> Bound:
    """Gives a stage's function tensors, which need not be what was recorded.

    Arguments:
        stage: As it was recorded, of a layer that is known.
        tensors: Its inputs and parameters by name.
        arrays: Of its step.
        index_base: From which number the program counts.

    Raises:
        NotRecomputableError: If it does not take them.
        KeyError: If the layer is not known, or what it has to know of the values was not recorded.
    """
    function = LAYERS[stage.layer]
    recorded = arrays.get(f"forward/{stage.outputs[0]}")
    context: dict[str, Any] = {
        "index_base": index_base,
        "draw": _draw(stage, arrays),
        "updated": {},
        "machine_eps": _machine_eps(stage, arrays),
        "recorded": recorded,
    }
    check_size(function, stage, tensors, context, 0 if recorded is None else recorded.size)
    context["updated"] = {}
    return bind(function, stage, tensors, **context)


def _recorded(name: str, arrays: Arrays) -> NDArray:
    """A value that a stage returned, or a parameter or buffer as the step began.

    Raises:
        KeyError: If it was not recorded.
    """
    forward = arrays.get(f"forward/{name}")
    return arrays[f"start/{name}"] if forward is None else forward


def _draw(stage: ProgramStage, arrays: Arrays) -> Tensor | None:
    mask = arrays.get(f"draw/{stage.name}")
    return None if mask is None else as_tensor(mask)


def _machine_eps(stage: ProgramStage, arrays: Arrays) -> float:
    """Of the type in which the program computed: that of the stage's first real input."""
    for name in stage.inputs:
        kind = _recorded(name, arrays).dtype
        if kind.kind == "f":
            return float(np.finfo(kind).eps)
    return float(np.finfo(np.float32).eps)


def _gradients(
    outputs: Mapping[str, Tensor], leaves: Mapping[str, Tensor], arrays: Arrays
) -> dict[str, Tensor]:
    known = {name: arrays.get(f"gradient/{name}") for name in outputs}
    given = {
        name: as_tensor(value).reshape(outputs[name].shape)
        for name, value in known.items()
        if value is not None and value.size == outputs[name].numel() and outputs[name].requires_grad
    }
    if not given:
        given = _gradient_of_loss(outputs, arrays)
    if not given or not leaves:
        return {}
    found = torch.autograd.grad(
        [outputs[name] for name in given],
        list(leaves.values()),
        [value.to(torch.float64) for value in given.values()],
        allow_unused=True,
        retain_graph=True,  # what mistakes have in common is computed once
    )
    return {
        name: gradient for name, gradient in zip(leaves, found, strict=True) if gradient is not None
    }


def _gradient_of_loss(outputs: Mapping[str, Tensor], arrays: Arrays) -> dict[str, Tensor]:
    """1 for the value that `backward` was called on, if it is the only one here."""
    total = arrays.get("loss/total")
    if total is None or len(outputs) > 1 or np.size(total) != 1:
        return {}
    ((name, value),) = outputs.items()
    if value.numel() != 1 or not value.requires_grad:
        return {}
    loss = float(np.reshape(total, ()))
    if not abs(value.item() - loss) <= PART_OF_LOSS * abs(loss):
        return {}
    return {name: torch.ones_like(value)}
