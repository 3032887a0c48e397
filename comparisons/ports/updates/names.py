"""Which mistake between backward and the next step a difference looks like, in words."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice

from comparisons.ports.expected.declared import declared_settings, shown
from comparisons.ports.expected.keras.optimisers import is_of_keras, of_its_own
from comparisons.ports.expected.optimisers import OF_TORCH, OPTIMISERS
from comparisons.ports.judging.inspected import Inspected
from comparisons.ports.judging.judged import Judged
from comparisons.ports.judging.why.states import (
    first_state_differs,
    numbers_differ,
    own_state_differs,
)
from comparisons.ports.mistakes.fit import joined
from comparisons.ports.teachers.movement import OTHERWISE, follows_otherwise
from comparisons.ports.teachers.words import copied_within, follows_words, start_words
from comparisons.ports.updates.between_steps import changed_between
from comparisons.ports.updates.explain import Explained, explain
from comparisons.ports.updates.gradients import Done, done_to_gradients
from comparisons.ports.updates.modes import frozen_statistics
from comparisons.ports.updates.parts import following
from comparisons.ports.updates.settings import schedule_words
from comparisons.ports.updates.untrained import shared_on_one_side, untrained
from comparisons.ports.updates.words import parameters_of, those
from pyvae.trace.program import Optimiser

__all__ = ["BETWEEN", "elsewhere", "update_names"]

BETWEEN = "between backward and the update"
MOST = 3  # names for one difference
KERAS_NADAM = (
    "its momentum grows as beta1 * (1 - 0.5 * 0.96 ** step), in PyTorch's NAdam with "
    "0.96 ** (step * momentum_decay)"
)
KNOWN = OPTIMISERS.keys() | OF_TORCH


def elsewhere(step: Inspected, judged: Judged) -> Iterator[str]:
    """Yields what a difference looks like whose cause is elsewhere than where it shows: in all
    gradients after backward, in which parameters are trained, in what happens between two steps.

    Arguments:
        step: The step, as far as it was judged.
        judged: Its first quantity that parts.
    """
    passing = judged.quantity.passing
    if any(value is None for value in judged.quantity.arrays(step.a, step.b)):
        yield from untrained(step, judged)
    elif judged.why == OTHERWISE or (
        step.exact and follows_otherwise(step, judged.quantity, judged.difference)
    ):
        yield follows_words(step, judged.quantity)
    elif passing == "untrained":
        yield from () if step.before else start_words(step, judged.quantity)
    elif passing == "start":
        yield from changed_between(step, judged)
    elif passing == "given gradient":
        yield from _changed_gradients(step)
    elif passing == "buffer":
        words = list(copied_within(step, judged.quantity))
        yield from words or frozen_statistics(step, judged)
    elif passing in ("state", "parameter"):
        why = first_state_differs(step, judged.quantity)
        yield from [why] if why else []
    elif passing in ("forward", "parameter gradient"):
        yield from shared_on_one_side(step, judged)
        if passing == "parameter gradient":
            yield from _changed_gradients(step, computed=True)


def _changed_gradients(step: Inspected, computed: bool = False) -> Iterator[str]:
    if computed and not _in_several_layers(step):
        return  # it is the layer's backward pass, and no other need be computed again
    done = [done_to_gradients(own, computed) for own in step.own]
    first, second = done
    if first is None or second is None or first.is_like(second):
        return
    side = 0 if second.kind == "nothing" else 1
    mine, other = done[side], done[1 - side]
    if mine is None or other is None or (computed and not _is_everywhere(mine)):
        return
    shapes = parameters_of(step, side)
    what = f"the gradients of {those(mine.names, shapes, mine.perhaps)}"
    yield (
        f"{step.names[side]}: {BETWEEN} it "
        f"{mine.words.replace('them', what, 1)}; {step.names[1 - side]} {other.words}"
    )


def _in_several_layers(step: Inspected) -> bool:
    """Whether the gradients that differ are of parameters of more than one layer."""
    parted = (
        one.quantity.value[0]
        for one in step.judged
        if one.verdict == "parted" and one.quantity.passing == "parameter gradient"
    )
    return len({name.rpartition(".")[0] for name in parted}) > 1


def _is_everywhere(done: Done) -> bool:
    """Whether the parameters are not those of one layer, whose backward pass may be wrong."""
    return len({name.rpartition(".")[0] for name in done.names}) > 1


def update_names(step: Inspected, judged: Judged) -> Iterator[str]:
    """Yields what the side that is wrong made of an update, or of an optimiser's state.

    Arguments:
        step: The step, as far as it was judged.
        judged: Its first quantity that parts: `state` or `parameter`.
    """
    quantity, named = judged.quantity, False
    optimisers = [one.about.optimiser for one in (step.a, step.b)]
    if {"keras_nadam", "nadam"} == {one.kind for one in optimisers if one is not None}:
        yield f"{step.names[[*map(is_of_keras, optimisers)].index(True)]}: {KERAS_NADAM}"
        return
    for side, residual in enumerate(step.residuals(quantity)):
        if residual is None or residual.is_right:
            continue
        name, key = quantity.value[side], ""
        if quantity.passing == "state":
            name, _, key = name.rpartition(".")
        own = step.own[side]
        found = explain(own, name, key)
        if not found or len(found) > MOST:
            continue
        shapes = parameters_of(step, side)
        apart = "" if any(islice(following(own), 1)) else f"step {step.a.about.step + 1}"
        words = joined([_said(one, shapes) for one in found], apart)
        if len(found) == 1 and found[0].words.startswith("lr = ") and quantity.parameter:
            how = schedule_words(step, side, quantity.parameter)
            words += f": {how}" if how else ""
        named = True
        yield f"{step.names[side]}: {words}"
    kinds = [one.kind if one is not None else "" for one in optimisers]
    why = "" if named else own_state_differs(step, quantity)
    if not named and not why and quantity.passing == "state":
        why = numbers_differ(step, quantity)
    if why:
        yield why
    elif not named and all(kind and kind not in KNOWN for kind in kinds):
        yield from _of_their_own(step, judged)
    elif not named and any(map(is_of_keras, optimisers)) and kinds[0] != kinds[1]:
        yield from _of_keras(step, optimisers)
    elif not named and kinds[0] != kinds[1]:
        yield f"{step.names[1]}: optimiser {kinds[1]} where it is {kinds[0]}"


def _of_keras(step: Inspected, optimisers: Sequence[Optimiser | None]) -> Iterator[str]:
    """What an optimiser of Keras has that PyTorch's of that name has not."""
    side = [*map(is_of_keras, optimisers)].index(True)
    keras, other = optimisers[side], optimisers[1 - side]
    settings = {} if keras is None else of_its_own(keras, OPTIMISERS)
    said = ", ".join(f"{name} = {shown(value)}" for name, value in settings.items())
    if said and other is not None:
        yield f"{step.names[side]}: {said}, which {step.names[1 - side]}'s {other.kind} has not"
    elif keras is not None and other is not None:
        kinds = (keras.kind, other.kind) if side == 0 else (other.kind, keras.kind)
        yield f"{step.names[1]}: optimiser {kinds[1]} where it is {kinds[0]}"


def _of_their_own(step: Inspected, judged: Judged) -> Iterator[str]:
    """What is to be said of two optimisers that are classes of the programs' own."""
    both = step.a.about.optimiser, step.b.about.optimiser
    one = judged.quantity.parameter
    if one is None or both[0] is None or both[1] is None:
        return
    first, second = (
        next((dict(group.settings) for group in own.groups if name in group.parameters), {})
        for own, name in ((both[0], one.a[0]), (both[1], one.b[0]))
    )
    words = declared_settings("", first, "", second)
    yield from (f"{step.names[1]}: {word}" for word in words)
    if not words and both[0].kind != both[1].kind:
        yield (
            "the two optimisers do not make the same of the same gradient: "
            f"{step.names[0]}'s {both[0].kind} and {step.names[1]}'s {both[1].kind} are the "
            "programs' own, and are not looked into"
        )


def _said(one: Explained, shapes: dict[str, tuple[int, ...]]) -> str:
    return one.words + (f", of {those(one.names, shapes, one.perhaps)} alone" if one.alone else "")
