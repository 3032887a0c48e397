"""What two sides declare differently, where it has an effect."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence

import numpy as np
import torch

from comparisons.ports.expected.declared import declared_differences, declared_settings
from comparisons.ports.expected.keras.optimisers import (
    eps_words,
    is_of_keras,
    said_alike,
    with_place_of_eps,
)
from comparisons.ports.expected.optimisers import OPTIMISERS, standing_in
from comparisons.ports.judging.own import Own, distance
from comparisons.ports.judging.quantities import PortQuantity
from comparisons.ports.judging.roles import as_the_other
from comparisons.ports.matching.matched import StageMatch
from comparisons.ports.matching.parameters import ParameterMatch
from comparisons.ports.side import RecordedStep
from pyvae.trace.program import Optimiser, OptimiserGroup, ProgramStep

__all__ = [
    "computes_otherwise",
    "optimiser_differences",
    "settings_matter",
    "stage_differences",
    "stages_declared",
    "unseen_padding",
]

UNBIASED = {True: "unbiased", False: "biased (Keras's way)"}
NO_EFFECT = 1e-13  # relative, in float64
FAR = 10.0


def stage_differences(
    pair: StageMatch, a: Own, b: Own, what: str = "outputs", observed: float = np.inf
) -> list[str]:
    """What two stages declare differently, in words; none if it makes no difference to what the
    first side's stage computes from its inputs, or one far beyond the difference that was seen: two
    languages may declare the same in different words.

    Arguments:
        pair: The stages.
        a, b: What each side should return.
        what: Of which it has to make a difference: `outputs`, `gradients` or `buffers`.
        observed: The largest difference that was seen.
    """
    bases = a.step.side.trace.index_base, b.step.side.trace.index_base
    words = declared_differences(pair.a, pair.b, bases, given_shape(pair, a.step, b.step))
    if pair.a.training != pair.b.training:
        modes = {True: "training", False: "evaluation"}
        there, here = modes[pair.b.training], modes[pair.a.training]
        words = [f"in {there} mode where it is in {here} mode", *words]
    words += _second_bias(pair, a.step, b.step)
    if what == "buffers":
        words += variance_differences(pair)
    if not words or not _matters(pair, a, b, what, observed):
        return []
    return [f"{b.step.side.name}: {one}" for one in words]


def _second_bias(pair: StageMatch, a: RecordedStep, b: RecordedStep) -> list[str]:
    """That one of two recurrent layers has a second bias that is not zero, and the other one bias,
    as Keras has it."""
    single = [bool(one.options.get("one_bias")) for one in (pair.a, pair.b)]
    if single[0] == single[1]:
        return []
    stage, step = (pair.b, b) if single[0] else (pair.a, a)
    seconds = [step.value(n) for role, n in stage.parameters.items() if role.startswith("bias_hh")]
    if not any(value is not None and value.any() for value in seconds):
        return []
    here, there = "two biases, of which bias_hh is not zero,", "one bias (Keras's way)"
    return [f"{here} where it has {there}" if single[0] else f"{there}, where it has {here[:-1]}"]


def variance_differences(pair: StageMatch) -> list[str]:
    """That two batch norms keep another variance of the batches: Keras' is the biased one."""
    unbiased = [one.options.get("unbiased_running_var", True) for one in (pair.a, pair.b)]
    if unbiased[0] == unbiased[1]:
        return []
    there, here = UNBIASED[unbiased[1]], UNBIASED[unbiased[0]]
    return [f"its running variance moves towards the {there} variance, where it is the {here} one"]


def _variance_declared(pair: StageMatch) -> list[str]:
    """The same, of two batch norms that both keep running statistics, and train."""
    both = pair.a, pair.b
    kept = all("running_var" in one.parameters and one.training for one in both)
    return variance_differences(pair) if kept else []


def unseen_padding(pair: StageMatch, a: Own, b: Own) -> str:
    """Another padding mode that makes no difference in a step, as it does not where the border of
    what is padded is constant; empty if there is none.

    Arguments:
        pair: The stages.
        a, b: What each side should return.
    """
    words = [one for one in declared_differences(pair.a, pair.b) if one.startswith("padding_mode")]
    padding = pair.a.options.get("padding", 0)
    pads = any(padding) if isinstance(padding, list | tuple) else bool(padding)
    return words[0] if words and pads and not _matters(pair, a, b, "outputs", np.inf) else ""


def computes_otherwise(pair: StageMatch, a: Own, b: Own, observed: float) -> bool:
    """Whether the second side's stage computes something else of the first side's inputs, beyond
    what nobody can tell: an option that one side alone says."""
    if a.stage(pair.a) is None or as_the_other(pair, a, b) is None:
        return False
    return _matters(pair, a, b, "outputs", observed)


