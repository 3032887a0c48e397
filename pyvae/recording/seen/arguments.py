"""Which arguments of a call are tensors, and which are settings, by their names in ATen."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

__all__ = ["Arguments", "json_value", "split_arguments"]

LEFT_OUT = {
    "inplace", "training", "train", "generator", "device", "layout", "pin_memory", "memory_format",
    "requires_grad", "out", "size_average", "reduce", "_stacklevel", "non_blocking", "copy",
    "return_indices",
}  # fmt: skip
ROLES = {"weight", "bias", "running_mean", "running_var", "pos_weight", "attn_mask",
         "key_padding_mask", "in_proj_weight", "in_proj_bias"}  # fmt: skip
NO_ROLES = {"lerp", "where", "index_put"}  # functions whose `weight` is one argument of several
MANY = {"view", "reshape", "permute", "expand", "repeat", "tile", "flip"}
LONGEST = 256  # numbers of a list that is kept as a setting


class Arguments:
    """The arguments of one call.

    Attributes:
        inputs: Tensors, in the order of arguments.
        roles: Tensors that are weights, by role.
        options: Everything else that JSON can say.
        training: What the function was told, if anything.
    """

    def __init__(self, layer: str) -> None:
        self.layer = layer
        self.inputs: list[Tensor] = []
        self.roles: dict[str, Tensor] = {}
        self.options: dict[str, Any] = {}
        self.training = True

    def add(self, name: str, value: object) -> None:
        if name in ("training", "train") and isinstance(value, bool):
            self.training = value
        elif isinstance(value, Tensor):
            if name in ROLES and self.layer not in NO_ROLES:
                self.roles[name] = value
            else:
                self.inputs.append(value)
        elif isinstance(value, list | tuple) and any(isinstance(one, Tensor) for one in value):
            for one in value:
                if isinstance(one, Tensor):
                    self.inputs.append(one)
        elif self.layer == "draw" and name == "size":
            pass
        elif name not in LEFT_OUT and value is not None:
            kept, said = json_value(value)
            if kept:
                self.options[name] = said


def json_value(value: object, depth: int = 0) -> tuple[bool, Any]:
    """Returns whether JSON can say a setting, and how."""
    if value is None or isinstance(value, bool | int | float | str):
        return True, value
    if isinstance(value, np.generic):
        return json_value(value.item())
    if isinstance(value, torch.dtype):
        return True, str(value).removeprefix("torch.")
    if isinstance(value, list | tuple) and depth < 3 and len(value) <= LONGEST:
        parts = [json_value(one, depth + 1) for one in value]
        return all(kept for kept, _ in parts), [one for _, one in parts]
    return False, None


def split_arguments(
    function: Callable[..., Any], layer: str, args: Sequence[Any], kwargs: Mapping[str, Any]
) -> Arguments:
    """Sorts the arguments of a function into inputs, weights and settings."""
    found = Arguments(layer)
    if layer in ("index", "index_put"):
        called = getattr(function, "__name__", "").startswith("index_put")
        _split_index(found, args, kwargs, called)
        return found
    if layer == "einsum":
        found.options["equation"] = args[0]
        for one in args[1:]:
            found.add("operands", one)
        return found
    if layer == "transpose" and len(args) == 1:  # x.mT
        found.inputs.append(args[0])
        found.options = {"dim0": -2, "dim1": -1}
        return found
    reflected = getattr(function, "__name__", "") in ("__rsub__", "__rdiv__", "__rpow__")
    if reflected and len(args) == 2:  # other - self
        found.add("self", args[1])
        found.add("other", args[0])
        return found
    named = _named(function, layer, args)
    for name, value in (*named, *kwargs.items()):
        found.add("self" if name == "input" else name, value)
    return found


def _named(function: Callable[..., Any], layer: str, args: Sequence[Any]) -> list[tuple[str, Any]]:
    """Names positional arguments: by the signature of a function in Python, else by ATen's."""
    names = _signature(function)
    if names and len(names) >= len(args):
        return list(zip(names, args, strict=False))
    drawn = layer == "draw"
    for arguments in _schemas(getattr(function, "__name__", "") if drawn else layer, drawn):
        named = _fit(arguments, args, drawn or layer in MANY)
        if named is not None:
            return named
    return [(f"argument{at}", value) for at, value in enumerate(args)]


