"""Last bits that differ because R torch computes in another order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from comparisons.ports.expected.r_torch_order import clipped, r_torch_update
from comparisons.ports.judging.inspected import Inspected
from comparisons.ports.judging.judged import Judged
from comparisons.ports.side import RecordedStep

__all__ = ["r_torch_order"]


def r_torch_order(step: Inspected, judged: Judged) -> Iterator[str]:
    """Yields what R torch computes in an order of its own, if its side has the very bits that this
    order gives.

    Arguments:
        step: The step, as far as it was judged.
        judged: A quantity whose last bits differ.
    """
    engines = [one.side.trace.engine == "r-torch" for one in (step.a, step.b)]
    one = judged.quantity.parameter
    if one is None or engines[0] == engines[1]:
        return
    side = engines.index(True)
    names = (one.a, one.b)[side]
    if len(names) == 1 and judged.quantity.passing in ("state", "parameter"):
        yield from _of_update(step, judged, side, names[0])
    elif judged.quantity.passing == "given gradient":
        yield from _of_clipping(step, side)


def _of_update(step: Inspected, judged: Judged, side: int, name: str) -> Iterator[str]:
    own = (step.a, step.b)[side]
    before = step.before[side].arrays if step.before is not None else {}
    before = {key: before[key] for key in before if key.startswith(f"state/{name}.")}
    found = r_torch_update(name, own.about, own.arrays, before)
    quantity = judged.quantity
    what = "parameter" if quantity.passing == "parameter" else quantity.template.rpartition(".")[2]
    recorded = own.arrays.get(quantity.template.format(name))
    if recorded is None or what not in found or not _same_bits(found[what], recorded):
        return
    optimiser = own.about.optimiser
    kind = optimiser.kind if optimiser is not None else ""
    if what in ("exp_avg", "grad_avg"):
        why = f"{what}.mul_(beta).add_(gradient, alpha=1 - beta), where PyTorch has lerp_"
    elif kind == "adamw":
        why = "the bias corrections of optim_adamw are computed in float32, PyTorch's in float64"
    else:
        why = f"what optim_{kind} makes of the same state rounds otherwise"
    yield (
        f"{step.names[side]}: R torch's own order of operations: {why}; computed again in that "
        "order it has these bits, and is no mistake of yours"
    )


def _of_clipping(step: Inspected, side: int) -> Iterator[str]:
    orders = [_listed(one) for one in (step.a, step.b)]
    if not all(
        _is_clipped(one, order) for one, order in zip((step.a, step.b), orders, strict=True)
    ):
        return
    yield (
        f"{step.names[side]}: R torch's own order of parameters: the norm by which gradients are "
        "clipped is summed as model$parameters lists them, a module's own after those of its "
        "children; computed again in that order it has these bits. Clip PyTorch's parameters in "
        "that order for the same ones"
    )


def _listed(step: RecordedStep) -> list[str]:
    """The parameters in the order of the optimiser, which is that of the model's list."""
    groups = step.about.optimiser.groups if step.about.optimiser is not None else ()
    return [name for group in groups for name in group.parameters]


def _is_clipped(step: RecordedStep, names: Sequence[str]) -> bool:
    """Whether clipping in this order gives the bits that the optimiser was given."""
    found = clipped(step.arrays, names)
    if not found:
        return False
    return all(
        _same_bits(value, step.arrays.get(f"given/{name}", step.arrays[f"gradient/{name}"]))
        for name, value in found.items()
    )


def _same_bits(a: NDArray, b: NDArray) -> bool:
    return a.dtype == b.dtype and a.size == b.size and np.array_equal(a.ravel(), b.ravel())
