"""Two engines' probes of one step, held side by side, stage by stage.

Each quantity is judged by its largest absolute difference, relative to the largest magnitude
that it has on either side. Five kinds of difference are *explained* and taken off first, each
counted and shown:

- **Kinks decided by rounding.** Max-pooling passes its gradient to one of four pixels, ReLU
  passes it or not; where two pixels tie, or a pre-activation is zero, up to rounding, the two
  engines may decide differently without a mistake in either. Such an element is accepted at the
  layer where it arises only if both engines' values are within the tolerance of the kink and not
  *exactly* on it in both (then the layers' rules must agree), and only if the gradient arrives
  in full, within the window or on the side that passes it. What follows from it in earlier
  layers is computed (`Layers.backward`) and taken off there.
- **Adam's amplification.** Where a gradient is not large against Adam's epsilon, the update
  multiplies its rounding error by up to (learning rate / epsilon). What the two sides' own
  moments explain of the parameters' difference is taken off; the moments themselves are compared.
- **Probabilities near 1** (`comparisons.stages.own_values`). Rounding one of them moves the cross
  entropy's gradient with respect to it; what the sigmoid then makes of both sides' agrees.
- **Sums of values that agree.** A gradient with respect to a parameter is a sum over the batch.
  What goes into it agrees relative to its tensor's largest element; where a batch norm has made
  small numbers large, the same rounding is a larger part of most others, alike in all images, and
  adds up. What each side's own values and gradients give is computed in float64; how far these two
  differ is taken off, and each side's sum is still held against its own. The values themselves
  have to follow from each other on both sides (`comparisons.stages.own_chain`).
- **No effect in front of batch norm** (`comparisons.stages.no_effect`). Where two runs have
  gone their own ways the biases there have drifted apart, and shift all images alike: that shift,
  and the running mean that follows it, is taken off.

Where the right number is zero, or nearly, because large ones cancel, a difference is held against
the size of what was summed, not of the sum: gradients and moments of those biases, and the
categorical KL of near-uniform probabilities.

What follows from a disagreement is not explained any more, and where every bit has to be equal
nothing is.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from comparisons.agreement.stage import StageAgreement
from comparisons.agreement.tolerances import Rule
from comparisons.expected.functions import reduced_axes
from comparisons.expected.layers import BETA1, BETA2, Layers, float64, own_draws
from comparisons.expected.loss_terms import reduced
from comparisons.stages.kinks import KINKED, elements_on_a_kink, windows_that_tie
from comparisons.stages.no_effect import NoEffect
from comparisons.stages.own_chain import OwnChain, normalised
from comparisons.stages.own_values import parted_by_rounding
from pyvae.model.settings import Settings
from pyvae.model.stages import Probe, Quantity, Stage
from pyvae.recipes import Recipe

__all__ = ["NO_EFFECT", "StageAgreement", "compare_probes"]

NO_EFFECT = "no effect in front of batch norm"
FROM_KINKS = "follows from kinks"
FROM_SUMMANDS = "follows from the rounding of what it is summed from"
POWERS = {"backward": 1, "first moment": 1, "second moment": 2}  # of the gradient


def compare_probes(
    under_test: Probe,
    reference: Probe,
    recipe: Recipe,
    settings: Settings,
    step: int,
    rule: Rule,
    keys: set[str] | None = None,
    taken: int = 0,
    drifted: bool = False,
) -> list[StageAgreement]:
    """Compares what two engines returned in one step.

    Arguments:
        under_test, reference: Their probes.
        recipe, settings: Of the run.
        step: Counted from 1.
        rule: What every quantity is held against, relative to its tensor's largest element.
        keys: Compare these alone; everything by default.
        taken: Steps that Adam had taken before the run began.
        drifted: Whether the two began the step from states of their own, where the probes do not
            hold these: biases without an effect then differ.

    Returns:
        One `StageAgreement` for each quantity, in the order of computation.
    """
    drawn = {step: own_draws((under_test, reference))}
    layers = Layers(recipe, settings, step, drawn, taken)
    comparer = _Comparer(under_test, reference, layers, rule, drifted)
    return [
        comparer.compare(quantity)
        for quantity in recipe.quantities(settings)
        if keys is None or quantity.key in keys
    ]


class _Comparer:
    def __init__(
        self, a: Probe, b: Probe, layers: Layers, rule: Rule, drifted: bool = False
    ) -> None:
        self.a, self.b, self.layers, self.rule = a, b, layers, rule
        self.explained: dict[str, Tensor] = {}  # of gradients, by stage or parameter
        self.why: dict[str, str] = {}  # by parameter, where it is not kinks
        self.parted: set[str] = set()  # keys: what follows from a disagreement is not explained
        self.no_effect = NoEffect.of_stages(layers.recipe.stages)
        self.chains = OwnChain(layers, a), OwnChain(layers, b)
        self.drifted = drifted  # whether biases without an effect differ at the start
        self.kinks: dict[str, tuple[int, str]] = {}  # by stage: how many, and in which layer

    def compare(self, quantity: Quantity) -> StageAgreement:
        agreement = self._compare(quantity)
        if not agreement.agrees:
            self.parted.add(quantity.key)
        return agreement

    def _compare(self, quantity: Quantity) -> StageAgreement:
        key = quantity.key
        problem = self._problem(key)
        if problem:
            shape = self.a[key].shape if key in self.a else ()
            return self._with_problem(quantity, tuple(shape), problem)
        a, b = float64(self.a[key]), float64(self.b[key])
        sizes = _magnitude(a), _magnitude(b)
        if not all(map(math.isfinite, sizes)):
            index = _first_not_finite(a, b)
            values = float(a[index]), float(b[index])
            words = f"{values[0]} against {values[1]}"
            return self._with_problem(quantity, tuple(a.shape), words, index, values)
        largest = max(*sizes, self._summed(quantity))
        difference = a - b
        raw = size = _magnitude(difference)
        notes = []
        index = (0,) * a.ndim
        if raw > 0:
            if self.rule.rtol > 0 and self._explicable(quantity):
                notes = self._explain(quantity, difference, self.rule.rtol * largest)
            absolute = difference.abs_()
            index = _index(absolute)
            size = float(absolute[index])
        return StageAgreement(
            self.layers.step, quantity, tuple(a.shape), largest, size, raw,
            self.rule.rtol, index, (float(a[index]), float(b[index])), "; ".join(notes),
            **self._kinks_of(quantity),
        )  # fmt: skip

    def _with_problem(
        self,
        quantity: Quantity,
        shape: tuple[int, ...],
        problem: str,
        index: tuple[int, ...] = (),
        values: tuple[float, float] = (math.nan, math.nan),
    ) -> StageAgreement:
        nan = math.nan
        return StageAgreement(
            self.layers.step, quantity, shape, nan, nan, nan, self.rule.rtol, index, values,
            problem=problem,
        )  # fmt: skip

    def _kinks_of(self, quantity: Quantity) -> dict[str, Any]:
        if quantity.passing != "backward" or quantity.name not in self.kinks:
            return {}
        count, layer = self.kinks[quantity.name]
        return {"kinks": count, "kinks_at": layer}

    def _summed(self, quantity: Quantity) -> float:
        """The size of what a quantity is a sum of, where it cancels; 0 where it does not."""
        name, sides = quantity.name, (self.a, self.b)
        if name in self.no_effect.biases and quantity.passing in POWERS:
            keys = [f"gradient/{stage.name}" for stage in self.no_effect.biases[name]]
            if not all(key in probe for key in keys for probe in sides):
                return 0.0
            gradients = [[float64(probe[key]).abs() for key in keys] for probe in sides]
            sizes = [sum(_magnitude(g.sum(reduced_axes(g))) for g in side) for side in gradients]
            return float(max(sizes)) ** POWERS[quantity.passing]
        stage = self.layers.stages.get(name)
        if stage is not None and stage.layer == "kl_categorical" and quantity.passing == "forward":
            per = self.layers.term(stage).per
            parts = [self.layers.inputs(stage, p)[0] for p in sides if _has_inputs(stage, p)]
            return max((_summed_kl(pi, per) for pi in parts), default=0.0)
        return 0.0

    def _explicable(self, quantity: Quantity) -> bool:
        """Whether all that a quantity follows from agrees."""
        name = quantity.name
        if quantity.passing in ("start", "forward"):
            return True
        if quantity.passing == "backward":
            parted = {key for key in self.parted if key.startswith("gradient/")}
            return not parted and f"forward/{name}" not in self.parted
        if quantity.passing == "parameter":
            return self.parted.isdisjoint({f"moment1/{name}", f"moment2/{name}"})
        return f"gradient/{name}" not in self.parted

    def _problem(self, key: str) -> str:
        """Why a quantity has no numbers that can be held against each other; or nothing."""
        if (key in self.a) != (key in self.b):
            return "is on one side only"
        if key not in self.a:
            return "is on neither side"
        a, b = self.a[key], self.b[key]
        if a.shape != b.shape:
            return f"shape {tuple(a.shape)} against {tuple(b.shape)}"
        return "is empty" if a.size == 0 else ""

    def _explain(self, quantity: Quantity, difference: Tensor, tolerance: float) -> list[str]:
        """Takes off a difference what is explained; says what."""
        name = quantity.name
        if quantity.passing in ("start", "forward"):
            return self._explain_shift(quantity, difference)
        if name in self.no_effect.biases and self._is_noise(quantity):
            difference.zero_()
            return [NO_EFFECT]
        if quantity.passing == "backward" and name in self.layers.stages:
            return self._explain_gradient(name, difference, tolerance)
        if quantity.passing == "backward":
            return self._explain_parameter_gradient(name, difference, tolerance)
        if quantity.passing == "first moment" and name in self.explained:
            difference -= (1 - BETA1) * self.explained[name]
            return [self.why.get(name, FROM_KINKS)]
        if quantity.passing == "second moment" and name in self.explained:
            a, b = (float64(probe[f"gradient/{name}"]) for probe in (self.a, self.b))
            difference -= (1 - BETA2) * (a**2 - b**2)
            return [self.why.get(name, FROM_KINKS)]
        if quantity.passing == "parameter":
            keys = [f"{moment}/{name}" for moment in ("moment1", "moment2")]
            if all(key in probe for key in keys for probe in (self.a, self.b)):
                a, b = (
                    self.layers.adam_update(*(float64(probe[key]) for key in keys))
                    for probe in (self.a, self.b)
                )
                difference += a - b
                return ["follows from the moments' rounding"] if _magnitude(a - b) else []
        return []

    def _is_noise(self, quantity: Quantity) -> bool:
        """Whether a bias without an effect is noise of a size that nothing is known of."""
        if quantity.passing == "parameter":
            return self.drifted
        return quantity.passing in POWERS and not self._summed(quantity)

    def _explain_shift(self, quantity: Quantity, difference: Tensor) -> list[str]:
        """Biases that have no effect, and what they shift alike in all images."""
        name = quantity.name
        if quantity.passing == "start" and name in self.no_effect.biases:
            self.drifted = True
        elif not self.drifted:
            return []
        elif name in self.no_effect.stages:
            difference -= difference.mean(reduced_axes(difference), keepdim=True)
            return [f"{NO_EFFECT}: the same shift of all images"]
        elif name not in self.no_effect.means:
            return []
        difference.zero_()
        return [NO_EFFECT]

    def _explain_gradient(self, name: str, difference: Tensor, tolerance: float) -> list[str]:
        notes = []
        part = self.explained.get(name)  # of later layers, which have come before
        if part is not None:
            difference -= part
            notes.append(FROM_KINKS)
        takers = self.layers.takers(name)
        if len(takers) == 1 and _magnitude(difference) > tolerance:
            count, kinks = self._kinks(takers[0], name, difference, tolerance)
            if count:
                notes.append(f"{_kinks_words(count, takers[0])} up to rounding")
                self.kinks[name] = count, takers[0].name
                difference -= kinks
                part = kinks if part is None else part + kinks
        if not takers and _magnitude(difference) > tolerance:
            probes = self.a, self.b
            parted = parted_by_rounding(self.layers, name, probes, difference, self.rule.rtol)
            if parted.any():  # nothing of it is left in earlier layers
                difference[parted] = 0
                notes.append(f"{_elements(int(parted.sum()))}, which rounding moves apart")
        stage = self.layers.stages[name]
        if part is not None and stage.inputs:
            self._hand_on(stage, part)
        return notes

    def _explain_parameter_gradient(
        self, name: str, difference: Tensor, tolerance: float
    ) -> list[str]:
        """Takes off what follows from kinks; if that is not all, what follows from how far the
        values differ that each side's gradient is summed from."""
        notes = []
        kinks = self.explained.get(name)
        if kinks is not None:
            difference -= kinks
            notes.append(FROM_KINKS)
        if _magnitude(difference) > tolerance:
            own = self._of_own_values(name)
            if own is not None:
                difference -= own if kinks is None else own - kinks
                self.explained[name], self.why[name] = own, FROM_SUMMANDS
                notes.append(FROM_SUMMANDS)
        return notes

    def _of_own_values(self, name: str) -> Tensor | None:
        """How far two sides' gradients with respect to a parameter differ if each is computed, in
        float64, of what that side's stages have returned, all of which agree; None if it cannot
        be."""
        users = self.layers.users(name.rpartition(".")[0])
        keys = {f"start/{name}", *(f"gradient/{stage.name}" for stage in users)}
        keys |= {f"forward/{one}" for stage in users for one in stage.inputs}
        if not users or keys & self.parted:
            return None
        if not all(key in probe for key in keys for probe in (self.a, self.b)):
            return None
        if any(f"forward/{stage.name}" in self.parted for stage in users):
            return None
        if not all(self._follows(stage) for stage in users):
            return None
        a, b = ([self._summed_of(name, stage, p) for stage in users] for p in (self.a, self.b))
        return torch.stack(a).sum(0) - torch.stack(b).sum(0)

    def _summed_of(self, name: str, stage: Stage, probe: Probe) -> Tensor:
        """A parameter's gradient by way of one stage, of what a side's stages have returned. A
        batch norm's is a sum of its result before weight and bias: its own, since that is rounded
        where its input hardly varies."""
        gradient = float64(probe[f"gradient/{stage.name}"])
        if stage.layer == "batch_norm" and name.endswith(".weight"):
            scaled = normalised(self.layers, stage, probe)
            if scaled is not None:
                return (scaled * gradient).sum(reduced_axes(scaled))
        return self.layers.backward(stage, probe, gradient)[name]

    def _follows(self, stage: Stage) -> bool:
        """Whether a stage's result and gradient follow from each side's own values, as do all that
        they are computed from."""
        return all(
            chain.result_follows(stage.name) and chain.gradient_follows(stage.name)
            for chain in self.chains
        )

    def _hand_on(self, stage: Stage, part: Tensor) -> None:
        """What a part of the gradient with respect to a stage's result makes of the gradients
        with respect to its inputs and parameters."""
        rows: Tensor | slice = part.flatten(1).any(1).nonzero()[:, 0]
        if stage.layer == "batch_norm":  # the images depend on each other
            rows = slice(None)
        elif not part.any():  # a mask has taken all of it
            return
        for name, value in self.layers.backward(stage, self.b, part[rows], rows).items():
            if name in self.layers.stages:
                if f"gradient/{name}" not in self.b:  # given with the step
                    continue
                whole = torch.zeros(self.b[f"gradient/{name}"].shape, dtype=torch.float64)
                whole[rows] = value.reshape(whole[rows].shape)
                value = whole
            self.explained[name] = value + self.explained.get(name, 0.0)

    def _kinks(
        self, taker: Stage, name: str, difference: Tensor, tolerance: float
    ) -> tuple[int, Tensor]:
        """The elements of a difference that a kink explains: how many, and that part of it."""
        nothing = 0, difference
        a, b = (float64(probe[f"forward/{name}"]) for probe in (self.a, self.b))
        if a.shape != b.shape or a.shape != difference.shape:
            return nothing
        if taker.layer not in KINKED:
            return nothing
        near = self.rule.rtol * max(_magnitude(a), _magnitude(b))
        passed = float64(self.a[f"gradient/{taker.name}"])
        if taker.layer == "max_pool2d":
            return windows_that_tie((a, b), passed, difference, near, tolerance)
        slope = taker.options.get("slope", 0.0)
        kink = elements_on_a_kink((a, b), passed, slope, difference, near, tolerance)
        return int(kink.sum()), torch.where(kink, difference, 0.0)


