"""How large a stage's outputs are, before any is computed: its options may come from anyone."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
from torch import Tensor

from comparisons.ports.expected.call import NotRecomputableError, bind
from comparisons.ports.expected.functions.arithmetic import ARITHMETIC, PRODUCTS
from comparisons.ports.expected.layers.activations import ACTIVATIONS
from comparisons.ports.expected.layers.losses import LOSSES
from comparisons.ports.expected.layers.normalisation import NORMALISATION
from pyvae.trace.program import ProgramStage

__all__ = ["check_size", "tensors_in"]

MOST_SIZES = 10_000  # stages whose sizes are remembered
LARGEST = 2**20  # elements that an output may have, if neither recorded nor made of many
# They return nothing that is larger than their inputs, broadcast against each other
NO_LARGER = frozenset({*ACTIVATIONS, *NORMALISATION, *LOSSES, *ARITHMETIC} - PRODUCTS)

_sizes: dict[tuple[object, ...], int] = {}  # of the largest output, by all that it follows from


def check_size(
    function: Callable[..., Any],
    stage: ProgramStage,
    tensors: Mapping[str, Tensor],
    context: Mapping[str, Any],
    recorded: int,
) -> None:
    """Checks the size of what a stage returns, without computing it.

    Arguments:
        function: The stage's function.
        stage: As it was recorded.
        tensors: Its inputs and parameters by name.
        context: What else the function is bound to.
        recorded: How many elements of the first output were recorded.

    Raises:
        NotRecomputableError: If it would return far more than was recorded or went in.
    """
    allowed = max(recorded, 16 * sum(one.numel() for one in tensors.values()), LARGEST)
    if stage.layer in NO_LARGER and _broadcast(tensors) <= allowed:
        return
    if _largest(function, stage, tensors, context) > allowed:
        raise NotRecomputableError("an output that is too large")


def tensors_in(value: Any) -> Iterator[Tensor]:
    """The tensors in what a function returned, in order."""
    if isinstance(value, Tensor):
        yield value
    else:
        for one in value:
            yield from tensors_in(one)


def _broadcast(tensors: Mapping[str, Tensor]) -> float:
    """How many elements the tensors have if they are broadcast; if they cannot be, such as classes
    and their probabilities, the largest."""
    shapes = [tuple(one.shape) for one in tensors.values()]
    try:
        return float(np.prod(np.broadcast_shapes(*shapes), dtype=float))
    except ValueError:
        return float(max((one.numel() for one in tensors.values()), default=0))


def _largest(
    function: Callable[..., Any],
    stage: ProgramStage,
    tensors: Mapping[str, Tensor],
    context: Mapping[str, Any],
) -> int:
    """How many elements the largest output has; 0 if that depends on values. Shapes alone are
    computed, without memory. For most functions PyTorch 2.15 imports its compiler for that, which
    takes a second: hence `NO_LARGER`."""
    draw = context["draw"]
    seen = None if context["recorded"] is None else context["recorded"].shape
    known = (repr(stage), context["index_base"], seen, *map(_shape, (draw, *tensors.values())))
    if known not in _sizes:
        shapes = {name: one.detach().to("meta") for name, one in tensors.items()}
        context = {**context, "draw": None if draw is None else draw.to("meta"), "updated": {}}
        try:
            results = list(tensors_in(bind(function, stage, shapes, **context)()))
        except (NotImplementedError, RuntimeError):  # its shape depends on values
            results = []
        if len(_sizes) >= MOST_SIZES:
            _sizes.clear()
        _sizes[known] = max((one.numel() for one in results), default=0)
    return _sizes[known]


def _shape(value: Tensor | None) -> tuple[object, ...]:
    return () if value is None else (value.dtype, *value.shape)
