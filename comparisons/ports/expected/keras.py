"""Keras' optimisers as those of PyTorch that they correspond to, with Keras' settings."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from comparisons.ports.expected.call import takes
from pyvae.trace.program import Optimiser, OptimiserGroup

__all__ = ["as_of_torch", "is_of_keras", "said_alike"]

PREFIX = "keras_"
# What Keras does not have, or leaves out where it is switched off
WITHOUT: Mapping[str, Any] = {
    "amsgrad": False, "centered": False, "dampening": 0.0, "lr_decay": 0.0, "maximize": False,
    "momentum": 0.0, "nesterov": False, "weight_decay": 0.0,
}  # fmt: skip
SINGLE = 1e-6  # relative: Keras keeps its learning rate in float32
CLOSE = 1e-3


def is_of_keras(optimiser: Optimiser | None) -> bool:
    """Whether an optimiser is one of Keras'."""
    return optimiser is not None and optimiser.kind.startswith(PREFIX)


def as_of_torch(optimiser: Optimiser, known: Mapping[str, Any]) -> Optimiser:
    """An optimiser of Keras as that of PyTorch with its name; as it is if there is none.

    Arguments:
        optimiser: Keras'.
        known: PyTorch's optimisers, by the names that traces have for them.
    """
    kind = optimiser.kind.removeprefix(PREFIX)
    if kind not in known:
        return optimiser
    if kind == "adam" and any(group.settings.get("weight_decay") for group in optimiser.groups):
        kind = "adamw"  # Keras' weight decay is decoupled from the gradient
    theirs = takes(known[kind].__init__)
    usual = {name: value for name, value in WITHOUT.items() if name in theirs}
    groups = [OptimiserGroup(one.parameters, {**usual, **one.settings}) for one in optimiser.groups]
    return Optimiser(optimiser.name, kind, tuple(groups))


def said_alike(name: str, keras: Any, other: Any, settings: Mapping[str, Any], step: int) -> bool:
    """Whether PyTorch's value of a setting does what Keras' does: a learning rate with fewer
    digits, or an eps that is added after the bias correction in place of before it.

    Arguments:
        name: The setting.
        keras, other: Its values.
        settings: Keras'.
        step: The number of the update.
    """
    if not all(isinstance(one, int | float) for one in (keras, other)):
        return False
    if name == "lr":
        return math.isclose(keras, other, rel_tol=SINGLE)
    if name != "eps" or "betas" not in settings:
        return False
    corrected = keras / math.sqrt(1 - float(settings["betas"][1]) ** step)
    return math.isclose(corrected, other, rel_tol=CLOSE)