def _elements(count: int) -> str:
    one = "1 element is" if count == 1 else f"{count} elements are"
    return f"{one} what each side's own values give"


def _kinks_words(count: int, layer: Stage) -> str:
    """`1 window ties`, `3 elements are zero`."""
    if layer.layer == "max_pool2d":
        return "1 window ties" if count == 1 else f"{count} windows tie"
    return "1 element is zero" if count == 1 else f"{count} elements are zero"


def _summed_kl(pi: Tensor, per: str) -> float:
    """The size of entropy and log K together, which cancel in the categorical KL."""
    entropy = (pi * (pi + 1e-20).log()).abs()
    return float(reduced(entropy + pi * math.log(pi.shape[1]), per))


def _has_inputs(stage: Stage, probe: Probe) -> bool:
    return all(f"forward/{name}" in probe for name in stage.inputs)


def _first_not_finite(a: Tensor, b: Tensor) -> tuple[int, ...]:
    """The first element that is not finite on either side."""
    bad = ~(torch.isfinite(a) & torch.isfinite(b))
    return tuple(int(i) for i in bad.nonzero()[0])


def _magnitude(x: Tensor) -> float:
    """The size of the largest element; NaN if one is NaN."""
    low, high = torch.aminmax(x)
    return max(abs(float(low)), abs(float(high)))


def _index(x: Tensor) -> tuple[int, ...]:
    """Where a tensor is largest."""
    # PyTorch's own unravel_index imports its compiler first, which takes two seconds
    return tuple(int(i) for i in np.unravel_index(int(x.argmax()), tuple(x.shape)))
