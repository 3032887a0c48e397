"""What an optimiser that is wrong computes, as if it had been declared otherwise.

Its settings are exchanged for usual ones, one at a time, and the quantity is computed again: what
then is what was recorded is a name for the mistake.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from comparisons.ports.judging.own import Own, Residual, distance
from pyvae.trace.program import Optimiser, OptimiserGroup

__all__ = ["as_if_settings"]

SETTINGS: dict[str, tuple[Any, ...]] = {
    "alpha": (0.99, 0.9),
    "amsgrad": (True, False),
    "betas": ((0.9, 0.999), (0.9, 0.99), (0.5, 0.999), (0.999, 0.9)),
    "centered": (True, False),
    "dampening": (0.0, 0.9),
    "eps": (0.0, 1e-3, 1e-7, 1e-8, 1e-10, 1e-6),
    "lr": (0.1, 0.01, 0.001, 0.0001),
    "maximize": (True, False),
    "momentum": (0.0, 0.9, 0.99),
    "nesterov": (True, False),
    "weight_decay": (0.0, 0.01, 0.1, 1e-4),
}
KINDS = ("sgd", "adam", "adamw", "rmsprop", "adagrad")


def as_if_settings(own: Own, kind: str, name: str, residual: Residual) -> Iterator[str]:
    """Yields what the optimiser left of a parameter as if it had been.

    Arguments:
        own: What the side should return.
        kind: `state` or `parameter`.
        name: Of the parameter; of a state, with its key.
        residual: How far it is from what it should be.
    """
    optimiser = own.step.about.optimiser
    if optimiser is None:
        return
    parameter, _, key = name.rpartition(".") if kind == "state" else (name, "", "")
    recorded = own.step.arrays[f"{kind}/{name}"].astype(np.float64)
    for words, other in _other_optimisers(optimiser, parameter):
        update = own.update(parameter, other)
        value = None if update is None else update.state.get(key) if key else update.parameter
        if value is None or value.numel() != recorded.size:
            continue
        if distance(value.numpy().reshape(recorded.shape), recorded) <= residual.allowed:
            yield words


def _other_optimisers(optimiser: Optimiser, name: str) -> Iterator[tuple[str, Optimiser]]:
    group = next((one for one in optimiser.groups if name in one.parameters), None)
    if group is None:
        return

    def made(settings: Mapping[str, Any], kind: str = optimiser.kind) -> Optimiser:
        return Optimiser(optimiser.name, kind, (OptimiserGroup((name,), settings),))

    for setting, values in SETTINGS.items():
        known = group.settings.get(setting)
        if known is None:
            continue
        if setting == "lr" and isinstance(known, int | float):
            values = (*values, known * 10, known / 10, known * 2, known / 2)
        for value in dict.fromkeys(values):
            if value != (tuple(known) if isinstance(known, list) else known):
                changed = {**group.settings, setting: value}
                yield f"as if {setting} were {_shown(value)}", made(changed)
    for kind in KINDS:
        if kind != optimiser.kind:
            shared = {k: v for k, v in group.settings.items() if k in ("lr", "weight_decay")}
            yield f"as if the optimiser were {kind}", made(shared, kind)


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value)
