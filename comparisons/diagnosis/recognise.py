"""What kind of mistake a disagreement looks like, where that can be told.

Asked in turn: is one side NaN or infinite; are the shapes different; which side returned what
the layer should return for the inputs that both agree on, and does the other one return what a
usual mistake would (`comparisons.diagnosis.mistakes`); do the two agree up to a sign, a constant
factor, a permutation or reversal of axes, or the order of the same numbers
(`comparisons.diagnosis.relations`); is one the other's value of the step before.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from comparisons.agreement.arrays import ulp_difference
from comparisons.agreement.tolerances import is_normalised, stage_rule
from comparisons.diagnosis import mistakes as alternatives
from comparisons.diagnosis.relations import distance, relation, same, shape_relation
from comparisons.expected.layers import Layers, float64
from pyvae.model.settings import DTYPES
from pyvae.model.stages import Probe, Quantity

__all__ = ["Finding", "recognise"]

SAME = {"float64": 1e-9, "float32": 1e-4}
REST = 1e-3  # of a mistake's size: what a suspected mistake may leave unexplained
OF_ADAM = ("first moment", "second moment", "parameter")  # which depend on the number of the step
Suspects = list[tuple[str, Tensor]]


@dataclass
class Finding:
    """What was recognised.

    Attributes:
        wrong: The engine that does not return what the layer should, if that can be told.
        stage: The stage at fault, where several could be and one was found out.
        words: What it looks like, the most telling first.
        names: The usual mistakes that would return what was returned, in words.
    """

    wrong: str = ""
    stage: str = ""
    words: list[str] = field(default_factory=list)
    names: list[str] = field(default_factory=list)


def recognise(
    probes: tuple[Probe, Probe],
    names: tuple[str, str],
    quantity: Quantity,
    layers: Layers,
    previous: tuple[Probe, Probe] | None = None,
    resync: bool = False,
    following: Callable[[], tuple[Layers, Probe, Probe] | None] = lambda: None,
) -> Finding:
    """Looks at the first quantity in which two engines part.

    A usual mistake is named if what it would return is what was returned, in this step and in the
    next one, where that is known: in Adam's first step a learning rate of a tenth and a bias
    correction that is missing are one number. Where it is not known and several names fit a single
    number, or what Adam computes, all are given.

    Arguments:
        probes: Of the engine under test and of the reference.
        names: The engines' names.
        quantity: The one in which they part; all before it agree.
        layers: The step's layers.
        previous: Both probes of the step before, if they are known.
        resync: Whether both started the step from the state of the engine under test.
        following: Called for the next step, where a name has to be confirmed: its layers, and both
            probes; None if it is not known.
    """
    finding = Finding()
    if any(quantity.key not in probe for probe in probes):
        return finding
    a, b = (float64(probe[quantity.key]) for probe in probes)
    rtol = SAME[layers.settings.dtype]
    least = stage_rule(layers.settings.dtype, False, is_normalised(layers.recipe.stages)).rtol
    if same(a, b, least):  # every bit was asked for
        finding.words += _rounding(probes, names, quantity, layers, previous, resync)
        return finding
    with suppress(RuntimeError, KeyError, ValueError):  # shapes that no layer can take
        suspects = _suspects(probes, quantity, layers, previous, resync, finding, rtol)
        _hold_against(suspects, (a, b), names, finding)
        if finding.names:
            wrong = names.index(finding.wrong)
            told_apart = _confirm(finding, quantity, wrong, probes, resync, following(), rtol)
            # two names that fit every element of a layer, or two steps, are of one mistake
            if told_apart or not (quantity.passing in OF_ADAM or a.numel() == 1):
                finding.names = finding.names[:1]
        if finding.names:
            finding.words.append(f"{finding.wrong}: {', or '.join(finding.names)}")
    for name, value in zip(names, (a, b), strict=True):
        finding.words += _not_finite(name, value)
    if a.shape != b.shape:
        finding.words += shape_relation(names, a, b, rtol)
    elif not finding.words:
        shape = _input_shape(layers, quantity, probes[1])
        finding.words += relation(names, a, b, _factors(layers), rtol, shape)
    if previous is not None and not finding.words:
        for name, value, one in zip(names, (a, b), previous, strict=True):
            if quantity.key in one and same(value, float64(one[quantity.key]), rtol):
                finding.words.append(f"{name} returns what it returned in the step before")
    if not finding.words and a.numel() > 1:
        scale = max(float(a.abs().max()), float(b.abs().max()))
        count = int(((a - b).abs() > rtol * scale).sum())
        finding.words += [f"{count:,} of {a.numel():,} elements differ"] if count else []
    return finding


def _rounding(
    probes: tuple[Probe, Probe],
    names: tuple[str, str],
    quantity: Quantity,
    layers: Layers,
    previous: tuple[Probe, Probe] | None,
    resync: bool,
) -> Iterator[str]:
    """Of two sides that differ by rounding alone: by how much, and in what order of operations."""
    dtype, key = layers.settings.dtype, quantity.key
    a, b = (np.asarray(probe[key], np.float64) for probe in probes)
    ulps = ulp_difference(a, b, dtype)
    if not ulps.any():
        return
    yield (
        f"rounding: {int((ulps > 0).sum()):,} of {ulps.size:,} elements differ, "
        f"by at most {ulps.max()} ULP"
    )
    if quantity.passing != "first moment" or previous is None:
        return
    for side, (name, probe) in enumerate(zip(names, probes, strict=True)):
        before = torch.as_tensor(previous[0 if resync else side][key]).to(DTYPES[dtype])
        gradient = torch.as_tensor(probe[f"gradient/{quantity.name}"]).to(DTYPES[dtype])
        for words, value in alternatives.first_moment_orders(before, gradient):
            if torch.equal(value, torch.as_tensor(probe[key]).to(DTYPES[dtype])):
                yield f"{name}: {words}"
                break


def _hold_against(
    suspects: tuple[Suspects, Suspects],
    values: tuple[Tensor, Tensor],
    names: tuple[str, str],
    finding: Finding,
) -> None:
    """Finds the side that is not right, and the mistake that would return what it returned.

    Arguments:
        suspects: For each side the right value, then mistaken ones, in words.
    """
    off = [
        distance(side[0][1], value) if side else math.nan
        for side, value in zip(suspects, values, strict=True)
    ]
    if not min(off) <= REST * max(off) or max(off) == 0 or math.isinf(min(off)):
        return  # nothing is known (NaN), neither is off, or both are
    side = off.index(max(off))
    finding.wrong = names[side]
    found = values[side]
    size = off[side]
    if math.isinf(size):  # another shape, NaN or infinity
        finite = found[torch.isfinite(found)]
        size = float(finite.abs().max()) if finite.numel() else 0.0
    finding.names = _fitting(suspects[side], found, size)


def _fitting(suspects: Suspects, found: Tensor, size: float) -> list[str]:
    """The mistakes that return what was found, but for a small part of the mistake's size."""
    return [
        words
        for words, value in suspects[1:]
        if value.numel() == found.numel() and distance(value, found) <= REST * size
    ]


