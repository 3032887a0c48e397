"""Whether it is an option that two stages differ by."""

from __future__ import annotations

from comparisons.ports.expected.declared import declared_differences
from comparisons.ports.judging.inspected import Inspected
from comparisons.ports.judging.judged import difference_of
from comparisons.ports.matching.kinds import family
from comparisons.ports.matching.matched import StageMatch
from pyvae.trace.program import ProgramStage

__all__ = ["is_option"]

SUMS_AND_PRODUCTS = ("add", "div", "mul", "rsub", "sub")
OVER_AXES = ("mean", "sum")


def is_option(step: Inspected, pair: StageMatch) -> bool:
    """Whether two stages take the same, and declare another option: that is what is to be told,
    but of sums and products, whose sign and factor may stand elsewhere, of shapes on the way, of
    axes that are summed later, and of a loss that is."""
    if pair.a.layer in (*SUMS_AND_PRODUCTS, *OVER_AXES) or family(pair.a.layer) == "view":
        return False
    if all(_adds_axes(one) for one in (pair.a, pair.b)):
        return False
    if all(one.startswith("reduction") for one in declared_differences(pair.a, pair.b)):
        return False
    names = list(zip(pair.a.inputs, pair.b.inputs, strict=False))
    for role, name in pair.a.parameters.items():
        names.append((name, pair.b.parameters.get(role, name)))
    values = [(step.a.value(one), step.b.value(two)) for one, two in names]
    return len(pair.a.inputs) == len(pair.b.inputs) and all(
        a is not None and b is not None and difference_of(a, b).needed <= step.rtol
        for a, b in values
    )


def _adds_axes(stage: ProgramStage) -> bool:
    """Whether an index takes everything, with axes of one between: `x[:, None]`."""
    index = stage.options.get("index")
    return (
        stage.layer == "index"
        and isinstance(index, list)
        and all(one in (None, ":", "...") for one in index)
    )
