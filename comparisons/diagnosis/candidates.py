"""What a quantity should be, and what usual mistakes would make of it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from comparisons.diagnosis import mistakes
from comparisons.diagnosis.closeness import REST, distance, same
from comparisons.diagnosis.place import Place
from comparisons.expected.layers import float64

__all__ = ["Candidates", "Values", "candidates"]

Values = list[tuple[str, Tensor]]


@dataclass(frozen=True)
class Candidates:
    """What each side may have returned.

    Attributes:
        sides: For the engine under test and the reference: the right value, without words, then
            those of usual mistakes, in words. Empty where nothing is known.
        stage: The stage whose part of a gradient is off by a factor, if one is.
    """

    sides: tuple[Values, Values]
    stage: str = ""


def candidates(place: Place) -> Candidates:
    """The right value of the quantity in which two engines part, and mistaken ones.

    Raises:
        RuntimeError, KeyError, ValueError: If what the engines returned has shapes that no layer
            can take.
    """
    passing = place.quantity.passing
    if passing == "forward":
        return Candidates(_of_forward(place))
    if passing == "backward":
        if place.quantity.name in place.layers.stages:
            return _of_gradient(place)
        return _of_parameter_gradient(place)
    return Candidates((_of_adam(place, 0), _of_adam(place, 1)))


def _of_forward(place: Place) -> tuple[Values, Values]:
    """Both sides have the same inputs; a mistake with a constant is fitted to each side's value."""
    layers, quantity, probe = place.layers, place.quantity, place.probes[1]
    if quantity.key.startswith("buffer/"):
        a, b = (list(mistakes.running(layers, quantity.name, probe, v)) for v in place.values)
        return a, b
    stage = layers.stages[quantity.name]
    both = list(mistakes.forward(layers, stage, probe))
    a, b = (
        both if _is_named(both, value) else [*both, *mistakes.fitted(layers, stage, probe, value)]
        for value in place.values
    )
    return a, b


def _is_named(values: Values, found: Tensor) -> bool:
    """Whether a mistake without a constant, which would fit as well, returns what was found."""
    size = distance(values[0][1], found) if values else 0.0
    return any(distance(value, found) <= REST * size for _, value in values[1:])


def _of_gradient(place: Place) -> Candidates:
    """Of a gradient with respect to a stage's result."""
    layers, name, probe = place.layers, place.quantity.name, place.probes[1]
    parts = mistakes.right_gradient(layers, name, probe)
    right = torch.stack(list(parts.values())).sum(0)
    takers = [layer.name for layer in layers.takers(name)]
    cut = f"no gradient arrives: cut off between {name} and {' or '.join(takers or parts)}"
    values = [("", right), (cut, torch.zeros_like(right))]
    for layer in layers.takers(name):
        rest = right - parts[layer.name]
        for words, value in mistakes.backward(layers, layer, name, probe):
            values.append((words, value.reshape(rest.shape) + rest))
    return _with_parts(place, values, parts)


def _of_parameter_gradient(place: Place) -> Candidates:
    name = place.quantity.name
    parts = mistakes.parameter_gradient(place.layers, name, place.probes[1])
    right = torch.stack(list(parts.values())).sum(0)
    values = [("", right)]
    for one in place.previous or ():
        if f"gradient/{name}" in one:
            words = "the gradient of the step before is added to it: it was not zeroed"
            values.append((words, right + float64(one[f"gradient/{name}"])))
    return _with_parts(place, values, parts)


def _with_parts(place: Place, values: Values, parts: dict[str, Tensor]) -> Candidates:
    """Adds which of several stages' parts of a gradient is off, if its part alone is by a factor.

    Arguments:
        values: The right gradient, then mistaken ones.
        parts: By stage, the parts that the right one is the sum of.
    """
    both = {id(probe): probe for probe in place.probes}.values()  # one, if one side is asked about
    found = (float64(probe[place.quantity.key]) for probe in both)
    right = values[0][1]
    wrong = [value for value in found if not same(value, right, place.rtol)]
    if len(parts) < 2 or len(wrong) != 1:
        return Candidates((values, values))
    (value,) = wrong
    difference = value - right
    named = _is_named(values, value)
    values, at_fault = [*values], ""
    for stage, part in parts.items():
        off = mistakes.slope(difference.flatten(), part.flatten()) or 0.0
        factor = 1 + off
        if off and same((factor - 1) * part, difference, REST):
            at_fault = stage
            how = f"{factor:.6g} times what it is" if abs(factor) >= REST else "missing"
            if not named:
                values.append((f"{stage}'s part of the gradient is {how}", value))
    return Candidates((values, values), at_fault)


def _of_adam(place: Place, side: int) -> Values:
    """Moments and parameters, which follow from each side's own gradients."""
    layers, name, passing = place.layers, place.quantity.name, place.quantity.passing
    probe = place.probes[side]
    if passing == "parameter":
        start = float64(probe[f"start/{name}"])
        return [(words, start - value) for words, value in mistakes.update(layers, name, probe)]
    if passing not in ("first moment", "second moment"):
        return []
    order = 1 if passing == "first moment" else 2
    if layers.adam_step == 1:
        before = torch.zeros_like(float64(probe[place.quantity.key]))
    else:
        earlier = place.before(side)
        if earlier is None:
            return []
        before = float64(earlier[place.quantity.key])
    return list(mistakes.moment(layers, order, name, probe, before))
