"""What may have made an update, besides what is declared: each with what it would have made."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from comparisons.diagnosis.mistakes import slope
from comparisons.ports.expected.declared import other_setting
from comparisons.ports.expected.declared import shown as said
from comparisons.ports.expected.optimisers import usual_settings
from comparisons.ports.expected.update import Update, one_update
from comparisons.ports.updates.parts import Part
from comparisons.ports.updates.ways.adam import ADAM_WAYS
from comparisons.ports.updates.ways.others import (
    ADADELTA_WAYS,
    ADAGRAD_WAYS,
    RMSPROP_WAYS,
    SGD_WAYS,
)

__all__ = [
    "Candidate",
    "candidates",
    "fitted_rate",
    "rate_factor",
    "rounded",
    "shown",
    "with_settings",
]

Way = Callable[[Part], Update | None]


@dataclass(frozen=True)
class Candidate:
    """A mistake that an update may have.

    Attributes:
        words: That complete "SIDE: ...".
        way: Makes the update.
        once: Whether it is of one step, and the next may be right.
        carries: Whether its state is its own, not the recorded one.
        unsure: Whether it is named only if a further step confirms it.
        refit: Makes the same of another step, where the constant may be another one.
    """

    words: str
    way: Way
    once: bool = False
    carries: bool = False
    unsure: bool = False
    refit: Callable[[Part], Candidate | None] | None = None


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
    yield from _fitted(part)
    yield from _other_kinds(part, kind)
    yield Candidate("the update is added where it should be subtracted", _added)


def with_settings(part: Part, kind: str = "", **settings: Any) -> Update | None:
    """An update of PyTorch's own optimiser with other settings, or of another one."""
    given = {**part.settings, **settings} if not kind else settings
    return one_update(kind or part.kind, given, part.start, part.gradient, part.before)


def setting(part: Part, name: str, value: Any, **about: Any) -> Candidate:
    """Another value of a setting."""
    known = part.settings[name]
    if isinstance(value, float):
        value = _digits(value, known)
    words = other_setting(name, value, known)
    return Candidate(words, lambda one: with_settings(one, **{name: value}), **about)


def _digits(value: float, known: Any) -> float:
    """Six digits, or as many as tell a number from the declared one."""
    digits = 6
    while digits < 17 and float(f"{value:.{digits}g}") == known != value:
        digits += 1
    return float(f"{value:.{digits}g}")


def shown(value: Any) -> str:
    """A value as a reader of either language knows it, a number with six digits."""
    return said(float(f"{value:.6g}") if isinstance(value, float) else value)


def _other_settings(part: Part) -> Iterator[Candidate]:
    for name, values in USUAL.items():
        known = part.settings.get(name)
        if known is None:
            continue
        for value in values:
            if value != (tuple(known) if isinstance(known, list) else known):
                yield setting(part, name, value, refit=_rate if name == "lr" else None)


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


# Constants that are fitted ------------------------------------------------------------------------

CLOSE = 1e-5  # relative: two constants that are one


def rounded(value: float, close: float = CLOSE) -> float:
    """A fitted constant, or the one of few digits beside it that it stands for.

    Arguments:
        value: The constant.
        close: How far it may be from that one, relative to it.
    """
    for digits in range(1, 6) if value else ():
        near = float(f"{value:.{digits}g}")
        if abs(near - value) <= close * abs(value):
            return near
    return value


def _fitted(part: Part) -> Iterator[Candidate]:
    rate = _rate(part)
    if rate is not None:
        yield rate
    yield from _decays(part)
    yield from _betas(part)
    yield from _epsilon(part)


def _rate(part: Part) -> Candidate | None:
    """The learning rate that makes of the right update what was found."""
    factor = rate_factor(part)
    if factor is None or abs(factor - 1) <= CLOSE:
        return None
    if factor == 0:
        return Candidate("the update leaves the parameter as it was", _still)
    return setting(part, "lr", fitted_rate(part, factor), refit=_rate)


def fitted_rate(part: Part, factor: float) -> float:
    """The learning rate that an update was made with, if it is off by a factor."""
    moved = float((part.parameter - part.start).abs().max())
    close = max(CLOSE, part.noise / moved / 10) if moved else CLOSE
    return rounded(factor * part.settings["lr"], min(close, 1e-3 * abs(factor - 1)))


def rate_factor(part: Part) -> float | None:
    """What the update is off by, if it is one factor."""
    right = part.right.parameter - part.start
    factor = slope(part.parameter - part.start, right)
    if factor is None or not (part.right.parameter - part.parameter).any():
        return None if factor is None else 1.0
    return factor


