"""How a network that is not trained follows the model on one side and on the other, in words."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import replace

import numpy as np

from comparisons.ports.judging.inspected import Inspected
from comparisons.ports.judging.quantities import PortQuantity
from comparisons.ports.side import Side
from comparisons.ports.teachers.movement import (
    AFTER,
    BEFORE,
    REST,
    Way,
    are_alike,
    followed,
    is_same_end,
    is_untrained,
    key_of,
    moved,
    movement,
    within_the_step,
)
from comparisons.ports.teachers.pairs import network_and_name
from comparisons.ports.updates.words import those

__all__ = ["copied_within", "follows_words", "start_words"]

MOST_BUFFERS = 3  # that are named
MOST_STEPS = 16  # whose movements are looked at


def follows_words(step: Inspected, quantity: PortQuantity) -> str:
    """How each side moves a parameter of a network that is not trained, and what else moves so: in
    numbers of the parameter that tells them most exactly.

    Arguments:
        step: The step, as far as it was judged.
        quantity: The parameter.
    """
    whole = list(_of_network(step, quantity))
    moves = [one for one in whole if _moves_as(step, one, quantity)]
    alike = [one for one in moves if one.key == quantity.key or _parts(step, one)]
    best = min(alike, key=lambda one: _room(step, one))
    number = step.a.about.step - 1
    network, name = network_and_name(quantity.key)
    several = len(alike) > 1
    them, follow = ("them", "follow") if several else ("it", "follows")
    sides = zip((step.a.side, step.b.side), step.names, strict=True)
    elsewhere = "" if not _to_another_model(step, best) else "all" if several else "one"
    how = [
        f"{word} {_how(side, key_of(best, at), number, step.precision, elsewhere)}"
        for at, (side, word) in enumerate(sides)
    ]
    if several:
        values = {network_and_name(one.key)[1]: step.values(one)[0] for one in whole}
        shapes = {own: value.shape for own, value in values.items() if value is not None}
        named, perhaps = ([network_and_name(one.key)[1] for one in some] for some in (alike, moves))
        name = those(named, shapes, perhaps)
        if _kind(step, quantity) == "buffer":
            name = ", ".join(named[:MOST_BUFFERS]) + (", ..." if len(named) > MOST_BUFFERS else "")
    how = [one.replace("{}", them) for one in how]
    network = network or _part(step, quantity)
    of = f" of {network}" if network and (several or quantity.passing == "untrained") else ""
    return f"{name}{of} {follow} the model otherwise: {how[0]}; {how[1]}"


def _to_another_model(step: Inspected, quantity: PortQuantity) -> bool:
    """Whether both sides move a parameter alike, but not towards the same model."""
    a, b = (moved(step, quantity, side) for side in (0, 1))
    return a is not None and b is not None and a.is_like(b)


def _part(step: Inspected, quantity: PortQuantity) -> str:
    """The part of the recorded model that is the network; empty if it is not known."""
    found, name = moved(step, quantity, 0), quantity.value[0]
    to = found.ways[0].to if found is not None and found.ways else ""
    ends = [end for end in (to, to.partition(".")[2]) if end and name.endswith(f".{end}")]
    return name.removesuffix(f".{ends[0]}") if ends else ""


def start_words(step: Inspected, quantity: PortQuantity) -> Iterator[str]:
    """Yields which side's network starts from the model's numbers, if one alone does.

    Arguments:
        step: The first step that has it.
        quantity: A parameter of it.
    """
    network, name = network_and_name(quantity.key)
    values = step.values(quantity)
    same = []
    for side, (one, value) in enumerate(zip((step.a, step.b), values, strict=True)):
        if value is not None:
            groups = followed(one.side, key_of(quantity, side), value.shape)
            starts = [one.arrays.get(f"start/{own}") for group in groups[:1] for own in group]
            same.append(
                any(x is not None and np.array_equal(x.ravel(), value.ravel()) for x in starts)
            )
    if same in ([True, False], [False, True]):
        yes, no = (step.names[same.index(one)] for one in (True, False))
        of = f" of {network}" if network else ""
        yield f"{no}: {name}{of} does not start from the model's numbers; in {yes} it does"


def copied_within(step: Inspected, quantity: PortQuantity) -> Iterator[str]:
    """Yields which side moves a buffer of a network that is not trained before the optimiser's
    step, if one alone does.

    Arguments:
        step: The step, as far as it was judged.
        quantity: The buffer.
    """
    one = quantity.parameter
    if one is None or len(one.a) != 1 or len(one.b) != 1:
        return
    found = [
        within_the_step(recorded, name, step.precision)
        for recorded, name in ((step.a, one.a[0]), (step.b, one.b[0]))
    ]
    ways = [next(iter(each.ways), None) if each is not None else None for each in found]
    moves = [way is not None and not math.isnan(way.share) and not way.stays for way in ways]
    stays = [each is not None and not each.change.any() for each in found]
    for side, way in enumerate(ways):
        if way is not None and moves[side] and stays[1 - side] and way.to:
            number, name = step.a.about.step, (one.a, one.b)[side][0]
            how = _one_way({number: way}, number, name).replace("{}", name)
            yield f"{step.names[side]} {how}; {step.names[1 - side]} does not"


def _of_network(step: Inspected, quantity: PortQuantity) -> Iterator[PortQuantity]:
    """The parameters of the same network; its buffers, if this is one."""
    network, kind = network_and_name(quantity.key)[0], _kind(step, quantity)
    for one in step.untrained if quantity.passing == "untrained" else step.parameters:
        other = replace(
            quantity, parameter=one, key=quantity.template.format(one.a[0]),
            key_b=quantity.template.format(one.b[0]),
        )  # fmt: skip
        same = network_and_name(other.key)[0] == network and _kind(step, other) == kind
        if same and is_untrained(step, other):
            yield other


def _kind(step: Inspected, quantity: PortQuantity) -> str:
    """Whether it follows a parameter or a buffer of the model."""
    found = moved(step, quantity, 0)
    to = found.ways[0].to if found is not None and found.ways else ""
    kinds = {one.name: one.kind for one in step.a.side.trace.parameters}
    return kinds.get(to, "parameter")


def _moves_as(step: Inspected, other: PortQuantity, quantity: PortQuantity) -> bool:
    """Whether each side may move another parameter as it does this one."""
    mine, others = ([moved(step, one, side) for side in (0, 1)] for one in (quantity, other))
    return all(
        x is not None and y is not None and (x.is_like(y) or not (x.ways or y.ways))
        for x, y in zip(mine, others, strict=True)
    )


def _parts(step: Inspected, quantity: PortQuantity) -> bool:
    """Whether the sides move a parameter in different ways, for certain."""
    a, b = (moved(step, quantity, side) for side in (0, 1))
    return a is not None and b is not None and not are_alike(step, a, b)


def _room(step: Inspected, quantity: PortQuantity) -> float:
    """What rounding may make of the shares of both sides, relative to the larger one."""
    both = [moved(step, quantity, side) for side in (0, 1)]
    ways = [way for one in both if one is not None for way in one.ways[:1]]
    known = [way for way in ways if not math.isnan(way.share)]
    most = max((abs(way.share) for way in known), default=0.0)
    return sum(way.room for way in known) / most if most else math.inf


def _how(side: Side, key: str, number: int, precision: str, named: str = "") -> str:
    """How one side moves it: in this step, and, where that is not enough to tell, in all.

    Arguments:
        side, key, number, precision: Whose, which, the step, and the coarsest type of number.
        named: Whether the model is named that it follows: for `one` parameter, or for `all`.
    """
    found = dict(_all_ways(side, key, precision))
    here, own = found.get(number), network_and_name(key)[1]
    if named and here:
        to = here[0].to
        part = to.removesuffix(own) if named == "all" and to.endswith(f".{own}") else ""
        return _one_way({number: here[0]}, number, own, f"{part}*" if part else to)
    if not here:
        return f"moves {{}} after step {number} in no way that is known"
    told = [way for ways in found.values() for way in ways if not math.isnan(way.share)]
    if all(way.stays for way in told):
        return f"does not move {{}} at all (steps {min(found)} to {max(found) + 1})"
    for when in (AFTER, BEFORE):
        ways = {n: next((w for w in each if w.when == when), None) for n, each in found.items()}
        known = {n: way for n, way in ways.items() if way is not None}
        if len(known) == len(found) and any(not w.stays for w in known.values()):
            return _one_way(known, number, own)
    return _one_way({number: here[0]}, number, own)


def _all_ways(side: Side, key: str, precision: str) -> Iterator[tuple[int, list[Way]]]:
    """How it moved after each recorded step whose next one is recorded as well."""
    steps = [one.step for one in side.trace.steps][: MOST_STEPS + 1]
    before = side.step(steps[0])
    for now in (side.step(number) for number in steps[1:]):
        found = movement(before, now, key, precision)
        if found is not None:
            yield before.about.step, found.ways
        before = now


def _one_way(ways: Mapping[int, Way], number: int, own: str, model: str = "") -> str:
    told = {n: way for n, way in ways.items() if not math.isnan(way.share)}
    moves = [n for n, way in told.items() if not way.stays]
    if not moves:
        return f"does not move {{}} after step {number}"
    if number in told and number not in moves:
        later = ", ".join(map(str, moves))
        return f"does not move {{}} after step {number}, but after step {later}"
    way = told[number if number in told else moves[0]]
    moment = "after" if way.when == AFTER else "before the optimiser's"
    moment = f"{moment} step {number if number in told else moves[0]}"
    other = f" {model}" if model else _other(way, own)
    if abs(way.share - 1) <= max(way.room, REST):
        return f"copies {{}} from the model's{other} {moment}"
    share = _rounded(way)
    return (
        f"moves {{}} {moment} by {share:.3g} of the way to the model's{other} "
        f"(a decay of {1 - share:.6g})"
    )


def _other(way: Way, own: str) -> str:
    """The name of the model's parameter, where it is another one."""
    return "" if is_same_end(way.to, own) else f" {way.to}"


def _rounded(way: Way) -> float:
    """A share with as few digits as it is told by."""
    room = max(way.room, REST * way.share)
    for digits in range(1, 6):
        short = float(f"{way.share:.{digits}g}")
        if abs(short - way.share) <= room:
            return short
    return way.share
