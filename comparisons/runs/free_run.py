"""A few steps in which each engine goes its own way, beside steps that both start from one state.

An optimiser may keep what no state holds that is handed over between steps (AMSGrad's maximum): a
re-synchronised run gives it no time to act. A few free steps do.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from comparisons.agreement.arrays import Agreement, ulp_difference
from comparisons.agreement.stage import StageAgreement
from comparisons.agreement.tolerances import EXACT, Rule, is_normalised, probe_rule, stage_rule
from comparisons.diagnosis.first_divergence import Divergence, first_divergence
from comparisons.diagnosis.relations import same
from comparisons.expected.layers import BETA1, BETA2, Layers, float64
from comparisons.runs.lockstep import StepFailure, compare_ends, lockstep
from comparisons.runs.rounding import FACTOR, neighbours
from comparisons.stages.compare import compare_probes
from pyvae.data.images import ImageData
from pyvae.engines.engine import Engine
from pyvae.engines.pytorch import PyTorchEngine
from pyvae.model.settings import Settings
from pyvae.model.stages import Probe, Quantity
from pyvae.recipes import Recipe

__all__ = ["FREE_STEPS", "FreeRun", "run_freely"]

FREE_STEPS = 5
MADE_BY_ADAM = ("first moment", "second moment", "parameter")


@dataclass(frozen=True)
class FreeRun:
    """What was found.

    Attributes:
        agreement: Of the quantity and step that come nearest to what is allowed, or are beyond.
        divergence: The first stage that parts, if one does.
    """

    agreement: Agreement
    divergence: Divergence | None


def run_freely(
    under_test: Engine,
    reference: Engine,
    recipe: Recipe,
    settings: Settings,
    data: ImageData,
    exact: bool = False,
) -> FreeRun:
    """Runs both engines through the first steps of a run, each on its own, and compares losses,
    moments, running statistics and parameters after every step.

    In float64 the two may differ by what free runs were measured to (`probe_rule`). In float32
    that says little: there it is measured on the spot how far PyTorch parts from itself when its
    parameters are off by one unit in the last place (`comparisons.runs.rounding`).

    Raises:
        StepFailure: If an engine fails.
    """
    short = replace(settings, steps=min(settings.total_steps(len(data)), FREE_STEPS))
    run = (recipe, short, data)
    if exact:
        allowed = [EXACT.rtol] * FREE_STEPS
    elif settings.dtype == "float64":
        normalised = is_normalised(recipe.stages)
        allowed = [probe_rule("float64", 2, False, False, normalised).rtol] * FREE_STEPS
    else:
        allowed = _measured(*run, getattr(under_test, "adam", "torch"))
    worst: tuple[float, StageAgreement, float] | None = None
    for step, ends in enumerate(_ends(under_test, reference, *run, exact), start=1):
        for end in ends:
            size = _size(end, allowed[step - 1])
            if worst is None or size > worst[0]:
                worst = (size, end, allowed[step - 1])
        if worst is not None and worst[0] > 1:
            break
    assert worst is not None  # noqa: S101 (a run has a step, and a step has losses)
    size, end, rtol = worst
    divergence = None
    if size > 1:
        rule = EXACT if exact else Rule(rtol, "tensor")
        divergence = _look_into(end.step, under_test, reference, *run, rule)
    return FreeRun(_as_agreement(end, rtol, settings.dtype), divergence)


def _ends(
    a: Engine, b: Engine, recipe: Recipe, settings: Settings, data: ImageData, exact: bool = False
) -> Iterator[list[StageAgreement]]:
    """The agreement of what is known after each step."""
    with closing(lockstep(a, b, recipe, settings, data, resync=False)) as pairs:
        for pair in pairs:
            if pair.failures:
                raise StepFailure(pair.failures, dict.fromkeys(pair.failures, pair.step))
            yield compare_ends(pair, a, b, recipe, settings, exact)


def _measured(recipe: Recipe, settings: Settings, data: ImageData, adam: str) -> list[float]:
    """For each step what rounding alone may make of it, relative to a tensor's largest element."""
    found = [0.0] * FREE_STEPS
    for engine in neighbours(adam):
        plain = PyTorchEngine("cpu", adam)
        for step, ends in enumerate(_ends(plain, engine, recipe, settings, data)):
            found[step] = max(found[step], *(end.required_rtol for end in ends))
    least = stage_rule(settings.dtype, False, is_normalised(recipe.stages)).rtol
    return [max(least, FACTOR * one) for one in np.maximum.accumulate(found)]


