"""A few steps in which each engine goes its own way, beside steps that both start from one state.

An optimiser may keep what no state holds that is handed over between steps (AMSGrad's maximum): a
re-synchronised run gives it no time to act. A few free steps do.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from comparisons.agreement.arrays import Agreement, ulp_difference
from comparisons.agreement.stage import StageAgreement
from comparisons.agreement.tolerances import EXACT, Rule, is_normalised, rule_of_step, stage_rule
from comparisons.beyond_steps.across_kinks import FREE_STEPS, run_across_kinks
from comparisons.beyond_steps.rounding import FACTOR, neighbours
from comparisons.diagnosis.closeness import same
from comparisons.diagnosis.first_divergence import Divergence, first_divergence
from comparisons.diagnosis.place import InspectedStep, Probes
from comparisons.expected.layers import BETA1, BETA2, Layers, float64
from comparisons.stages.no_effect import NoEffect
from comparisons.steps.compare import compare_ends
from comparisons.steps.lockstep import StepFailure, lockstep
from comparisons.steps.pair import Pair
from pyvae.engines.pytorch import PyTorchEngine
from pyvae.model.run import Run
from pyvae.model.stages import Probe, Quantity

__all__ = ["FREE_STEPS", "FreeRun", "as_agreement", "run_freely"]

WITH_KINKS = 4 * FREE_STEPS  # are taken where kinks interrupt them
MADE_BY_ADAM = ("first moment", "second moment", "parameter")


@dataclass(frozen=True)
class FreeRun:
    """What was found.

    Attributes:
        agreement: Of the quantity and step that come nearest to what is allowed, or are beyond.
        divergence: The first stage that parts, if one does.
        kinks: Where rounding decides kinks, and what was done about them; empty if it decides none
            that drive the two apart.
        undecided: Whether kinks leave too few steps to tell.
        driven: The parameter that Adam drives apart where its gradients are rounding alone, and how
            far; empty if there is none, or no more than a stage may differ by.
    """

    agreement: Agreement
    divergence: Divergence | None
    kinks: str = ""
    undecided: bool = False
    driven: str = ""


def run_freely(pair: Pair) -> FreeRun:
    """Runs both engines through the first steps of a run, each on its own, and compares losses,
    moments, running statistics and parameters after every step.

    In float64 the two may differ by what free runs were measured to (`rule_of_step`). In float32
    that says little: there it is measured on the spot how far PyTorch parts from itself when its
    parameters are off by one unit in the last place (`comparisons.beyond_steps.rounding`). Where
    rounding decides kinks, both begin the next step from one state
    (`comparisons.beyond_steps.across_kinks`).

    Raises:
        StepFailure: If an engine fails.
    """
    whole, pair = pair, _of_length(pair, FREE_STEPS)
    settings = pair.run.settings
    if pair.exact:
        allowed = [EXACT.rtol] * FREE_STEPS
    elif settings.dtype == "float64":
        rule = rule_of_step("float64", 2, resync=False, normalised=pair.is_normalised)
        allowed = [rule.rtol] * FREE_STEPS
    else:
        allowed = _measured(pair.run, getattr(pair.under_test, "adam", "torch"))
    worst: tuple[float, StageAgreement, float] | None = None
    for step, ends in enumerate(_ends(pair), start=1):
        for end in ends:
            size = _size(end, allowed[step - 1])
            if worst is None or size > worst[0]:
                worst = (size, end, allowed[step - 1])
        if worst is not None and worst[0] > 1:
            break
    assert worst is not None  # noqa: S101 (a run has a step, and a step has losses)
    size, end, rtol = worst
    divergence = None
    kinks, undecided = "", False
    across = run_across_kinks(_of_length(whole, WITH_KINKS)) if size > 1 else None
    if across is not None:
        back = run_across_kinks(_of_length(whole, WITH_KINKS).other_way_round)
        undecided = back is None or not (across.is_telling and back.is_telling)
        kinks = across.where() if undecided else across.words()
        if back is not None and not undecided:
            end = max((*across.ends, *back.ends), key=lambda one: one.required_rtol)
            size = _size(end, rtol)
    if size > 1:
        divergence = _first_not_of_adam(pair, end.step, EXACT.rtol if pair.exact else rtol)
    found = as_agreement(end, rtol, settings.dtype)
    driven = ""
    if size > 1 and divergence is None and settings.dtype == "float32":
        driven = _driven(pair, end.step)  # in float64 rounding is far below Adam's epsilon
    return FreeRun(found, divergence, kinks, undecided, driven)


def _of_length(pair: Pair, steps: int) -> Pair:
    """The first steps of a run."""
    settings = replace(pair.run.settings, steps=min(pair.run.steps, steps))
    return replace(pair, run=replace(pair.run, settings=settings))


def _ends(pair: Pair) -> Iterator[list[StageAgreement]]:
    """The agreement of what is known after each step."""
    with closing(lockstep(pair, resync=False)) as steps:
        for both in steps:
            if both.failures:
                raise StepFailure.of_step(both)
            yield compare_ends(pair, both, drifted=both.step > 1)


def _measured(run: Run, adam: str) -> list[float]:
    """For each step what rounding alone may make of it, relative to a tensor's largest element."""
    found = [0.0] * FREE_STEPS
    for engine in neighbours(adam):
        pair = Pair(run, PyTorchEngine("cpu", adam, kernels="torch"), engine)
        for step, ends in enumerate(_ends(pair)):
            found[step] = max(found[step], *(end.required_rtol for end in ends))
    return [max(pair.rule.rtol, FACTOR * one) for one in np.maximum.accumulate(found)]


