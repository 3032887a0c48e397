"""A gradient that is not what the backward pass gives: what a hook may have made of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from comparisons.ports.judging.alone.hooks import changed_within_backward
from comparisons.ports.judging.given import change_of
from comparisons.ports.judging.inspected import Inspected
from comparisons.ports.judging.judged import Judged
from comparisons.ports.mistakes.in_parts import backward_calls
from pyvae.trace.program import ProgramStage

__all__ = ["hooked", "in_a_hook"]

WITH_HOOKS = ("pytorch", "r-torch")  # elsewhere backward passes are written by hand
MADE = {
    "zero": "set to zero",
    "scaled": "multiplied by {:.6g}",
    "clamped": "clamped to {:.6g}",
}


def in_a_hook(step: Inspected, judged: Judged) -> Iterator[str]:
    """Yields what one side alone makes of a gradient within backward, and what to look at.

    Arguments:
        step: The step, as far as it was judged.
        judged: Its first quantity that parts.
    """
    quantity = judged.quantity
    if quantity.passing not in ("backward", "parameter gradient"):
        return
    residuals, values = step.residuals(quantity), quantity.arrays(step.a, step.b)
    right = [one is not None and one.is_right for one in residuals]
    if right[0] == right[1] or any(one is None for one in residuals):
        return
    side = right.index(False)
    own, residual, recorded = step.own[side], residuals[side], values[side]
    if (
        residual is None
        or recorded is None
        or residual.expected.size != recorded.size
        or own.unseen
    ):
        return
    name, other = step.names[side], step.names[1 - side]
    value = quantity.value[side]
    takers = [stage for stage in own.step.takers.get(value, ()) if own.has_gradient(stage)]
    layers = ", ".join(f"{stage.name} ({stage.layer})" for stage in takers[:MOST])
    expected = residual.expected.reshape(recorded.shape)
    change = change_of(expected, recorded, step.rtol)
    by = float(np.abs(expected - recorded.astype(np.float64)).max(initial=0))
    near = by <= NEAR * float(np.abs(expected).max(initial=0))
    look = _look(step, side, takers, near)
    if change.kind not in MADE:  # which is no name
        yield (
            f"{name}'s is not what it should be for its own inputs: it is up to {by:.3g} off what "
            f"the backward pass of {layers} gives. {look}"
        )
        return
    yield (
        f"{name}: the gradient of {value} is what the backward pass of {layers} gives, "
        f"{MADE[change.kind].format(change.number)}; {other}'s is as backward gives it. {look}"
    )


NEAR = 1e-2
MOST = 3  # layers that are named


def _look(step: Inspected, side: int, takers: Sequence[ProgramStage], near: bool) -> str:
    """What to look at, of a side whose gradient is not what its layers give: near that, or not."""
    name, own = step.names[side], step.own[side]
    calls = backward_calls(own.step)
    if own.step.side.trace.engine not in WITH_HOOKS:
        return f"Look at the lines of {name} that compute it"
    if calls > 1:
        return (
            f"Look at what {name} does to gradients between its {calls} calls of backward "
            "(clipping, zero_grad), and for a hook (register_hook) or a backward pass of its own"
        )
    if near and any(stage.layer.startswith("batch_norm") for stage in takers):
        return (
            "PyTorch's own batch norm is that far off on the CPU where the channels of its input "
            "are last in memory: call .contiguous() after permute(). Or look for a hook"
        )
    layers = ", ".join(f"{stage.name} ({stage.layer})" for stage in takers[:MOST])
    return (
        f"Look for a hook in {name} (register_hook, on it or on what {layers} returns), or for a "
        "backward pass of its own"
    )


def hooked(step: Inspected) -> Iterator[tuple[str, str]]:
    """That one side changes gradients within backward, and the other one after it, with words."""
    for one in step.judged:
        side = changed_within_backward(step, one.quantity) if one.verdict == "explained" else None
        if side is not None:
            yield (
                "hooks",
                f"{step.names[side]} changes gradients within backward (a hook), "
                f"{step.names[1 - side]} changes them after it: both optimisers get the same",
            )
            return
