"""Parameters in few words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from comparisons.diagnosis.optimiser import together
from comparisons.ports.judging.inspected import Inspected
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


def those(
    names: Sequence[str], shapes: Mapping[str, tuple[int, ...]], perhaps: Sequence[str] = ()
) -> str:
    """Names of parameters, by what they have in common.

    Arguments:
        names: The parameters.
        shapes: Of all parameters.
        perhaps: Of which it makes no difference whether they are named.
    """
    everything = list(shapes)
    mine = {*names}
    few = {name for name in everything if len(shapes[name]) <= 1}
    biases = {name for name in few if "bias" in name.rpartition(".")[2]}
    kinds = {
        all_of(len(everything)): {*everything},
        "the biases": biases,
        "the parameters of one dimension (biases and norms)": few,
        "the parameters of several dimensions (not the biases and norms)": {*everything} - few,
        "all parameters but the biases": {*everything} - biases,
    }
    for words, kind in kinds.items():
        if len(kind) > 1 and mine <= kind <= mine | {*perhaps}:
            return words
    return together(sorted(names, key=everything.index), everything)


def all_of(number: int) -> str:
    """All of so many parameters."""
    return "both parameters" if number == 2 else f"all {number} parameters"


def matched(one: ParameterMatch, side: int) -> tuple[str, ...]:
    """A parameter's names on one side."""
    return (one.a, one.b)[side]
