"""Parameters that one side alone trains: frozen, not the optimiser's, or shared on the other."""

from __future__ import annotations

from collections.abc import Iterator

from comparisons.ports.judging.alone.parameters import why_without_gradient
from comparisons.ports.judging.inspected import Inspected
from comparisons.ports.judging.judged import Judged, difference_of
from comparisons.ports.updates.parts import optimised
from comparisons.ports.updates.words import parameters_of, those

__all__ = ["shared_on_one_side", "untrained"]

WORDS = {
    "frozen": "{} {} frozen",
    "not listed": "{} {} not in the optimiser",
    "no gradient": "{} {} no gradient",
}


def untrained(step: Inspected, judged: Judged) -> Iterator[str]:
    """Yields which parameters one side does not train, all those of one reason together.

    Arguments:
        step: The step, as far as it was judged.
        judged: A parameter's gradient that one side alone has.
    """
    one = judged.quantity.parameter
    if one is None or judged.quantity.passing != "parameter gradient":
        return
    both = step.a, step.b
    side, kind = why_without_gradient(both, one)
    if kind not in WORDS:
        return
    names = [
        name
        for other in step.parameters
        if other.kind == "parameter" and why_without_gradient(both, other) == (side, kind)
        for name in (other.a, other.b)[side]
    ]
    shapes = parameters_of(step, side)
    foreign = {*_foreign(step, side)} - {*names}
    own = [name for name in shapes if name not in foreign]
    verb = "get" if kind == "no gradient" else "are"
    if len(names) == 1:
        verb = {"get": "gets", "are": "is"}[verb]
    said = WORDS[kind].format(those(names, {name: shapes[name] for name in own}), verb)
    yield f"{step.names[side]}: {said}" + (
        _replaced(step, side, len(names)) if kind == "not listed" else ""
    )


def _foreign(step: Inspected, side: int) -> list[str]:
    """Parameters of the optimiser that no stage takes and backward does not reach."""
    one = (step.a, step.b)[side]
    return [
        name
        for name in optimised(step.own[side])
        if name not in one.takers and f"gradient/{name}" not in one.arrays
    ]


def _replaced(step: Inspected, side: int, count: int) -> str:
    """Whether the optimiser has others in their place."""
    others = _foreign(step, side)
    shapes = parameters_of(step, side)
    if not others:
        return ""
    many = len(others)
    shown = ", ".join("x".join(map(str, shapes.get(name, ()))) or "1" for name in others[:3])
    return (
        f"; it has {many} other{'' if many == 1 else 's'} that the network does not use (of shape "
        f"{shown}{', ...' if many > 3 else ''}): "
        f"{'was it' if count == 1 else 'were they'} replaced after the optimiser was made?"
    )


def shared_on_one_side(step: Inspected, judged: Judged) -> Iterator[str]:
    """Yields which parameters are one on one side and two on the other, if the quantity is what one
    of them is taken for, or is its gradient.

    Arguments:
        step: The step, as far as it was judged.
        judged: Its first quantity that parts.
    """
    quantity = judged.quantity
    if any(one is not None and not one.is_right for one in step.residuals(quantity)):
        return  # one side does not return what it should of its own
    if quantity.passing == "parameter gradient" and quantity.parameter is not None:
        names = quantity.parameter.a, quantity.parameter.b
        pairs = [
            step.network.partner[stage.name]
            for stage in step.a.takers.get(names[0][0], ())
            if stage.name in step.network.partner
        ]
        pairs += [
            pair
            for pair in step.network.pairs
            if any(stage is pair.b for stage in step.b.takers.get(names[1][0], ()))
        ]
    elif quantity.passing == "forward" and quantity.stage is not None:
        pairs = [quantity.stage]
    else:
        return
    for pair in pairs:
        for role in pair.a.parameters.keys() & pair.b.parameters.keys():
            taken = pair.a.parameters[role], pair.b.parameters[role]
            found = _shared(step, taken)
            if found and (quantity.passing != "forward" or _differ(step, taken)):
                yield found
                return


def _shared(step: Inspected, taken: tuple[str, str]) -> str:
    """Two that a pair of stages take: one of them is another parameter's, too."""
    sides = step.a.side, step.b.side
    for side, name in enumerate(taken):
        first = sides[side].own(name)
        tied = {first, *(n for n, own in sides[side].shared.items() if own == first)}
        there = sides[1 - side]
        apart = {there.own(taken[1 - side])}
        for other in tied - {name}:
            apart |= {there.own(other)} if other in _known(step, 1 - side) else set()
        if len(tied) > 1 and len(apart) > 1:
            shown = " and ".join(sorted(tied))
            return (
                f"{step.names[side]} shares one parameter as {shown}; in {step.names[1 - side]} "
                f"they are {len(apart)}: {', '.join(sorted(apart))}"
            )
    return ""


def _differ(step: Inspected, taken: tuple[str, str]) -> bool:
    """Whether the two have other numbers."""
    values = step.a.value(taken[0]), step.b.value(taken[1])
    if values[0] is None or values[1] is None:
        return False
    return difference_of(values[0], values[1]).needed > step.rtol


def _known(step: Inspected, side: int) -> set[str]:
    trace = (step.a, step.b)[side].side.trace
    return {one.name for one in trace.parameters}
