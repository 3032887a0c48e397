"""What may have made an update, besides what is declared: each with what it would have made."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from comparisons.diagnosis.mistakes import slope
from comparisons.ports.expected.optimisers import usual_settings
from comparisons.ports.expected.update import Update
from comparisons.ports.updates.parts import Part
from comparisons.ports.updates.ways.adam import ADAM_WAYS
from comparisons.ports.updates.ways.candidate import (
    CLOSE,
    Candidate,
    Way,
    setting,
    shown,
    with_settings,
)
from comparisons.ports.updates.ways.fitted import fitted, fitted_rate, of_rate
from comparisons.ports.updates.ways.others import (
    ADADELTA_WAYS,
    ADAGRAD_WAYS,
    RMSPROP_WAYS,
    SGD_WAYS,
)

__all__ = ["candidates"]

WAYS: Mapping[str, Mapping[str, Way]] = {
    "adam": ADAM_WAYS,
    "adamw": ADAM_WAYS,
    "sgd": SGD_WAYS,
    "rmsprop": RMSPROP_WAYS,
    "adagrad": ADAGRAD_WAYS,
    "adadelta": ADADELTA_WAYS,
}
# other values that settings usually have
USUAL: Mapping[str, tuple[Any, ...]] = {
    "alpha": (0.99, 0.9),
    "amsgrad": (True, False),
    "betas": ((0.9, 0.999), (0.9, 0.99), (0.5, 0.999), (0.999, 0.9)),
    "centered": (True, False),
    "dampening": (0.0, 0.9),
    "eps": (0.0, 1e-3, 1e-6, 1e-7, 1e-8, 1e-10),
    "lr": (0.1, 0.01, 0.001, 0.0001),
    "lr_decay": (0.0,),
    "maximize": (True, False),
    "momentum": (0.0, 0.9, 0.99),
    "nesterov": (True, False),
    "rho": (0.9, 0.95),
    "weight_decay": (0.0, 0.01, 0.1, 1e-4),
}
# optimisers that may stand in another's place, with settings besides the learning rate and decay
KINDS: tuple[tuple[str, Mapping[str, Any]], ...] = (
    ("sgd", {}),
    ("sgd", {"momentum": 0.9}),
    ("sgd", {"momentum": 0.99}),
    ("adam", {}),
    ("adamw", {}),
    ("nadam", {}),
    ("radam", {}),
    ("adamax", {}),
    ("rmsprop", {}),
    ("rmsprop", {"alpha": 0.9, "eps": 1e-7}),
    ("adagrad", {}),
    ("adagrad", {"initial_accumulator_value": 0.1, "eps": 1e-7}),
    ("adadelta", {}),
    ("adadelta", {"rho": 0.95, "eps": 1e-7}),
)
TOLD_APART = {"adam": ("adamw", "nadam"), "adamw": ("adam", "nadam")}  # by `WAYS`


def candidates(part: Part) -> Iterator[Candidate]:
    """Yields what may have made an update of these.

    Arguments:
        part: The update; constants are fitted to it.
    """
    kind = part.kind.removeprefix("ignite_")
    for words, way in WAYS.get(kind, {}).items():
        yield Candidate(words, way)
    yield from _other_settings(part)
    yield from fitted(part)
    yield from _other_kinds(part, kind)
    yield Candidate("the update is added where it should be subtracted", _added)


def _other_settings(part: Part) -> Iterator[Candidate]:
    for name, values in USUAL.items():
        known = part.settings.get(name)
        if known is None:
            continue
        for value in values:
            if value != (tuple(known) if isinstance(known, list) else known):
                yield setting(part, name, value, refit=of_rate if name == "lr" else None)


def _added(part: Part) -> Update | None:
    right = part.right.parameter
    return Update(2 * part.start - right, part.right.state)


def _other_kinds(part: Part, kind: str) -> Iterator[Candidate]:
    for other, settings in KINDS:
        if other == kind or other in TOLD_APART.get(kind, ()):
            continue
        shared = {k: part.settings[k] for k in ("lr", "weight_decay") if k in part.settings}
        given = {**usual_settings(other), **shared, **settings}
        with_them = ", ".join(f"{name} {shown(value)}" for name, value in settings.items())
        named = f"{other} ({with_them})" if settings else other
        words = f"optimiser {named} where it is {kind}"
        way = _Kind(other, given)
        yield Candidate(words, way, carries=True, unsure=bool(settings))
        if other == "sgd" and not settings:
            yield from _plain(part, kind)


@dataclass(frozen=True)
class _Kind:
    kind: str
    settings: Mapping[str, Any]

    def __call__(self, part: Part) -> Update | None:
        return with_settings(part, self.kind, **self.settings)


def _plain(part: Part, kind: str) -> Iterator[Candidate]:
    """The gradient times a learning rate that is not the declared one."""
    rate = slope(part.start - part.parameter, part.gradient)
    declared = float(part.settings["lr"])
    rate = fitted_rate(part, rate / declared) if rate is not None and declared else 0.0
    moved = float((part.parameter - part.start).abs().max())
    if rate > 0 and abs(rate - declared) * moved > max(CLOSE * moved, part.noise) * declared:
        words = f"optimiser sgd (lr {shown(rate)}) where it is {kind}"
        way = _Kind("sgd", {**usual_settings("sgd"), "lr": rate})
        yield Candidate(words, way, carries=True)