def _confirm(
    finding: Finding,
    quantity: Quantity,
    side: int,
    before: tuple[Probe, Probe],
    resync: bool,
    following: tuple[Layers, Probe, Probe] | None,
    rtol: float,
) -> bool:
    """Leaves those names that fit what the wrong side returned in the next step, too; all of them
    if nothing is wrong in that step, or it is not known. Returns whether they could be tried."""
    if following is None:
        return False
    layers, *probes = following
    probe = probes[side]
    if quantity.key not in probe:
        return False
    found = float64(probe[quantity.key])
    nothing = Finding()
    with suppress(RuntimeError, KeyError, ValueError):
        both = _suspects((probe, probe), quantity, layers, before, resync, nothing, rtol)
        suspects = both[side]
        if not suspects or same(found, suspects[0][1], rtol):
            return False
        size = distance(found, suspects[0][1])
        if math.isinf(size):
            return False
        also = _fitting(suspects, found, size)
        finding.names = [one for one in finding.names if any(_alike(one, two) for two in also)]
        return True
    return False


def _alike(a: str, b: str) -> bool:
    """Whether two names are one, but for the last digits of constants that were fitted."""
    number = r"\d+\.?\d*(?:e[-+]?\d+)?"
    if re.sub(number, "0", a) != re.sub(number, "0", b):
        return False
    pairs = zip(re.findall(number, a), re.findall(number, b), strict=True)
    return all(math.isclose(float(x), float(y), rel_tol=REST) for x, y in pairs)


def _suspects(
    probes: tuple[Probe, Probe],
    quantity: Quantity,
    layers: Layers,
    previous: tuple[Probe, Probe] | None,
    resync: bool,
    finding: Finding,
    rtol: float,
) -> tuple[Suspects, Suspects]:
    """For each side the right value of a quantity, without words, then mistaken ones."""
    name, passing = quantity.name, quantity.passing
    if passing in ("forward", "backward"):  # both sides have the same inputs
        if passing == "forward":
            return _of_forward(probes, quantity, layers)
        if name in layers.stages:
            both = list(_of_gradient(probes, quantity, layers, finding, rtol))
        else:
            both = list(_of_parameter_gradient(probes, quantity, layers, previous, finding, rtol))
        return both, both
    sides: list[Suspects] = []  # moments and updates follow from each side's own gradients
    for side, probe in enumerate(probes):
        if passing == "parameter":
            start = float64(probe[f"start/{name}"])
            sides.append([(w, start - v) for w, v in alternatives.update(layers, name, probe)])
        elif passing in ("first moment", "second moment"):
            order = 1 if passing == "first moment" else 2
            if layers.step == 1:
                before = torch.zeros_like(float64(probe[quantity.key]))
            elif previous is not None:
                before = float64(previous[0 if resync else side][quantity.key])
            else:
                return [], []
            sides.append(list(alternatives.moment(layers, order, name, probe, before)))
        else:
            return [], []
    return sides[0], sides[1]


