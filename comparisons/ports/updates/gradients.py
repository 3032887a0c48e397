"""What a program does to the gradients of all its parameters between backward and the update."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import islice

import torch
from torch import Tensor

from comparisons.diagnosis.mistakes import slope
from comparisons.ports.expected.recompute import as_tensor
from comparisons.ports.judging.judged import EPSILON
from comparisons.ports.judging.own import Own
from comparisons.ports.updates.changes import (
    ROUND,
    Done,
    Gradients,
    as_bound,
    changes,
    is_round,
    joined,
    largest,
)
from comparisons.ports.updates.parts import following, optimised
from comparisons.ports.updates.ways.candidate import rounded, shown

__all__ = ["Done", "done_to_gradients"]

RECORDED = ("pytorch", "r-torch")  # by a recorder, and not by the program itself
REST = 1e-3  # of a change's size: what a name may leave unexplained
ROUNDINGS = 16
SEEN = 20.0  # times rounding: a change that is smaller has no name
FURTHER = 3  # recorded steps that tell a norm from a factor


def done_to_gradients(own: Own, computed: bool = False) -> Done | None:
    """Finds what a side does to its gradients before the update.

    Arguments:
        own: The side.
        computed: Whether to hold what it recorded against what its layers' backward passes should
            have given, not against what backward left: the recorder did not see both.

    Returns:
        None if it is not known, or nothing explains it.
    """
    pair = _gradients(own, computed)
    if pair is None:
        return None
    left, given = pair
    noise = _noise(own, left, given, computed)
    changed = [n for n in left if not _near(left[n], given[n], noise[n])]
    if not changed:
        return Done("nothing", _unchanged(own))
    if not any(largest(left[n] - given[n]) > SEEN * noise[n] for n in changed):
        return None  # rounding is nearly as large
    for done, value in changes(own, left, given, changed):
        if not _holds(value, given, noise, left, changed):
            continue
        idle = (n for n in left if n not in changed and _near(value[n], left[n], noise[n]))
        found = replace(done, perhaps=tuple(idle))
        return _sure(own, found, computed) if done.kind in ("norm", "factor") else found
    return None


def _unchanged(own: Own) -> str:
    """That it does not change them; a program that writes its own trace may not have written it."""
    recorded = own.step.side.trace.engine in RECORDED
    return "does not change them" + ("" if recorded else ", or does not write them as `given`")


def _gradients(own: Own, computed: bool) -> tuple[dict[str, Tensor], dict[str, Tensor]] | None:
    """What backward left, or should have left, and what the optimiser got."""
    arrays = own.step.arrays
    left, given = {}, {}
    for name in optimised(own):
        if f"gradient/{name}" not in arrays:
            continue
        recorded = arrays[f"gradient/{name}"]
        if computed:
            residual = own.backward(name)
            if residual is None or residual.expected.size != recorded.size:
                return None
            left[name] = as_tensor(residual.expected).reshape(recorded.shape)
        else:
            left[name] = as_tensor(recorded)
        given[name] = as_tensor(arrays.get(f"given/{name}", recorded)).reshape(recorded.shape)
    if not left or not all(torch.isfinite(x).all() for x in (*left.values(), *given.values())):
        return None
    return left, given


def _noise(own: Own, left: Gradients, given: Gradients, computed: bool) -> dict[str, float]:
    """What rounding makes of each gradient: computed again, as much as the rule allows."""
    share = own.rtol / 10 if computed else ROUNDINGS * EPSILON[own.precision]
    return {n: share * max(largest(left[n]), largest(given[n])) for n in left}


def _near(a: Tensor, b: Tensor, noise: float) -> bool:
    return largest(a - b) <= noise


def _holds(
    value: Gradients,
    given: Gradients,
    noise: Mapping[str, float],
    left: Gradients,
    changed: Sequence[str],
) -> bool:
    """Whether a way gives what the optimiser got, of every parameter that is changed."""
    return all(
        _near(value[n], given[n], max(noise[n], REST * largest(left[n] - given[n])))
        for n in changed
    )


def _sure(own: Own, done: Done, computed: bool) -> Done:
    """Whether it is a factor that is the same in further recorded steps, or a norm that is."""
    factors, norms = [], []
    for one in (own, *islice(following(own), FURTHER)):
        pair = _gradients(one, computed)
        if pair is None:
            break
        u, v = (joined(x, done.names if {*done.names} <= x.keys() else None) for x in pair)
        factor = slope(v, u)
        if factor is None or largest(factor * u - v) > ROUND * largest(v):
            break
        factors.append(factor)
        norms.append(float(joined(pair[1]).norm()))
    number = rounded(factors[0]) if factors else done.number
    bound = as_bound(norms[0]) if norms else 0.0
    same_factor = all(math.isclose(x, number, rel_tol=ROUND) for x in factors)
    same_norm = done.kind == "norm" and all(
        math.isclose(x, bound, rel_tol=ROUND) or (x < bound and abs(f - 1) <= ROUND)
        for x, f in zip(norms, factors, strict=True)
    )
    scaled = f"multiplies them by {_factor(own, number)}"
    clipped = f"clips them, all together, to norm {shown(bound)}"
    if same_norm and (not same_factor or (len(factors) == 1 and is_round(bound))):
        return replace(done, kind="norm", words=clipped, number=bound)
    if same_factor and same_norm:
        scaled += f", or {clipped} (a further recorded step would tell the two apart)"
    elif not same_factor:
        scaled += " (in other steps by another number)"
    return replace(done, kind="factor", words=scaled, number=number)


def _factor(own: Own, factor: float) -> str:
    """A factor, with the number that it may come from."""
    arrays = own.step.arrays
    times = sum(key.startswith("loss/backward.") for key in arrays)
    sizes = {}
    if times > 1:
        sizes["the number of backward passes"] = times
    for stage in own.step.network:
        value = arrays.get(f"forward/{stage.name}")
        if stage.layer in ("input", "draw") and value is not None and value.ndim:
            sizes.setdefault("the batch size", value.shape[0])
            break
    for what, size in sizes.items():
        if size > 1 and math.isclose(factor * size, 1, rel_tol=ROUND):
            return f"1/{size} ({what})"
        if size > 1 and math.isclose(factor, size, rel_tol=ROUND):
            return f"{size} ({what})"
    return f"{factor:.6g}"
