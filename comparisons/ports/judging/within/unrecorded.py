"""Inputs that a network computed without gradients whose stages are not recorded: a teacher that
follows the model, a target network."""

from __future__ import annotations

from collections.abc import Iterator

from comparisons.ports.judging.inspected import Inspected
from comparisons.ports.judging.judged import Difference, difference_of
from comparisons.ports.judging.quantities import PortQuantity
from comparisons.ports.matching.matched import StageMatch, matched_outputs
from comparisons.ports.teachers.movement import is_untrained

__all__ = [
    "follows_from_networks", "more_than_rounding", "unrecorded_hint", "why_without_gradients",
]  # fmt: skip

LEAST = 0.1  # of the rule: what rounding may make of a network of its own
MOST = 3  # that are listed
ROOM = 10  # times what rounding made of the same in the first step, or of the model in this one


def more_than_rounding(
    step: Inspected, quantity: PortQuantity, difference: Difference
) -> list[str]:
    """Why what was computed without gradients differs by more than rounding makes of it, though it
    is within the rule: a network that follows the model otherwise than the other side's moves away
    from it slowly. What rounding makes of it is seen in the first step that has it, and in what the
    model returns.

    Arguments:
        step: The step.
        quantity: Any of its quantities.
        difference: How far its two sides differ.
    """
    if not _is_unrecorded(quantity.stage) or step.precision == "float16" or difference.problem:
        return []
    of = f"{step.a.about.network}/{quantity.key}"  # several networks may take turns
    first = step.rounded.setdefault(of, difference.needed)
    usual = 0.0 if _are_recorded(step) else ROOM * first  # what it is computed with is known
    if difference.needed <= max(LEAST * step.rtol, usual):
        return []
    if difference.needed <= ROOM * max(_of_model(step), _of_networks(step)):
        return []
    then = f"by {first:.0e}" if first else "not at all"
    why = (
        f"{why_without_gradients(step)}; the sides differ by {difference.needed:.0e} of its size, "
        f"in the first step {then}"
    )
    if not _are_recorded(step):
        why += (
            ". Does that network follow the model in the same way (how much of the model it takes "
            "on, before or after the optimiser's step)?"
        )
    return [why]


def why_without_gradients(step: Inspected) -> str:
    """What is known of an input that was computed without gradients and differs."""
    words = "it was computed without gradients from parameters, as by a target network or a teacher"
    if not _are_recorded(step):
        return f"{words}, which is not looked into"
    return (
        f"{words}, whose own parameters agree; what it computes with them is not looked into (is "
        "it in the same mode, training or evaluation, and given the same on both sides?)"
    )


def follows_from_networks(step: Inspected, quantity: PortQuantity, difference: Difference) -> bool:
    """Whether an input that was computed without gradients differs by what the parameters of such
    networks do, which follow each side's own model.

    Arguments:
        step: The step, as far as it was judged.
        quantity: The input.
        difference: How far its two sides differ.
    """
    return _is_unrecorded(quantity.stage) and difference.needed <= ROOM * _of_networks(step)


def _of_networks(step: Inspected) -> float:
    """The largest difference of the parameters of networks that are not trained, relative to the
    largest parameter: one that is near zero may differ by all of its size."""
    found = [
        one.difference
        for one in step.judged
        if one.verdict != "parted" and is_untrained(step, one.quantity)
    ]
    largest = max((one.largest for one in found), default=0.0)
    return max((one.max_abs for one in found), default=0.0) / largest if largest else 0.0


def _are_recorded(step: Inspected) -> bool:
    """Whether the parameters of networks that are not trained are held against each other."""
    inside = [side.beside for side in (step.a.side, step.b.side)]
    return bool(step.untrained) or any(
        inside[0] & {*one.a} and inside[1] & {*one.b} for one in step.parameters
    )


def _of_model(step: Inspected) -> float:
    """The largest relative difference of what the model's stages return that are not computed from
    an input of this kind."""
    reached = {
        name for pair in step.network.pairs if _is_unrecorded(pair) for name in pair.a.outputs
    }
    largest = 0.0
    for stage in step.a.network:
        if reached & {*stage.inputs, *stage.parameters.values()}:
            reached.update(stage.outputs)
    for pair in step.network.pairs:
        if pair.a.layer in ("input", "draw"):
            continue
        for one, two in matched_outputs(pair):
            a, b = step.a.arrays.get(f"forward/{one}"), step.b.arrays.get(f"forward/{two}")
            if one not in reached and a is not None and b is not None:
                found = difference_of(a, b)
                largest = max(largest, 0.0 if found.problem else found.needed)
    return largest


def _is_unrecorded(pair: StageMatch | None) -> bool:
    return pair is not None and any(
        one.options.get("without_gradients") for one in (pair.a, pair.b)
    )


def unrecorded_hint(step: Inspected) -> Iterator[tuple[str, str]]:
    """That a network was not recorded whose output is an input of the step."""
    names = [pair.a.name for pair in step.network.pairs if _is_unrecorded(pair)]
    lacking = [
        side.name for side in (step.a.side, step.b.side) if not side.untrained and not side.beside
    ]
    if names and lacking:
        more = ", ..." if len(names) > MOST else ""
        yield (
            "without gradients",
            f"{', '.join(names[:MOST])}{more}: computed without gradients from parameters, as by a "
            f"target network or a teacher, whose own parameters {' and '.join(lacking)} did not "
            "record. How these follow the model is compared only as far as it shows in what that "
            "network returns",
        )
