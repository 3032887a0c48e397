"""What a module is called in a trace, and what it declares."""

from __future__ import annotations

import inspect
import re
from functools import cache
from typing import Any

from torch import Tensor, nn

from pyvae.recording.seen.arguments import json_value

__all__ = ["is_layer", "layer_name", "module_options", "module_roles", "snake_case"]

CONTAINERS = (
    nn.Sequential, nn.ModuleList, nn.ModuleDict, nn.ParameterList, nn.ParameterDict,
    nn.DataParallel,
)  # fmt: skip
WHOLE = (nn.MultiheadAttention, nn.RNNBase)  # layers, though they have modules within
LEFT_OUT = {"self", "inplace", "device", "dtype", "mode", "args", "kwargs"}
BY_MODE = (nn.Upsample, nn.EmbeddingBag)  # whose `mode` is a setting


def snake_case(name: str) -> str:
    """Returns a class's name as a trace has it.

    Example:
        >>> snake_case("BatchNorm2d"), snake_case("LeakyReLU"), snake_case("BCEWithLogitsLoss")
        ('batch_norm2d', 'leaky_relu', 'bce_with_logits_loss')
    """
    name = re.sub("([A-Z]?)(ReLU|SiLU)", lambda found: found[0].capitalize(), name)
    return re.sub("(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()


def layer_name(module: nn.Module) -> str:
    """The layer that a module computes: its class of torch.nn, or its own class."""
    return snake_case((_class_of(module) or type(module)).__name__)


def is_layer(module: nn.Module) -> bool:
    """Whether a module is recorded as one stage: torch.nn's own, that are no containers. A class
    derived from one with a `forward` of its own is looked into."""
    if isinstance(module, CONTAINERS) or _class_of(module) is None:
        return False
    return isinstance(module, WHOLE) or not any(_class_of(child) for child in module.children())


def _class_of(module: nn.Module) -> type[nn.Module] | None:
    kind: Any = type(module)
    return _class_of_torch(kind)


@cache
def _class_of_torch(kind: Any) -> type[nn.Module] | None:
    """The class of torch.nn that computes a module's `forward`; None if the user's own does."""
    for one in kind.__mro__:
        if "forward" in vars(one) or one.__module__.startswith("torch.nn.modules"):
            ours = one.__module__.startswith(("torch.nn.modules", "torch.ao.nn"))
            return one if ours and one is not nn.Module else None
    return None


def module_options(module: nn.Module) -> dict[str, Any]:
    """A layer's settings: the arguments of its constructor that it keeps."""
    found: dict[str, Any] = {}
    kind: Any = type(module)
    for name in _arguments(kind):
        if name == "bias" and not isinstance(getattr(module, "bias", None), bool):
            found[name] = _has_bias(module)
        elif name == "add_bias_kv":
            found[name] = getattr(module, "bias_k", None) is not None
        elif hasattr(module, name):
            kept, value = json_value(getattr(module, name))
            if kept:
                found[name] = value
    return found


def _has_bias(module: nn.Module) -> bool:
    held = "in_proj_bias" if isinstance(module, nn.MultiheadAttention) else "bias"
    return getattr(module, held, None) is not None


@cache
def _arguments(kind: Any) -> tuple[str, ...]:
    names: dict[str, None] = {}
    for one in kind.__mro__:
        if one is nn.Module or not one.__module__.startswith("torch.nn."):
            continue
        if "__init__" not in vars(one):
            continue
        given = inspect.signature(vars(one)["__init__"]).parameters
        names.update(dict.fromkeys(given))
        if not any(p.kind is inspect.Parameter.VAR_POSITIONAL for p in given.values()):
            break  # else the class that it derives from says
    if issubclass(kind, nn.RNN):
        names["nonlinearity"] = None  # its signature does not say so
    left_out = LEFT_OUT - {"mode"} if issubclass(kind, BY_MODE) else LEFT_OUT
    return tuple(name for name in names if name not in left_out and not name.startswith("_"))


def module_roles(module: nn.Module, path: str) -> dict[str, str | Tensor]:
    """The parameters and buffers of a layer, by role: each one's name, or the tensor that
    `torch.func.functional_call` has put in a parameter's place."""
    found: dict[str, str | Tensor] = {}
    for role, one in module.named_parameters(remove_duplicate=False):
        name = f"{path}.{role}" if path else role
        found[role] = name if isinstance(one, nn.Parameter) else one
    for role, _ in module.named_buffers(remove_duplicate=False):
        found[role] = f"{path}.{role}" if path else role
    return found
