"""Inputs that a network computed without gradients which is not recorded: a teacher that follows
the model, a target network."""

from __future__ import annotations

from collections.abc import Iterator

from comparisons.ports.judging.inspected import Inspected
from comparisons.ports.judging.judged import Difference, difference_of
from comparisons.ports.judging.quantities import PortQuantity
from comparisons.ports.matching.stages import StageMatch, matched_outputs

__all__ = ["WITHOUT_GRADIENTS", "more_than_rounding", "unrecorded_hint"]

WITHOUT_GRADIENTS = (
    "it was computed without gradients from parameters, as by a target network or a teacher, "
    "which is not looked into"
)
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
    if difference.needed <= max(LEAST * step.rtol, ROOM * first):
        return []
    if difference.needed <= ROOM * _of_model(step):
        return []
    then = f"by {first:.0e}" if first else "not at all"
    return [
        f"{WITHOUT_GRADIENTS}; the sides differ by {difference.needed:.0e} of its size, in the "
        f"first step {then}. Does that network follow the model in the same way (how much "
        "of the model it takes on, before or after the optimiser's step)?"
    ]


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
    if names:
        more = ", ..." if len(names) > MOST else ""
        yield (
            "without gradients",
            f"{', '.join(names[:MOST])}{more}: computed without gradients from parameters, as by a "
            "target network or a teacher, whose own parameters are not recorded. How these follow "
            "the model is compared only as far as it shows in what that network returns",
        )
