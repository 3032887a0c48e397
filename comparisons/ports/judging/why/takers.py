"""Why the stages that hand a gradient back do not agree."""

from __future__ import annotations

from comparisons.ports.judging.declared import stage_differences
from comparisons.ports.judging.inspected import Inspected
from comparisons.ports.judging.own import Own
from comparisons.ports.judging.quantities import PortQuantity
from comparisons.ports.judging.why.inputs import other_inputs
from pyvae.trace.program import ProgramStage

__all__ = ["is_left_out", "other_takers", "reached", "taken_by"]

MOST_ALONE = 4  # stages that are named


def other_takers(step: Inspected, quantity: PortQuantity) -> str:
    """Why the stages that a gradient comes from do not agree; empty if they do. Those that one side
    alone has have returned the same as the other side's: else the two had parted before."""
    names = quantity.value
    if quantity.parameter is not None:
        if max(len(quantity.parameter.a), len(quantity.parameter.b)) > 1:
            return "it is kept in several arrays on one side"
        names = quantity.parameter.a[0], quantity.parameter.b[0]
    for own, name in zip(step.own, names, strict=True):
        if is_left_out(own, name):
            stage = own.step.takers[name][0]
            what = f"what {stage.name} ({stage.layer}) returns"
            return (
                f"{own.step.side.name} has no gradient of {what}, from which this one comes: with "
                "it, it could be computed again"
            )
    first, second = (reached(step, side, name) for side, name in enumerate(names))
    for stage in first.values():
        pair = step.network.partner[stage.name]
        if pair.b.name not in second:
            return taken_by(step.names[0], stage)
        why = other_inputs(step, pair)
        if why:
            return why
        declared = stage_differences(pair, *step.own, what="gradients")
        if declared:
            return declared[0]
    known = {step.network.partner[name].b.name for name in first}
    for stage in second.values():
        if stage.name not in known:
            return taken_by(step.names[1], stage)
    return _other_gradient(step, names)


def _other_gradient(step: Inspected, names: tuple[str, str]) -> str:
    """Which side's stages, of which the other side has no like, hand another gradient back: what
    they return may be the same, as it is with `detach`; empty if none do."""
    for side, (name, there) in enumerate((names, names[::-1])):
        alone = _alone_after(step, side, name)
        if not alone:
            continue
        found = step.chains[side].gradient(name, step.own[side].loss)
        if found is not None and step.own[1 - side].is_gradient(there, found):
            continue
        own = step.own[side]
        cut = [stage for stage in alone if not own.has_gradient(stage)]
        listed = ", ".join(f"{stage.name} ({stage.layer})" for stage in (cut or alone)[:MOST_ALONE])
        if cut:
            return f"in {step.names[side]} no gradient flows through {listed}"
        if found is None:
            return f"the gradient of {step.names[side]}'s {listed} cannot be computed again"
        return f"{step.names[side]}'s {listed} hand back another gradient"
    return ""


def _alone_after(step: Inspected, side: int, name: str) -> list[ProgramStage]:
    """The stages that one side alone has, and that take a value, or what comes of it there."""
    own, only = step.own[side], step.network.only[side]
    found: list[ProgramStage] = []
    waiting = [name]
    while waiting:
        for stage in own.step.takers.get(waiting.pop(), ()):
            if stage in only and stage not in found:
                found.append(stage)
                waiting += stage.outputs
    return found


def reached(step: Inspected, side: int, name: str) -> dict[str, ProgramStage]:
    """The stages with a partner that take a value, directly or after stages that one side alone
    has, and that backward has passed, by name.

    Arguments:
        step: The step.
        side: 0 for the first side, 1 for the second.
        name: The value.
    """
    own, only = step.own[side], step.network.only[side]
    found: dict[str, ProgramStage] = {}
    waiting, seen = [name], {name}
    while waiting:
        for stage in own.step.takers.get(waiting.pop(), ()):
            if not own.has_gradient(stage):
                continue
            if stage not in only:
                found[stage.name] = stage
                continue
            further = [output for output in stage.outputs if output not in seen]
            waiting += further
            seen.update(further)
    return found


def is_left_out(own: Own, name: str) -> bool:
    """Whether a program that writes its own trace leaves out the gradients from which that of a
    value or parameter comes.

    Arguments:
        own: The side.
        name: The value or parameter.
    """
    takers = own.step.takers.get(name, ())
    there = f"gradient/{name}" in own.arrays
    return there and bool(takers) and not any(own.has_gradient(stage) for stage in takers)


def taken_by(side: str, stage: ProgramStage) -> str:
    """That one side alone takes a value in a stage, in words."""
    return f"only {side} takes it in {stage.name} ({stage.layer})"
