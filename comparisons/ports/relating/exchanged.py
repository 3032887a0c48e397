"""Arguments that one side has in another order: `atan2(x, y)` for `atan2(y, x)`."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from comparisons.ports.judging.inspected import Inspected
from comparisons.ports.judging.judged import difference_of
from comparisons.ports.judging.why.inputs import COMMUTATIVE
from comparisons.ports.matching.kinds import family
from comparisons.ports.matching.matched import StageMatch

__all__ = ["exchanged_inputs"]

MOST_EXCHANGED = 16  # arguments whose order is looked at


def exchanged_inputs(step: Inspected, pair: StageMatch) -> str:
    """Says that two stages take the same values in another order; empty if they do not."""
    first, second = pair.a.inputs, pair.b.inputs
    if pair.a.layer in COMMUTATIVE or family(pair.a.layer) != family(pair.b.layer):
        return ""
    if not 2 <= len(first) == len(second) <= MOST_EXCHANGED:
        return ""
    a = [step.a.value(name) for name in first]
    b = [step.b.value(name) for name in second]
    own = [_same_values(step, x, y) for x, y in zip(a, b, strict=True)]
    moved = [at for at, same in enumerate(own) if not same]
    free, there = list(moved), []
    for at in moved:
        found = next((one for one in free if _same_values(step, a[at], b[one])), None)
        if found is None:
            return ""
        free.remove(found)
        there.append(found)
    if not moved:
        return ""
    if len(first) == 2:
        what = "its two arguments are exchanged"
    elif len(moved) == 2:
        what = f"its arguments {moved[0] + 1} and {moved[1] + 1} are exchanged"
    else:
        what = "its arguments are in another order"
    there_by_name = list(first)  # the second side's arguments, by the first side's names
    for at, to in zip(moved, there, strict=True):
        there_by_name[to] = first[at]
    by = "" if there_by_name == list(second) else f", by {step.names[0]}'s names"
    said = [
        f"{name}: {pair.a.layer}({', '.join(names)})"
        for name, names in zip(step.names, (first, there_by_name), strict=True)
    ]
    return f"{what} ({'; '.join(said)}{by})"


def _same_values(step: Inspected, a: NDArray | None, b: NDArray | None) -> bool:
    if a is None or b is None or a.shape != b.shape:
        return False
    if (a.dtype.kind == "b") != (b.dtype.kind == "b"):
        return False
    if a.dtype.kind in "iu" and b.dtype.kind in "iu":  # indices as each language counts them
        gap = step.b.side.trace.index_base - step.a.side.trace.index_base
        return any(np.array_equal(a.astype(np.int64) + by, b) for by in (0, gap))
    return difference_of(a, b).needed <= step.rtol
