"""Parts that are taken of one value (`x[:, :4]`), in whatever order."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from comparisons.ports.matching.matched import (
    Network,
    NetworkMatch,
    StageMatch,
    matched_outputs,
    shapes_of,
)
from comparisons.ports.side import RecordedStep
from pyvae.trace.program import ProgramStage

__all__ = ["PARTS", "pair_parts", "with_same_parts"]

PARTS = ("index", "narrow", "select")
MOST_ALIKE = 3  # of two parts
MOST_PARTS = 10_000  # pairs of parts of one value


def pair_parts(
    a: RecordedStep, b: RecordedStep, found: dict[str, StageMatch], same: bool = False
) -> None:
    """Pairs parts that are taken of one value (`x[:, :4]`) and go to the same place, whatever the
    order in which they are taken; if asked for, those that are the same parts."""
    for first, second in list(_parts_of_one(a, b, found)):
        known = [found.get(stage.name) for stage in first]
        if all(p is not None and _likeness(a, b, found, p.a, p.b) == MOST_ALIKE for p in known):
            continue
        if len(first) * len(second) > MOST_PARTS:
            continue
        likes = [
            (_likeness(a, b, found, one, two), abs(i - j), i, j)
            for i, one in enumerate(first)
            for j, two in enumerate(second)
        ]
        likes = [one for one in likes if (one[0] % 2 if same else one[0] >= 2)]
        pairs: dict[str, ProgramStage] = {}
        free = {stage.name: stage for stage in second}
        for _, _, i, j in sorted(likes, key=lambda one: (-one[0], *one[1:])):
            if first[i].name not in pairs and second[j].name in free:
                pairs[first[i].name] = free.pop(second[j].name)
        if all(name in found and found[name].b is two for name, two in pairs.items()):
            continue
        for stage in first:
            found.pop(stage.name, None)
            left = (two for two in free.values() if shapes_of(a, stage) == shapes_of(b, two))
            other = pairs.get(stage.name) or next(left, None)
            if other is not None:
                free.pop(other.name, None)
                how = "name" if stage.name == other.name else "order"
                found[stage.name] = StageMatch(stage, other, how)


def with_same_parts(a: RecordedStep, b: RecordedStep, network: NetworkMatch) -> NetworkMatch:
    """The same, where parts of one value that are the same ones belong together, whatever the order
    in which they are taken.

    Arguments:
        a, b: A step of both sides.
        network: Their stages, as they belong together by their order.
    """
    found = {pair.a.name: pair for pair in network.pairs}
    pair_parts(a, b, found, same=True)
    taken = {pair.b.name for pair in found.values()}
    return NetworkMatch(
        tuple(found[stage.name] for stage in a.network if stage.name in found),
        (
            tuple(stage for stage in a.network if stage.name not in found),
            tuple(stage for stage in b.network if stage.name not in taken),
        ),
    )


def _parts_of_one(
    a: RecordedStep, b: RecordedStep, found: Mapping[str, StageMatch]
) -> Iterator[tuple[Network, Network]]:
    """Both sides' parts of values that belong together, where there are several, and which are
    paired with each other or not at all."""
    back = {pair.b.name: pair.a.name for pair in found.values()}
    values = dict(value for pair in found.values() for value in matched_outputs(pair))
    for source, other in values.items():
        first, second = (
            [one for one in step.takers.get(name, ())
             if one.layer in PARTS and one.inputs[:1] == (name,)]
            for step, name in ((a, source), (b, other))
        )  # fmt: skip
        names = {stage.name for stage in first}, {stage.name for stage in second}
        if max(len(first), len(second)) < 2 or not first or not second:
            continue
        given = [pair for name in names[0] if (pair := found.get(name)) is not None]
        if any(pair.how == "map" or pair.b.name not in names[1] for pair in given):
            continue
        if any(back.get(name, next(iter(names[0]))) not in names[0] for name in names[1]):
            continue
        yield first, second


def _likeness(
    a: RecordedStep,
    b: RecordedStep,
    found: Mapping[str, StageMatch],
    one: ProgramStage,
    two: ProgramStage,
) -> int:
    """How much speaks for two parts being one: 2 that stages which belong together take them in the
    same place, 1 that they are the same."""
    if shapes_of(a, one) != shapes_of(b, two):
        return 0
    taken = any(
        (name, other) == (one.outputs[0], two.outputs[0])
        for stage in a.takers.get(one.outputs[0], ())
        if (pair := found.get(stage.name)) is not None
        for name, other in zip(pair.a.inputs, pair.b.inputs, strict=False)
    )
    return 2 * taken + (one.layer == two.layer and one.options == two.options)
