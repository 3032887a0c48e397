"""What an optimiser other than Adam, or one that has not got all parameters, leaves behind.

Adam's moments and updates are judged one parameter at a time; these mistakes show in all of them
together.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from contextlib import suppress

import torch
from torch import Tensor

from comparisons.diagnosis.closeness import REST, distance
from comparisons.diagnosis.mistakes import slope
from comparisons.diagnosis.place import Place
from comparisons.expected.layers import BETA1, float64
from pyvae.model.stages import Probe

__all__ = ["other_optimiser", "together"]

SHOWN = 4  # names of parameters


def other_optimiser(place: Place) -> tuple[str, str] | None:
    """The side whose optimiser is another, or lacks parameters; and what it looks like.

    Arguments:
        place: Where the first moments of a parameter part.
    """
    for side, name in enumerate(place.names):
        with suppress(KeyError, RuntimeError):  # something is not known
            words = _without_moments(place, side) or _decay_by_number(place, side)
            if words:
                return name, words
    return None


def _without_moments(place: Place, side: int) -> str:
    probe, names = place.probes[side], place.parameters
    given = [name for name in names if probe[f"gradient/{name}"].any()]
    without = [
        name for name in given if not any(probe[f"moment{order}/{name}"].any() for order in (1, 2))
    ]
    if not without or place.quantity.name not in without:
        return ""
    still = not _update(probe, without).any()
    if still and len(without) < len(given):
        return f"the parameters {together(without, given)} are not in the optimiser"
    if still:
        return "no parameter is updated: the optimiser's step is not taken, or it has no parameters"
    return _plain(place, side, without) if len(without) == len(given) else ""


def _plain(place: Place, side: int, names: Sequence[str]) -> str:
    """Optimisers without moments."""
    probe, rate = place.probes[side], place.layers.settings.learning_rate
    step, g = _update(probe, names), _joined(probe, "gradient", names)
    size = float(step.abs().max())
    factor = slope(step, g)
    if factor and distance(factor * g, step) <= REST * size:
        is_rate = math.isclose(factor, rate, rel_tol=REST)
        of = "the learning rate" if is_rate else f"{factor:.6g}, a learning rate,"
        plain = f"SGD in place of Adam: the update is {of} times the gradient"
        after = place.following()
        if place.layers.adam_step > 1 or after is None:
            more = ", with momentum or without: step 2 would tell them apart"
            return plain + (more if place.layers.adam_step == 1 else "")
        momentum = _momentum(after.probes[side], g, factor, names)
        if momentum is None or abs(momentum) < REST:
            return plain
        return f"SGD with momentum {momentum:.4g} in place of Adam"
    if place.layers.adam_step > 1:  # what came before is not known
        return ""
    ways = {
        "RMSprop, alpha 0.99": g / ((0.01 * g**2).sqrt() + 1e-8),
        "RMSprop, rho 0.9": g / ((0.1 * g**2).sqrt() + 1e-7),
        "Adagrad": g / (g.abs() + 1e-10),
    }
    found = [name for name, way in ways.items() if distance(rate * way, step) <= REST * size]
    return f"{', or '.join(found)}, in place of Adam" if found else ""


def _momentum(probe: Probe, before: Tensor, rate: float, names: Sequence[str]) -> float | None:
    """SGD's, from the step after its first, if one number is it for all parameters."""
    rest = _update(probe, names) / rate - _joined(probe, "gradient", names)
    momentum = slope(rest, before)
    size = float(before.abs().max())
    if momentum is None or distance(momentum * before, rest) > REST * size:
        return None
    return momentum


def _decay_by_number(place: Place, side: int) -> str:
    """Weight decay of the parameter's place in the list."""
    probe, earlier, added = place.probes[side], place.before(side), []
    for name in place.parameters:
        moment = float64(probe[f"moment1/{name}"])
        before = torch.zeros_like(moment) if place.layers.adam_step == 1 else None
        if before is None:
            if earlier is None:
                return ""
            before = float64(earlier[f"moment1/{name}"])
        rest = (moment - BETA1 * before) / (1 - BETA1) - float64(probe[f"gradient/{name}"])
        added.append((float(rest.mean()), float((rest - rest.mean()).abs().max())))
    means = torch.tensor([mean for mean, _ in added], dtype=torch.float64)
    if max(spread for _, spread in added) > REST * float(means.abs().max()):
        return ""
    for first in (1, 0):
        numbers = torch.arange(len(added), dtype=torch.float64) + first
        decay = slope(means, numbers)
        if decay and distance(decay * numbers, means) <= REST * float(means.abs().max()):
            return (
                "a constant is added to every element of a parameter's gradient: "
                f"{decay:.4g} times its number in the list ({first}, {first + 1}, ...), where "
                "weight decay takes the parameter itself (R torch's optim_sgd and optim_rmsprop, "
                "mlverse/torch#821)"
            )
    return ""


def _update(probe: Probe, names: Iterable[str]) -> Tensor:
    names = list(names)
    return _joined(probe, "start", names) - _joined(probe, "parameter", names)


def _joined(probe: Probe, kind: str, names: Iterable[str]) -> Tensor:
    return torch.cat([float64(probe[f"{kind}/{name}"]).flatten() for name in names])


def together(names: Sequence[str], everything: Sequence[str]) -> str:
    """Parameters in few words: all below one module as `module.*`.

    Arguments:
        names: Those that are meant.
        everything: All that there are.
    """
    rest, words = list(names), []
    prefixes = [name[:i] for name in names for i, one in enumerate(name) if one == "."]
    for prefix in sorted(dict.fromkeys(prefixes), key=len):  # of one length in the order of names
        below = [name for name in everything if name.startswith(f"{prefix}.")]
        if len(below) > 1 and set(below) <= set(rest):
            rest = [name for name in rest if name not in below]
            words.append(f"{prefix}.*")
    words += rest
    more = f" and {len(words) - SHOWN} more" if len(words) > SHOWN else ""
    return ", ".join(words[:SHOWN]) + more
