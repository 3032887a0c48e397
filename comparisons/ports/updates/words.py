"""Parameters in few words."""

from __future__ import annotations

from collections.abc import Sequence

from comparisons.diagnosis.optimiser import together
from comparisons.ports.judging.judge import Inspected
from comparisons.ports.matching.parameters import ParameterMatch

__all__ = ["parameters_of", "those"]


def parameters_of(step: Inspected, side: int) -> dict[str, tuple[int, ...]]:
    """One side's parameters and their shapes."""
    trace = (step.a, step.b)[side].side.trace
    return {
        one.name: one.shape
        for one in trace.parameters
        if one.kind == "parameter" and not one.same_as
    }


def those(names: Sequence[str], shapes: dict[str, tuple[int, ...]]) -> str:
    """Names of parameters, by what they have in common.

    Arguments:
        names: The parameters.
        shapes: Of all parameters.
    """
    everything = list(shapes)
    if set(names) == set(everything):
        return f"all {len(everything)} parameters" if len(everything) > 1 else everything[0]
    if len(names) > 1:
        few = {name for name in everything if len(shapes[name]) <= 1}
        biases = {name for name in few if "bias" in name.rpartition(".")[2]}
        if set(names) == biases:
            return "the biases"
        if set(names) == few:
            return "the parameters of one dimension (biases and norms)"
        if set(names) == set(everything) - few:
            return "the parameters of several dimensions (not the biases and norms)"
        if set(names) == set(everything) - biases:
            return "all parameters but the biases"
    return together(names, everything)


def matched(one: ParameterMatch, side: int) -> tuple[str, ...]:
    """A parameter's names on one side."""
    return (one.a, one.b)[side]
