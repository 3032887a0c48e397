"""Judges the quantities of one step, one after the other, up to the first that parts.

A difference beyond the rule is *explained* only if both sides declare the same, each side returned
what its declaration gives for its own inputs (computed again in float64), and these inputs belong
together and agree, or their difference was explained in turn. That is what rounding makes of two
runs that go their own ways, of kinks and of sums that cancel: never of a mistake.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from comparisons.ports.expected.layers.losses import LOSSES
from comparisons.ports.expected.r_torch_bugs import known_bugs
from comparisons.ports.judging.alone.chains import Chains
from comparisons.ports.judging.alone.parameters import (
    changed_between_steps,
    given_on_one_side,
    other_state_before,
    trained_on_one_side,
)
from comparisons.ports.judging.declared import (
    optimiser_differences,
    settings_matter,
    stage_differences,
)
from comparisons.ports.judging.given import change_of
from comparisons.ports.judging.judged import RTOL, Difference, Judged, difference_of
from comparisons.ports.judging.own import Own, Residual
from comparisons.ports.judging.quantities import PortQuantity, quantities
from comparisons.ports.judging.updates import update_difference
from comparisons.ports.matching.parameters import ParameterMatch
from comparisons.ports.matching.stages import NetworkMatch, StageMatch, family
from comparisons.ports.side import Overlaid, RecordedStep
from pyvae.trace.program import ProgramStage

__all__ = [
    "GIVEN_RTOL", "Inspected", "based", "bugs_of", "first_state_differs", "judge_step",
    "settings_differences",
]  # fmt: skip

COMMUTATIVE = ("add", "mul", "eq", "maximum", "minimum")


@dataclass
class Inspected:
    """One step of both sides, and what was found in it so far.

    Attributes:
        a, b: The step of both sides.
        network, parameters: What belongs together.
        precision: The coarsest type of number of either side.
        rtol: The largest needed tolerance that agrees.
        before: The same two of the step before, if it was compared; of what it did not record, such
            as parameters of another optimiser, the values of the steps before that.
        drift: In a step whose predecessor was not compared, what it may have drifted by till then.
        judged: The verdicts, in the order of computation.
        read_next: Reads the next recorded step of both sides; None if there is none.
    """

    a: RecordedStep
    b: RecordedStep
    network: NetworkMatch
    parameters: Sequence[ParameterMatch]
    precision: str
    rtol: float
    before: tuple[RecordedStep, RecordedStep] | None = None
    drift: float = 0.0
    judged: list[Judged] = field(default_factory=list)
    read_next: Callable[[], tuple[RecordedStep, RecordedStep] | None] = lambda: None

    def __post_init__(self) -> None:
        before = self.before or (None, None)
        rtol = RTOL[self.precision]
        optimisers = self.a.about.optimiser, self.b.about.optimiser
        self.own = (
            Own(self.a, rtol, self.precision, before[0], optimisers[1]),
            Own(self.b, rtol, self.precision, before[1], optimisers[0]),
        )
        for own, only in zip(self.own, self.network.only, strict=True):
            own.alone = frozenset(stage.name for stage in only)
        self.chains = Chains.of_both(self.a, self.b, self.network, list(self.parameters))
        self.parameter_of = {name: one for one in self.parameters for name in one.a}
        self.verdicts: dict[str, Judged] = {}

    @cached_property
    def bugs(self) -> list[str]:
        """Mistakes of R torch itself that one side met in this step, in words."""
        found: list[list[str]] = []
        for one in (self.a, self.b):
            trace = one.side.trace
            if trace.engine != "r-torch":
                found.append([])
                continue
            before = self.before[0 if one is self.a else 1].arrays if self.before else {}
            before = {key: before[key] for key in before if key.startswith("state/")}
            words = known_bugs(
                one.about, one.arrays, before, trace.engine, one.network, trace.index_base
            )
            found.append([f"{one.side.name}: {word}" for word in words])
        return found[0] + found[1] if bool(found[0]) != bool(found[1]) else []

    @cached_property
    def following(self) -> tuple[Own, Own] | None:
        """What each side should return in the next step that was recorded; None if there is none.
        A name for a mistake has to hold there, too."""
        found = self.read_next()
        if found is None:
            return None
        rtol, sides = RTOL[self.precision], []
        for earlier, now in zip((self.a, self.b), found, strict=True):
            before = earlier if now.about.step == earlier.about.step + 1 else None
            sides.append(Own(now, rtol, self.precision, before))
        return sides[0], sides[1]

    @property
    def exact(self) -> bool:
        return self.rtol == 0

    @property
    def names(self) -> tuple[str, str]:
        return self.a.side.name, self.b.side.name

    def residuals(self, quantity: PortQuantity) -> tuple[Residual | None, Residual | None]:
        """How far each side's quantity is from what it should be for its own inputs."""
        first, second = (
            _residual(own, quantity, name)
            for own, name in zip(self.own, quantity.value, strict=True)
        )
        return first, second


