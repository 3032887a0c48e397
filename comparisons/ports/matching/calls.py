"""Calls of one module that belong together: in turn, or, where the two programs call it in another
order (`net(a)`, `net(b)`), those that are made of the same inputs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping

from comparisons.ports.matching.kinds import is_module
from comparisons.ports.matching.matched import Network, StageMatch
from comparisons.ports.side import RecordedStep
from pyvae.trace.program import ProgramStage

__all__ = ["in_order_of_calls", "made_of", "same_calls"]

Calls = Mapping[str, ProgramStage]
Sources = frozenset[str]
ALONE = ", alone"  # of an input that has no partner


def same_calls(
    a: RecordedStep, b: RecordedStep, inputs: Mapping[str, str]
) -> Iterator[tuple[ProgramStage, ProgramStage]]:
    """The calls of modules of one name that belong together. Where one side has more of them than
    the other, as to evaluate, those of one mode belong together, in turn.

    Arguments:
        a, b: A step of both sides.
        inputs: The names of inputs with the same numbers, by the first side's.
    """
    others = _calls(b.network)
    here, there = _first_of_equal(a), _first_of_equal(b)
    shared = {there[name] for name in inputs.values() if name in there}  # and no draws

    def named(name: str) -> str:
        return there[name] if there[name] in shared else f"{name} of the second side{ALONE}"

    sources = (
        made_of(a, lambda name: there.get(inputs.get(here[name], ""))),
        made_of(b, named),
    )
    for name, mine in _calls(a.network).items():
        theirs = others.get(name, {})
        pairs = _of_one_source(mine, theirs, *sources) if len(mine) == len(theirs) else {}
        if not pairs and mine.keys() != theirs.keys():
            pairs = _of_one_mode(mine, theirs, *sources)
        taken = set(pairs.values())
        left = {one: one for one in mine if one in theirs and one not in pairs.keys() | taken}
        yield from ((mine[one], theirs[two]) for one, two in (pairs | left).items())


def in_order_of_calls(a: Network, b: RecordedStep, found: Mapping[str, StageMatch]) -> Network:
    """The second side's stages in the order in which the first side computes the same, if the two
    make the same calls in another order; as they are if not.

    Arguments:
        a: The first side's stages.
        b: A step of the second side.
        found: What belongs together already, by the first side's names.
    """
    place = {stage.name: at for at, stage in enumerate(a)}
    there = {stage.name: at for at, stage in enumerate(b.network)}
    modules = [one for one in found.values() if one.how == "name" and is_module(one.a)]
    moved = any(one.a.name != one.b.name for one in modules)
    modules.sort(key=lambda one: place[one.a.name])
    order = [there[one.b.name] for one in modules]
    if not moved or order == sorted(order):  # where one side evaluates, too, the order is the same
        return b.network
    known = {one.b.name: place[one.a.name] for one in found.values()}
    at: dict[str, int] = {}
    for stage in reversed(b.network):
        takers = (one for name in stage.outputs for one in b.takers.get(name, ()))
        first = min((at.get(one.name, len(a)) for one in takers), default=len(a))
        at[stage.name] = known.get(stage.name, first)  # just before the call that takes it
    return sorted(b.network, key=lambda stage: at[stage.name])


def _calls(network: Network) -> dict[str, dict[str, ProgramStage]]:
    """The calls of each module, by the names of their stages."""
    calls: dict[str, dict[str, ProgramStage]] = {}
    for stage in network:
        if is_module(stage):
            calls.setdefault(stage.name.partition("#")[0], {})[stage.name] = stage
    return calls


def made_of(
    step: RecordedStep, named: Callable[[str], str | None] = lambda name: name
) -> dict[str, Sources]:
    """The inputs of which each stage's output is made, by the stage's name.

    Arguments:
        step: A step of one side.
        named: Names an input as the other side does; None if it has no partner.
    """
    found: dict[str, Sources] = {}
    for stage in step.network:
        if stage.layer == "input":
            found[stage.name] = frozenset([named(stage.name) or f"{stage.name}{ALONE}"])
            continue
        given = (step.producer.get(one) for one in (*stage.inputs, *stage.parameters.values()))
        known = [found[one.name] for one in given if one is not None and one.name in found]
        found[stage.name] = frozenset().union(*known)
    return found


def _first_of_equal(step: RecordedStep) -> dict[str, str]:
    """A step's inputs, each with the first one of the same numbers: two states that start as zeros
    tell no call from another one."""
    first: dict[object, str] = {}
    found = {}
    for stage in step.network:
        if stage.layer == "input":
            value = step.arrays.get(f"forward/{stage.name}")
            key = stage.name if value is None else (value.shape, value.dtype.str, value.tobytes())
            found[stage.name] = first.setdefault(key, stage.name)
    return found


def _of_one_source(
    mine: Calls, theirs: Calls, here: Mapping[str, Sources], there: Mapping[str, Sources]
) -> dict[str, str]:
    """Those that are made of the same inputs, in turn; none if that brings not all of them
    together."""
    if len(mine) == 1:
        return {}
    groups: dict[Sources, list[str]] = {}
    for two in theirs:
        groups.setdefault(there[two], []).append(two)
    if Counter(here[one] for one in mine) != Counter(there[two] for two in theirs):
        return {}
    return {one: groups[here[one]].pop(0) for one in mine}


def _of_one_mode(
    mine: Calls, theirs: Calls, here: Mapping[str, Sources], there: Mapping[str, Sources]
) -> dict[str, str]:
    """Those of one mode, in turn: those that are made of the same of what both sides are given, if
    that brings all calls of one side together; else any."""
    shared = [
        {name: {one for one in found[name] if not one.endswith(ALONE)} for name in calls}
        for calls, found in ((mine, here), (theirs, there))
    ]

    def in_turn(alike: Callable[[ProgramStage, ProgramStage], bool]) -> dict[str, str]:
        pairs: dict[str, str] = {}
        left = list(theirs.values())
        for stage in mine.values():
            at = next((n for n, one in enumerate(left) if alike(stage, one)), None)
            if at is not None:
                pairs[stage.name] = left[at].name
                left = left[at + 1 :]
        return pairs

    pairs = in_turn(
        lambda one, two: (
            one.training == two.training
            and bool(shared[0][one.name])
            and shared[0][one.name] == shared[1][two.name]
        )
    )
    if len(pairs) == min(len(mine), len(theirs)):
        return pairs
    return in_turn(lambda one, two: one.training == two.training)