def _matters(pair: StageMatch, a: Own, b: Own, what: str, observed: float) -> bool:
    """Whether the second side's options and roles change what the first side's stage computes; true
    if it cannot be computed."""
    known, changed = a.stage(pair.a), as_the_other(pair, a, b)
    if known is None or changed is None:
        return True
    effect = 0.0
    lacks = {name for role, name in pair.a.parameters.items() if role not in pair.b.parameters}
    for name, value in getattr(known, what).items():
        if name in lacks:  # a gradient that only one of them has
            continue
        new = getattr(changed, what).get(name)
        if new is None or new.shape != value.shape:
            return True
        x, y = value.numpy().astype(float), new.numpy().astype(float)
        largest = np.abs(x[np.isfinite(x)]).max(initial=0)
        apart = distance(x, y)
        effect = max(effect, apart if apart > NO_EFFECT * largest else 0.0)
    return 0 < effect <= FAR * observed


def optimiser_differences(a: ProgramStep, b: ProgramStep, parameter: ParameterMatch) -> list[str]:
    """What two optimisers declare differently for a parameter, in words.

    Arguments:
        a, b: A step of both sides.
        parameter: The parameter.
    """
    one, two = standing_in(a.optimiser, b.optimiser), standing_in(b.optimiser, a.optimiser)
    first, second = _group(one, parameter.a[0]), _group(two, parameter.b[0])
    if one is None or two is None or first is None or second is None:
        return []
    if one.kind != two.kind and not (one.kind in OPTIMISERS and two.kind in OPTIMISERS):
        return []  # classes of the programs' own, of which nothing is known
    settings = dict(first.settings), dict(second.settings)
    of_keras = [is_of_keras(one) for one in (a.optimiser, b.optimiser)]
    if of_keras[0] == of_keras[1]:
        return declared_settings(one.kind, settings[0], two.kind, settings[1])
    keras, other = settings if of_keras[0] else settings[::-1]
    for name in keras.keys() & other.keys():
        if said_alike(name, keras[name], other[name]):
            other[name] = keras[name]
    words = with_place_of_eps(declared_settings(one.kind, settings[0], two.kind, settings[1]))
    group = _group(a.optimiser, parameter.a[0]) if of_keras[0] else None
    group = group or _group(b.optimiser, parameter.b[0])
    declared = {} if group is None else group.settings
    if keras.get("eps") == declared.get("eps"):
        return words
    said = eps_words(declared, other, of_keras[0]) if "eps" in other else ""
    return [said if word.startswith("eps = ") and said else word for word in words]


def settings_matter(
    a: Own,
    b: ProgramStep,
    parameter: ParameterMatch,
    quantity: PortQuantity,
    kept: Collection[str] = (),
) -> bool:
    """Whether the second side's settings change what the first side's optimiser leaves of a
    parameter; true if it cannot be computed.

    Arguments:
        a: What the first side should have left.
        b: The second side's step.
        parameter: The parameter.
        quantity: What is left of it.
        kept: Settings that stay the first side's.
    """
    name, own = parameter.a[0], a.optimiser
    other = standing_in(b.optimiser, own)
    group = _group(other, parameter.b[0])
    if group is None or other is None or own is None:
        return True
    mine = _group(own, name)
    settings = {key: value for key, value in group.settings.items() if key not in kept}
    settings |= {key: mine.settings[key] for key in kept if mine and key in mine.settings}
    group = OptimiserGroup((name,), settings)
    known = a.update(name)
    changed = a.update(name, Optimiser(own.name, other.kind, (group,)))
    if known is None or changed is None:
        return True
    if quantity.passing == "parameter":
        return not torch.equal(known.parameter, changed.parameter)
    key = quantity.template.rpartition(".")[2]
    if key not in known.state or key not in changed.state:
        return True
    return not torch.equal(known.state[key], changed.state[key])


def _group(optimiser: Optimiser | None, name: str) -> OptimiserGroup | None:
    groups = optimiser.groups if optimiser is not None else ()
    return next((group for group in groups if name in group.parameters), None)


def given_shape(pair: StageMatch, a: RecordedStep, b: RecordedStep) -> Sequence[int] | None:
    """The shape of what goes into two stages first; None if it is not the same."""
    if not pair.a.inputs or not pair.b.inputs:
        return None
    one, two = a.value(pair.a.inputs[0]), b.value(pair.b.inputs[0])
    return one.shape if one is not None and two is not None and one.shape == two.shape else None


def stages_declared(pairs: Iterable[StageMatch], a: RecordedStep, b: RecordedStep) -> Iterator[str]:
    """What stages that belong together declare differently, whether it has an effect or not.

    Arguments:
        pairs: The stages.
        a, b: A step of either side, in which they are.
    """
    bases = a.side.trace.index_base, b.side.trace.index_base
    for pair in pairs:
        if pair.a.layer in ("input", "draw"):
            continue
        words_of = declared_differences(pair.a, pair.b, bases, given_shape(pair, a, b))
        for words in [*words_of, *_variance_declared(pair)]:
            yield f"{pair.a.name} ({pair.a.layer}): {words}"
