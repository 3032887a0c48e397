"""Compared networks as they are shown, made by hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from comparisons.report.network.model import Entry, ShownNetwork, ShownStage


def entry(column: str, key: str, verdict: str = "equal", needed: float = 0.0) -> Entry:
    """A quantity; one without a verdict differs."""
    needed = needed or {"equal": 0.0, "within": 1e-8, "explained": 1e-4, "": 0.3}[verdict]
    return Entry(column, key, bool(verdict), verdict, (2, 3), 1.0, needed, needed, 1e-5)


def network(
    inputs: Sequence[Sequence[int]],
    verdicts: Mapping[tuple[int, str], str],
    first: tuple[int, str] | None = None,
    **about,
) -> ShownNetwork:
    """A network of stages `s0`, `s1`, ...

    Arguments:
        inputs: Of each stage, the stages that it takes.
        verdicts: Of each stage and column; in the order of computation.
        first: The stage and column that differ first.
        about: Further fields.
    """
    entries = {at: entry(at[1], f"{at[1]}/s{at[0]}", verdict) for at, verdict in verdicts.items()}
    stages = [
        ShownStage(
            f"s{place}", "linear", tuple(taken),
            tuple(one for at, one in entries.items() if at[0] == place),
        )
        for place, taken in enumerate(inputs)
    ]  # fmt: skip
    differs = entries[first] if first else None
    sentence = f"step 1, s{first[0]} (linear), {first[1]}" if first else ""
    about = {"step": 1, "names": ("python", "r"), "sentence": sentence} | about
    return ShownNetwork(stages=stages, order=list(entries.values()), first=differs, **about)


def chain(number: int, first: int | None = None, column: str = "forward") -> ShownNetwork:
    """A chain of stages, of which one differs, and all after it."""
    verdicts = {}
    for place in range(number):
        verdicts[place, "forward"] = ("equal", "within")[place % 2]
        if first is not None and column == "forward" and place >= first:
            verdicts[place, "forward"] = ""
    for place in reversed(range(number)):
        off = first is not None and (column == "forward" or place <= first)
        verdicts[place, "backward"] = "" if off else "within"
    taken = [(place - 1,) if place else () for place in range(number)]
    return network(taken, verdicts, None if first is None else (first, column))
