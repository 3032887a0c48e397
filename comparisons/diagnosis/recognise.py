"""What kind of mistake a disagreement looks like, where that can be told.

`recognise` asks a list of questions about the place where two engines part, each a function that
returns a finding or None: is it rounding alone; does one side return what a usual mistake would
(`comparisons.diagnosis.mistakes`); is one side NaN or infinite; are the shapes different; do the
two agree up to a sign, a constant factor, a permutation or reversal of axes, or the order of the
same numbers (`comparisons.diagnosis.relations`); does one return its value of the step before.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from comparisons.agreement.arrays import ulp_difference
from comparisons.agreement.tolerances import is_normalised, stage_rule
from comparisons.diagnosis.between import BETWEEN, changed_in_place
from comparisons.diagnosis.candidates import Candidates, Values, candidates
from comparisons.diagnosis.closeness import REST, distance, magnitude, same
from comparisons.diagnosis.mistakes import FEWEST, first_moment_orders, right_gradient
from comparisons.diagnosis.named_factors import factors_of
from comparisons.diagnosis.optimiser import other_optimiser
from comparisons.diagnosis.place import Place
from comparisons.diagnosis.relations import relation, shape_relation
from comparisons.diagnosis.relations.images import of_neighbours
from comparisons.expected.layers import float64
from pyvae.model.settings import DTYPES

__all__ = ["Finding", "recognise"]
NOISE = 1e-6  # of a mistake's size: where two names that fit do so equally well


@dataclass(frozen=True)
class Finding:
    """What was recognised.

    Attributes:
        wrong: The engine that does not return what the layer should, if that can be told.
        stage: The stage at fault, where several could be and one was found out.
        words: What it looks like, the most telling first.
    """

    wrong: str = ""
    stage: str = ""
    words: tuple[str, ...] = ()


def recognise(place: Place) -> Finding:
    """What the place where two engines part looks like.

    A usual mistake is named if what it would return is what was returned, in this step and in the
    next one, where that is known: in Adam's first step a learning rate of a tenth and a bias
    correction that is missing are one number. Where several names fit, all are given.
    """
    if not place.is_known:
        return without_gradient(place) or Finding()
    rounding = only_rounding(place)
    if rounding is not None:
        return rounding
    optimiser = mistaken_optimiser(place)
    if optimiser is not None:
        return optimiser
    found = [finding for question in TOGETHER if (finding := question(place))]
    if not any(finding.words for finding in found):
        found += [finding for question in ONE_OF if (finding := question(place))][:1]
    return Finding(
        next((finding.wrong for finding in found if finding.wrong), ""),
        next((finding.stage for finding in found if finding.stage), ""),
        tuple(words for finding in found for words in finding.words),
    )


def only_rounding(place: Place) -> Finding | None:
    """Two sides that differ by rounding alone, where every bit was asked for: by how much, and in
    what order of operations."""
    settings = place.layers.settings
    normalised = is_normalised(place.layers.recipe.stages)
    if not same(*place.values, stage_rule(settings.dtype, False, normalised).rtol):
        return None
    return Finding(words=tuple(_rounding(place, settings.dtype)))


def _rounding(place: Place, dtype: str) -> Iterator[str]:
    key = place.quantity.key
    a, b = (np.asarray(probe[key], np.float64) for probe in place.probes)
    ulps = ulp_difference(a, b, dtype)
    if not ulps.any():
        return
    yield (
        f"rounding: {int((ulps > 0).sum()):,} of {ulps.size:,} elements differ, "
        f"by at most {ulps.max()} ULP"
    )
    if place.quantity.passing != "first moment":
        return
    for side, (name, probe) in enumerate(zip(place.names, place.probes, strict=True)):
        earlier = place.before(side)
        if earlier is None:
            return
        before = torch.as_tensor(earlier[key]).to(DTYPES[dtype])
        gradient = torch.as_tensor(probe[f"gradient/{place.quantity.name}"]).to(DTYPES[dtype])
        for words, value in first_moment_orders(before, gradient):
            if torch.equal(value, torch.as_tensor(probe[key]).to(DTYPES[dtype])):
                yield f"{name}: {words}"
                break


def without_gradient(place: Place) -> Finding | None:
    """A side that has no gradient at all where the other one has, and where nothing is handed on
    or updated by it: else it was only not recorded."""
    key, name = place.quantity.key, place.quantity.name
    there = [key in probe for probe in place.probes]
    if place.quantity.passing != "backward" or sum(there) != 1:
        return None
    side = there.index(False)
    if any(f"parameter/{one}" not in place.probes[side] for one in place.parameters):
        return None  # it did not get to the end of its step
    if not place.probes[1 - side][key].any() or not _hands_on_nothing(place, side):
        return None
    if name in place.layers.stages:
        takers = " or ".join(place.quantity.computed_by)
        words = f"no gradient arrives: cut off between {name} and {takers} (detach, no_grad)"
    else:
        words = "no gradient arrives: it is frozen (requires_grad) or cut off (detach, no_grad)"
    return Finding(place.names[side], words=(f"{place.names[side]}: {words}",))


def _hands_on_nothing(place: Place, side: int) -> bool:
    probe, other, name = place.probes[side], place.probes[1 - side], place.quantity.name
    if name in place.parameters:
        return np.array_equal(probe[f"start/{name}"], probe[f"parameter/{name}"])
    stage = place.layers.stages[name]
    rests = {}
    for one in stage.inputs:
        if f"gradient/{one}" in other and one != "input":
            parts = right_gradient(place.layers, one, other)
            zero = torch.zeros_like(parts[name])
            rests[one] = sum((v for n, v in parts.items() if n != name), zero)
    found = {one: float64(probe.get(f"gradient/{one}", 0.0)) for one in rests}
    return bool(rests) and all(
        distance(found[one].expand_as(rest), rest) <= place.rtol * magnitude(rest)
        for one, rest in rests.items()
    )


def mistaken_optimiser(place: Place) -> Finding | None:
    """Another optimiser than Adam, or one without some of the parameters."""
    if place.quantity.passing != "first moment":
        return None
    found = other_optimiser(place)
    return None if found is None else Finding(found[0], words=(f"{found[0]}: {found[1]}",))


def usual_mistake(place: Place) -> Finding | None:
    """The side that is not right, and the mistake that would return what it returned."""
    with suppress(RuntimeError, KeyError, ValueError):  # shapes that no layer can take
        found = candidates(place)
        side = _wrong_side(place, found)
        if side is None:
            return Finding(stage=found.stage) if found.stage else None
        name = place.names[side]
        mistakes = _named(place, found, side)
        if not mistakes and place.quantity.key in place.parameter_gradients:
            changed = changed_in_place(place, side)
            if changed is not None:
                return Finding(name, BETWEEN, (f"{name}: {changed}",))
        return Finding(name, found.stage, (f"{name}: {mistakes}",) if mistakes else ())
    return None


def _wrong_side(place: Place, found: Candidates) -> int | None:
    off = [
        distance(values[0][1], returned) if values else math.nan
        for values, returned in zip(found.sides, place.values, strict=True)
    ]
    if not min(off) <= REST * max(off) or max(off) == 0 or math.isinf(min(off)):
        return None  # nothing is known (NaN), neither is off, or both are
    return off.index(max(off))


def _named(place: Place, found: Candidates, side: int) -> str:
    """The mistakes that one side's value fits, as few as this step and the next can tell apart;
    empty if none does."""
    value = place.values[side]
    size = distance(found.sides[side][0][1], value)
    if math.isinf(size):  # another shape, NaN or infinity
        finite = value[torch.isfinite(value)]
        size = float(finite.abs().max()) if finite.numel() else 0.0
    names = _fitting(found.sides[side], value, size, place.rtol)
    if not names:
        return ""
    following = place.following()
    also = None if following is None else _fitting_in(following, side)
    if also is not None:
        names = [one for one in names if any(_alike(one, two) for two in also)]
    words = ", or ".join(names)
    if len(names) > 1 and following is None:
        words += f": step {place.layers.step + 1} would tell them apart"
    return words


def _fitting(values: Values, found: Tensor, size: float, rtol: float) -> list[str]:
    """The mistakes that return what was found, but for a small part of the mistake's size; and
    of few numbers, which many mistakes come near to, but for rounding."""
    exact = rtol * magnitude(found)
    allowed = REST * size
    if found.numel() < FEWEST and math.isfinite(exact):
        allowed = min(allowed, exact)
    off: dict[str, float] = {}
    for words, value in values[1:]:
        if value.numel() == found.numel() and distance(value, found) <= allowed:
            off[words] = min(distance(value, found), off.get(words, math.inf))
    # where one is exact, another that is near is not it
    best = min(off.values(), default=0.0)
    near = max(10 * best, min(exact, NOISE * size) if math.isfinite(exact) else 0.0)
    return [words for words, one in off.items() if one <= near]


def _fitting_in(place: Place, side: int) -> list[str] | None:
    """The mistakes that fit what the wrong side returned in the next step; None if nothing is
    wrong in that step, or it is not known."""
    probe = place.probes[side]
    if place.quantity.key not in probe:
        return None
    alone = Place(
        place.quantity, (probe, probe), place.names, place.layers, place.previous, place.resync
    )
    found = alone.values[side]
    with suppress(RuntimeError, KeyError, ValueError):
        values = candidates(alone).sides[side]
        if not values or same(found, values[0][1], place.rtol):
            return None
        size = distance(found, values[0][1])
        return None if math.isinf(size) else _fitting(values, found, size, place.rtol)
    return None


def _alike(a: str, b: str) -> bool:
    """Whether two names are one, but for the last digits of constants that were fitted."""
    number = r"\d+\.?\d*(?:e[-+]?\d+)?"
    if re.sub(number, "0", a) != re.sub(number, "0", b):
        return False
    pairs = zip(re.findall(number, a), re.findall(number, b), strict=True)
    return all(math.isclose(float(x), float(y), rel_tol=REST) for x, y in pairs)


def not_finite(place: Place) -> Finding | None:
    """NaN and infinity, on either side."""
    words = []
    for name, value in zip(place.names, place.values, strict=True):
        for what, bad in (("NaN", value.isnan()), ("infinite", value.isinf())):
            count = int(bad.sum())
            if count:
                words.append(f"{name}: {count:,} of {value.numel():,} values {what}")
    return Finding(words=tuple(words)) if words else None


def other_shape(place: Place) -> Finding | None:
    """Two shapes, and whether the numbers are the same."""
    a, b = place.values
    if a.shape == b.shape:
        return None
    return Finding(words=tuple(shape_relation(place.names, a, b, place.rtol)))


def related(place: Place) -> Finding | None:
    """A sign, a factor, axes exchanged or reversed, the same numbers in another order."""
    factors, shape = factors_of(place.layers), _input_shape(place)
    words = relation(place.names, *place.values, factors, place.rtol, shape)
    if not words and place.data is not None and place.quantity.key == "forward/input":
        words = of_neighbours(place.names, *place.values, place.data)
    return Finding(words=tuple(words)) if words else None


def of_the_step_before(place: Place) -> Finding | None:
    """Whether a side returns what it returned in the step before."""
    words = []
    if place.previous is not None:
        for name, value, earlier in zip(place.names, place.values, place.previous, strict=True):
            key = place.quantity.key
            if key in earlier and same(value, float64(earlier[key]), place.rtol):
                words.append(f"{name} returns what it returned in the step before")
    return Finding(words=tuple(words)) if words else None


def elements_that_differ(place: Place) -> Finding | None:
    """How many do."""
    a, b = place.values
    if a.numel() <= 1:
        return None
    scale = max(float(a.abs().max()), float(b.abs().max()))
    count = int(((a - b).abs() > place.rtol * scale).sum())
    return Finding(words=(f"{count:,} of {a.numel():,} elements differ",)) if count else None


Question = Callable[[Place], Finding | None]
# What these answer is said together.
TOGETHER: tuple[Question, ...] = (usual_mistake, not_finite, other_shape)
# Where they have no words, the first of these that has an answer is said.
ONE_OF: tuple[Question, ...] = (related, of_the_step_before, elements_that_differ)


def _input_shape(place: Place) -> tuple[int, ...] | None:
    """The shape before a stage that may have reshaped it."""
    stage = place.layers.stages.get(place.quantity.name)
    if stage is None or place.quantity.passing != "forward" or not stage.inputs:
        return None
    value = place.probes[1].get(f"forward/{stage.inputs[0]}")
    return None if value is None else tuple(value.shape)
