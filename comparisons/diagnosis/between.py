"""What backward left, held against what the optimiser got: gradients that were changed in between.

A layer's backward pass that is wrong gives wrong gradients of its own parameters. Where those of
*all* parameters are off, and those of the layers' results are not, something came between.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from comparisons.diagnosis.closeness import REST, distance, same
from comparisons.diagnosis.mistakes import parameter_gradient, slope
from comparisons.diagnosis.place import Place
from comparisons.expected.layers import float64
from pyvae.model.stages import Probe

__all__ = ["BETWEEN", "changed_in_place"]

BETWEEN = "between backward and Adam"
ROUND = 1e-4  # torch divides by the norm plus 1e-6


def changed_in_place(place: Place, side: int) -> str | None:
    """What was done to the gradients of all parameters after the layers' backward passes.

    Arguments:
        place: Where the gradients of a parameter part.
        side: The one that does not have what its layers' backward passes give.

    Returns:
        In words; None if the gradients of all parameters are not off.
    """
    probe = place.probes[side]
    names = [name for name in place.parameters if f"gradient/{name}" in probe]
    right = {}
    for name in names:
        parts = parameter_gradient(place.layers, name, probe)
        right[name] = torch.stack(list(parts.values())).sum(0)
    found = {name: float64(probe[f"gradient/{name}"]) for name in names}
    off = [name for name in names if not same(found[name], right[name], place.rtol)]
    if len({name.rpartition(".")[0] for name in off}) < 2:
        return None
    all_found, all_right = (torch.cat([one[n].flatten() for n in names]) for one in (found, right))
    clamped = _clamped(all_found, all_right)
    if clamped:
        return clamped
    if len(off) < sum(bool(right[name].any()) for name in names):
        return None  # some layers' backward passes
    for words, value in _changes(found, right, probe):
        if distance(value, all_found) <= REST * distance(all_found, all_right):
            return f"{words}, after their backward passes"
    return (
        f"what backward left is changed before Adam takes it: the gradients of all {len(off)} "
        "parameters are not those that the layers' backward passes give"
    )


def _clamped(found: Tensor, right: Tensor) -> str:
    most = float(found.abs().max())
    size = distance(found, right)
    if most == 0 or distance(right.clamp(-most, most), found) > REST * size:
        return ""
    return f"gradients held between {-most:.6g} and {most:.6g}: clipping by value"


def _changes(
    found: dict[str, Tensor], right: dict[str, Tensor], probe: Probe
) -> Iterator[tuple[str, Tensor]]:
    """What may have been done to all gradients, and what they would be then."""
    a, b = (torch.cat([value.flatten() for value in one.values()]) for one in (found, right))
    factor, count = slope(a, b), len(found)
    if factor is not None:
        norm = float(a.norm())
        of = f"the gradients of all {count} parameters are scaled by one factor"
        if 0 < factor < 1 and _is_round(norm):
            yield f"{of}, so that their norm is {norm:.4g}: clipping", factor * b
        else:
            yield f"{of}, {factor:.6g}", factor * b
    norms = [float(value.norm()) for value in found.values()]
    if all(math.isclose(norm, max(norms), rel_tol=ROUND) for norm in norms):
        each = [value / value.norm() * max(norms) for value in right.values()]
        words = (
            f"each parameter's gradient is scaled so that its norm is {max(norms):.4g}: clipping"
        )
        yield words, torch.cat([value.flatten() for value in each])
    theta = torch.cat([float64(probe[f"start/{name}"]).flatten() for name in found])
    decay = slope(a - b, theta)
    if decay is not None:
        yield f"weight decay {decay:.4g} added to the gradients", b + decay * theta


def _is_round(number: float) -> bool:
    """Whether it has two digits, such as a norm that was chosen."""
    return math.isclose(number, float(f"{number:.2g}"), rel_tol=ROUND)
