"""Which stage of one program is which of the other.

Modules of one name and layer belong together, wherever they stand. All others, functions above all
(`relu#2` is only the second call of a function), are aligned by order, layer and the shapes of what
they return: the longest common subsequence, between the modules that belong together. A map that
the user gives decides before all of this.
"""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace

import numpy as np

from comparisons.ports.matching.calls import in_order_of_calls, same_calls
from comparisons.ports.matching.kinds import family, is_module
from comparisons.ports.matching.matched import (
    Network,
    NetworkMatch,
    StageMatch,
    count_rows,
    shapes_of,
)
from comparisons.ports.matching.of_paired import pair_of_paired
from comparisons.ports.matching.slices import pair_parts
from comparisons.ports.side import RecordedStep
from pyvae.trace.program import ProgramStage

__all__ = ["GIVEN", "match_stages"]

OUTSIDE = ("input", "draw")
MOST_PAIRS = 4_000_000  # of stages that are weighed one by one
SAME_SHAPES, SAME_LAYER = 8, 3  # how much two stages have in common
COMPUTED = 1e-4  # relative: how exactly both have what one side computes
NOTHING = (False, False, 0, 0)
JOINING = ("cat", "column_stack", "hstack", "stack", "vstack")
GIVEN = 1e-6  # relative: how exactly the same numbers are given to both


def match_stages(
    a: RecordedStep, b: RecordedStep, names: Mapping[str, str] | None = None
) -> NetworkMatch:
    """Finds which stages belong together.

    Arguments:
        a, b: A step of both sides.
        names: The map that the user gave: names of the first side's stages, each with the second's.
    """
    whole = a, b
    a, b = (
        replace(one, network=tuple(stage for stage in one.network if stage.name not in one.alone))
        for one in whole
    )
    found = dict(_by_map(a.network, b.network, names or {}))
    taken = {pair.b.name for pair in found.values()}
    same = list(_equal_inputs(a, b))
    for stage, other in same_calls(a, b, {stage.name: other.name for stage, other in same}):
        if family(stage.layer) != family(other.layer):
            continue
        if stage.name not in found and other.name not in taken:
            found[stage.name] = StageMatch(stage, other, "name")
            taken.add(other.name)
    for stage, other in same:
        if stage.name not in found and other.name not in taken:
            how = "name" if stage.name == other.name else "value"
            found[stage.name] = StageMatch(stage, other, how)
            taken.add(other.name)
    for segment in _segments(a.network, in_order_of_calls(a.network, b, found), found):
        for stage, other in _aligned(a, b, *segment):
            how = "name" if stage.name == other.name else "order"
            found[stage.name] = StageMatch(stage, other, how)
            taken.add(other.name)
    _pair_what_is_left(a.network, b.network, found, taken)
    pair_of_paired(a, b, found, taken)
    pair_parts(a, b, found)
    doubtful = [n for n, pair in found.items() if _is_doubtful_source(a, b, pair)]
    there = {name: found.pop(name) for name in doubtful}
    for stage, other in _sources_of_pairs(a, b, found):
        how = "name" if stage.name == other.name else "order"
        found[stage.name] = StageMatch(stage, other, how)
    taken = {pair.b.name for pair in found.values()}
    for name, pair in there.items():  # no stage tells more
        if name in found or pair.b.name in taken or not _may_be_one(a, b, pair):
            continue
        if not _is_computed_there((a, b), pair, found):
            found[name] = pair
    for name in _strangers(a, b, found):
        del found[name]
    taken = {pair.b.name for pair in found.values()}
    return NetworkMatch(
        tuple(found[stage.name] for stage in a.network if stage.name in found),
        (
            tuple(stage for stage in whole[0].network if stage.name not in found),
            tuple(stage for stage in whole[1].network if stage.name not in taken),
        ),
    )