@cache
def _signature(function: Callable[..., Any]) -> tuple[str, ...]:
    if not inspect.isfunction(function):
        return ()
    plain = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    try:
        given = inspect.signature(function).parameters.values()
    except ValueError:  # a wrapped built-in function
        return ()
    if any(one.kind is inspect.Parameter.VAR_POSITIONAL for one in given):
        return ()
    return tuple(one.name for one in given if one.kind in plain)


@cache
def _schemas(layer: str, without_tensors: bool) -> tuple[tuple[tuple[str, str], ...], ...]:
    """Names and types of the positional arguments of each ATen function of a name."""
    found = torch._C._jit_get_schemas_for_operator(f"aten::{layer}")
    return tuple(
        tuple((one.name, str(one.type)) for one in schema.arguments if not one.kwarg_only)
        for schema in found
        if without_tensors
        or (any("Tensor" in str(one.type) for one in schema.arguments) and not schema.is_mutable)
    )


def _fit(
    arguments: Sequence[tuple[str, str]], args: Sequence[Any], many: bool
) -> list[tuple[str, Any]] | None:
    """The arguments with their names, if they have these types; `x.view(2, 3)`, where many are one,
    as `x.view([2, 3])`."""
    named: list[tuple[str, Any]] = []
    rest = list(args)
    for name, kind in arguments:
        if not rest:
            return named
        if many and "List[int]" in kind and all(isinstance(one, int) for one in rest):
            return [*named, (name, rest)]
        if not _is_of(rest[0], kind):
            return None
        named.append((name, rest.pop(0)))
    return None if rest else named


def _is_of(value: object, kind: str) -> bool:
    if kind.startswith("Optional["):
        return value is None or _is_of(value, kind[len("Optional[") : -1])
    if isinstance(value, Tensor):
        return kind == "Tensor"
    if isinstance(value, list | tuple):
        return kind.startswith("List[") and all(_is_of(one, kind[5:-1]) for one in value)
    if isinstance(value, bool):
        return kind in ("bool", "number")
    if isinstance(value, int):
        return kind in ("int", "number", "float", "List[int]")
    if isinstance(value, float):
        return kind in ("float", "number")
    if isinstance(value, str):
        return kind in ("str", "Device")
    if isinstance(value, torch.dtype | torch.layout | torch.memory_format):
        return kind == "int"
    return isinstance(value, torch.device) and kind == "Device"


def _split_index(
    found: Arguments, args: Sequence[Any], kwargs: Mapping[str, Any], called: bool
) -> None:
    """`x[...]`: option `index` has a number, null (a new axis), "...", "start:stop:step", or
    "tensor", which stands for an input, for each place. `index_put`, if it is called by
    that name, has tensors alone, which may be in a list, and may add to what is there."""
    names = ("input", "indices", "values", "accumulate")
    given = {**dict(zip(names, args, strict=False)), **kwargs}
    given.setdefault("input", given.get("self"))
    found.inputs.append(given["input"])
    index = given["indices"]
    places = index if isinstance(index, tuple) or called else (index,)
    said: list[Any] = []
    for place in places:
        if isinstance(place, Tensor):
            found.inputs.append(place)
            said.append("tensor")
        elif isinstance(place, slice):
            parts = ["" if one is None else str(one) for one in (place.start, place.stop)]
            step = "" if place.step is None else f":{place.step}"
            said.append(":".join(parts) + step)
        elif place is Ellipsis:
            said.append("...")
        else:
            said.append(json_value(place)[1])
    found.options["index"] = said
    if "values" in given:
        found.add("value", given["values"])
    if given.get("accumulate"):
        found.options["accumulate"] = True
