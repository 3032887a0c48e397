"""Judges the quantities of one step, one after the other, up to the first that parts."""

from __future__ import annotations

import numpy as np

from comparisons.ports.judging.alone.hooks import HOOKED, changed_in_a_hook, small_set_to_zero
from comparisons.ports.judging.alone.parameters import (
    changed_between_steps,
    given_on_one_side,
    trained_on_one_side,
)
from comparisons.ports.judging.alone.stages import stages_of_one
from comparisons.ports.judging.declared import (
    computes_otherwise,
    optimiser_differences,
    settings_matter,
    stage_differences,
)
from comparisons.ports.judging.inspected import Inspected, bugs_of
from comparisons.ports.judging.judged import GIVEN_RTOL, Difference, Judged, difference_of
from comparisons.ports.judging.quantities import PortQuantity, quantities
from comparisons.ports.judging.updates import update_difference
from comparisons.ports.judging.why.accepted import KNOWN, name_of, not_accepted
from comparisons.ports.judging.why.explained import why_unexplained
from comparisons.ports.judging.why.states import numbers_differ
from comparisons.ports.judging.within.missing_term import missing_term
from comparisons.ports.judging.within.small_columns import small_column_differs
from comparisons.ports.judging.within.unrecorded import more_than_rounding
from comparisons.ports.teachers.late import apart_when_first_called
from comparisons.ports.teachers.movement import follows_alike, follows_otherwise
from pyvae.trace.program import ProgramStage

__all__ = ["judge_step", "settings_differences"]

TWO_ROUNDINGS = 2  # each side is within the rule of what it should be
DECAY = "weight_decay"
VARIANCE = KNOWN["running-variance"]
FOLLOWS_ACCEPTED = "follows from rounding or from what is accepted"
MAY_MISS = ("input", "draw", "forward", "backward")  # in which NaN may stand for missing numbers


def judge_step(step: Inspected, parted: bool = False) -> Judged | None:
    """Judges a step's quantities into `step.judged`.

    Arguments:
        step: The step.
        parted: Whether the two parted in an earlier step: then nothing is explained any more.

    Returns:
        The first that parts.
    """
    first = None
    for quantity in quantities(step.a, step.b, step.network, step.parameters, step.untrained):
        a, b = step.values(quantity)
        if a is None or b is None:
            known = None if parted or first is not None else _one_sided(step, quantity)
            if known is None:
                continue
            one = known
        else:
            missing = quantity.passing in MAY_MISS and step.may_miss
            difference = difference_of(a, b, missing)
            one = _judge(step, quantity, difference, parted or first is not None)
        step.judged.append(one)
        step.verdicts[quantity.key] = one
        if one.verdict == "parted" and first is None:
            first = one
    return first


def _one_sided(step: Inspected, quantity: PortQuantity) -> Judged | None:
    """A gradient that one side alone has, because it alone trains the parameter."""
    why = trained_on_one_side((step.a, step.b), quantity)
    if not why:
        return None
    values = quantity.arrays(step.a, step.b)
    shape = next((value.shape for value in values if value is not None), ())
    difference = Difference(shape, False, problem=why)
    return Judged(step.a.about.step, quantity, difference, step.rtol, "parted", why)


def _rtol_of(step: Inspected, quantity: PortQuantity) -> float:
    """What a quantity is held to, relative to its largest magnitude."""
    given = quantity.passing in ("input", "draw")
    if quantity.passing in ("start", "untrained"):
        given = step.before is None and not step.drift
    apart = apart_when_first_called(step, quantity)
    if apart is not None and not step.exact:
        return min(step.rtol, max(_given_rtol(step, quantity), apart))
    stage = quantity.stage
    if stage is not None and any(_is_computed(one) for one in (stage.a, stage.b)):
        given = False
    if not given or step.exact:
        return step.rtol
    return _given_rtol(step, quantity)


def _given_rtol(step: Inspected, quantity: PortQuantity) -> float:
    values = [x for x in quantity.arrays(step.a, step.b) if x is not None]
    if any(x.dtype.kind != "f" for x in values):
        return 0.0
    name = min(values, key=lambda x: x.dtype.itemsize).dtype.name
    if step.precision == "float16":
        name = "float16"  # bfloat16 is written as float32
    return min(step.rtol, GIVEN_RTOL[name])


