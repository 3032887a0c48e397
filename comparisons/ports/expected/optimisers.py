"""Optimisers by the name that a trace has for them, and their settings as PyTorch's take them."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import torch

from comparisons.ports.expected.call import takes
from comparisons.ports.expected.keras.optimisers import as_of_torch, is_of_keras
from comparisons.ports.expected.rmsprop import RMSprop
from pyvae.trace.program import Optimiser, OptimiserGroup

__all__ = [
    "OF_TORCH", "OPTIMISERS", "plain_settings", "settings_of", "standing_in", "state_name",
    "usual_settings",
]  # fmt: skip

Kind = type[torch.optim.Optimizer]

PLAIN: Mapping[str, Kind] = {
    "sgd": torch.optim.SGD,
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
    "nadam": torch.optim.NAdam,
    "radam": torch.optim.RAdam,
    "adamax": torch.optim.Adamax,
    "rmsprop": RMSprop,
    "adagrad": torch.optim.Adagrad,
    "adadelta": torch.optim.Adadelta,
    "asgd": torch.optim.ASGD,
    "rprop": torch.optim.Rprop,
}
# R torch has LibTorch's own optimisers beside those that are written in R
OPTIMISERS: Mapping[str, Kind] = {
    **PLAIN,
    **{f"ignite_{name}": PLAIN[name] for name in ("sgd", "adam", "adamw", "rmsprop", "adagrad")},
}
# PyTorch's that are not computed again, and are no hand-written ones either
OF_TORCH = {
    name.lower() for name, kind in vars(torch.optim).items() if isinstance(kind, type)
} - OPTIMISERS.keys()
OTHER_NAMES = {"lambda": "lambd"}  # R torch's name of an option, and PyTorch's
OTHER_STATES = {"max_exp_avg_sqs": "max_exp_avg_sq"}
# How it is computed, what a schedule started from, and what AdamW's groups say of themselves
WITHOUT_EFFECT = {
    "foreach", "fused", "capturable", "differentiable", "initial_lr", "max_lr", "min_lr",
    "max_momentum", "base_momentum", "params",
}  # fmt: skip


def settings_of(optimiser: Optimiser, group: int) -> dict[str, Any] | None:
    """Returns a group's settings as PyTorch's optimiser takes them; None if the optimiser, or one
    of the settings, is not known."""
    kind = OPTIMISERS.get(optimiser.kind)
    if kind is None:
        return None
    known = takes(kind.__init__)
    settings: dict[str, Any] = {}
    for name, value in plain_settings(optimiser.groups[group].settings).items():
        if name in known:
            settings[name] = tuple(value) if isinstance(value, list) else value
        elif name == "decoupled_weight_decay":
            if value != (kind is torch.optim.AdamW):
                return None
        elif value not in (None, False):
            return None
    return settings


def plain_settings(given: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the settings that have an effect, by PyTorch's names."""
    named = {OTHER_NAMES.get(key, key): value for key, value in given.items()}
    return {name: value for name, value in named.items() if name not in WITHOUT_EFFECT}


def usual_settings(kind: str) -> dict[str, Any]:
    """Returns the settings that an optimiser has by default; empty if it is not known."""
    if kind not in OPTIMISERS:
        return {}
    known = takes(OPTIMISERS[kind].__init__)
    return {
        name: one.default
        for name, one in known.items()
        if one.default is not inspect.Parameter.empty and name not in WITHOUT_EFFECT
    }


def state_name(key: str) -> str:
    """Returns PyTorch's name of an optimiser's state."""
    return OTHER_STATES.get(key, key)


def standing_in(own: Optimiser | None, other: Optimiser | None) -> Optimiser | None:
    """Returns an optimiser; one of a kind that is not known as if it were the other's: with its own
    settings, as far as they have the names of the other's, and the other's where it has none. One
    of Keras' as PyTorch's of that name."""
    if own is not None and is_of_keras(own) and other is not None:
        return own if is_of_keras(other) else as_of_torch(own, PLAIN)
    if own is None or other is None or own.kind in OPTIMISERS or other.kind not in OPTIMISERS:
        return own
    if own.kind in OF_TORCH:
        return own
    if not other.groups:
        return own
    groups = []
    for at, group in enumerate(own.groups):
        theirs = other.groups[min(at, len(other.groups) - 1)].settings
        given = {name: group.settings.get(name, value) for name, value in theirs.items()}
        groups.append(OptimiserGroup(group.parameters, given))
    return Optimiser(own.name, other.kind, tuple(groups))
