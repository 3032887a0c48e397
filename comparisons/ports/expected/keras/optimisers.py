"""Keras' optimisers as those of PyTorch that they correspond to, with Keras' settings."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from comparisons.ports.expected.call import takes
from pyvae.trace.program import Optimiser, OptimiserGroup

__all__ = [
    "as_of_torch", "eps_words", "is_of_keras", "of_its_own", "said_alike", "with_place_of_eps",
]  # fmt: skip

PREFIX = "keras_"
# What Keras does not have, or leaves out where it is switched off
WITHOUT: Mapping[str, Any] = {
    "amsgrad": False, "centered": False, "dampening": 0.0, "lr_decay": 0.0, "maximize": False,
    "momentum": 0.0, "nesterov": False, "weight_decay": 0.0,
}  # fmt: skip
SINGLE = 1e-6  # relative: Keras keeps its learning rate in float32
ROUNDED = ("lr", "eps")
CORRECTED = ("adam", "adamw")
INSIDE = "eps_inside"
PLACES = {
    f"{INSIDE} = false where it is true": "eps added outside the square root, where it is added "
    "inside (Keras's way)",
    f"{INSIDE} = true where it is false": "Keras's way: eps added inside the square root, where "
    "it is added outside",
}
COUNT = "iterations"  # updates that it made before


def is_of_keras(optimiser: Optimiser | None) -> bool:
    """Whether an optimiser is one of Keras'."""
    return optimiser is not None and optimiser.kind.startswith(PREFIX)


def as_of_torch(optimiser: Optimiser, known: Mapping[str, Any]) -> Optimiser:
    """An optimiser of Keras as that of PyTorch with its name; as it is if there is none.

    Keras adds Adam's eps before the bias correction: PyTorch's, which is added after it, is that
    divided by the root of 1 - beta2 to the power of the number of the update. RMSprop's eps is
    inside the square root; with momentum, which has the learning rate in it, that is not told.

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
    groups = []
    for group in optimiser.groups:
        settings = {**usual, **group.settings}
        count = int(settings.pop(COUNT, 0)) + 1
        if kind in CORRECTED and "eps" in settings and "betas" in settings:
            left = 1 - float(settings["betas"][1]) ** count
            settings["eps"] = float(settings["eps"]) / math.sqrt(left)
        if kind == "rmsprop" and not settings.get("momentum") and not settings.get("weight_decay"):
            settings[INSIDE] = True
        groups.append(OptimiserGroup(group.parameters, settings))
    return Optimiser(optimiser.name, kind, tuple(groups))


def of_its_own(optimiser: Optimiser, known: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of an optimiser of Keras that PyTorch's of that name does not have."""
    kind = known.get(optimiser.kind.removeprefix(PREFIX))
    theirs = set() if kind is None else {*takes(kind.__init__), COUNT}
    found = {k: v for group in optimiser.groups for k, v in group.settings.items()}
    return {name: value for name, value in found.items() if kind is not None and name not in theirs}


def said_alike(name: str, one: Any, two: Any) -> bool:
    """Whether two values of a setting are the same, but for Keras' float32."""
    if name not in ROUNDED or not all(isinstance(x, int | float) for x in (one, two)):
        return False
    return math.isclose(one, two, rel_tol=SINGLE)


def with_place_of_eps(words: Sequence[str]) -> list[str]:
    """What two optimisers declare differently, with words for where RMSprop adds eps; nothing of
    that where eps itself is another one.

    Arguments:
        words: What they declare differently.
    """
    another = any(one.startswith("eps = ") for one in words)
    return [PLACES.get(one, one) for one in words if not (another and one in PLACES)]


def eps_words(declared: Mapping[str, Any], other: Mapping[str, Any], keras_first: bool) -> str:
    """How Keras' eps of Adam and another one differ: which it is, or where it is added.

    Arguments:
        declared: Keras' settings, as it declares them.
        other: The other's.
        keras_first: Whether Keras' side is the first one.
    """
    mine, theirs = float(declared["eps"]), float(other["eps"])
    if not math.isclose(mine, theirs):
        pair = (theirs, mine) if keras_first else (mine, theirs)
        return f"eps = {pair[0]:g} where it is {pair[1]:g}"
    places = ("after", "before") if keras_first else ("before", "after")
    return (
        f"eps added {places[0]} the bias correction, where it is added {places[1]} (Keras's way: "
        f"in PyTorch's Adam, eps / sqrt(1 - beta2 ** step))"
    )