def judge_step(step: Inspected, parted: bool = False) -> Judged | None:
    """Judges a step's quantities into `step.judged`.

    Arguments:
        step: The step.
        parted: Whether the two parted in an earlier step: then nothing is explained any more.

    Returns:
        The first that parts.
    """
    first = None
    for quantity in quantities(step.a, step.b, step.network, step.parameters):
        a, b = quantity.arrays(step.a, step.b)
        if a is None or b is None:
            known = None if parted or first is not None else _one_sided(step, quantity)
            if known is None:
                continue
            one = known
        else:
            a, b = based(step, quantity, a, b)
            one = _judge(step, quantity, difference_of(a, b), parted or first is not None)
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


# Inputs, draws and start values are not computed by what is compared: a few units in the last place
GIVEN_RTOL = {"float64": 1e-14, "float32": 1e-6, "float16": 2e-3}


def _rtol_of(step: Inspected, quantity: PortQuantity) -> float:
    """What a quantity is held to, relative to its largest magnitude."""
    given = quantity.passing in ("input", "draw")
    if quantity.passing == "start":
        given = step.before is None and not step.drift
    stage = quantity.stage
    if stage is not None and any(_is_computed(one) for one in (stage.a, stage.b)):
        given = False
    if not given or step.exact:
        return step.rtol
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
    if quantity.passing == "parameter":
        difference = _of_update(step, quantity, difference)
    if difference.equal:
        return Judged(number, quantity, difference, rtol, "equal")
    declared = [] if parted else _declared(step, quantity, difference)
    if not parted and not step.exact and not declared:
        declared = [word for word in [_done_by_one(step, quantity)] if word]
    if not parted and not declared:
        declared = _stages_of_one(step, quantity)
    if difference.needed <= rtol and not declared:
        return Judged(number, quantity, difference, rtol, "within")
    if parted or step.exact:
        return Judged(number, quantity, difference, rtol, "parted")
    if declared:
        return Judged(number, quantity, difference, rtol, "parted", declared[0])
    why = _unexplained(step, quantity, difference)
    verdict = "parted" if why else "explained"
    drifted = quantity.passing == "start" and step.drift > 0
    follows = "within what unrecorded steps may drift" if drifted else "follows from rounding"
    return Judged(number, quantity, difference, rtol, verdict, why or follows)


def based(
    step: Inspected, quantity: PortQuantity, a: NDArray, b: NDArray
) -> tuple[NDArray, NDArray]:
    """Indices counted from 0 on both sides; other arrays as they are."""
    bases = [one.side.trace.index_base for one in (step.a, step.b)]
    if bases[0] == bases[1] or quantity.passing not in ("input", "draw", "forward"):
        return a, b
    if not all(x.dtype.kind in "iu" for x in (a, b)):
        return a, b
    if not (_is_index(step.a, quantity.value[0]) or _is_index(step.b, quantity.value[1])):
        return a, b
    return a.astype("int64") - bases[0], b.astype("int64") - bases[1]


