"""The calls that one side makes of a network, each with rows of its own, where the other side makes
one with all rows: `net(a)` and `net(b)`, or `net(cat([a, b]))`."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from comparisons.ports.matching.calls import made_of
from comparisons.ports.matching.kinds import is_module
from comparisons.ports.matching.parts.find import Part
from comparisons.ports.matching.stages import GIVEN
from comparisons.ports.side import RecordedStep

__all__ = ["find_calls"]


def find_calls(step: RecordedStep, other: RecordedStep) -> list[Part]:
    """The stages of each call, up to the last module of the network; none if the other side has no
    input that is all rows of theirs."""
    mine, theirs = _inputs(step), _inputs(other)
    sources: dict[str, frozenset[str]] = {}
    for value in theirs.values():
        names = _rows_of(value, mine)
        if len(names) < 2:
            continue
        sources = sources or made_of(step)
        calls = [
            [stage for stage in step.network if sources[stage.name] == {name}] for name in names
        ]
        parts = list(_alike(calls))
        if parts:
            return parts
    return []


def _inputs(step: RecordedStep) -> dict[str, NDArray]:
    values = {
        stage.name: step.arrays.get(f"forward/{stage.name}")
        for stage in step.network
        if stage.layer == "input"
    }
    return {name: value for name, value in values.items() if value is not None and value.ndim > 1}


def _rows_of(whole: NDArray, inputs: dict[str, NDArray]) -> list[str]:
    """The inputs that stand in an array one after the other; none if they do not make all of it."""
    found: list[str] = []
    at = 0
    while at < len(whole):
        for name, value in inputs.items():
            if name in found or not 0 < len(value) < len(whole):
                continue
            rows = whole[at : at + len(value)]
            if rows.shape == value.shape and _are_equal(rows, value):
                found.append(name)
                at += len(value)
                break
        else:
            return []
    return found


def _are_equal(one: NDArray, two: NDArray) -> bool:
    """Whether two arrays of one shape have the same numbers: most that do not are told by two of
    them."""
    for at in (0, one.size // 2) if one.size else ():
        x, y = one.item(at), two.item(at)
        if abs(x - y) > GIVEN * abs(y):
            return False
    return np.allclose(one, two, rtol=GIVEN, atol=0, equal_nan=True)


def _alike(calls: list[Part]) -> Iterator[Part]:
    """The stages that all calls have, in their order, up to the last module."""
    end = 0
    for at, stages in enumerate(zip(*calls, strict=False)):
        if len({(one.name.partition("#")[0], one.layer) for one in stages}) > 1:
            break
        if is_module(stages[0]) and stages[0].parameters:
            end = at + 1
    if end:
        yield from (call[:end] for call in calls)