def _of_forward(
    probes: tuple[Probe, Probe], quantity: Quantity, layers: Layers
) -> tuple[Suspects, Suspects]:
    """Both sides have the same inputs; a mistake with a constant is fitted to each side's value."""
    sides: list[Suspects] = []
    found = [float64(probe[quantity.key]) for probe in probes]
    if quantity.key.startswith("buffer/"):
        of_sides = [alternatives.running(layers, quantity.name, probes[1], v) for v in found]
        return list(of_sides[0]), list(of_sides[1])
    stage = layers.stages[quantity.name]
    both = list(alternatives.forward(layers, stage, probes[1]))
    for value in found:
        sides.append([*both, *alternatives.fitted(layers, stage, probes[1], value)])
    return sides[0], sides[1]


def _of_gradient(
    probes: tuple[Probe, Probe], quantity: Quantity, layers: Layers, finding: Finding, rtol: float
) -> Iterator[tuple[str, Tensor]]:
    name, probe = quantity.name, probes[1]
    parts = alternatives.right_gradient(layers, name, probe)
    right = torch.stack(list(parts.values())).sum(0)
    yield "", right
    for layer in layers.takers(name):
        rest = right - parts[layer.name]
        for words, value in alternatives.backward(layers, layer, name, probe):
            yield words, value.reshape(rest.shape) + rest
    yield from _part_off(probes, quantity, parts, right, finding, rtol)


def _part_off(
    probes: tuple[Probe, Probe],
    quantity: Quantity,
    parts: dict[str, Tensor],
    right: Tensor,
    finding: Finding,
    rtol: float,
) -> Iterator[tuple[str, Tensor]]:
    """Which of several stages' parts of a gradient is off, if its part alone is by a factor."""
    sides = {id(one): one for one in probes}.values()  # one, where one side alone is looked at
    values = (float64(one[quantity.key]) for one in sides)
    wrong = [value for value in values if not same(value, right, rtol)]
    if len(parts) < 2 or len(wrong) != 1:
        return
    difference = wrong[0] - right
    for stage, part in parts.items():
        square = float((part * part).sum())
        factor = 1 + float((difference * part).sum()) / square if square else 1.0
        if factor != 1 and same((factor - 1) * part, difference, REST):
            finding.stage = stage
            if abs(factor) < REST:
                yield f"{stage}'s part of the gradient is missing", wrong[0]
            yield f"{stage}'s part of the gradient is {factor:.6g} times what it is", wrong[0]


def _of_parameter_gradient(
    probes: tuple[Probe, Probe],
    quantity: Quantity,
    layers: Layers,
    previous: tuple[Probe, Probe] | None,
    finding: Finding,
    rtol: float,
) -> Iterator[tuple[str, Tensor]]:
    name = quantity.name
    parts = alternatives.parameter_gradient(layers, name, probes[1])
    right = torch.stack(list(parts.values())).sum(0)
    yield "", right
    for one in previous or ():
        if f"gradient/{name}" in one:
            words = "the gradient of the step before is added to it: it was not zeroed"
            yield words, right + float64(one[f"gradient/{name}"])
    yield from _part_off(probes, quantity, parts, right, finding, rtol)


def _not_finite(name: str, value: Tensor) -> list[str]:
    words = []
    for what, bad in (("NaN", value.isnan()), ("infinite", value.isinf())):
        count = int(bad.sum())
        if count:
            words.append(f"{name}: {count:,} of {value.numel():,} values {what}")
    return words


def _factors(layers: Layers) -> dict[str, float]:
    settings = layers.settings
    batch, dimensions = settings.batch_size, settings.latent_dim
    features = layers.recipe.features
    pixels, name = features, "pixels" if features == 784 else "coordinates"
    found: dict[str, float] = {
        "1/2": 1 / 2,
        "255/256 (pixels divided by 256 where it is 255)": 255 / 256,
        "1/255 (pixels not divided by 255)": 1 / 255,
        f"1/batch size (1/{batch})": 1 / batch,
        f"1/latent dimensions (1/{dimensions})": 1 / dimensions,
        f"1/{name} (1/{pixels})": 1 / pixels,
        f"1/(batch size x {name}) (1/{batch * pixels})": 1 / (batch * pixels),
        f"1/(batch size x latent dimensions) (1/{batch * dimensions})": 1 / (batch * dimensions),
    }
    for stage in layers.stages.values():
        if stage.layer == "dropout":
            p = stage.options["p"]
            found[f"(1 - p) = {1 - p:g} ({stage.name}'s 1/(1 - p) is missing)"] = 1 - p
    return {label: value for label, value in found.items() if value != 1}


def _input_shape(layers: Layers, quantity: Quantity, probe: Probe) -> tuple[int, ...] | None:
    stage = layers.stages.get(quantity.name)
    if stage is None or quantity.passing != "forward" or not stage.inputs:
        return None
    value = probe.get(f"forward/{stage.inputs[0]}")
    return None if value is None else tuple(value.shape)
