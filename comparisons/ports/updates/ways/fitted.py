"""Constants of an optimiser that are fitted to an update: rates, decays, betas, epsilons."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import Tensor

from comparisons.diagnosis.mistakes import slope
from comparisons.ports.expected.update import Update
from comparisons.ports.updates.parts import Part
from comparisons.ports.updates.ways.adam import Adam
from comparisons.ports.updates.ways.candidate import (
    CLOSE,
    Candidate,
    rounded,
    setting,
    shown,
    with_settings,
)

MOMENTS = (("exp_avg", 1), ("exp_avg_sq", 2))  # and the power of the gradient in it
LEAST_BETA = 0.1
FEW_DIGITS = 1e-4  # relative: how near a beta has to be to a round number

__all__ = ["fitted", "fitted_rate", "of_rate", "rate_factor"]


def fitted(part: Part) -> Iterator[Candidate]:
    """Yields settings with values that are fitted to an update."""
    rate = of_rate(part)
    if rate is not None:
        yield rate
    yield from _decays(part)
    yield from _betas(part)
    yield from _epsilon(part)


def of_rate(part: Part) -> Candidate | None:
    """The learning rate that makes of the right update what was found."""
    factor = rate_factor(part)
    if factor is None or abs(factor - 1) <= CLOSE:
        return None
    if factor == 0:
        return Candidate("the update leaves the parameter as it was", _still)
    return setting(part, "lr", fitted_rate(part, factor), refit=of_rate)


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
        known = tuple(map(float, given["betas"]))
        shares = [_share(part, key, g**power) for key, power in MOMENTS]
        one, two = (own if new is None else new for new, own in zip(shares, known, strict=True))
        for betas in ((one, known[1]), (known[0], two), (one, two)):
            if betas != known:
                yield setting(part, "betas", betas)
                yield from _of_one_place(part, known, betas, "moment")
        yield from _corrections(part, known)
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


def _of_one_place(
    part: Part, known: tuple[float, ...], betas: tuple[float, float], where: str
) -> Iterator[Candidate]:
    """Betas of Adam that are others in the moments than in their bias correction."""
    if part.kind.removeprefix("ignite_") not in ("adam", "adamw"):
        return
    rest = "its bias correction" if where == "moment" else "the moment"
    words = " and ".join(
        f"beta{at} = {shown(new)} in the {which} "
        + (f"moment, {shown(old)} in {rest}" if where == "moment" else
           f"moment's bias correction, {shown(old)} in {rest}")
        for at, which, new, old in zip((1, 2), ("first", "second"), betas, known, strict=True)
        if new != old
    )  # fmt: skip
    way = Adam(moments=betas) if where == "moment" else Adam(corrections=betas)
    yield Candidate(words, way, unsure=where != "moment")


def _corrections(part: Part, known: tuple[float, ...]) -> Iterator[Candidate]:
    """The beta of one bias correction, if the update is off by a factor."""
    factor, count = rate_factor(part), part.count
    if factor is None or factor <= 0 or count < 1 or abs(factor - 1) <= CLOSE:
        return
    for at, divisor in enumerate((1 / factor, factor**2)):
        rest = 1 - (1 - known[at] ** count) * divisor
        beta = rounded(rest ** (1 / count), FEW_DIGITS) if 0 < rest < 1 else 0.0
        if LEAST_BETA < beta < 1:  # a smaller one is none
            other = (beta, known[1]) if at == 0 else (known[0], beta)
            yield from _of_one_place(part, known, other, "correction")


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