def _by_map(a: Network, b: Network, names: Mapping[str, str]) -> Iterator[tuple[str, StageMatch]]:
    others = {stage.name: stage for stage in b}
    for stage in a:
        if names.get(stage.name) in others:
            yield stage.name, StageMatch(stage, others[names[stage.name]], "map")


def _equal_inputs(a: RecordedStep, b: RecordedStep) -> Iterator[tuple[ProgramStage, ProgramStage]]:
    """Inputs with the same numbers, in whatever order they were used, or what one side drew and the
    other side was given; whole numbers may be counted from another one."""
    others = [stage for stage in b.network if stage.layer in OUTSIDE]
    for stage in a.network:
        if stage.layer not in OUTSIDE:
            continue
        best, most = None, NOTHING
        for other in others:
            if not _has_equal_numbers(a, b, stage, other):
                continue
            common = _in_common(a, b, stage, other)
            if best is None or common > most:
                best, most = other, common
            if common == _in_common(a, a, stage, stage):
                break  # no other one can have more
        if best is not None:
            others.remove(best)
            yield stage, best


def _has_equal_numbers(
    a: RecordedStep, b: RecordedStep, stage: ProgramStage, other: ProgramStage
) -> bool:
    if stage.layer == other.layer == "draw":  # the order of draws says something
        return False
    value, there = (x.arrays.get(f"forward/{s.name}") for x, s in ((a, stage), (b, other)))
    if value is None or there is None:
        return False
    if there.shape != value.shape or there.dtype.kind != value.dtype.kind:
        return False
    gap = b.side.trace.index_base - a.side.trace.index_base
    if value.dtype.kind in "iu" and bool((there == value + gap).all()):
        return True
    return np.allclose(value, there, rtol=GIVEN, atol=0, equal_nan=True)


def _in_common(
    a: RecordedStep, b: RecordedStep, stage: ProgramStage, other: ProgramStage
) -> tuple[bool, bool, int, int]:
    """What two inputs with the same numbers have in common besides: what unseen function returned
    them (one that is another only on the way back, too), and who takes them."""
    functions = stage.options.get("grad_fn", ""), other.options.get("grad_fn", "")
    takers = a.takers.get(stage.name, ()), b.takers.get(other.name, ())
    names = [Counter(taker.name for taker in one) for one in takers]
    layers = [Counter(taker.layer for taker in one) for one in takers]
    return (
        bool(functions[0]) == bool(functions[1]),
        functions[0] == functions[1],
        (names[0] & names[1]).total(),
        (layers[0] & layers[1]).total(),
    )


def _segments(
    a: Network, b: Network, found: Mapping[str, StageMatch]
) -> Iterator[tuple[list[ProgramStage], list[ProgramStage]]]:
    """The stages between those that are found already, where these stand in the same order."""
    place = {stage.name: at for at, stage in enumerate(b)}
    anchors = [(at, place[found[s.name].b.name]) for at, s in enumerate(a) if s.name in found]
    kept = _longest_increasing(anchors)
    known = {pair.b.name for pair in found.values()}
    start_a = start_b = 0
    for end_a, end_b in [*kept, (len(a), len(b))]:
        yield (
            [stage for stage in a[start_a:end_a] if stage.name not in found],
            [stage for stage in b[start_b:end_b] if stage.name not in known],
        )
        start_a, start_b = end_a + 1, end_b + 1


