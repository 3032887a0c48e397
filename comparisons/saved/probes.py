"""What a saved trace recorded of one step."""

from __future__ import annotations

from pyvae.errors import UserError
from pyvae.model.stages import Probe
from pyvae.recipes import get_recipe
from pyvae.trace.trace import Trace

__all__ = ["read_probe"]


def read_probe(trace: Trace, step: int) -> Probe:
    """What a trace recorded of a step.

    Raises:
        UserError: If something is missing, or the file cannot be read.
    """
    recipe = get_recipe(trace.recipe)
    probe = trace.probe(step)
    wanted = [quantity.key for quantity in recipe.quantities(trace.settings)]
    missing = [key for key in wanted if key not in probe]
    if missing:
        raise UserError(
            f"trace '{trace.folder}' lacks {len(missing)} of {len(wanted)} entries in its probe of "
            f"step {step}, the first {missing[0]}",
            "record all that docs/reference/trace-format.md lists",
        )
    for stage in recipe.stages:
        if stage.is_term:  # R has no numbers without a dimension
            value = probe[f"forward/{stage.name}"]
            probe[f"forward/{stage.name}"] = value.reshape(()) if value.size == 1 else value
    return probe