INDEX_TAKERS = (
    "cross_entropy_loss", "embedding", "embedding_bag", "gather", "index", "index_add",
    "index_select", "multi_margin_loss", "nll_loss", "nll_loss2d", "one_hot", "scatter",
    "scatter_add", "take_along_dim",
)  # fmt: skip


def _is_index(step: RecordedStep, name: str, depth: int = 20) -> bool:
    """Whether a layer takes a whole number as the number of a class or row."""
    for stage in step.takers.get(name, ()):
        if stage.layer in INDEX_TAKERS:
            return True
        handed_on = [
            output
            for output in stage.outputs
            if (value := step.arrays.get(f"forward/{output}")) is not None
            and value.dtype.kind in "iu"
        ]
        if depth and any(_is_index(step, output, depth - 1) for output in handed_on):
            return True
    return False


def _of_update(step: Inspected, quantity: PortQuantity, difference: Difference) -> Difference:
    """A parameter's difference, held against the update where that is larger than rounding: a step
    is small against the parameter, and so is a mistake in it."""
    one = quantity.parameter
    if one is None or difference.equal or difference.problem:
        return difference
    a, b = one.values(step.a.arrays, step.b.arrays, "start/{}")
    after_a, after_b = one.values(step.a.arrays, step.b.arrays, "parameter/{}")
    if a is None or b is None or after_a is None or after_b is None:
        return difference
    return update_difference((a, b), (after_a, after_b), difference, step.precision)


def _declared(step: Inspected, quantity: PortQuantity, difference: Difference) -> list[str]:
    """What the two sides declare differently that has an effect on a quantity, in words."""
    if quantity.passing == "forward" and quantity.stage is not None:
        observed = np.inf if difference.problem else difference.max_abs
        return stage_differences(quantity.stage, *step.own, observed=observed)
    if quantity.passing == "buffer" and quantity.parameter is not None:
        users = step.a.takers.get(quantity.parameter.a[0], ())
        pairs = [step.network.partner[s.name] for s in users if s.name in step.network.partner]
        return [w for pair in pairs for w in stage_differences(pair, *step.own, what="buffers")]
    if quantity.passing in ("state", "parameter") and quantity.parameter is not None:
        return [*bugs_of(step, "optim_"), *settings_differences(step, quantity)]
    if quantity.passing == "parameter gradient":
        return bugs_of(step, "nn_embedding")
    return []


# Stages that one side alone has are computed in float64 from the other side's recorded values: only
# the other side's rounding is left
ALONE = 0.02  # of the rule


def _stages_of_one(step: Inspected, quantity: PortQuantity) -> list[str]:
    """Stages that one side alone has, and that change what they hand on by less than the rule, but
    more than rounding does."""
    pair = quantity.stage
    if quantity.key == "loss/total" and not step.exact:
        return _loss_of_one(step)
    if quantity.passing != "forward" or pair is None or step.exact:
        return []
    for one, two in zip(pair.a.inputs, pair.b.inputs, strict=False):
        for side, (name, other) in enumerate(((one, two), (two, one))):
            chains = step.chains[side]
            if not chains.is_alone(name):
                continue
            own, there = (step.a, step.b)[side].value(name), (step.b, step.a)[side].value(other)
            computed = chains.value(name)
            if own is None or there is None or computed is None:
                continue
            found = difference_of(computed, there)
            if found.problem or found.needed <= ALONE * step.rtol:
                continue
            # of the two, it is the stages that make the difference, and not what they are given
            if 2 * difference_of(computed, own).max_abs < difference_of(own, there).max_abs:
                return [f"only {step.names[side]} has what returns {name}"]
    return []


