"""What two sides declare differently, where it has an effect."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

import numpy as np
import torch

from comparisons.ports.expected.declared import declared_differences, declared_settings
from comparisons.ports.judging.own import Own, distance
from comparisons.ports.judging.quantities import PortQuantity
from comparisons.ports.matching.parameters import ParameterMatch
from comparisons.ports.matching.stages import StageMatch
from comparisons.ports.side import Side
from pyvae.trace.program import Optimiser, OptimiserGroup, ProgramStage, ProgramStep

__all__ = [
    "optimiser_differences",
    "settings_matter",
    "stage_differences",
    "stages_declared",
]

NO_EFFECT = 1e-13  # relative, in float64
FAR = 10.0


def stage_differences(
    pair: StageMatch, a: Own, b: Own, what: str = "outputs", observed: float = np.inf
) -> list[str]:
    """What two stages declare differently, in words; none if it makes no difference to what the
    first side's stage computes from its inputs, or one far beyond the difference that was seen: two
    languages may declare the same in different words.

    Arguments:
        pair: The stages.
        a, b: What each side should return.
        what: Of which it has to make a difference: `outputs`, `gradients` or `buffers`.
        observed: The largest difference that was seen.
    """
    bases = a.step.side.trace.index_base, b.step.side.trace.index_base
    words = declared_differences(pair.a, pair.b, bases)
    if pair.a.training != pair.b.training:
        modes = {True: "training", False: "evaluation"}
        there, here = modes[pair.b.training], modes[pair.a.training]
        words = [f"in {there} mode where it is in {here} mode", *words]
    if not words:
        return []
    if _left_out(pair.b, pair.a, b):
        matters = _matters(StageMatch(pair.b, pair.a, pair.how), b, what, observed)
    else:
        matters = _matters(pair, a, what, observed)
    if not matters:
        return []
    return [f"{b.step.side.name}: {one}" for one in words]


def _left_out(one: ProgramStage, other: ProgramStage, own: Own) -> set[str]:
    """The weights that a stage has and that the other side takes nowhere: a bias may be added by a
    stage of its own.

    Arguments:
        one: The stage.
        other: That of the other side.
        own: The first one's side.
    """
    lacking = {"weight", "bias"} & (one.parameters.keys() - other.parameters.keys())
    return {role for role in lacking if one.parameters[role] not in own.taken_there}


def _matters(pair: StageMatch, a: Own, what: str, observed: float) -> bool:
    """Whether the second side's options change what the first side's stage computes; true if it
    cannot be computed."""
    known = a.stage(pair.a)
    missing = _left_out(pair.a, pair.b, a)
    other = replace(
        pair.a, layer=pair.b.layer, options=pair.b.options, training=pair.b.training,
        parameters={k: v for k, v in pair.a.parameters.items() if k not in missing},
    )  # fmt: skip
    changed = a.computed(other)
    if known is None or changed is None:
        return True
    effect = 0.0
    for name, value in getattr(known, what).items():
        new = getattr(changed, what).get(name)
        if new is None or new.shape != value.shape:
            return True
        x, y = value.numpy().astype(float), new.numpy().astype(float)
        largest = np.abs(x[np.isfinite(x)]).max(initial=0)
        apart = distance(x, y)
        effect = max(effect, apart if apart > NO_EFFECT * largest else 0.0)
    return 0 < effect <= FAR * observed


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


def settings_matter(
    a: Own, b: ProgramStep, parameter: ParameterMatch, quantity: PortQuantity
) -> bool:
    """Whether the second side's settings change what the first side's optimiser leaves of a
    parameter; true if it cannot be computed."""
    name = parameter.a[0]
    group, own = _group(b.optimiser, parameter.b[0]), a.step.about.optimiser
    if group is None or b.optimiser is None or own is None:
        return True
    group = OptimiserGroup((name,), group.settings)
    known = a.update(name)
    changed = a.update(name, Optimiser(own.name, b.optimiser.kind, (group,)))
    if known is None or changed is None:
        return True
    if quantity.passing == "parameter":
        return not torch.equal(known.parameter, changed.parameter)
    key = quantity.template.rpartition(".")[2]
    if key not in known.state or key not in changed.state:
        return True
    return not torch.equal(known.state[key], changed.state[key])


def _group(optimiser: Optimiser | None, name: str) -> OptimiserGroup | None:
    groups = optimiser.groups if optimiser is not None else ()
    return next((group for group in groups if name in group.parameters), None)


def stages_declared(pairs: Iterable[StageMatch], sides: tuple[Side, Side]) -> Iterator[str]:
    """What stages that belong together declare differently, whether it has an effect or not."""
    bases = sides[0].trace.index_base, sides[1].trace.index_base
    for pair in pairs:
        if pair.a.layer in ("input", "draw"):
            continue
        for words in declared_differences(pair.a, pair.b, bases):
            yield f"{pair.a.name} ({pair.a.layer}): {words}"
