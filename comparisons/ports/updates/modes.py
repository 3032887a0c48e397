"""Layers that are in another mode, or whose running statistics are not updated."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from comparisons.ports.judging.inspected import Inspected
from comparisons.ports.judging.judged import Judged

__all__ = ["frozen_statistics", "in_all_layers"]

MODES = ("in evaluation mode where it is in training mode",
         "in training mode where it is in evaluation mode")  # fmt: skip
DEPENDENT = ("dropout", "batch_norm", "rrelu")  # names of layers whose output depends on the mode


def in_all_layers(step: Inspected, words: Sequence[str]) -> list[str]:
    """Says of the whole network what is said of one layer's mode, if it is so of all layers that
    depend on it.

    Arguments:
        step: The step, as far as it was judged.
        words: What is known of a difference.
    """
    pairs = [
        pair
        for pair in step.network.pairs
        if any(name in pair.a.layer for name in DEPENDENT) and pair.a.layer == pair.b.layer
    ]
    if len(pairs) < 2 or any(pair.a.training == pair.b.training for pair in pairs):
        return list(words)
    if len({pair.a.training for pair in pairs}) > 1:
        return list(words)
    return [
        f"{word.removesuffix(mode)}the whole network is {mode}" if word.endswith(mode) else word
        for word in words
        for mode in MODES
        if word.endswith(mode) or not word.endswith(MODES)
    ]


def frozen_statistics(step: Inspected, judged: Judged) -> Iterator[str]:
    """Yields which running statistics one side leaves as they were.

    Arguments:
        step: The step, as far as it was judged.
        judged: A buffer after the step.
    """
    one = judged.quantity.parameter
    if one is None:
        return
    stays = _stays(step, one.a, one.b)
    if stays[0] == stays[1]:
        return
    side = stays.index(True)
    names = [
        other.name
        for other in step.parameters
        if other.kind == "buffer"
        and _stays(step, other.a, other.b)[side]
        and not _stays(step, other.a, other.b)[1 - side]
    ]
    layers = dict.fromkeys(name.rpartition(".")[0] for name in names)
    if len(layers) == 1:
        yield f"{step.names[side]}: its running statistics are not updated"
        return
    more = f" and {len(layers) - 3} more" if len(layers) > 3 else ""
    shown = f"{', '.join(list(layers)[:3])}{more}"
    yield f"{step.names[side]}: the running statistics of {shown} are not updated"


def _stays(step: Inspected, *names: Sequence[str]) -> list[bool]:
    found = []
    for one, buffers in zip((step.a, step.b), names, strict=True):
        values = [(one.arrays.get(f"start/{n}"), one.arrays.get(f"buffer/{n}")) for n in buffers]
        found.append(
            all(x is not None and y is not None and np.array_equal(x, y) for x, y in values)
        )
    return found
