"""The first place where two programs part, in words."""

from __future__ import annotations

import numpy as np

from comparisons.ports.expected.keras.optimisers import is_of_keras
from comparisons.ports.judging.inspected import Inspected
from comparisons.ports.judging.judged import Judged
from comparisons.ports.judging.quantities import PASSES
from comparisons.ports.looks_like import looks_like
from comparisons.ports.matching.results import RESULTS
from comparisons.ports.mistakes.given_otherwise import divergence_of
from comparisons.ports.mistakes.losses.divergences import DIRECTION
from comparisons.ports.result import FirstPart
from comparisons.ports.teachers.pairs import network_and_name
from comparisons.ports.updates.names import BETWEEN
from pyvae.trace.program import ProgramStage

__all__ = ["find_first_part"]

LANGUAGES = {"python": "Python", "r": "R"}


def find_first_part(step: Inspected, judged: Judged) -> FirstPart:
    """Says where and how two programs part.

    Arguments:
        step: The step, as far as it was judged.
        judged: Its first quantity that parts.
    """
    words = tuple(looks_like(step, judged))
    place = _place(step, judged)
    if judged.quantity.passing == "parameter gradient" and any(BETWEEN in one for one in words):
        place = f"{BETWEEN} ({judged.quantity.value[0]})"
    if judged.quantity.passing == "input" and any(DIRECTION in one for one in words):
        loss = divergence_of(step, judged.quantity.value)  # what goes in is right, in its place
        if loss is not None:
            of = f"{PASSES['forward']} (of {judged.quantity.value[0]})"
            place = f"{_both(step, loss.a, loss.b)}, {of}"
    return FirstPart(
        judged,
        f"step {judged.step}, {place}",
        _wrong(step, judged, words),
        words,
        _element(step, judged),
    )


def _place(step: Inspected, judged: Judged) -> str:
    quantity = judged.quantity
    name = quantity.value[0]
    words = PASSES[quantity.passing]
    if quantity.passing == "untrained":
        network, own = network_and_name(quantity.key)
        return f"{own} of {network}, {words}" if network else f"{own}, {words}"
    if quantity.passing == "loss":
        return words if name == "total" else f"{words}, {name}"
    if quantity.stage is not None and quantity.stage.how in RESULTS:
        made = [
            one.producer.get(stage.inputs[0])
            for one, stage in ((step.a, quantity.stage.a), (step.b, quantity.stage.b))
        ]
        of = f" ({_both(step, made[0], made[1])})" if made[0] is not None else ""
        return f"{RESULTS[quantity.stage.how]}{of}"
    if quantity.passing in ("input", "draw", "forward") and quantity.stage is not None:
        return f"{_both(step, quantity.stage.a, quantity.stage.b)}, {words}"
    if quantity.passing == "backward":
        takers = [s for s in step.a.takers.get(name, ()) if step.own[0].has_gradient(s)]
        if len(takers) == 1:
            pair = step.network.partner.get(takers[0].name)
            stage = _both(step, takers[0], pair.b if pair else None)
            return f"{stage}, {words} (gradient of {name})"
        return f"{words} (gradient of {name})"
    one = quantity.parameter
    if one is None:
        return f"{name}, {words}"
    if quantity.passing in ("parameter gradient", "buffer"):
        takers = step.a.takers.get(one.a[0], [])
        if takers:
            pair = step.network.partner.get(takers[0].name)
            stage = _both(step, takers[0], pair.b if pair else None)
            what = "backward" if quantity.passing == "parameter gradient" else "buffer"
            of = "gradient of " if what == "backward" else ""
            return f"{stage}, {what} ({of}{one.name})"
    if quantity.passing in ("state", "parameter") and step.a.about.optimiser is not None:
        optimiser = step.a.about.optimiser
        what = quantity.template.rpartition(".")[2] if quantity.passing == "state" else "parameter"
        return f"{optimiser.name} ({optimiser.kind}), update of {one.name} ({what})"
    return f"{one.name}, {words}"


def _both(step: Inspected, a: ProgramStage, b: ProgramStage | None) -> str:
    """A stage's name and layer, on both sides where they are different."""
    if not a.layer:
        return a.name
    if b is None or (a.name == b.name and a.layer == b.layer):
        return f"{a.name} ({a.layer})"
    if not b.layer:  # names alone
        other = "" if a.name == b.name else f"; in {step.names[1]} {b.name}"
        return f"{a.name} ({a.layer}{other})"
    return f"{a.name} ({a.layer}; in {step.names[1]} {b.name}, {b.layer})"


def _wrong(step: Inspected, judged: Judged, words: tuple[str, ...]) -> str:
    """The one side that does not return what it should for its own inputs; of a gradient to which
    something may have added that was not recorded, only if it is known how."""
    if judged.difference.problem.startswith("shape"):
        return ""
    residuals = step.residuals(judged.quantity)
    right = [one is not None and one.is_right for one in residuals]
    known = [one is not None for one in residuals]
    if not all(known) or right[0] == right[1]:
        return ""
    side = right.index(False)
    name = step.names[side]
    if judged.quantity.passing in ("state", "parameter"):
        optimiser = (step.a, step.b)[side].about.optimiser
        if is_of_keras(optimiser):
            return ""  # which PyTorch's optimiser was computed in place of
    backward = judged.quantity.passing in ("backward", "parameter gradient")
    if backward and step.own[side].unseen and not any(w.startswith(f"{name}: ") for w in words):
        return ""
    return name


def _element(step: Inspected, judged: Judged) -> str:
    difference = judged.difference
    if difference.problem.startswith("shape"):
        shapes = [None if value is None else value.shape for value in step.values(judged.quantity)]
        if None in shapes:
            return ""
        return f"shape {shapes[0]} in {step.names[0]}, {shapes[1]} in {step.names[1]}"
    if np.isnan(difference.values).all():
        return ""
    words = f"{difference.values[0]:.9g} in {step.names[0]}, {difference.values[1]:.9g} in "
    words += step.names[1]
    if not difference.index:
        return words
    index = difference.index
    counted = {}
    for one in (step.a, step.b):
        trace = one.side.trace
        language = LANGUAGES.get(trace.language, trace.language or one.side.name)
        # classes of Keras in R count from 0, R's arrays from 1 all the same
        base = 1 if trace.language == "r" else trace.index_base
        counted[language] = [i + base for i in index]
    if len({tuple(place) for place in counted.values()}) == 1:
        return f"{next(iter(counted.values()))}: {words}"
    return ", ".join(f"{place} in {name}" for name, place in counted.items()) + f": {words}"
