"""What is to be said of two recorded programs besides what was compared."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from comparisons.ports.expected.keras.optimisers import of_velocity
from comparisons.ports.expected.state_names import Renamed
from comparisons.ports.judging.declared import unseen_padding
from comparisons.ports.judging.inspected import Inspected
from comparisons.ports.judging.judged import precision_of, tolerance
from comparisons.ports.judging.own import Own, distance
from comparisons.ports.matching.matched import StageMatch
from comparisons.ports.matching.parameters import ParameterMatch
from comparisons.ports.mistakes.in_parts import parts_words
from comparisons.ports.side import Side

__all__ = ["notes", "padding_hints", "parts_hints", "precision_hint", "states_kept"]

MOST_WAYS = 6  # stages that are named


def notes(
    sides: tuple[Side, Side],
    steps: Sequence[int],
    bits: bool,
    other_ways: Sequence[StageMatch] = (),
) -> list[str]:
    """What is to be said of two traces besides what was compared.

    Arguments:
        sides: Both.
        steps: Those that were compared.
        bits: Whether bits differ that had to be equal.
        other_ways: Pairs that were given up: both sides compute the same another way.
    """
    found = list(_other_ways(sides, other_ways))
    for side in sides:
        if not side.trace.complete:
            why = f" ({side.trace.ended})" if side.trace.ended else ""
            found.append(f"{side.name} was not recorded to its end{why}")
        if not any(side.trace.networks):
            found.append(
                f"{side.name} has names alone: the order of computation is not known, names are in "
                "the order of the alphabet"
            )
        total = len(side.trace.steps)
        more = total - len(steps)
        if more:
            found.append(f"{more} of {total} steps are recorded in {side.name} alone")
    environments = [side.trace.environment for side in sides]
    normalised = any(map(has_batch_norm, sides))
    for name, words in DEPENDS_ON.items() if bits else ():
        if name == "libtorch" and not normalised:
            continue
        values = [one.get(name, "") for one in environments]
        if all(values) and values[0] != values[1]:
            found.append(f"{name}: {values[0]} against {values[1]}; {words}")
    return found


def padding_hints(step: Inspected) -> Iterator[tuple[str, str]]:
    """Stages whose padding modes differ, where this step's images cannot show it, with words."""
    for pair in step.network.pairs:
        declared = unseen_padding(pair, *step.own)
        if declared:
            name, number = f"{pair.a.name} ({pair.a.layer})", step.a.about.step
            words = (
                f"{name}: {declared}, which makes no difference in step {number}, as the border "
                "of what it pads is constant. Record images whose borders are not constant"
            )
            yield pair.a.name, words


def precision_hint(step: Inspected) -> Iterator[tuple[str, str]]:
    """That one side alone rounds to a coarser type of number, which decides what counts as
    rounding."""
    types = [precision_of([one]) for one in (step.a, step.b)]
    if types[0] == types[1]:
        return
    side = types.index(step.precision)
    one = (step.a, step.b)[side]
    names = (
        name
        for stage in one.network
        for name in stage.outputs
        if stage.layer not in ("input", "draw")
        and (value := one.arrays.get(f"forward/{name}")) is not None
        and value.dtype.name == step.precision
    )
    where = next((f" (first in {name})" for name in names), "")
    what = {"float16": "half", "float32": "single"}[step.precision]
    yield (
        "precision",
        f"{step.names[side]} computes in {what} precision{where}, {step.names[1 - side]} does not: "
        f"what is within {tolerance(step.precision, False):.0e} counts as rounding",
    )


def parts_hints(step: Inspected) -> Iterator[tuple[str, str]]:
    """That one side takes a batch in parts, which were put together."""
    for own in step.own:
        words = parts_words(own.step)
        if not words:
            continue
        if own.step.in_calls:
            how = ": they are compared put together"
        else:
            how = ", one backward for each, and its gradients are their sum: the parts are compared"
            how += " put together"
        yield f"parts of {own.step.side.name}", words + how


def states_kept(step: Inspected) -> Iterator[tuple[ParameterMatch, str, str]]:
    """What an optimiser keeps under a name of its own, if that is neither what the other side's
    keeps nor what the gradients give: no quantity of the step holds one against the other.

    Yields:
        Whose state it is, the optimiser's own name of it, and what is to be said.
    """
    for one in step.parameters:
        if one.kind != "parameter" or len(one.a) != 1 or len(one.b) != 1:
            continue
        names = one.a[0], one.b[0]
        for side, own in enumerate(step.own):
            arrays, other = own.step.arrays, step.own[1 - side].step.arrays
            if not isinstance(arrays, Renamed):
                continue
            start = f"state/{names[side]}."
            for key in (key.removeprefix(start) for key in arrays.names if key.startswith(start)):
                kept = arrays.names[start + key].removeprefix(start)
                there = other.get(f"state/{names[1 - side]}.{key}")
                if there is None or key in (kept, "step"):
                    continue
                here = arrays[start + key] * of_velocity(own.step.about.optimiser)
                if _is_otherwise(own, here, there, names[side], key):
                    words = f"{step.names[side]}: what its optimiser keeps as {kept}"
                    words += f" is not the {key} that {step.names[1 - side]}'s would keep of the "
                    words += f"same gradients (first in step {step.a.about.step}, {names[side]})"
                    yield one, kept, words


def _is_otherwise(own: Own, here: NDArray, there: NDArray, name: str, key: str) -> bool:
    x, y = (value.astype(np.float64).ravel() for value in (here, there))
    if x.size == y.size and np.allclose(x, y, rtol=own.rtol, atol=0, equal_nan=True):
        return False
    if not own.keeps_each_number(name, key):
        return True
    if x.size == y.size and distance(x, y) <= own.rtol * np.abs(y).max(initial=0):
        return False
    residual = own.after("state", f"{name}.{key}")
    return residual is not None and not residual.is_right


def _other_ways(sides: tuple[Side, Side], pairs: Sequence[StageMatch]) -> Iterator[str]:
    """What two sides compute another way, with the same result."""
    if not pairs:
        return
    named = [one.a.name + (f" / {one.b.name}" if one.b.name != one.a.name else "") for one in pairs]
    more = f" and {len(named) - MOST_WAYS} more" if len(named) > MOST_WAYS else ""
    yield (
        f"computed another way, with the same result ({sides[0].name} / {sides[1].name}): "
        f"{', '.join(named[:MOST_WAYS])}{more}. What these return, or its gradient, differs; "
        "all that depends on them agrees"
    )


def has_batch_norm(side: Side) -> bool:
    """Whether one of a program's stages is a batch norm, of whatever name."""
    layers = {stage.layer for network in side.trace.networks for stage in network}
    return any("batch_norm" in layer for layer in layers)


# what the last bits depend on
DEPENDS_ON = {
    "threads": "another number of threads changes the order of sums, and the last bits",
    "libtorch": "another LibTorch may round otherwise: batch norm's gradients in training differ "
    "by 1 ULP between 2.8 and 2.13, which is no mistake of yours",
}
