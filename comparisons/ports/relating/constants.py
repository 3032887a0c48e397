"""Constants that a value is often off by, and numbers that a factor may be a ratio of."""

from __future__ import annotations

import math
from collections.abc import Iterator

from numpy.typing import NDArray

from comparisons.diagnosis.relations.names_of_factors import IMAGES
from comparisons.ports.judging.inspected import Inspected
from comparisons.ports.judging.judged import Judged
from pyvae.trace.program import ProgramStage

__all__ = ["factors_of", "numbers_of"]


def factors_of(step: Inspected) -> dict[str, float]:
    """Factors with a name of their own."""
    found = {"1/2": 0.5, "255/256 (divided by 256 where it is 255)": 255 / 256, "1/255": 1 / 255}
    batch = batch_size(step)
    if batch > 1:
        found.setdefault(f"1/batch size (1/{batch})", 1 / batch)
    for stage in step.a.network:
        p = stage.options.get("p")
        if "dropout" in stage.layer and isinstance(p, float) and 0 < p < 1:
            found[f"(1 - p) = {1 - p:g} ({stage.name}'s 1/(1 - p) is missing)"] = 1 - p
    return found


def numbers_of(step: Inspected, judged: Judged) -> dict[int, str]:
    """What the numbers count by which a quantity may have been multiplied or divided: the sizes of
    what it is computed from, images, batches."""
    counted: dict[int, list[str]] = {}
    batch = batch_size(step)
    for number, what in (*_sizes(step, judged), *_of_images(batch)):
        names = counted.setdefault(number, [])
        if what not in names:
            names.append(what)
    return {number: " or ".join(names) for number, names in counted.items() if number > 1}


def batch_size(step: Inspected) -> int:
    """The rows of the first input that has several; 0 if there is none."""
    for stage in step.a.network:
        value = step.a.arrays.get(f"forward/{stage.name}")
        if stage.layer == "input" and value is not None and value.ndim and value.shape[0] > 1:
            return int(value.shape[0])
    return 0


def _of_images(batch: int) -> Iterator[tuple[int, str]]:
    for images in IMAGES:
        yield images, "images"
        if batch > 1:
            yield math.ceil(images / batch), "batches"
            yield images // batch, "batches"


MOST_STAGES = 4


def _sizes(step: Inspected, judged: Judged) -> Iterator[tuple[int, str]]:
    """Sizes of what goes into the stages that a quantity is computed by."""
    batch = batch_size(step)
    yield batch, "batch size"
    for stage in _stages(step, judged)[:MOST_STAGES]:
        for name in (*stage.inputs, *stage.outputs):
            value = step.a.value(name)
            if value is not None:
                yield from _of_value(value, batch)
    for stage in step.a.network:
        value = step.a.arrays.get(f"forward/{stage.name}")
        if stage.layer == "input" and value is not None:
            yield from _of_value(value, batch)


def _of_value(value: NDArray, batch: int) -> Iterator[tuple[int, str]]:
    shape = value.shape
    if len(shape) < 2:
        return
    if shape[0] == batch:
        yield math.prod(shape[1:]), "columns" if len(shape) == 2 else "numbers of a row"
    yield value.size, "numbers of a batch"
    if len(shape) == 4:
        yield shape[1], "channels"
        yield shape[2] * shape[3], "pixels"
    elif len(shape) == 3:
        yield shape[1], "the second axis"
        yield shape[2], "the third axis"


def _stages(step: Inspected, judged: Judged) -> list[ProgramStage]:
    """The stages that a quantity is computed by, and those before them, the nearest first."""
    quantity = judged.quantity
    name = quantity.value[0]
    if quantity.parameter is not None or quantity.passing == "backward":
        name = quantity.parameter.a[0] if quantity.parameter is not None else name
        return list(step.a.takers.get(name, ()))
    found: list[ProgramStage] = []
    waiting = [step.own[0].loss if quantity.passing == "loss" else name]
    while waiting and len(found) < MOST_STAGES:
        stage = step.a.producer.get(waiting.pop(0))
        if stage is not None and stage not in found and stage.layer not in ("input", "draw"):
            found.append(stage)
            waiting += stage.inputs
    return found