def _size(end: StageAgreement, allowed: float) -> float:
    """A difference as a share of what is allowed."""
    if end.problem:
        return math.inf
    if allowed == 0:
        return math.inf if end.required_rtol else 0.0
    return end.required_rtol / allowed


def _driven(pair: Pair, last: int) -> str:
    """The parameter that Adam has driven furthest apart before a step, if by more than a stage may
    differ: by what it makes of each side's own moments, where these agree. Of a gradient that is
    rounding alone it makes as much as of any other: one side may go up by the learning rate, the
    other down."""
    run = pair.run
    without_effect = NoEffect.of_stages(run.recipe.stages).biases
    drift: dict[str, Tensor] = {}
    apart: dict[str, float] = {}
    with closing(lockstep(pair, resync=False)) as steps:
        for both in itertools.islice(steps, last - 1):
            ends = {one.quantity.key: one for one in compare_ends(pair, both, both.step > 1)}
            layers = Layers(run.recipe, run.settings, both.step, taken=pair.taken)
            states = [engine.state() for engine in pair.engines]
            for name in (key.partition("/")[2] for key in ends if key.startswith("moment1/")):
                keys = [f"{moment}/{name}" for moment in ("moment1", "moment2")]
                if name in without_effect or not all(
                    key in ends and ends[key].agrees for key in keys
                ):
                    continue
                largest = ends[f"parameter/{name}"].largest
                a, b = (layers.adam_update(*(float64(one[key]) for key in keys)) for one in states)
                drift[name] = drift.get(name, torch.zeros_like(a)) + a - b
                apart[name] = float(drift[name].abs().max()) / largest if largest else 0.0
    name = max(apart, key=lambda name: apart[name], default="")
    return f"{name} by {apart[name]:.1e}" if name and apart[name] > pair.rule.rtol else ""


def _first_not_of_adam(pair: Pair, last: int, rtol: float) -> Divergence | None:
    """The first step, up to the last one, in which one side's moments or parameters are not what
    Adam makes of its *own* gradients and moments: what else differs follows from that."""
    previous: Probes | None = None
    with closing(lockstep(pair, resync=False, inspect=range(1, last + 1))) as steps:
        for both in steps:
            if both.probes is None or both.step > last:
                break
            step = pair.inspected(both.step, both.probes, previous)
            quantity = _not_of_adam(step)
            if quantity is not None:
                (one,) = (a for a in step.compare(EXACT) if a.quantity == quantity)
                found = first_divergence(step, [one])
                return found and replace(found, agreement=replace(one, rtol=rtol), around=())
            previous = both.probes
    return None


def _not_of_adam(step: InspectedStep) -> Quantity | None:
    """The first moment or parameter that a side's Adam has not made of what it had."""
    normalised = is_normalised(step.recipe.stages)
    rtol = stage_rule(step.settings.dtype, False, normalised).rtol
    layers = Layers(step.recipe, step.settings, step.step, taken=step.taken)
    for quantity in step.recipe.quantities(step.settings):
        if quantity.passing not in MADE_BY_ADAM:
            continue
        for side, probe in enumerate(step.probes):
            before = None if step.previous is None else step.previous[side]
            if before is None and step.taken + step.step > 1:
                continue
            expected = _of_adam(layers, quantity, probe, before)
            if not same(float64(probe[quantity.key]), expected, rtol):
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


def as_agreement(end: StageAgreement, allowed: float, dtype: str) -> Agreement:
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