def _loss_of_one(step: Inspected) -> list[str]:
    """Stages before the loss that one side alone has, if in float64, of the same values, the two
    sides' are not the same function: no rounding is in what they return."""
    losses, b = (step.own[0].loss, step.own[1].loss), step.b
    alone = [s for s in (0, 1) if losses[s] and step.chains[s].is_alone(losses[s])]
    if not alone or not all(losses):
        return []
    partners = {name: name for name in step.chains[1].partners}
    values = step.chains[0].value(losses[0]), Chains(b, b, partners).value(losses[1])
    if values[0] is None or values[1] is None:
        return []
    found = difference_of(*(np.asarray(x, dtype=np.float64) for x in values))
    if found.problem or found.needed <= ALONE * step.rtol:
        return []
    sides = " and ".join(step.names[side] for side in alone)
    return [f"only {sides} has what returns the loss"]


def settings_differences(step: Inspected, quantity: PortQuantity) -> list[str]:
    """What the two optimisers declare differently that has an effect on a quantity."""
    one = quantity.parameter
    if one is None:
        return []
    words = optimiser_differences(step.a.about, step.b.about, one)
    if not words or not settings_matter(step.own[0], step.b.about, one, quantity):
        return []
    return [f"{step.names[1]}: {word}" for word in words]


def bugs_of(step: Inspected, what: str) -> list[str]:
    """Those of R torch's own mistakes in a step that are of one kind."""
    return [words for words in step.bugs if what in words]


def _residual(own: Own, quantity: PortQuantity, name: str) -> Residual | None:
    if quantity.passing == "forward":
        return own.forward(name)
    if quantity.passing == "backward":
        return own.backward(name)
    one = quantity.parameter
    if one is None or max(len(one.a), len(one.b)) > 1:
        return None
    if quantity.passing == "parameter gradient":
        return own.backward(name)
    if quantity.passing in ("state", "parameter", "buffer"):
        return own.after(quantity.passing, name)
    return None


def _unexplained(step: Inspected, quantity: PortQuantity, difference: Difference) -> str:
    """Why a difference is not explained; empty if it is."""
    if difference.problem:
        return difference.problem
    if quantity.passing == "start":
        return _start(step, quantity, difference)
    if quantity.passing in ("input", "draw"):
        return "it comes from outside"
    if quantity.passing == "loss":
        return _loss(step, quantity)
    if quantity.passing == "given gradient":
        return _given(step, quantity)
    if quantity.passing == "forward" and quantity.stage is not None:
        why = _other_inputs(step, quantity.stage)
    elif quantity.passing in ("backward", "parameter gradient"):
        why = _other_takers(step, quantity)
    elif quantity.passing in ("state", "parameter"):
        why = first_state_differs(step, quantity)
    else:
        why = ""
    return why or _own_faults(step, quantity)


def first_state_differs(step: Inspected, quantity: PortQuantity) -> str:
    """Why the optimisers do not go on from the same state, in the first step of both."""
    if step.before is not None or step.drift or quantity.parameter is None:
        return ""
    return other_state_before((step.a, step.b), quantity.parameter, step.rtol)


def _given(step: Inspected, quantity: PortQuantity) -> str:
    """Whether both sides do the same to the gradients that backward left."""
    given = quantity.arrays(step.a, step.b)
    left = replace(quantity, template="gradient/{}").arrays(step.a, step.b)
    changes = [
        change_of(old, new, step.rtol)
        for old, new in zip(left, given, strict=True)
        if old is not None and new is not None
    ]
    if len(changes) == 2 and changes[0].is_like(changes[1], step.rtol):
        return ""
    return "it is not what backward left, changed in one way on both sides"


def _own_faults(step: Inspected, quantity: PortQuantity) -> str:
    for name, residual in zip(step.names, step.residuals(quantity), strict=True):
        if residual is None:
            return f"{name}'s cannot be computed again"
        if not residual.is_right:
            return f"{name}'s is not what it should be for its own inputs"
    return ""


