"""A compared network in lines: the stages around the first difference, and what of the rest
follows from it. The page says it in the same words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from comparisons.report.network.model import COLUMNS, Entry, ShownNetwork, ShownStage, power

__all__ = ["network_lines", "rest_words", "stage_words"]

BEFORE, AFTER = 4, 3  # stages that are shown before the first difference and after it
MOST_NAMED = 3
LONGEST = 40  # of a stage's name on the terminal
SHORT = {"equal": "equal", "within": "agrees", "explained": "rounding", "follows": "follows",
         "own": "differs", "first": "first"}  # fmt: skip


def network_lines(network: ShownNetwork) -> Iterator[str]:
    """The stages around the first difference, a line for each, and a line for the rest."""
    if network.first is None or network.at is None:
        return
    column, at = network.focus, network.at
    inside = [i for i, stage in enumerate(network.stages) if network.cell(stage, column)]
    place = inside.index(at)
    near = inside[max(0, place - BEFORE) : place + AFTER + 1]
    names = {i: short(stage_words(network.stages[i])) for i in near}
    width = max(map(len, names.values()))
    cells = {i: entry for i in near if (entry := network.cell(network.stages[i], column))}
    for i, entry in cells.items():
        mark = ">" if i == at or (_is_update(network) and not entry.agrees) else " "
        size = "" if power(entry) == "equal" else power(entry)
        state = SHORT[network.state(entry)]
        yield f"  {mark} {names[i]:{width}}  {column}  {state:8}  {size}".rstrip()
    yield f"  {rest_words(network)}"


def stage_words(stage: ShownStage) -> str:
    """A stage and its layer."""
    return f"{stage.name} ({stage.layer})" if stage.layer else stage.name


def short(name: str) -> str:
    """A name with its middle left out, where it is long."""
    half = LONGEST // 2
    return name if len(name) <= LONGEST else f"{name[: half - 1]}…{name[half - LONGEST :]}"


def rest_words(network: ShownNetwork) -> str:
    """How many of the other quantities of the step agree, how many follow from the first
    difference, and which of them do not depend on it."""
    counts: dict[str, Counter[str]] = {column: Counter() for column in COLUMNS}
    own: list[Entry] = []
    for entry, state in network.others():
        counts[entry.column][state] += 1
        alike = _is_update(network) and entry.column == network.focus
        own += [entry] if state == "own" and not alike else []
    own_words = {network.focus: "as it does"} if _is_update(network) else {}
    parts = [
        f"{column} {_counted(one, own_words.get(column, 'independently'))}"
        for column, one in counts.items()
        if one
    ]
    words = f"the rest of step {network.step}: {'; '.join(parts) or 'nothing else'}"
    if own:
        named = ", ".join(entry.key for entry in own[:MOST_NAMED])
        more = f" and {len(own) - MOST_NAMED} more" if len(own) > MOST_NAMED else ""
        words += f". Independent of it: {named}{more}"
    return words


def _is_update(network: ShownNetwork) -> bool:
    """Whether the first difference is one of an update: those of the other parameters have the
    same cause, wherever they stand."""
    return network.first is not None and network.focus == "update"


def _counted(counts: Counter[str], own: str) -> str:
    agree = counts["equal"] + counts["within"] + counts["explained"]
    parts = [f"{agree:,} agree"] if agree else []
    parts += [f"{counts['follows']:,} follow from it"] if counts["follows"] else []
    parts += [f"{counts['own']:,} differ {own}"] if counts["own"] else []
    return ", ".join(parts)
