"""Calls a function of the table with what a recorded stage declares.

A function's signature says what it takes: arguments that come by place are tensors, in PyTorch's
order; those that come by keyword alone are options, with PyTorch's defaults. Some keywords are
filled in from elsewhere (`CONTEXT`).
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from torch import Tensor

from pyvae.trace.program import ProgramStage

__all__ = [
    "REDUCTIONS",
    "Bound",
    "NotRecomputableError",
    "bind",
    "by_place",
    "options_of",
    "same_name",
    "takes",
]

# training: whether the module was in training mode; draw: the recorded mask; index_base: from which
# number indices count; updated: takes buffers after the call, by role
# machine_eps: of the type in which the program computed; recorded: the output that was
# recorded
CONTEXT = ("training", "draw", "index_base", "updated", "machine_eps", "recorded")
# ATen's names, and other names of Python's functions, where the table has another
OTHER_NAMES = {
    "self": "input",
    "indices": "input",
    "x": "input",
    "axis": "dim",
    "dims": "dim",
    "keepdims": "keepdim",
    "train": "training",
    "shape": "size",
    "sizes": "size",
    "unflattened_size": "size",
    "split_size_or_sections": "split_size",
    "split_sizes": "split_size",
    "indices_or_sections": "split_size",
    "exponent": "other",
    "value": "src",
}
# They follow from the shapes, say whether a parameter is there, or how memory is used.
WITHOUT_EFFECT = {
    "in_features", "out_features", "in1_features", "in2_features", "in_channels", "out_channels",
    "num_features", "num_channels", "num_embeddings", "embedding_dim", "num_parameters", "affine",
    "elementwise_affine", "bias", "kernel_size", "input_size", "hidden_size", "embed_dim", "kdim",
    "vdim", "add_bias_kv", "inplace", "device", "dtype", "memory_format", "_stacklevel",
    "size_average", "reduce", "cudnn_enabled", "non_blocking", "copy", "sparse", "sparse_grad",
    "norm_type", "init", "mode", "track_running_stats", "implicit", "out_dtype", "half_to_float",
}  # fmt: skip
REDUCTIONS = {0: "none", 1: "mean", 2: "sum"}
LARGEST_WHOLE = 2.0**63


class NotRecomputableError(Exception):
    """What a stage returns does not follow from what was recorded."""


@dataclass(frozen=True)
class Bound:
    """A function of the table with all that it is called with.

    Attributes:
        function: Of the table.
        names: What the function calls the tensors that went in, in their order; none of a function
            that takes any number of them.
        inputs: Those of a function that takes any number of them.
        named: Other arguments, tensors above all, by the function's names.
        options: Arguments that come by keyword alone.
        context: See `CONTEXT`; all of it, whether the function takes it or not.
    """

    function: Callable[..., Any]
    names: tuple[str, ...]
    inputs: tuple[Tensor, ...]
    named: Mapping[str, Any]
    options: Mapping[str, Any]
    context: Mapping[str, Any]

    def __call__(self) -> Any:
        """Calls it. Returns a tensor, or tuples of tensors."""
        return self.function(*self.inputs, **self.named, **self.options)


def bind(
    function: Callable[..., Any],
    stage: ProgramStage,
    tensors: Mapping[str, Tensor],
    **context: Any,
) -> Bound:
    """Gives a function what a stage declares.

    Arguments:
        function: Of the table.
        stage: Says which values go in, and its options.
        tensors: The values by name.
        **context: See `CONTEXT`.

    Raises:
        NotRecomputableError: If the stage has an argument that the function does not know.
    """
    known = takes(function)
    context.setdefault("training", stage.training)
    options = {key: context[key] for key in CONTEXT if key in known}
    named: dict[str, Any] = {}
    for role, value in stage.parameters.items():
        name = same_name(function, role)
        if name not in known and not _takes_more(function):
            raise NotRecomputableError(f"{stage.layer} takes no {role}")
        named[name] = tensors[value]
    for key, value in stage.options.items():
        name = same_name(function, key)
        if name not in known:
            if key not in WITHOUT_EFFECT and value not in (None, False, []):
                raise NotRecomputableError(f"{stage.layer} has no option {key}")
        elif known[name].kind is inspect.Parameter.KEYWORD_ONLY:
            if name == "training" or name not in CONTEXT:
                options[name] = _option(name, value)
        elif key not in WITHOUT_EFFECT and value is not None:
            named.setdefault(name, _option(name, value))  # a number in the place of a tensor
    inputs = tuple(tensors[name] for name in stage.inputs)
    if any(one.kind is inspect.Parameter.VAR_POSITIONAL for one in known.values()):
        return Bound(function, (), inputs, named, options, context)
    free = [name for name in by_place(function) if name not in named]
    if len(inputs) > len(free):
        raise NotRecomputableError(f"{stage.layer} takes {len(free)} tensors, not {len(inputs)}")
    named.update(zip(free, inputs, strict=False))
    return Bound(function, tuple(free[: len(inputs)]), (), named, options, context)


@cache
def takes(function: Callable[..., Any]) -> Mapping[str, inspect.Parameter]:
    """Returns what a function takes, by name; looked up once, as every stage asks several times."""
    return inspect.signature(function).parameters


def options_of(function: Callable[..., Any]) -> dict[str, Any]:
    """Returns a function's options with their defaults, those without one left out ("" stands for
    none)."""
    return {
        name: one.default
        for name, one in takes(function).items()
        if one.kind is inspect.Parameter.KEYWORD_ONLY
        and name not in CONTEXT
        and one.default not in (inspect.Parameter.empty, "")
    }


def same_name(function: Callable[..., Any], name: str) -> str:
    """Returns the name that a function has for an argument."""
    known = takes(function)
    return name if name in known else OTHER_NAMES.get(name, name)


@cache
def by_place(function: Callable[..., Any]) -> tuple[str, ...]:
    """Returns the names of the tensors that a function takes, in their order."""
    return tuple(
        name
        for name, one in takes(function).items()
        if one.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD
    )


def _takes_more(function: Callable[..., Any]) -> bool:
    kinds = {one.kind for one in takes(function).values()}
    return inspect.Parameter.VAR_KEYWORD in kinds


def _option(name: str, value: Any) -> Any:
    """An option as PyTorch takes it: whole numbers as such (R has none in JSON) but the limits of
    floating point, which no integer type holds, and reductions by name."""
    if isinstance(value, list | tuple):
        return [_option(name, one) for one in value]
    if isinstance(value, float) and value.is_integer() and abs(value) < LARGEST_WHOLE:
        value = int(value)
    if name == "reduction" and not isinstance(value, bool):
        return REDUCTIONS.get(value, value)
    return value
