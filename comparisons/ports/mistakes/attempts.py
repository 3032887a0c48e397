"""What a recorded stage would have returned with each of the mistakes that people make of it."""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor

from comparisons.ports.expected.recompute import (
    REFUSED,
    Arrays,
    Prepared,
    Recomputed,
    as_tensor,
    computing,
    prepare,
)
from comparisons.ports.mistakes.mistake import Call, Mistake, mistakes_of
from pyvae.trace.program import ProgramStage

__all__ = ["Attempt", "attempts"]

Attempt = tuple[str, Recomputed]


def attempts(
    stage: ProgramStage, arrays: Arrays, index_base: int, gradients: bool = False
) -> Iterator[Attempt]:
    """Makes every mistake of a stage's layer.

    Arguments:
        stage: As it was recorded.
        arrays: Of its step.
        index_base: From which number the program counts.
        gradients: Whether the backward pass is wanted.

    Yields:
        The mistake in words, and what the stage makes of its recorded values with it.
    """
    prepared = prepare(stage, arrays, index_base)
    if prepared is None:
        return
    recorded = arrays.get(f"forward/{stage.outputs[0]}")
    found = None if recorded is None else as_tensor(recorded)
    left = {
        role: as_tensor(arrays[f"buffer/{name}"])
        for role, name in stage.parameters.items()
        if f"buffer/{name}" in arrays
    }
    for one in mistakes_of(stage.layer):
        if gradients or not one.backward:
            yield from _attempts(prepared, one, left, found, gradients)


def _attempts(
    prepared: Prepared,
    one: Mistake,
    left: dict[str, Tensor],
    found: Tensor | None,
    gradients: bool,
) -> Iterator[Attempt]:
    call = Call(prepared.stage.layer, prepared.bound, left)
    made = one.made(call, found)
    while True:
        try:
            with computing():
                words, results = next(made)
                results = results() if callable(results) else results
                done = prepared.finish(results, call.updated, gradients)
        except StopIteration:
            return
        except REFUSED:  # a generator goes no further then
            continue
        yield words, done
