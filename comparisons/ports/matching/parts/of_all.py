"""What a call for all rows has, of what the calls for each part have: options, and numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from comparisons.ports.expected.recompute import recompute
from comparisons.ports.matching.kinds import family
from comparisons.ports.matching.parts.whole import Whole
from comparisons.ports.side import RecordedStep
from pyvae.trace.program import ProgramStage

__all__ = ["number_of_all", "options_of_all"]

SHAPES = ("view", "expand", "repeat", "zeros", "ones", "full", "randn", "rand")
ROUNDED = {2: 1e-2, 4: 1e-5, 8: 1e-12}  # how near a mean is to one of means, by a number's bytes


def options_of_all(
    calls: Sequence[ProgramStage], axis: int, rows: Sequence[int]
) -> Mapping[str, object] | None:
    """The options of a call for all rows: a shape that has a part's rows has all."""
    found = dict(calls[0].options)
    for name, value in found.items():
        values = [one.options.get(name) for one in calls]
        if isinstance(value, list | tuple) and family(calls[0].layer) in SHAPES:
            sizes = [list(one) for one in values if isinstance(one, list | tuple)]
            at = axis if axis < len(value) else 0
            if len(sizes) == len(calls) and len({len(one) for one in sizes}) == 1 and value:
                times = {one[at] / count for one, count in zip(sizes, rows, strict=True)}
                if len(times) == 1 and next(iter(times)) > 0:
                    size = list(value)
                    size[at] = sum(one[at] for one in sizes)
                    found[name] = size
                    continue
        if any(one != value for one in values):
            return None
    return found


def number_of_all(
    stage: ProgramStage,
    name: str,
    values: Sequence[NDArray],
    arrays: Mapping[str, NDArray],
    step: RecordedStep,
    rows: Sequence[int],
) -> Whole | None:
    """Whether a number of all rows is the mean of what the parts have, or their sum."""
    numbers = [float(value.item()) for value in values]
    arrays = dict(arrays)
    for one in (*stage.inputs, *stage.parameters.values()):
        if f"forward/{one}" not in arrays and f"start/{one}" in step.arrays:
            arrays[f"start/{one}"] = step.arrays[f"start/{one}"]
    arrays[f"forward/{name}"] = values[0]
    found = recompute(stage, arrays, step.side.trace.index_base)
    if found is None or name not in found.outputs:
        return None
    expected = float(found.outputs[name].item())
    allowed = ROUNDED.get(values[0].dtype.itemsize, 0.0)
    allowed *= max(map(abs, (*numbers, expected)))
    if len(set(rows)) == 1 and abs(float(np.mean(numbers)) - expected) <= allowed:
        return Whole("mean")
    return Whole("sum") if abs(float(np.sum(numbers)) - expected) <= allowed else None
