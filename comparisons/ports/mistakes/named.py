"""The mistake that a wrong value of one side looks like, in words."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from comparisons.ports.expected.recompute import Recomputed
from comparisons.ports.judging.own import Own, Residual, distance
from comparisons.ports.mistakes.attempts import attempts
from comparisons.ports.mistakes.fit import Value, fitting, holding
from comparisons.ports.side import Overlaid
from pyvae.trace.program import ProgramStage

__all__ = ["named_mistakes"]


def named_mistakes(own: Own, passing: str, name: str, later: Own | None = None) -> list[str]:
    """The mistakes of the stages that computed a value that give what was recorded, in this step
    and in the next one, if that is known.

    Arguments:
        own: What the side should return.
        passing: `forward`, `buffer`, `backward` or `parameter gradient`.
        name: Of the output, buffer, or what the gradient is of.
        later: What the side should return in the next recorded step.
    """
    residual, found = _residual(own, passing, name)
    if residual is None or found is None or residual.is_right:
        return []
    values = _values(own, passing, name)
    names = fitting(found, residual.expected, values, own.precision, own.rtol)
    if not names or later is None or _layers(own, passing, name) != _layers(later, passing, name):
        return names
    there, also = _residual(later, passing, name)
    if there is None or also is None:
        return names
    allowed = there.allowed if there.is_right else 0.0
    further = _values(later, passing, name)
    return holding(names, also, there.expected, further, later.precision, allowed)


def _layers(own: Own, passing: str, name: str) -> list[str]:
    """The layers that compute a value."""
    if passing == "forward":
        stage = own.step.producer.get(name)
        return [] if stage is None else [stage.layer]
    return [stage.layer for stage in own.step.takers.get(name, [])]


def _residual(own: Own, passing: str, name: str) -> tuple[Residual | None, NDArray | None]:
    """How far a value is from what it should be, and what was recorded."""
    arrays = own.step.arrays
    if passing == "forward":
        return own.forward(name), arrays.get(f"forward/{name}")
    if passing == "buffer":
        return own.after("buffer", name), arrays.get(f"buffer/{name}")
    return own.backward(name), arrays.get(f"gradient/{name}")


def _values(own: Own, passing: str, name: str) -> Iterator[Value]:
    """What a value would be with each mistake."""
    base = own.step.side.trace.index_base
    if passing == "forward":
        for words, done in attempts(own.step.producer[name], own.arrays, base):
            if _returns_what_was_recorded(own, done, but=name):
                yield words, done.outputs[name].numpy()
    elif passing == "buffer":
        yield from _of_buffer(own, name, base)
    else:
        yield from _of_gradient(own, name, base)


def _of_buffer(own: Own, name: str, base: int) -> Iterator[Value]:
    """A buffer after all the calls that move it."""
    stages = own.step.takers.get(name, [])
    for words, done in attempts(stages[0], own.arrays, base) if stages else ():
        if not _returns_what_was_recorded(own, done):
            continue
        moved = done.buffers
        for stage in stages[1:]:
            changed = {f"start/{one}": value.numpy() for one, value in moved.items()}
            again = attempts(stage, Overlaid(own.arrays, changed), base)
            moved = next((there.buffers for one, there in again if one == words), {})
        if name in moved:
            yield words, moved[name].numpy()


def _of_gradient(own: Own, name: str, base: int) -> Iterator[Value]:
    """A gradient is the sum of what all stages that take a value hand back: one of them is mistaken
    at a time."""
    shape = own.step.arrays[f"gradient/{name}"].shape
    takers = [stage for stage in own.step.takers.get(name, []) if own.has_gradient(stage)]
    parts = {stage.name: _contribution(own, stage, name, shape) for stage in takers}
    for stage in takers:
        rest = [part for other, part in parts.items() if other != stage.name]
        if any(part is None for part in rest):
            continue
        others = sum((part for part in rest if part is not None), np.zeros(shape))
        for words, done in attempts(stage, own.arrays, base, gradients=True):
            if _returns_what_was_recorded(own, done):
                yield words, others + _part(own, done, name, shape)


def _returns_what_was_recorded(own: Own, done: Recomputed, but: str = "") -> bool:
    """Whether a stage with a mistake returns what was recorded of all its outputs but one: else it
    is not the mistake that was made."""
    for name, value in done.outputs.items():
        recorded = own.step.arrays.get(f"forward/{name}")
        if recorded is None or name == but:
            continue
        if value.numel() != recorded.size:
            return False
        recorded = recorded.astype(np.float64).reshape(value.shape)
        if distance(value.numpy(), recorded) > own.rtol * np.abs(recorded).max(initial=0):
            return False
    return True


def _contribution(
    own: Own, stage: ProgramStage, name: str, shape: tuple[int, ...]
) -> NDArray | None:
    known = own.stage(stage)
    return None if known is None else _part(own, known, name, shape)


def _part(own: Own, done: Recomputed, name: str, shape: tuple[int, ...]) -> NDArray:
    """What a stage hands back of a gradient, under all names of what it is of."""
    total = np.zeros(shape)
    for alias in own.aliases(name) & set(done.gradients):
        total = total + done.gradients[alias].numpy().reshape(shape)
    return total