def _still(part: Part) -> Update | None:
    return Update(part.start, {})


def _decays(part: Part) -> Iterator[Candidate]:
    """Weight decay, added to the gradient or to the update."""
    declared = part.settings.get("weight_decay")
    if declared is None:
        return
    kind, rate = part.kind, float(part.settings["lr"])
    more = slope(part.right.parameter - part.parameter, rate * part.start)
    if more and "adamw" in kind:
        if declared and abs((declared + more) * rate / declared - 1) <= 1e-3:
            return  # one of `WAYS`: it is not times the learning rate
        yield setting(part, "weight_decay", rounded(declared + more))
    elif more:
        words = f"weight decay {shown(rounded(more))} decoupled from the gradient (as AdamW's)"
        yield Candidate(words, lambda one: _decayed(one, rounded(more)))
    got = _implied_gradient(part)
    if got is not None:
        decay = slope(got - part.gradient, part.start)
        if decay and "adamw" not in kind:
            yield setting(part, "weight_decay", rounded(decay))
        elif decay:
            words = f"weight decay {shown(rounded(decay))} added to the gradient (L2)"
            yield Candidate(words, lambda one: _with_gradient(one, rounded(decay)))


def _decayed(part: Part, decay: float) -> Update:
    more = decay * part.settings["lr"] * part.start
    return Update(part.right.parameter - more, part.right.state)


def _with_gradient(part: Part, decay: float) -> Update | None:
    return with_settings(replace(part, gradient=part.gradient + decay * part.start))


def _implied_gradient(part: Part) -> Tensor | None:
    """The gradient, with its decay, that the recorded state has in it."""
    given, kind = part.settings, part.kind
    sign = -1.0 if given.get("maximize") else 1.0
    if "adam" in kind and "exp_avg" in part.state:
        beta = given["betas"][0]
        return (part.state["exp_avg"] - beta * part.moment("exp_avg")) / (1 - beta)
    if not kind.endswith("sgd"):
        return None
    momentum = float(given["momentum"])
    if momentum and "momentum_buffer" in part.state:
        if "momentum_buffer" not in part.before:
            return part.state["momentum_buffer"]
        rest = part.state["momentum_buffer"] - momentum * part.before["momentum_buffer"]
        return rest / (1 - float(given["dampening"]))
    return None if momentum else sign * (part.start - part.parameter) / float(given["lr"])


def _betas(part: Part) -> Iterator[Candidate]:
    """How much of a moment stays."""
    g, given = part.gradient, part.settings
    g = g + given.get("weight_decay", 0.0) * part.start if "adamw" not in part.kind else g
    if "betas" in given:
        for order, key in enumerate(("exp_avg", "exp_avg_sq")):
            beta = _share(part, key, g ** (order + 1))
            if beta is not None:
                betas = list(given["betas"])
                betas[order] = beta
                yield setting(part, "betas", tuple(betas))
    for name, key in (("alpha", "square_avg"), ("rho", "square_avg")):
        beta = _share(part, key, g**2) if name in given else None
        if beta is not None:
            yield setting(part, name, beta)
    key = "momentum_buffer"
    if key in part.before and key in part.state and part.kind.endswith("sgd"):
        new = (1 - float(given["dampening"])) * g
        momentum = slope(part.state[key] - new, part.before[key])
        if momentum is not None and momentum > 0:
            yield setting(part, "momentum", rounded(momentum))


def _share(part: Part, key: str, new: Tensor) -> float | None:
    if key not in part.state or part.state[key].shape != new.shape:
        return None
    beta = slope(part.state[key] - new, part.moment(key) - new)
    return rounded(beta) if beta is not None and 0 <= beta < 1 else None


def _epsilon(part: Part) -> Iterator[Candidate]:
    """What is added to the root: the update is x / (root + eps)."""
    given = part.settings
    if not isinstance(given.get("eps"), float) or part.kind.endswith("adadelta"):
        return
    without = with_settings(part, eps=0.0)
    if without is None:
        return
    # with eps = 0 the update is x / root, with 1 it is x / (root + 1)
    with_one = with_settings(part, eps=1.0)
    if with_one is None:
        return
    kept = 1 - given["lr"] * given["weight_decay"] if "adamw" in part.kind else 1.0
    zero, one, found = (
        kept * part.start - x for x in (without.parameter, with_one.parameter, part.parameter)
    )
    root = one / (zero - one)
    eps = (zero - found) / found * root
    eps = eps[torch.isfinite(eps) & (zero.abs() > 0)]
    if eps.numel() >= 3:
        value = float(f"{float(eps.median()):.4g}")
        if 0 < value < 1:
            yield setting(part, "eps", value)