def _is_computed(stage: ProgramStage) -> bool:
    """Whether an input was computed by something that was not seen, or without gradients from what
    is trained, as a teacher does that follows the model."""
    return any(stage.options.get(name) for name in ("grad_fn", "without_gradients"))


def _done_by_one(step: Inspected, quantity: PortQuantity) -> str:
    """What one side alone did to a parameter or its gradient, which is no rounding."""
    one = quantity.parameter
    if one is None:
        return ""
    both = step.a, step.b
    left = step.verdicts.get(quantity.key.replace("given/", "gradient/"))
    if quantity.passing == "given gradient" and left is not None and left.why == HOOKED:
        return ""
    if quantity.passing == "given gradient" and given_on_one_side(both, one, step.precision):
        return "one side alone changes it between backward and the optimiser"
    if quantity.passing == "start" and step.before is not None:
        changed = changed_between_steps(step.before, both, one)
        if changed[0] != changed[1]:
            side, last = step.names[changed.index(True)], step.a.about.step - 1
            other = step.names[changed.index(False)]
            between = f"between step {last} and step {last + 1}"
            return f"{side} changes {one.name} {between}, {other} does not"
    return ""


def _judge(step: Inspected, quantity: PortQuantity, difference: Difference, parted: bool) -> Judged:
    number, rtol = step.a.about.step, _rtol_of(step, quantity)
    if step.whole is not None and not parted and not difference.equal:
        known = _as_one(step, quantity, difference)
        if known is not None:
            return known
    if quantity.passing in ("parameter", "buffer"):
        difference = _of_update(step, quantity, difference)
    unrounded = [] if parted or step.exact else more_than_rounding(step, quantity, difference)
    if difference.equal:
        return Judged(number, quantity, difference, rtol, "equal")
    declared = [] if parted else _declared(step, quantity, difference)
    accepted = [name for name in map(name_of, declared) if name in step.accepted]
    declared = not_accepted(declared, accepted)
    if not parted and not step.exact and not declared:
        declared = list(filter(None, [follows_otherwise(step, quantity, difference)]))
    if not parted and not step.exact and not declared:
        declared = [word for word in [_done_by_one(step, quantity)] if word]
    if not parted and not declared:
        declared = stages_of_one(step, quantity)
    if not declared:
        declared = unrounded
    if difference.needed <= rtol and not declared:
        why = "" if parted or step.exact else _small_numbers(step, quantity)
        return Judged(number, quantity, difference, rtol, "parted" if why else "within", why)
    if parted or step.exact:
        return Judged(number, quantity, difference, rtol, "parted")
    if declared:
        return Judged(number, quantity, difference, rtol, "parted", declared[0])
    if follows_alike(step, quantity) or _was_made_alike(step, quantity, difference):
        return Judged(number, quantity, difference, rtol, "explained", "follows from the model's")
    why = why_unexplained(step, quantity, difference)
    if quantity.passing == "state":
        why = why or numbers_differ(step, quantity)
    verdict = "parted" if why else "explained"
    drifted = quantity.passing == "start" and step.drift > 0
    if not why and changed_in_a_hook(step, quantity):
        return Judged(number, quantity, difference, rtol, verdict, HOOKED)
    rounding = FOLLOWS_ACCEPTED if step.accepted else "follows from rounding"
    follows = "within what unrecorded steps may drift" if drifted else rounding
    if accepted and not why:
        words = f"accepted: {', '.join(accepted)}"
        return Judged(number, quantity, difference, rtol, verdict, words, tuple(accepted))
    return Judged(number, quantity, difference, rtol, verdict, why or follows)


def _as_one(step: Inspected, quantity: PortQuantity, difference: Difference) -> Judged | None:
    """The verdict on a loss or gradient of a step that is known to be one function of the
    parameters on both sides; None if it is as of any step."""
    of_all = ["parameter gradient"]
    if step.whole is not None and not step.whole.is_plain:
        of_all.append("given gradient")
    loss = quantity.key == "loss/total" or quantity.key.startswith("loss/backward.")
    if not loss and quantity.passing not in of_all:
        return None
    number, needed = step.a.about.step, difference.needed
    if needed > TWO_ROUNDINGS * step.rtol and not _is_rounding_of_sums(step, quantity, difference):
        if not step.goes_its_own_way or difference.problem:
            return None
        return Judged(number, quantity, difference, step.rtol, "explained", FOLLOWS_ACCEPTED)
    why = small_set_to_zero(step, quantity)
    if why or needed <= step.rtol:
        return Judged(number, quantity, difference, step.rtol, "parted" if why else "within", why)
    return Judged(number, quantity, difference, step.rtol, "explained", "follows from rounding")


