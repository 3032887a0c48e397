"""Buffers of a layer of one side that the other side moves by hand, with a mistake in it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from comparisons.ports.judging.inspected import Inspected
from comparisons.ports.judging.judged import Judged
from comparisons.ports.judging.own import Own
from comparisons.ports.mistakes.fit import joined
from comparisons.ports.mistakes.named import named_mistakes
from comparisons.ports.side import Overlaid

__all__ = ["kept_by_hand"]


def kept_by_hand(step: Inspected, judged: Judged) -> Iterator[str]:
    """Yields the mistakes with which the layer of one side would leave what the other side leaves.

    Arguments:
        step: The step.
        judged: Its first quantity that parts: a buffer.
    """
    quantity = judged.quantity
    if quantity.passing != "buffer":
        return
    known = [residual is not None for residual in step.residuals(quantity)]
    if known[0] == known[1]:
        return
    side = known.index(True)
    own = _with_buffers(step, step.own, side)
    later = None if step.following is None else _with_buffers(step, step.following, side)
    found = named_mistakes(own, "buffer", quantity.value[side], later)
    if found:
        then = "" if step.following is not None else f"step {judged.step + 1}"
        yield f"{step.names[1 - side]}: {joined(found, then)}"


def _with_buffers(step: Inspected, both: tuple[Own, Own], side: int) -> Own:
    """One side, as if its step had begun with the other side's buffers, and had left them, and its
    layers had what the other side has in place of what they take."""
    own, other = both[side], both[1 - side]
    changed = {}
    partners = step.chains[side].partners
    buffers = {one.name for one in own.step.side.trace.parameters if one.kind == "buffer"}
    for stage in own.step.network:
        for name in stage.inputs if buffers & {*stage.parameters.values()} else ():
            value = other.step.value(partners[name]) if name in partners else None
            if value is not None:
                changed[f"forward/{name}"] = value
    for one in step.parameters:
        if one.kind == "buffer" and len(one.a) == len(one.b) == 1:
            mine, there = (one.a[0], one.b[0]) if side == 0 else (one.b[0], one.a[0])
            for kind in ("start", "buffer"):
                value = other.step.arrays.get(f"{kind}/{there}")
                if value is not None:
                    changed[f"{kind}/{mine}"] = value
    arrays = Overlaid(own.step.arrays, changed)
    return Own(replace(own.step, arrays=arrays), own.rtol, own.precision, own.before)
