"""The parts that a step takes its batch in: the calls that lead to each `backward`."""

from __future__ import annotations

from collections.abc import Iterator

from comparisons.ports.matching.parts.whole import may_follow
from comparisons.ports.side import RecordedStep
from pyvae.trace.program import ProgramStage

__all__ = ["OUTSIDE", "Part", "ends_of", "find_parts", "given", "put_together"]

OUTSIDE = ("input", "draw")

Part = list[ProgramStage]


def find_parts(step: RecordedStep) -> list[Part]:
    """The stages that lead to each `backward`, if they are the same calls for each; else none."""
    losses = [key for key in step.arrays if key.startswith("loss/backward.")]
    if len(losses) < 2:
        return []
    group = {stage.name: stage.name for stage in step.network}

    def root(name: str) -> str:
        while group[name] != name:
            name = group[name]
        return name

    for stage in step.network:
        for name in (*stage.inputs, *stage.parameters.values()):
            before = step.producer.get(name)
            if before is not None and before.layer != "input":
                group[root(stage.name)] = root(before.name)
    takers = {s.name: {root(t.name) for t in step.takers.get(s.name, ())} for s in step.network}
    found: dict[str, Part] = {}
    for stage in step.network:
        one = root(stage.name)
        if stage.layer == "input":
            if len(takers[stage.name]) != 1:
                continue  # all parts take it
            one = next(iter(takers[stage.name]))
        found.setdefault(one, []).append(stage)
    parts = list(found.values())
    if len(parts) != len(losses) or len({tuple(map(_called, part)) for part in parts}) > 1:
        return []
    return parts if any(stage.parameters for stage in parts[0]) else []


def given(step: RecordedStep, parts: list[Part]) -> list[list[int]]:
    """How many numbers each part is given: as many in other layouts are no other rows."""
    return [
        sorted(
            value.size
            for stage in part
            if stage.layer in OUTSIDE
            and (value := step.arrays.get(f"forward/{stage.name}")) is not None
        )
        for part in parts
    ]


def put_together(
    step: RecordedStep, parts: list[Part]
) -> Iterator[tuple[tuple[int, ...], str, int, list[int]]]:
    """The shapes that what the parts are given may have, put together: each with its kind of
    number, the axis, and the rows of each part. Those of a step that has none, as they are."""
    for calls in zip(*(parts or [list(step.network)]), strict=True):
        values = [step.arrays.get(f"forward/{one.name}") for one in calls]
        there = [value for value in values if value is not None and value.ndim]
        if calls[0].layer not in OUTSIDE or len(there) < len(calls):
            continue
        shape, kind = there[0].shape, there[0].dtype.kind
        for axis in range(len(shape)):
            if may_follow(there, axis):
                rows = [value.shape[axis] for value in there]
                yield (*shape[:axis], sum(rows), *shape[axis + 1 :]), kind, axis, rows


def ends_of(step: RecordedStep, parts: list[Part]) -> list[str]:
    """What `backward` was called on in each part, in whatever order it was called."""
    arrays = step.arrays
    losses = [float(arrays[key].item()) for key in arrays if key.startswith("loss/backward.")]
    found = []
    for part in parts:
        numbers = {
            name: float(value.item())
            for stage in part
            for name in stage.outputs
            if (value := arrays.get(f"forward/{name}")) is not None and value.size == 1
        }
        there = [name for name, number in numbers.items() if number in losses]
        if there:
            losses.remove(numbers[there[-1]])
        found.append(there[-1] if there else "")
    return found


def _called(stage: ProgramStage) -> tuple[str, str]:
    return stage.name.partition("#")[0], stage.layer