def _size(end: StageAgreement, allowed: float) -> float:
    """A difference as a share of what is allowed."""
    if end.problem:
        return math.inf
    if allowed == 0:
        return math.inf if end.required_rtol else 0.0
    return end.required_rtol / allowed


def _look_into(
    last: int,
    under_test: Engine,
    reference: Engine,
    recipe: Recipe,
    settings: Settings,
    data: ImageData,
    rule: Rule,
) -> Divergence | None:
    """The first step, up to the last one, in which one side's moments or parameters are not what
    Adam makes of its *own* gradients and moments: what else differs follows from that."""
    previous: tuple[Probe, Probe] | None = None
    steps = range(1, last + 1)
    run = (under_test, reference, recipe, settings, data)
    with closing(lockstep(*run, resync=False, probed=steps)) as pairs:
        for pair in pairs:
            if pair.probes is None or pair.step > last:
                break
            layers = Layers(recipe, settings, pair.step)
            quantity = _first_not_of_adam(layers, pair.probes, previous, recipe, settings)
            if quantity is not None:
                agreements = compare_probes(*pair.probes, recipe, settings, pair.step, EXACT)
                (one,) = (a for a in agreements if a.quantity == quantity)
                names = (under_test.name, reference.name)
                found = first_divergence([one], pair.probes, names, recipe, settings, previous)
                return found and replace(found, agreement=replace(one, rtol=rule.rtol), around=())
            previous = pair.probes
    return None


def _first_not_of_adam(
    layers: Layers,
    probes: tuple[Probe, Probe],
    previous: tuple[Probe, Probe] | None,
    recipe: Recipe,
    settings: Settings,
) -> Quantity | None:
    rtol = stage_rule(settings.dtype, False, is_normalised(recipe.stages)).rtol
    for quantity in recipe.quantities(settings):
        if quantity.passing not in MADE_BY_ADAM:
            continue
        for side, probe in enumerate(probes):
            before = None if previous is None else previous[side]
            if before is None and layers.step > 1:
                continue
            if not same(
                float64(probe[quantity.key]), _of_adam(layers, quantity, probe, before), rtol
            ):
                return quantity
    return None


def _of_adam(layers: Layers, quantity: Quantity, probe: Probe, before: Probe | None) -> Tensor:
    """What Adam makes of an engine's own gradients and moments."""
    name = quantity.name
    if quantity.passing == "parameter":
        m, v = (float64(probe[f"{kind}/{name}"]) for kind in ("moment1", "moment2"))
        return float64(probe[f"start/{name}"]) - layers.adam_update(m, v)
    beta, power = (BETA1, 1) if quantity.passing == "first moment" else (BETA2, 2)
    gradient = float64(probe[f"gradient/{name}"]) ** power
    old = torch.zeros_like(gradient) if before is None else float64(before[quantity.key])
    return beta * old + (1 - beta) * gradient


def _as_agreement(end: StageAgreement, allowed: float, dtype: str) -> Agreement:
    """As a row of the table of the whole run: its worst element."""
    rule = Rule(allowed, "tensor")
    worst = f"{end.quantity.key}{list(end.index)} of step {end.step}"
    if end.problem:
        return Agreement(math.nan, math.nan, -1, math.nan, rule, "", f"{worst}: {end.problem}")
    a, b = (np.array([value]) for value in end.values)
    size = max(abs(end.values[0]), abs(end.values[1]))
    return Agreement(
        end.max_abs,
        float(abs(a - b)[0]) / size if size else 0.0,
        int(ulp_difference(a, b, dtype)[0]),
        end.required_rtol,
        rule,
        worst if end.max_abs else "",
    )
