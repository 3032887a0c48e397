"""What is to be said of a step whose two sides are one function of the parameters."""

from __future__ import annotations

from collections.abc import Iterator

from comparisons.ports.judging.inspected import Inspected
from comparisons.ports.judging.whole.both import functions_of

__all__ = ["whole_hints"]

MOST = 3  # values that are named


def whole_hints(step: Inspected) -> Iterator[tuple[str, str]]:
    """What each side does to its gradients in a way of its own, and what was not looked into, with
    a key for each."""
    if step.whole is None:
        return
    scales, decays = step.whole.scales, step.whole.in_optimiser
    if scales[0] != scales[1]:
        ways = [
            f"{name} multiplies its gradients by {scale:.6g}" if scale != 1 else ""
            for name, scale in zip(step.names, scales, strict=True)
        ]
        yield (
            "factor",
            f"{' and '.join(filter(None, ways))} between backward and the update, for a loss that "
            "is larger by as much: loss and gradients are compared with that factor",
        )
    differs = sorted(name for name in step.whole.differs if decays[0][name] != decays[1][name])
    if differs:
        more = ", ..." if len(differs) > MOST else ""
        side = 0 if decays[0][differs[0]] > decays[1][differs[0]] else 1
        yield (
            "weight decay",
            f"the weight decay of {step.names[side]}'s optimiser is in {step.names[1 - side]}'s "
            f"loss, or is added to its gradients by hand ({', '.join(differs[:MOST])}{more}): loss "
            "and gradients are compared with it on both sides",
        )
    for side, function in enumerate(functions_of(step)):
        names = sorted(function.stand_ins)
        if names:
            more = ", ..." if len(names) > MOST else ""
            yield (
                f"unseen of {step.names[side]}",
                f"{step.names[side]}: what computes {', '.join(names[:MOST])}{more} was not "
                f"recorded, or is not known; it returns what {step.names[1 - side]}'s stages do, "
                "and the parameters get the same gradients, and more is not known of it",
            )
