"""The first number of a step that is not finite."""

from __future__ import annotations

import numpy as np

from pyvae.model.recipe import Recipe
from pyvae.model.stages import Probe, is_buffer, quantities

__all__ = ["first_not_finite"]


def first_not_finite(probe: Probe, recipe: Recipe) -> str:
    """The first value of a step that is NaN or infinite, in words.

    What the step started from comes first, then its stages in the order of computation, then the
    gradients backwards. An engine does not take a step whose loss is not finite: the same step with
    a probe shows where it fails.

    Arguments:
        probe: What the step computed, as far as it came (`pyvae.model.stages`).
        recipe: What was trained.

    Returns:
        Name, pass, index and value, such as `encoder.fc3 (forward), first at [3, 7]: inf`;
        empty if everything is finite.
    """
    started = [key.removeprefix("start/") for key in probe if key.startswith("start/")]
    parameters = [name for name in started if not is_buffer(name)]
    buffers = [name for name in started if is_buffer(name)]
    for quantity in quantities(recipe.stages, parameters, buffers):
        finite = np.isfinite(probe.get(quantity.key, 0.0))
        if not finite.all():
            index = np.unravel_index(int(np.argmin(finite)), finite.shape)
            where = f", first at {[int(i) for i in index]}" if index else ""
            value = float(probe[quantity.key][index])
            return f"{quantity.name} ({quantity.passing}){where}: {value}"
    return ""