def _start(step: Inspected, quantity: PortQuantity, difference: Difference) -> str:
    one = quantity.parameter
    if step.drift and difference.needed <= step.drift:
        return ""
    if step.drift:
        return "the two have parted in steps that were not recorded"
    if step.before is None or one is None:
        return "it comes from outside"
    for before, now, names in zip(step.before, (step.a, step.b), (one.a, one.b), strict=True):
        for name in names:
            earlier = before.arrays.get(f"{one.kind}/{name}")
            start = now.arrays.get(f"start/{name}")
            if earlier is None or start is None or not difference_of(earlier, start).equal:
                return f"{now.side.name}'s is not what the step before left"
    return ""


def _loss(step: Inspected, quantity: PortQuantity) -> str:
    """The loss is what a stage returned on both sides, if these stages belong together."""
    if quantity.key != "loss/total":
        return "it is not known how it was computed"
    losses = step.own[0].loss, step.own[1].loss
    if not all(losses):
        return "it is not known which stage returned it"
    if step.network.values.get(losses[0]) != losses[1]:
        if _same_function(step, *losses):
            return ""
        return "it is not returned by stages that belong together"
    found = step.verdicts.get(f"forward/{losses[0]}")
    return "" if found is not None and found.verdict != "parted" else "its stage has parted"


def _other_inputs(step: Inspected, pair: StageMatch) -> str:
    """Why the inputs of two stages do not agree; empty if they do."""
    if family(pair.a.layer) != family(pair.b.layer):
        return f"{pair.a.layer} against {pair.b.layer}"
    first, second = list(pair.a.inputs), list(pair.b.inputs)
    if len(first) != len(second):
        return f"{len(first)} inputs against {len(second)}"
    if pair.a.layer in COMMUTATIVE and len(first) == 2 and not _alike(step, first[0], second[0]):
        second.reverse()
    for one, two in zip(first, second, strict=True):
        if not _alike(step, one, two):
            return f"{step.names[0]}'s takes {one}, {step.names[1]}'s takes {two}"
    for role in pair.a.parameters.keys() & pair.b.parameters.keys():
        one, two = pair.a.parameters[role], pair.b.parameters[role]
        if not _alike(step, one, two):
            return f"{step.names[0]}'s {role} is {one}, {step.names[1]}'s is {two}"
    return _roles_of_one(step, pair)


def _roles_of_one(step: Inspected, pair: StageMatch) -> str:
    """Weights that one side's stage alone has, if with the other side's inputs it does not return
    what the other side's does: a loss with weights of classes, and one without."""
    roles = pair.a.parameters, pair.b.parameters
    if pair.a.layer not in LOSSES or roles[0].keys() == roles[1].keys():
        return ""
    inputs = {
        f"forward/{two}": step.a.arrays[f"forward/{one}"]
        for one, two in zip(pair.a.inputs, pair.b.inputs, strict=True)
        if f"forward/{one}" in step.a.arrays
    }
    found = step.own[1].computed(pair.b, Overlaid(step.own[1].arrays, inputs))
    right = step.own[0].stage(pair.a)
    if found is None or right is None:
        return ""
    pairs = zip(right.outputs.values(), found.outputs.values(), strict=False)
    if all(difference_of(x.numpy(), y.numpy()).needed <= step.rtol for x, y in pairs):
        return ""
    alone = [
        f"{name} alone has its {role} ({stage.parameters[role]})"
        for name, stage, other in zip(step.names, (pair.a, pair.b), roles[::-1], strict=True)
        for role in stage.parameters
        if role not in other
    ]
    return ", ".join(alone)


def _alike(step: Inspected, one: str, two: str) -> bool:
    """Whether two values, or parameters, belong together and have not parted, or are equal."""
    own = step.a.side.own(one), step.b.side.own(two)
    match = step.parameter_of.get(own[0])
    if match is not None and match.b == (own[1],):
        return True  # a start that parted was found before
    if step.network.values.get(one) == two:
        return True
    return _same_function(step, one, two)