def _longest_increasing(pairs: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """The most pairs whose second numbers increase as their first ones do (patience sorting)."""
    import bisect

    tops: list[int] = []
    ends: list[int] = []  # the index of the pair on top of each pile
    before: list[int] = []
    for index, (_, second) in enumerate(pairs):
        pile = bisect.bisect_left(tops, second)
        before.append(ends[pile - 1] if pile else -1)
        tops[pile : pile + 1] = [second]
        ends[pile : pile + 1] = [index]
    found = []
    at = ends[-1] if ends else -1
    while at >= 0:
        found.append(pairs[at])
        at = before[at]
    return found[::-1]


def _aligned(
    a: RecordedStep, b: RecordedStep, first: Network, second: Network
) -> Iterator[tuple[ProgramStage, ProgramStage]]:
    """The alignment of two rows of stages that keeps their order and has the most in common."""
    keys_a = [(family(s.layer), shapes_of(a, s)) for s in first]
    keys_b = [(family(s.layer), shapes_of(b, s)) for s in second]
    if len(first) * len(second) > MOST_PAIRS:
        blocks = difflib.SequenceMatcher(None, keys_a, keys_b, autojunk=False)
        for block in blocks.get_matching_blocks():
            yield from zip(first[block.a :][: block.size], second[block.b :], strict=False)
        return

    most = min(len(first), len(second)) + 1  # more than there can be pairs

    def weight(i: int, j: int) -> int:
        """A layer and its shapes weigh more than any number of names."""
        if keys_a[i][0] != keys_b[j][0]:
            return 0
        shapes = keys_a[i][1], keys_b[j][1]
        like = SAME_SHAPES if shapes[0] == shapes[1] or None in shapes else SAME_LAYER
        return like * most + (first[i].name == second[j].name)

    # best[i][j]: the most that the stages from i and j on have in common
    best = [[0] * (len(second) + 1) for _ in range(len(first) + 1)]
    for i in reversed(range(len(first))):
        for j in reversed(range(len(second))):
            both = weight(i, j)
            best[i][j] = max(
                best[i + 1][j], best[i][j + 1], both + best[i + 1][j + 1] if both else 0
            )
    i = j = 0
    while i < len(first) and j < len(second):
        both = weight(i, j)
        if both and best[i][j] == both + best[i + 1][j + 1]:
            yield first[i], second[j]
            i, j = i + 1, j + 1
        elif best[i][j] == best[i + 1][j]:
            i += 1
        else:
            j += 1


def _pair_what_is_left(
    a: Network, b: Network, found: dict[str, StageMatch], taken: set[str]
) -> None:
    """Pairs modules of one name and different layers: one side has another layer there."""
    others = {stage.name: stage for stage in b if stage.name not in taken}
    for stage in a:
        other = others.get(stage.name)
        if stage.name in found or other is None or stage.layer in OUTSIDE or other.layer in OUTSIDE:
            continue
        if is_module(stage) and is_module(other):
            found[stage.name] = StageMatch(stage, other, "name")
            taken.add(other.name)


def _is_doubtful_source(a: RecordedStep, b: RecordedStep, pair: StageMatch) -> bool:
    """Whether an input or draw may belong to another one: the two are different numbers."""
    if pair.a.layer not in OUTSIDE or pair.how == "map":
        return False
    one, two = a.arrays.get(f"forward/{pair.a.name}"), b.arrays.get(f"forward/{pair.b.name}")
    if one is None or two is None or one.shape != two.shape:
        return True
    gap = b.side.trace.index_base - a.side.trace.index_base
    shifted = count_rows(one, two) and np.array_equal(one + gap, two)
    return not shifted and not np.allclose(one, two, rtol=GIVEN, atol=0, equal_nan=True)


def _may_be_one(a: RecordedStep, b: RecordedStep, pair: StageMatch) -> bool:
    """Whether an input or draw may be another one with other numbers, though no stages that belong
    together take them: a mask is no target, what has another shape is something else, and what
    one side computes of its weights, unseen, is nothing that the other one is given; but noise may
    be drawn once for all."""
    if pair.a.layer == pair.b.layer == "draw":
        return True
    if bool(pair.a.options.get("grad_fn")) != bool(pair.b.options.get("grad_fn")):
        return False
    one, two = a.arrays.get(f"forward/{pair.a.name}"), b.arrays.get(f"forward/{pair.b.name}")
    if one is None or two is None:
        return True
    return one.shape == two.shape and (one.dtype.kind == "b") == (two.dtype.kind == "b")


def _is_computed_there(
    sides: tuple[RecordedStep, RecordedStep], pair: StageMatch, found: Mapping[str, StageMatch]
) -> bool:
    """Whether what one side is given the other one computes: stages that belong together take it in
    one place, with the same numbers. So it is with a program that adds noise to an image before it
    calls the model, and one whose model does so."""
    for taker in found.values():
        for one, two in zip(taker.a.inputs, taker.b.inputs, strict=False):
            given = one == pair.a.name, two == pair.b.name
            makers = sides[0].producer.get(one), sides[1].producer.get(two)
            computed = [maker is not None and maker.layer not in OUTSIDE for maker in makers]
            if not (given[0] and computed[1]) and not (given[1] and computed[0]):
                continue
            x, y = sides[0].value(one), sides[1].value(two)
            if x is None or y is None or x.shape != y.shape:
                continue
            if np.allclose(x, y, rtol=0, atol=COMPUTED * float(np.abs(x).max(initial=0))):
                return True
    return False


def _sources_of_pairs(
    a: RecordedStep, b: RecordedStep, found: Mapping[str, StageMatch]
) -> list[tuple[ProgramStage, ProgramStage]]:
    """Inputs and draws that have no partner of their kind, by the place in which stages that belong
    together take them: what one side draws, the other may be given."""
    known = {pair.b.name for pair in found.values()}
    pairs: dict[str, tuple[ProgramStage, ProgramStage]] = {}
    for pair in list(found.values()):
        roles = pair.a.parameters.keys() & pair.b.parameters.keys()
        places = [*zip(pair.a.inputs, pair.b.inputs, strict=False)]
        places += [(pair.a.parameters[role], pair.b.parameters[role]) for role in sorted(roles)]
        for one, two in places:
            source, other = a.producer.get(one), b.producer.get(two)
            if source is None or other is None:
                continue
            if source.layer not in OUTSIDE or other.layer not in OUTSIDE:
                continue
            if source.name in found or source.name in pairs or other.name in known:
                continue
            if _is_made_there(a, source, b) or _is_made_there(b, other, a):
                continue
            pairs[source.name] = source, other
            known.add(other.name)
    return list(pairs.values())


def _is_made_there(step: RecordedStep, source: ProgramStage, other: RecordedStep) -> bool:
    """Whether one side makes itself what the other side is given: columns put together."""
    value = step.arrays.get(f"forward/{source.name}")
    if value is None or value.size < 2 or value.dtype.kind != "f":
        return False
    return any(
        there.shape == value.shape and np.allclose(value, there, rtol=GIVEN, atol=0, equal_nan=True)
        for stage in other.network
        if stage.layer in JOINING and not stage.parameters
        for name in stage.outputs
        if (there := other.arrays.get(f"forward/{name}")) is not None
    )


def _strangers(a: RecordedStep, b: RecordedStep, found: Mapping[str, StageMatch]) -> list[str]:
    """Functions that nothing but their order has brought together: what they take does not belong
    together, and what they return has another shape, or is another part of it."""
    gone: list[str] = []
    for stage in a.network:
        pair = found.get(stage.name)
        if pair is None or pair.how == "map" or stage.layer in OUTSIDE:
            continue
        shapes = shapes_of(a, pair.a), shapes_of(b, pair.b)
        if is_module(pair.a) or is_module(pair.b) or None in shapes:
            continue
        parts = stage.layer == pair.b.layer == "index" and pair.a.options != pair.b.options
        if shapes[0] == shapes[1] and not parts:
            continue
        sources = [[one.producer.get(name) for name in stage.inputs]
                   for one, stage in ((a, pair.a), (b, pair.b))]  # fmt: skip
        if not all(sources) or any(source is None for side in sources for source in side):
            continue  # parameters, which are matched later
        known = [found[one.name].b for one in sources[0]
                 if one is not None and one.name in found and one.name not in gone]  # fmt: skip
        if not any(one in sources[1] for one in known):
            gone.append(stage.name)
    return gone
