"""What two sides declare differently, where it has an effect."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from torch import Tensor

from comparisons.ports.expected.declared import declared_differences, declared_settings
from comparisons.ports.judging.own import Own
from comparisons.ports.matching.parameters import ParameterMatch
from comparisons.ports.matching.stages import StageMatch
from pyvae.trace.program import Optimiser, OptimiserGroup, ProgramStep

__all__ = ["optimiser_differences", "stage_differences"]

NO_EFFECT = 1e-13  # relative, in float64


def stage_differences(pair: StageMatch, a: Own, b: Own, what: str = "outputs") -> list[str]:
    """What two stages declare differently, in words; none if it makes no difference to what the
    first side's stage computes from its inputs.

    Arguments:
        pair: The stages.
        a, b: What each side should return.
        what: Of which it has to make a difference: `outputs`, `gradients` or `buffers`.
    """
    bases = a.step.side.trace.index_base, b.step.side.trace.index_base
    words = declared_differences(pair.a, pair.b, bases)
    if pair.a.training != pair.b.training:
        modes = {True: "training", False: "evaluation"}
        words = [
            f"in {modes[pair.b.training]} mode where it is in {modes[pair.a.training]} mode",
            *words,
        ]
    if not words or not _matters(pair, a, what):
        return []
    return [f"{b.step.side.name}: {one}" for one in words]


def _matters(pair: StageMatch, a: Own, what: str) -> bool:
    """Whether the second side's options change what the first side's stage computes; true if it
    cannot be computed."""
    known = a.stage(pair.a)
    other = replace(
        pair.a, layer=pair.b.layer, options=pair.b.options, training=pair.b.training
    )  # fmt: skip
    changed = a.computed(other)
    if known is None or changed is None:
        return True
    return _differ(getattr(known, what), getattr(changed, what))


def _differ(one: Mapping[str, Tensor], two: Mapping[str, Tensor]) -> bool:
    for name, value in one.items():
        if name not in two or two[name].shape != value.shape:
            return True
        x, y = value.numpy().astype(float), two[name].numpy().astype(float)
        largest = max(float(np.abs(x[np.isfinite(x)]).max(initial=0)), 0.0)
        if not np.allclose(x, y, rtol=0, atol=NO_EFFECT * largest, equal_nan=True):
            return True
    return False


def optimiser_differences(a: ProgramStep, b: ProgramStep, parameter: ParameterMatch) -> list[str]:
    """What two optimisers declare differently for a parameter, in words.

    Arguments:
        a, b: A step of both sides.
        parameter: The parameter.
    """
    groups = _group(a.optimiser, parameter.a[0]), _group(b.optimiser, parameter.b[0])
    first, second = groups
    if a.optimiser is None or b.optimiser is None or first is None or second is None:
        return []
    return declared_settings(
        a.optimiser.kind, dict(first.settings), b.optimiser.kind, dict(second.settings)
    )


def _group(optimiser: Optimiser | None, name: str) -> OptimiserGroup | None:
    groups = optimiser.groups if optimiser is not None else ()
    return next((group for group in groups if name in group.parameters), None)
