"""Both sides' steps as functions of their parameters, of the same numbers."""

from __future__ import annotations

from numpy.typing import NDArray

from comparisons.ports.expected.recompute import prepare
from comparisons.ports.judging.inspected import Inspected
from comparisons.ports.judging.judged import difference_of
from comparisons.ports.judging.own import Own
from comparisons.ports.judging.whole.function import OUTSIDE, StepFunction
from comparisons.ports.matching.matched import matched_outputs
from pyvae.trace.program import ProgramStage

__all__ = ["functions_of"]


def functions_of(step: Inspected) -> tuple[StepFunction, StepFunction]:
    """Both sides' steps as functions of their parameters, the second side's with the first side's
    numbers of what both are given.

    What one side computes by something that was not recorded (torch.func, a
    torch.autograd.Function), or that is not known, is taken to be what the other side's stages
    return, if it is the same numbers: whether it hands the same back is seen in the gradients that
    were recorded.
    """
    found = StepFunction(step.own[0]), StepFunction(step.own[1], _given_both(step))
    pairs = [(one.a[0], one.b[0]) for one in step.parameters if len(one.a) == len(one.b) == 1]
    stand_ins = [_stand_ins(step, found, side) for side in (0, 1)]
    for side, names in enumerate(stand_ins):
        if names:
            theirs = {both[1 - side]: both[side] for both in pairs}
            found[side].take(names, found[1 - side], theirs)
    return found


def _stand_ins(
    step: Inspected, functions: tuple[StepFunction, StepFunction], side: int
) -> dict[str, str]:
    """What a side was given that something unseen had computed, each with a value of the other side
    that has the same numbers."""
    own, other = step.own[side].step, step.own[1 - side].step
    unseen = [one for one in own.network if _is_unseen(step.own[side], functions[side], one)]
    if not unseen:
        return {}
    before = functions[1 - side].before_loss
    stages = [
        one
        for one in other.network
        if one.name in before
        and one.layer not in OUTSIDE
        and not _is_unseen(step.own[1 - side], functions[1 - side], one)
    ]
    names = [name for one in stages for name in one.outputs]
    found: dict[str, str] = {}
    while unseen:
        stage = unseen.pop()
        for mine in stage.outputs:
            value = own.value(mine)
            alike = (name for name in names if _is_alike(value, other.value(name), step.rtol))
            name = next(alike, None)
            if name is not None:
                found[mine] = name
                continue
            takers = own.takers.get(mine, ())  # or what is made of it alone: a part of a Hessian
            unseen += [one for one in takers if {*one.inputs, *one.parameters.values()} == {mine}]
    return found


def _is_unseen(own: Own, function: StepFunction, stage: ProgramStage) -> bool:
    """Whether it is not known what a stage computes."""
    if stage.name not in function.before_loss or stage.layer == "grad":
        return False
    if stage.layer in OUTSIDE:
        return bool(stage.options.get("grad_fn"))
    return prepare(stage, own.arrays, own.step.side.trace.index_base) is None


def _is_alike(a: NDArray | None, b: NDArray | None, rtol: float) -> bool:
    if a is None or b is None or a.shape != b.shape or {a.dtype.kind, b.dtype.kind} != {"f"}:
        return False
    return difference_of(a, b).needed <= rtol


def _given_both(step: Inspected) -> dict[str, tuple[str, NDArray]]:
    """The first side's names and numbers of what both sides are given, or draw, and of parameters
    and buffers that are not trained in this step, by the second side's names: the two may be a
    rounding apart."""
    found: dict[str, tuple[str, NDArray]] = {}
    for match in step.parameters:
        values = match.values(step.a.arrays, step.b.arrays, "start/{}")
        if max(len(match.a), len(match.b)) > 1 or values[0] is None or values[1] is None:
            continue
        if values[0].shape == values[1].shape:
            found[match.b[0]] = match.a[0], values[0]
    for pair in step.network.pairs:
        if not {pair.a.layer, pair.b.layer} <= {"input", "draw"}:
            continue
        for one, two in matched_outputs(pair):
            judged = step.verdicts.get(f"forward/{one}")
            value, other = step.a.value(one), step.b.value(two)
            if judged is None or judged.verdict == "parted" or value is None or other is None:
                continue
            if value.dtype.kind == "f" and value.shape == other.shape:
                found[two] = one, value
    return found
