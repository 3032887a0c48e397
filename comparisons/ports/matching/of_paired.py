"""Functions of values that belong together, wherever they stand: a penalty on the weights may be
computed before the model is called, or after it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

from comparisons.ports.matching.kinds import family, is_module
from comparisons.ports.matching.matched import StageMatch, matched_outputs, shapes_of
from comparisons.ports.matching.slices import PARTS
from comparisons.ports.side import RecordedStep
from pyvae.trace.program import ProgramStage

__all__ = ["pair_of_paired"]

OUTSIDE = ("input", "draw")


def pair_of_paired(
    a: RecordedStep, b: RecordedStep, found: dict[str, StageMatch], taken: set[str]
) -> None:
    """Pairs functions that are left and take what belongs together; those that declare the same
    first.

    Arguments:
        a, b: A step of both sides.
        found: What belongs together already, by the first side's names; is added to.
        taken: The second side's stages of it; is added to.
    """
    values = dict(_parameters(a, b, found))
    values.update(value for pair in found.values() for value in matched_outputs(pair))
    for alike in (True, False):
        for stage in _left(a, found):
            if is_module(stage) or (not alike and stage.layer in PARTS):
                continue
            for other in _left_of_b(b, taken):
                if not _is_of(a, b, stage, other, values):
                    continue
                if alike and stage.options != other.options:
                    continue
                how = "name" if stage.name == other.name else "order"
                found[stage.name] = StageMatch(stage, other, how)
                taken.add(other.name)
                values.update(matched_outputs(found[stage.name]))
                break


def _left(step: RecordedStep, found: Mapping[str, StageMatch]) -> list[ProgramStage]:
    return [s for s in step.network if s.name not in found and s.layer not in OUTSIDE]


def _left_of_b(step: RecordedStep, taken: set[str]) -> list[ProgramStage]:
    return [s for s in step.network if s.name not in taken and s.layer not in OUTSIDE]


def _is_of(
    a: RecordedStep,
    b: RecordedStep,
    stage: ProgramStage,
    other: ProgramStage,
    values: Mapping[str, str],
) -> bool:
    if family(stage.layer) != family(other.layer) or is_module(other) or not stage.inputs:
        return False
    if [values.get(a.side.own(name)) for name in stage.inputs] != [*map(b.side.own, other.inputs)]:
        return False
    if stage.parameters.keys() != other.parameters.keys():
        return False
    roles = stage.parameters.items()
    if any(values.get(a.side.own(n)) != b.side.own(other.parameters[role]) for role, n in roles):
        return False
    shapes = _shapes(a, stage), _shapes(b, other)
    return bool(shapes[0]) and shapes[0] == shapes[1]


def _shapes(step: RecordedStep, stage: ProgramStage) -> list[tuple[int, ...]]:
    """A single number has no shape: to R torch, 0 + x of one number has one axis."""
    shapes = shapes_of(step, stage) or ()
    return [() if math.prod(shape) == 1 else shape for shape in shapes]


def _parameters(
    a: RecordedStep, b: RecordedStep, found: Mapping[str, StageMatch]
) -> Iterator[tuple[str, str]]:
    """Parameters of one name, and those that layers which belong together have."""
    both = {one.name for one in a.side.trace.parameters} & {
        one.name for one in b.side.trace.parameters
    }
    yield from ((a.side.own(name), b.side.own(name)) for name in both)
    for pair in found.values():
        for role in pair.a.parameters.keys() & pair.b.parameters.keys():
            yield a.side.own(pair.a.parameters[role]), b.side.own(pair.b.parameters[role])