def _same_function(step: Inspected, one: str, two: str) -> bool:
    """Whether two values are equal up to rounding, or one side's stages, which the other lacks,
    return for the other side's values what the other side has."""
    a, b = step.a.value(one), step.b.value(two)
    if a is None or b is None:
        return False
    if difference_of(a, b).needed <= step.rtol:
        return True
    for side, (name, there) in enumerate(((one, b), (two, a))):
        if step.chains[side].is_alone(name):
            computed = step.chains[side].value(name)
            return computed is not None and difference_of(computed, there).needed <= step.rtol
    return False


def _other_takers(step: Inspected, quantity: PortQuantity) -> str:
    """Why the stages that a gradient comes from do not agree; empty if they do. Those that one side
    alone has have returned the same as the other side's: else the two had parted before."""
    names = quantity.value
    if quantity.parameter is not None:
        if max(len(quantity.parameter.a), len(quantity.parameter.b)) > 1:
            return "it is kept in several arrays on one side"
        names = quantity.parameter.a[0], quantity.parameter.b[0]
    first, second = (_reached(step, side, name) for side, name in enumerate(names))
    for stage in first.values():
        pair = step.network.partner[stage.name]
        if pair.b.name not in second:
            return _taken_by(step.names[0], stage)
        why = _other_inputs(step, pair)
        if why:
            return why
        declared = stage_differences(pair, *step.own, what="gradients")
        if declared:
            return declared[0]
    known = {step.network.partner[name].b.name for name in first}
    for stage in second.values():
        if stage.name not in known:
            return _taken_by(step.names[1], stage)
    return _other_gradient(step, names)


def _other_gradient(step: Inspected, names: tuple[str, str]) -> str:
    """Which side's stages, of which the other side has no like, hand another gradient back: what
    they return may be the same, as it is with `detach`; empty if none do."""
    for side, (name, there) in enumerate((names, names[::-1])):
        alone = _alone_after(step, side, name)
        if not alone:
            continue
        found = step.chains[side].gradient(name, step.own[side].loss)
        if found is not None and step.own[1 - side].is_gradient(there, found):
            continue
        own = step.own[side]
        cut = [stage for stage in alone if not own.has_gradient(stage)]
        listed = ", ".join(f"{stage.name} ({stage.layer})" for stage in (cut or alone)[:MOST_ALONE])
        if cut:
            return f"in {step.names[side]} no gradient flows through {listed}"
        if found is None:
            return f"the gradient of {step.names[side]}'s {listed} cannot be computed again"
        return f"{step.names[side]}'s {listed} hand back another gradient"
    return ""


MOST_ALONE = 4  # stages that are named


def _alone_after(step: Inspected, side: int, name: str) -> list[ProgramStage]:
    """The stages that one side alone has, and that take a value, or what comes of it there."""
    own, only = step.own[side], step.network.only[side]
    found: list[ProgramStage] = []
    waiting = [name]
    while waiting:
        for stage in own.step.takers.get(waiting.pop(), ()):
            if stage in only and stage not in found:
                found.append(stage)
                waiting += stage.outputs
    return found


def _reached(step: Inspected, side: int, name: str) -> dict[str, ProgramStage]:
    """The stages with a partner that take a value, directly or after stages that one side alone
    has, and that backward has passed."""
    own, only = step.own[side], step.network.only[side]
    found: dict[str, ProgramStage] = {}
    waiting, seen = [name], {name}
    while waiting:
        for stage in own.step.takers.get(waiting.pop(), ()):
            if not own.has_gradient(stage):
                continue
            if stage not in only:
                found[stage.name] = stage
                continue
            further = [output for output in stage.outputs if output not in seen]
            waiting += further
            seen.update(further)
    return found


def _taken_by(side: str, stage: ProgramStage) -> str:
    return f"only {side} takes it in {stage.name} ({stage.layer})"
