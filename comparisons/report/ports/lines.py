"""A comparison of two recorded programs, in lines."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator

from comparisons.ports.matching.names import names_table
from comparisons.ports.result import PortComparison
from comparisons.report.network.words import network_lines
from comparisons.report.ports.network import network_of

__all__ = ["VERDICTS", "coverage", "lines", "one_sided", "other_names"]

MOST_NAMES = 12  # of a map, on the terminal
SHOWN = 6  # of the stages that one side alone has
VERDICTS = {
    "equal": "equal in every bit",
    "within": "within rounding",
    "explained": "explained",
    "parted": "apart",
}


def lines(found: PortComparison) -> Iterator[str]:
    """What was found, in lines, the verdict left out."""
    for side in found.sides:
        trace = side.trace
        about = ", ".join(filter(None, (trace.engine, trace.program)))
        steps = len(trace.steps)
        unit = found.unit_of(side)
        yield f"{side.name}: {about}, {steps} {unit[steps != 1]} recorded"
    yield coverage(found)
    yield from one_sided(found)
    yield from other_names(found)
    for words in found.declared[:SHOWN]:
        yield f"declared otherwise in {found.names[1]}: {words}"
    if len(found.declared) > SHOWN:
        yield f"and {len(found.declared) - SHOWN} more in comparison.json"
    yield from found.notes
    if found.first is not None:
        first = found.first
        yield f"first part at {first.place}"
        for words in first.words:
            yield f"  looks like: {words}"
        if first.element:
            yield f"  worst element: {first.element}"
        if first.wrong:
            yield f"  {first.wrong} does not return what it should for its own inputs"
        network = network_of(found)
        yield from () if network is None else network_lines(network)


def coverage(found: PortComparison) -> str:
    """How much of each side was compared."""
    match = found.networks[0]
    sides = []
    for side, name in enumerate(found.names):
        stages = len(match.pairs) + len(match.only[side])
        steps = len(found.sides[side].trace.steps)
        sides.append(
            f"{len(match.pairs)} of {stages} stages and {len(found.steps)} of {steps} "
            f"{found.unit[1]} of {name}"
        )
    counts = Counter(one.verdict for one in found.judged)
    verdicts = ", ".join(f"{counts[v]:,} {words}" for v, words in VERDICTS.items() if counts[v])
    return f"compared: {', '.join(sides)}; {len(found.judged):,} quantities: {verdicts}"


def one_sided(found: PortComparison) -> Iterator[str]:
    """What one side alone has."""
    for side, name in enumerate(found.names):
        only = found.networks[0].only[side]
        if only:
            listed = ", ".join(f"{stage.name} ({stage.layer})" for stage in only[:SHOWN])
            rest = f" and {len(only) - SHOWN} more" if len(only) > SHOWN else ""
            yield f"only {name} has {listed}{rest}"
        if found.lacking[side]:
            count, such = found.lacking[side], found.first_lacking[side]
            values, have = ("value", "has") if count == 1 else ("values", "have")
            also = f": {such}" if count == 1 else f", such as {such}"
            other = found.names[1 - side]
            yield f"{count:,} recorded {values} of {name} {have} no partner in {other}{also}"


def other_names(found: PortComparison) -> Iterator[str]:
    """The map, where it does not follow from the names."""
    table = names_table(found.networks, found.parameters)
    table = table[(table["a"] != "") & (table["b"] != "")]
    scalars = [one.name for one in found.sides[0].trace.parameters if math.prod(one.shape) == 1]
    stored = (table["layout"] != "") & ~table["a"].isin(scalars)  # () or (1) is no other order
    other = table[(table["a"] != table["b"]) | stored]
    other = other[~other["layer"].isin(["input", "draw"])]  # counted by use
    rows = [(str(row.a), str(row.b), str(row.layout)) for row in other.itertuples()]
    if not rows:
        return
    yield f"matched under other names ({found.names[0]} = {found.names[1]}):"
    for one, two, layout in rows[:MOST_NAMES]:
        yield f"  {one} = {two}" + (f" ({layout})" if layout else "")
    if len(rows) > MOST_NAMES:
        yield f"  and {len(rows) - MOST_NAMES} more in names.csv"
