"""Functions that were paired by their order alone, and compute the same another way.

`0.5 * (exp(s) + mu**2 - 1 - s).sum()` and `-0.5 * (1 + s - mu**2 - exp(s)).sum()` call the same
functions for other values. What two such calls return differs, and no side is wrong. They are said
to be computed another way, and no longer paired, only if

- each returns what it should for its own inputs, and the two do not take the same with another
  option (a mask's `value`, a limit),
- everything that depends on them on both sides leads to values that belong together and agree, and
- in float64 both sides' stages return the same there, of the same values.

The step is then judged once more without these pairs: whatever else parts, gradients above all, is
told as ever. Modules, and what the user's map pairs, are not parted from each other.

Where that does not tell, both sides' steps may still be one function of the parameters as a whole
(`whole/`): then all that differs on the way is computed another way, modules too.

Three more things are tried where the first difference is one of them: parts of a value that are
taken in another order, and masks in other numbers, which count only if the whole step agrees then;
and inputs that are given in another form, of which both sides have to compute the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

from comparisons.ports.expected.declared import declared_differences
from comparisons.ports.expected.layers.losses import LOSSES
from comparisons.ports.judging.declared import stage_differences
from comparisons.ports.judging.inspected import Inspected
from comparisons.ports.judging.judge import judge_step
from comparisons.ports.judging.judged import GIVEN_RTOL, Judged, difference_of
from comparisons.ports.judging.one_function import (
    SAME,
    Inputs,
    OneFunction,
    same_of_other_inputs,
    without_pairs,
)
from comparisons.ports.judging.other_masks import masks_in_other_numbers
from comparisons.ports.judging.whole.judge import judge_as_one
from comparisons.ports.judging.within.missing_term import HANDED_BACK
from comparisons.ports.matching.kinds import family, is_module
from comparisons.ports.matching.matched import StageMatch, matched_outputs
from comparisons.ports.matching.slices import PARTS, with_same_parts
from pyvae.trace.program import ProgramStage

__all__ = ["judge_another_way"]

OUTSIDE = ("input", "draw")
COMPUTED = ("grad_fn", "without_gradients")
MOST_INPUTS = 4  # that may be given in another form
SUMS_AND_PRODUCTS = ("add", "div", "mul", "rsub", "sub")
OVER_AXES = ("mean", "sum")
BOTH = "both/"  # and the names on both sides, of values that are no pair
NO_INPUTS: Inputs = ([], [])
Further = Callable[[int, str], Iterator[tuple[str, Judged | None]]]


def judge_another_way(
    step: Inspected, first: Judged | None
) -> tuple[Inspected, Judged | None, list[StageMatch]]:
    """Judges a step again without the pairs that compute the same another way.

    Arguments:
        step: The step, as it was judged.
        first: Its first quantity that parts.

    Returns:
        The step as it was judged last, its first quantity that parts now, and the pairs that were
        given up.
    """
    found = _piece_by_piece(step, first)
    if found[1] is None or step.exact:
        return found
    again = judge_as_one(found[0], found[1])
    return found if again is None else (again[0], again[1], [*found[2], *again[2]])


def _piece_by_piece(
    step: Inspected, first: Judged | None
) -> tuple[Inspected, Judged | None, list[StageMatch]]:
    """The same, as far as it is seen from what stands on both sides of these pairs."""
    found = _without_other_ways(step, first)
    if found[1] is None or first is None or step.exact:
        return found
    pair, passing = first.quantity.stage, first.quantity.passing
    if pair is None:
        return found
    if pair.a.layer in PARTS and passing in ("forward", "backward"):
        tried = replace(step, network=with_same_parts(step.a, step.b, step.network), judged=[])
        again = _without_other_ways(tried, judge_step(tried))
        return found if again[1] is not None else again
    masks = masks_in_other_numbers(step) if passing in (*OUTSIDE, "forward") else []
    if pair in masks:
        tried = replace(step, network=without_pairs(step, masks), judged=[])
        again = _without_other_ways(tried, judge_step(tried))
        if again[1] is None:
            return again[0], None, [*masks, *again[2]]
    alone = _alone(step)
    if passing in OUTSIDE:
        again = _without_inputs(step, first)
        if again[2] or not any(alone):
            return again
        return _without_inputs(step, first, alone)
    again = _without_inputs(step, first, alone) if passing == "forward" else found
    return again if again[2] else found


def _without_other_ways(
    step: Inspected, first: Judged | None, same: float = SAME
) -> tuple[Inspected, Judged | None, list[StageMatch]]:
    given_up: list[StageMatch] = []
    while first is not None and not step.exact:
        passing, pair = first.quantity.passing, first.quantity.stage
        if passing not in ("forward", "backward") or pair is None or not _is_of_functions(pair):
            break
        ways = _Ways(step, same)
        pairs = ways.forward(pair) if passing == "forward" else ways.backward(pair)
        if pair not in pairs:
            break
        without = replace(step, network=without_pairs(step, pairs), judged=[])
        found = judge_step(without)
        if passing == "backward" and found is not None and HANDED_BACK in found.why:
            break  # it is these pairs that do
        given_up += pairs
        step, first = without, found
    return step, first, given_up


def _alone(step: Inspected) -> Inputs:
    """The inputs of either side that the other one lacks, if they are few."""
    found = [
        [
            stage
            for stage in only
            if stage.layer in OUTSIDE and not any(stage.options.get(name) for name in COMPUTED)
        ]
        for only in step.network.only
    ]
    return (found[0], found[1]) if max(map(len, found)) <= MOST_INPUTS else NO_INPUTS


def _without_inputs(
    step: Inspected, first: Judged, alone: Inputs = NO_INPUTS
) -> tuple[Inspected, Judged | None, list[StageMatch]]:
    """Judges a step again without inputs that are given in another form: classes, or their
    probabilities; a mask, or what it multiplies by.

    Arguments:
        step: The step.
        first: Its first quantity that parts.
        alone: Inputs that the other side lacks, which may stand for each other.
    """
    if first.quantity.passing not in OUTSIDE and not all(alone):
        return step, first, []  # there is nothing else that one of them may stand for
    tried = step
    found: Judged | None = first
    given_up: list[StageMatch] = []
    while found is not None and found.quantity.passing in OUTSIDE:
        pair = found.quantity.stage
        small = found.difference.needed <= step.rtol  # other numbers, and no other form
        if pair is None or small or not _may_be_given_otherwise(step, pair):
            return step, first, []
        if len(given_up) == MOST_INPUTS:
            return step, first, []
        given_up.append(pair)
        tried = replace(tried, network=without_pairs(tried, [pair]), judged=[])
        found = judge_step(tried)
    tried, found, ways = _without_other_ways(tried, found, GIVEN_RTOL[step.precision])
    inputs: Inputs = (
        [*alone[0], *(pair.a for pair in given_up)],
        [*alone[1], *(pair.b for pair in given_up)],
    )
    if not (given_up or ways) or not same_of_other_inputs(tried, inputs):
        return step, first, []
    return tried, found, [*given_up, *ways]


def _may_be_given_otherwise(step: Inspected, pair: StageMatch) -> bool:
    """Whether an input may stand for another one: it is all that is known of it, and if it has the
    same shape, no layer with weights takes it."""
    if pair.how == "map" or not {pair.a.layer, pair.b.layer} <= set(OUTSIDE):
        return False
    if any(one.options.get(name) for one in (pair.a, pair.b) for name in COMPUTED):
        return False
    values = [own.step.value(one.outputs[0])
              for own, one in zip(step.own, (pair.a, pair.b), strict=True)]  # fmt: skip
    if any(value is None for value in values):
        return False
    if len({value.shape for value in values if value is not None}) > 1:
        return True
    takers = [stage for own, one in zip(step.own, (pair.a, pair.b), strict=True)
              for stage in own.step.takers.get(one.outputs[0], ())]  # fmt: skip
    return all(not stage.parameters or stage.layer in LOSSES for stage in takers)


def _is_of_functions(pair: StageMatch) -> bool:
    """Whether two stages were paired because they call one function, and for no other reason."""
    if pair.how == "map" or pair.a.layer in OUTSIDE or pair.b.layer in OUTSIDE:
        return False
    return not (is_module(pair.a) or is_module(pair.b))


def _adds_axes(stage: ProgramStage) -> bool:
    """Whether an index takes everything, with axes of one between: `x[:, None]`."""
    index = stage.options.get("index")
    return (
        stage.layer == "index"
        and isinstance(index, list)
        and all(one in (None, ":", "...") for one in index)
    )


def _lasting(
    pairs: list[StageMatch], holds: Callable[[StageMatch, list[StageMatch]], bool]
) -> list[StageMatch]:
    """Those of which something holds, given the others of which it does."""
    while True:
        kept = [pair for pair in pairs if holds(pair, pairs)]
        if len(kept) == len(pairs):
            return kept
        pairs = kept


class _Ways:
    """What a step's values lead to, and what their gradients come from, on both sides."""

    def __init__(self, step: Inspected, same: float) -> None:
        self.step, self.same = step, same
        self.values: tuple[dict[str, Judged], ...] = ({}, {})
        self.gradients: tuple[dict[str, Judged], ...] = ({}, {})
        self.loss: Judged | None = None
        for one in step.judged:
            passing, parameter = one.quantity.passing, one.quantity.parameter
            for side, name in enumerate(one.quantity.value):
                if passing == "forward":
                    self.values[side][name] = one
                elif passing == "backward":
                    self.gradients[side][name] = one
                elif passing == "parameter gradient" and parameter is not None:
                    names = (parameter.a, parameter.b)[side]
                    self.gradients[side].update(dict.fromkeys(names, one))
            if one.quantity.key == "loss/total":
                self.loss = one

    def forward(self, first: StageMatch) -> list[StageMatch]:
        """The pairs that return other values, and compute the same another way; none if the first
        is not one of them."""
        pairs = _lasting(self._parted("forward"), self._leads_to_what_agrees)
        if first not in pairs:
            return []
        pairs = [pair for pair in pairs if self._is_right("forward", pair)]
        pairs = _lasting(pairs, self._leads_to_what_agrees)
        while first in pairs:
            ends = {pair.a.name: self._ends(pair, pairs, self._after) for pair in pairs}
            one_function = OneFunction(self.step, self._names, _is_of_functions, self.same)
            chains = list(one_function.chains(pairs))
            same = {
                end: any(one_function.is_one(end, one) for one in chains)
                for end in set().union(*ends.values())
            }
            kept = [
                pair
                for pair in pairs
                if all(same[end] for end in ends[pair.a.name])
                and one_function.is_felt(pair, ends[pair.a.name], chains[0])
            ]
            if len(kept) == len(pairs):
                return pairs
            pairs = _lasting(kept, self._leads_to_what_agrees)
        return []

    def backward(self, first: StageMatch) -> list[StageMatch]:
        """The pairs whose values agree, and their gradients do not: one side takes them, or what
        comes of them, in more places than the other one. None if the first is not one of them."""

        def holds(pair: StageMatch, pairs: list[StageMatch]) -> bool:
            return self._has_a_reason(pair, pairs) and bool(self._ends(pair, pairs, self._before))

        small = [
            one.quantity.stage
            for one in self._of("backward")
            if one.difference.needed <= self.step.rtol
        ]  # a term that one side cuts
        pairs = [pair for pair in self._parted("backward") if pair not in small]
        pairs = _lasting(pairs, holds)
        if first not in pairs:
            return []
        return _lasting([pair for pair in pairs if self._is_right("backward", pair)], holds)

    def _leads_to_what_agrees(self, pair: StageMatch, pairs: list[StageMatch]) -> bool:
        return bool(self._ends(pair, pairs, self._after))

    def _has_a_reason(self, pair: StageMatch, pairs: list[StageMatch]) -> bool:
        """Whether one side takes what a pair returns in stages of which the other one has no like,
        or in pairs of which this is true; and the stages that both have are alike."""
        network, found = self.step.network, False
        for one, two in matched_outputs(pair):
            first, second = self.step.a.takers.get(one, ()), self.step.b.takers.get(two, ())
            shared = [network.partner[s.name] for s in first if s.name in network.partner]
            shared = [both for both in shared if both.b in second]
            if any(stage_differences(both, *self.step.own, what="gradients") for both in shared):
                return False
            found |= len(shared) < max(len(first), len(second))
            found |= any(both in pairs for both in shared)
        return found

    def _parted(self, passing: str) -> list[StageMatch]:
        """The pairs of functions that part."""
        found = {
            one.quantity.stage.a.name: one.quantity.stage
            for one in self._of(passing)
            if one.quantity.stage is not None and _is_of_functions(one.quantity.stage)
        }
        forward = passing == "forward"
        return [pair for pair in found.values() if not (forward and self._is_option(pair))]

    def _is_right(self, passing: str, pair: StageMatch) -> bool:
        """Whether what parts of a pair is what it should be for its own inputs, on both sides."""
        return all(
            residual is not None and residual.is_right
            for one in self._of(passing)
            if one.quantity.stage == pair
            for residual in self.step.residuals(one.quantity)
        )

    def _of(self, passing: str) -> Iterator[Judged]:
        """What parts in a pass."""
        for one in self.step.judged:
            if one.quantity.passing == passing and one.verdict == "parted":
                yield one

    def _is_option(self, pair: StageMatch) -> bool:
        """Whether two stages take the same, and declare another option: that is what is to be told,
        but of sums and products, whose sign and factor may stand elsewhere, of shapes on the way,
        of parts of which a part is taken, of axes that are summed later, and of a loss that is."""
        if pair.a.layer in (*SUMS_AND_PRODUCTS, *OVER_AXES) or family(pair.a.layer) == "view":
            return False
        if pair.a.layer in PARTS and pair.b.layer in PARTS:
            return False
        if all(_adds_axes(one) for one in (pair.a, pair.b)):
            return False
        if all(one.startswith("reduction") for one in declared_differences(pair.a, pair.b)):
            return False
        names = list(zip(pair.a.inputs, pair.b.inputs, strict=False))
        values = [(self.step.a.value(one), self.step.b.value(two)) for one, two in names]
        return len(pair.a.inputs) == len(pair.b.inputs) and all(
            a is not None and b is not None and difference_of(a, b).needed <= self.step.rtol
            for a, b in values
        )

    def _ends(self, pair: StageMatch, pairs: list[StageMatch], further: Further) -> set[str]:
        """The quantities that agree to which all ways from a pair lead, by key; none if a way leads
        to one that does not."""
        reduced = self._reduced(pair) if further == self._after else ""
        if reduced:
            return {reduced}
        found: set[str] = set()
        for side, stage in enumerate((pair.a, pair.b)):
            ends: set[str] = set()
            waiting, seen = list(stage.outputs), set(stage.outputs)
            while waiting:
                for name, judged in further(side, waiting.pop()):
                    if judged is not None and judged.verdict != "parted":
                        if judged.difference.largest > 0:  # zeros say nothing
                            ends.add(judged.quantity.key)
                    elif judged is not None and judged.quantity.stage not in pairs:
                        return set()
                    elif name not in seen:
                        seen.add(name)
                        waiting.append(name)
            if not ends:
                return set()
            found |= ends
        return found

    def _reduced(self, pair: StageMatch) -> str:
        """The end of a loss that one side reduces, and the other one hands on number by number and
        reduces later: the number that both have then, whatever is added to it. Empty if they have
        none."""
        words = declared_differences(pair.a, pair.b)
        if not words or not all(one.startswith("reduction") for one in words):
            return ""
        one, two = (self._reduced_to(side, stage) for side, stage in enumerate((pair.a, pair.b)))
        a, b = self.step.a.value(one), self.step.b.value(two)
        if a is None or b is None or a.size != 1:
            return ""
        found = difference_of(a, b)
        alike = found.largest > 0 and found.needed <= self.step.rtol
        return f"{BOTH}{one}\n{two}" if alike else ""

    def _reduced_to(self, side: int, stage: ProgramStage) -> str:
        """What a stage's values come to, before they go into anything beside other ones."""
        name = stage.outputs[0]
        while True:
            takers = self.step.own[side].step.takers.get(name, ())
            if len(takers) != 1 or len(takers[0].outputs) != 1:
                return name
            if len(takers[0].inputs) > 1 or takers[0].parameters:
                return name
            name = takers[0].outputs[0]

    def _after(self, side: int, name: str) -> Iterator[tuple[str, Judged | None]]:
        """What is computed from a value, and what was found of it."""
        own = self.step.own[side]
        if name == own.loss:
            yield name, self.loss
        for stage in own.step.takers.get(name, ()):
            for output in stage.outputs:
                yield output, self.values[side].get(output)

    def _before(self, side: int, name: str) -> Iterator[tuple[str, Judged | None]]:
        """What a value is computed from that has a gradient, and what was found of it."""
        own = self.step.own[side]
        stage = own.step.producer[name]
        for one in (*stage.inputs, *stage.parameters.values()):
            first = own.step.side.own(one)
            if f"gradient/{first}" in own.arrays:
                yield first, self.gradients[side].get(first)

    def _names(self, end: str) -> tuple[str, str]:
        if end == "loss/total":
            return self.step.own[0].loss, self.step.own[1].loss
        if end.startswith(BOTH):
            one, _, two = end.removeprefix(BOTH).partition("\n")
            return one, two
        return self.values[0][end.removeprefix("forward/")].quantity.value
