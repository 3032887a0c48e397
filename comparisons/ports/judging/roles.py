"""What a stage computes with the weights, biases and masks that its partner takes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from numpy.typing import NDArray

from comparisons.ports.expected.declared import counted_from
from comparisons.ports.expected.recompute import Recomputed
from comparisons.ports.judging.own import Own
from comparisons.ports.matching.matched import StageMatch
from comparisons.ports.side import Overlaid

__all__ = ["as_the_other"]

BORROWED = "the other side's "  # in front of a value that this side lacks


def as_the_other(pair: StageMatch, a: Own, b: Own) -> Recomputed | None:
    """What the first side's stage computes from its own inputs with all that the second's declares:
    layer, options, mode, and the roles of what it takes. Of those that it lacks itself the values
    are the second's, as long as the two are of one form.

    Arguments:
        pair: The stages.
        a, b: What each side should return.

    Returns:
        None if it cannot be computed.
    """
    bases = a.step.side.trace.index_base, b.step.side.trace.index_base
    other = replace(
        pair.a, layer=pair.b.layer, training=pair.b.training,
        options=counted_from(bases[0], pair.b.options, bases[1]),
    )  # fmt: skip
    if pair.a.parameters.keys() == pair.b.parameters.keys() or _goes_on_alone(pair, a, b):
        return a.computed(other)
    roles, borrowed = _roles(pair, b)
    changed = a.computed(replace(other, parameters=roles), Overlaid(a.arrays, borrowed))
    return a.computed(other) if changed is None else changed


def _roles(pair: StageMatch, b: Own) -> tuple[dict[str, str], Mapping[str, NDArray]]:
    """The second's roles, by the names of the first's values where it has them."""
    roles, borrowed = {}, {}
    for role, name in pair.b.parameters.items():
        if role in pair.a.parameters:
            roles[role] = pair.a.parameters[role]
            continue
        roles[role] = f"{BORROWED}{name}"
        value = b.step.value(name)
        if value is not None:
            borrowed[f"forward/{BORROWED}{name}"] = value
    return roles, borrowed


def _goes_on_alone(pair: StageMatch, a: Own, b: Own) -> bool:
    """Whether only stages that one side alone has take what one of the two returned: a bias that is
    added by a stage of its own. What these return is compared by value."""
    for own, stage in ((a, pair.a), (b, pair.b)):
        takers = [taker for name in stage.outputs for taker in own.step.takers.get(name, ())]
        if takers and all(taker.name in own.alone for taker in takers):
            return True
    return False