def _is_rounding_of_sums(step: Inspected, quantity: PortQuantity, difference: Difference) -> bool:
    """Whether a parameter's gradient differs by what rounding makes of the sums that it is."""
    if quantity.passing != "parameter gradient" or step.whole is None or difference.problem:
        return False
    room = 0.0
    for scale, residual in zip(step.whole.scales, step.residuals(quantity), strict=True):
        if residual is None or not residual.is_right:
            return False
        room += abs(scale) * residual.allowed
    return difference.max_abs <= room


def _was_made_alike(step: Inspected, quantity: PortQuantity, difference: Difference) -> bool:
    apart = apart_when_first_called(step, quantity)
    return apart is not None and difference.needed <= apart


def _small_numbers(step: Inspected, quantity: PortQuantity) -> str:
    """Why what agrees in its largest numbers does not in its small ones; empty if it does."""
    if quantity.passing == "state":
        return numbers_differ(step, quantity)
    if quantity.passing in ("input", "draw"):
        a, b = step.values(quantity)
        return "" if a is None or b is None else small_column_differs(a, b)
    return missing_term(step, quantity) or small_set_to_zero(step, quantity)


def _of_update(step: Inspected, quantity: PortQuantity, difference: Difference) -> Difference:
    """A parameter's or buffer's difference, held against its change where that is larger than
    rounding: a step is small against the parameter, and so is a mistake in it."""
    one = quantity.parameter
    if one is None or difference.equal or difference.problem:
        return difference
    a, b = one.values(step.a.arrays, step.b.arrays, "start/{}")
    key = f"{quantity.passing}/{{}}"
    after_a, after_b = one.values(step.a.arrays, step.b.arrays, key)
    if a is None or b is None or after_a is None or after_b is None:
        return difference
    kept = min(own.kept_of(names[0]) for own, names in zip(step.own, (one.a, one.b), strict=True))
    return update_difference((a, b), (after_a, after_b), difference, step.precision, kept)


def _declared(step: Inspected, quantity: PortQuantity, difference: Difference) -> list[str]:
    """What the two sides declare differently that has an effect on a quantity, in words."""
    if quantity.passing == "forward" and quantity.stage is not None:
        observed = np.inf if difference.problem else difference.max_abs
        words = stage_differences(quantity.stage, *step.own, observed=observed)
        if words or difference.problem or difference.needed <= _rtol_of(step, quantity):
            return words
        if computes_otherwise(quantity.stage, *step.own, observed):
            return [f"{step.names[1]} computes something else of the same inputs"]
        return []
    if quantity.passing == "buffer" and quantity.parameter is not None:
        users = step.a.takers.get(quantity.parameter.a[0], ())
        pairs = [step.network.partner[s.name] for s in users if s.name in step.network.partner]
        words = [w for pair in pairs for w in stage_differences(pair, *step.own, what="buffers")]
        named = {pair.a.parameters.get("running_var") for pair in pairs}
        of_variance = quantity.parameter is not None and quantity.parameter.a[0] in named
        if not of_variance or difference.needed <= _rtol_of(step, quantity):
            words = [word for word in words if VARIANCE not in word]
        return words
    if quantity.passing in ("state", "parameter") and quantity.parameter is not None:
        return [*bugs_of(step, "optim_"), *settings_differences(step, quantity)]
    if quantity.passing == "parameter gradient":
        return bugs_of(step, "nn_embedding")
    return []


def settings_differences(step: Inspected, quantity: PortQuantity) -> list[str]:
    """What the two optimisers declare differently that has an effect on a quantity."""
    one = quantity.parameter
    if one is None:
        return []
    words = optimiser_differences(step.a.about, step.b.about, one)
    elsewhere = step.whole is not None and one.name in step.whole.differs
    if elsewhere:  # one side has it in the loss, or adds it by hand
        words = [word for word in words if not word.startswith(DECAY)]
    kept = (DECAY,) if elsewhere else ()
    if not words or not settings_matter(step.own[0], step.b.about, one, quantity, kept):
        return []
    return [f"{step.names[1]}: {word}" for word in words]
