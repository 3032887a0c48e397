"""Labels of two classes, as those of a GAN, that are others in the port."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from comparisons.ports.expected.layers.losses import LOSSES
from comparisons.ports.judging.inspected import Inspected
from comparisons.ports.judging.judged import Judged
from comparisons.ports.matching.matched import StageMatch

__all__ = ["other_labels"]

MOST_SMOOTHED = 0.3  # of the distance of two labels
CLASSES = {0.0, 1.0, -1.0}


def other_labels(step: Inspected, judged: Judged) -> Iterator[str]:
    """Yields which labels the second side has where the first one has others.

    Arguments:
        step: The step, as far as it was judged.
        judged: Its first quantity that parts: what a loss returns, or the labels that it takes.
    """
    quantity = judged.quantity
    if quantity.stage is None or quantity.passing not in ("forward", "input"):
        return
    names = [pair.a.name for pair in step.network.pairs if pair.a.layer in LOSSES]
    if quantity.passing == "input":
        takers = [stage.name for stage in step.a.takers.get(quantity.value[0], ())]
        names = [name for name in names if name in takers]
    elif quantity.stage.a.name in names:
        names = [quantity.stage.a.name]
    else:
        return
    for name in names:
        pair = step.network.partner[name]
        both = _exchanged(step, pair)
        if both is not None:
            yield (
                f"{step.names[1]}: the labels of {_where(pair)} are {both[1]:g} where they are "
                f"{both[0]:g}, and {both[0]:g} where they are {both[1]:g}: {EXCHANGED}"
            )
            return
        labels = _labels(step, pair)
        if labels is not None and labels[0] != labels[1]:
            yield _words(step, pair, labels)
            return


def _exchanged(step: Inspected, pair: StageMatch) -> tuple[float, float] | None:
    """The two labels, if there are two and one side has one where the other has the other."""
    if len(pair.a.inputs) < 2 or len(pair.b.inputs) < 2:
        return None
    a, b = step.a.value(pair.a.inputs[1]), step.b.value(pair.b.inputs[1])
    if a is None or b is None or a.shape != b.shape or {a.dtype.kind, b.dtype.kind} - set("fiu"):
        return None
    found = np.unique(a.astype(np.float64))
    if len(found) != 2 or not np.array_equal(found.sum() - a.astype(np.float64), b):
        return None
    first = float(a.flat[0])
    return first, float(found.sum() - first)


def _words(step: Inspected, pair: StageMatch, labels: tuple[float, float]) -> str:
    """The other label; or that it is exchanged with that of another loss."""
    first, second = (f"{one:g}" for one in labels)
    said = f"{step.names[1]}: the labels of {_where(pair)} are {second} where they are {first}"
    for other in step.network.pairs:
        if other is pair or other.a.layer != pair.a.layer:
            continue
        there = _labels(step, other)
        if there is not None and there == labels[::-1]:
            return f"{said}, those of {_where(other)} {first} where they are {second}: {EXCHANGED}"
    if abs(labels[0] - labels[1]) <= MOST_SMOOTHED:
        return f"{said}: label smoothing?"
    return said + (f": {OTHER_CLASS}" if {*labels} <= CLASSES else "")


EXCHANGED = "the two are exchanged (real and fake?)"
OTHER_CLASS = "those of the other class (real and fake exchanged?)"


def _where(pair: StageMatch) -> str:
    return f"{pair.a.name}, which takes {pair.a.inputs[0]},"


def _labels(step: Inspected, pair: StageMatch) -> tuple[float, float] | None:
    """What both sides' losses have for labels, if each is one number in all rows."""
    found = []
    for one, stage in ((step.a, pair.a), (step.b, pair.b)):
        value = one.value(stage.inputs[1]) if len(stage.inputs) > 1 else None
        if value is None or not value.size or value.dtype.kind not in "fiu":
            return None
        if not (value == value.flat[0]).all():
            return None
        found.append(round(float(np.float64(value.flat[0])), 6))
    return found[0], found[1]
