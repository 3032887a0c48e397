"""Stages of two programs that belong together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from comparisons.ports.side import RecordedStep
from pyvae.trace.program import ProgramStage

__all__ = [
    "Network", "NetworkMatch", "StageMatch", "count_rows", "matched_outputs", "shapes_of",
]  # fmt: skip

Network = Sequence[ProgramStage]


@dataclass(frozen=True)
class StageMatch:
    """Two stages that belong together, and how they were found: `name`, `order`, `value` (of
    inputs) or `map`."""

    a: ProgramStage
    b: ProgramStage
    how: str


@dataclass(frozen=True)
class NetworkMatch:
    """Two networks held side by side.

    Attributes:
        pairs: The stages that belong together, in the order of the first side.
        only: The stages that one side alone has, for each side.
    """

    pairs: tuple[StageMatch, ...]
    only: tuple[tuple[ProgramStage, ...], tuple[ProgramStage, ...]]

    @cached_property
    def values(self) -> dict[str, str]:
        """The names of values that belong together, by the first side's."""
        return dict(value for pair in self.pairs for value in matched_outputs(pair))

    @cached_property
    def partner(self) -> dict[str, StageMatch]:
        """A pair by its first stage's name."""
        return {pair.a.name: pair for pair in self.pairs}

    @cached_property
    def partner_of_b(self) -> dict[str, StageMatch]:
        """A pair by its second stage's name."""
        return {pair.b.name: pair for pair in self.pairs}


def matched_outputs(pair: StageMatch) -> Iterator[tuple[str, str]]:
    """The outputs of two stages that belong together: those of one key (`rnn.1.0`), or, if each
    returns a single tensor, these."""
    a, b = pair.a, pair.b
    if len(a.outputs) == len(b.outputs) == 1:
        yield a.outputs[0], b.outputs[0]
        return
    keys = {name.removeprefix(b.name): name for name in b.outputs}
    for name in a.outputs:
        key = name.removeprefix(a.name)
        if key in keys:
            yield name, keys[key]


def shapes_of(step: RecordedStep, stage: ProgramStage) -> tuple[tuple[int, ...], ...] | None:
    values = [step.arrays.get(f"forward/{name}") for name in stage.outputs]
    if any(value is None for value in values):
        return None
    return tuple(value.shape for value in values if value is not None)


def count_rows(a: NDArray, b: NDArray) -> bool:
    """Whether two arrays may number rows or classes: whole numbers, those of one side at
    least integers. R's `torch_arange(1, 8)` is a float, of which `to(torch_long())` makes some."""
    kinds = a.dtype.kind, b.dtype.kind
    if not any(kind in "iu" for kind in kinds):
        return False
    return all(
        kind in "iu" or (kind == "f" and bool((x == np.rint(x)).all()))
        for kind, x in zip(kinds, (a, b), strict=True)
    )
