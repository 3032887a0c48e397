"""What the first difference of two programs looks like."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from comparisons.agreement.arrays import ulp_difference
from comparisons.ports.expected.declared import declared_differences, shown
from comparisons.ports.judging.alone.rounded import TO_BFLOAT16
from comparisons.ports.judging.alone.stages import moved_by_one
from comparisons.ports.judging.declared import stage_differences
from comparisons.ports.judging.given import change_of
from comparisons.ports.judging.inspected import Inspected, bugs_of
from comparisons.ports.judging.judged import GIVEN_RTOL, RTOL, Judged
from comparisons.ports.judging.why.inputs import AS_A_NUMBER
from comparisons.ports.matching.kinds import family
from comparisons.ports.matching.matched import StageMatch
from comparisons.ports.matching.results import RESULTS
from comparisons.ports.mistakes.fit import joined
from comparisons.ports.mistakes.given_otherwise import given_otherwise
from comparisons.ports.mistakes.in_parts import in_parts
from comparisons.ports.mistakes.kept_by_hand import kept_by_hand
from comparisons.ports.mistakes.named import named_mistakes
from comparisons.ports.mistakes.undrawn import with_mask_of
from comparisons.ports.mistakes.written_out import written_out
from comparisons.ports.r_torch_order import r_torch_order
from comparisons.ports.relating.exchanged import exchanged_inputs
from comparisons.ports.relating.gumbel import opposite_noise
from comparisons.ports.relating.labels import other_labels
from comparisons.ports.relating.outside import draws, inputs
from comparisons.ports.relating.related import both_values, effects, related
from comparisons.ports.relating.saturated import saturated
from comparisons.ports.relating.terms import other_terms
from comparisons.ports.relating.two_biases import two_biases
from comparisons.ports.updates.hooks import in_a_hook
from comparisons.ports.updates.modes import in_all_layers
from comparisons.ports.updates.names import elsewhere, update_names
from comparisons.ports.updates.settings import declared_words
from pyvae.trace.program import ProgramStage

__all__ = ["looks_like"]


def looks_like(step: Inspected, judged: Judged) -> Iterator[str]:
    """Yields what is known of a difference, the most telling first.

    Arguments:
        step: The step, as far as it was judged.
        judged: Its first quantity that parts.
    """
    if any(value is None for value in judged.quantity.arrays(step.a, step.b)):
        yield next(elsewhere(step, judged), judged.why)  # one side alone has it
        return
    words = [
        *in_parts(step, judged), *other_labels(step, judged), *two_biases(step, judged),
    ]  # fmt: skip
    words = words or list(_goes_on(step, judged))
    if words:
        yield from words
        return
    said = any(known in judged.why for known in (TO_BFLOAT16, AS_A_NUMBER))
    words = [judged.why] if said else list(written_out(step, judged))
    words += in_all_layers(step, list(_declared(step, judged)))
    words = words or list(elsewhere(step, judged))
    words += _of_other_stages(step, judged, bool(words))
    if step.exact and not words and judged.difference.needed <= RTOL[step.precision]:
        yield from r_torch_order(step, judged)
        yield from _rounding(step, judged)
        return
    outside = judged.quantity.passing in ("input", "draw")
    if not words and outside and judged.why and judged.difference.needed <= judged.rtol:
        words.append(judged.why)  # within the rule, and yet no rounding
    if not words and judged.quantity.passing == "input":
        words += given_otherwise(step, judged)
    if not words and outside:
        words += inputs(step, judged)
    pair = judged.quantity.stage
    if pair is not None and {pair.a.layer, pair.b.layer} == {"draw", "input"}:
        words = words or [word for word in related(step, judged) if word != judged.why]
    if not words and judged.quantity.passing == "draw":
        words += draws(step, judged)
    if not words and judged.quantity.passing == "given gradient":
        words += _clipped(step, judged)
    if not words and judged.difference.needed <= RTOL["float32"]:
        words += r_torch_order(step, judged)  # in float64, optim_adamw's is more than rounding
    if not words:
        words += [*_as_if(step, judged), *kept_by_hand(step, judged)]
    if not words:
        words += related(step, judged)
    if not words:
        words += in_a_hook(step, judged)
    if not words and judged.why:
        words.append(judged.why)
    yield from dict.fromkeys(words)


def _goes_on(step: Inspected, judged: Judged) -> Iterator[str]:
    """That one side's network goes on from what the other's returns."""
    pair = judged.quantity.stage
    if pair is None or pair.how not in RESULTS:
        return
    others = {two: one for one, two in step.network.values.items()}
    partner = others.get(pair.b.inputs[0]), step.network.values.get(pair.a.inputs[0])
    for side, value in enumerate(partner):
        chain = _before(step, side, (pair.a, pair.b)[side])
        if value is not None and any(value in one.inputs for one in chain):
            yield (
                f"{step.names[side]} goes on from {value} with {_list(chain)}, "
                f"{step.names[1 - side]} does not"
            )


def _of_other_stages(step: Inspected, judged: Judged, named: bool) -> list[str]:
    """What stages do that one side alone has: by the name of the mistake, as far as it has one;
    which they are; or else what comes of them."""
    stages = list(_one_sided(step, judged))
    if not stages or named:
        return stages
    words = list(given_otherwise(step, judged)) or list(other_terms(step, judged))
    words = words or list(saturated(step))
    return words + stages if words else stages + list(effects(step, judged))


def _declared(step: Inspected, judged: Judged) -> Iterator[str]:
    quantity = judged.quantity
    if quantity.passing == "forward" and quantity.stage is not None:
        pair = quantity.stage
        if family(pair.a.layer) != family(pair.b.layer):
            yield f"{step.names[1]}: {pair.b.layer} where it is {pair.a.layer}"
            return
        yield from bugs_of(step, "ignore_index")
        yield from filter(None, [opposite_noise(step, pair)])
        yield from stage_differences(pair, *step.own)
    elif quantity.passing == "draw" and quantity.stage is not None:
        if quantity.stage.a.layer != quantity.stage.b.layer:
            return  # one side draws what the other is given
        for words in declared_differences(quantity.stage.a, quantity.stage.b):
            yield f"{step.names[1]}: {words}"
    elif quantity.passing in ("backward", "parameter gradient"):
        yield from bugs_of(step, "nn_embedding")
        for pair in _takers(step, judged):
            yield from stage_differences(pair, *step.own, what="gradients")
    elif quantity.passing == "buffer":
        yield from filter(None, [moved_by_one(step, quantity)])
        for pair in _takers(step, judged):
            yield from stage_differences(pair, *step.own, what="buffers")
    elif quantity.passing in ("state", "parameter") and quantity.parameter is not None:
        yield from bugs_of(step, "optim_")
        yield from declared_words(step, quantity)


def _takers(step: Inspected, judged: Judged) -> list[StageMatch]:
    """The pairs of stages that take a value or parameter."""
    quantity = judged.quantity
    name = quantity.parameter.a[0] if quantity.parameter else quantity.value[0]
    partners = step.network.partner
    return [partners[s.name] for s in step.a.takers.get(name, ()) if s.name in partners]


def _one_sided(step: Inspected, judged: Judged) -> Iterator[str]:
    """Stages that one side alone has, in front of the place or, of a gradient, after it."""
    quantity = judged.quantity
    pair = quantity.stage
    if quantity.passing == "loss":
        losses = step.own[0].loss, step.own[1].loss
        stages = [own.step.producer.get(loss) for own, loss in zip(step.own, losses, strict=True)]
        for side, stage in enumerate(stages):
            if stage is not None and stage in step.network.only[side]:
                chain = [*_before(step, side, stage), stage]
                yield f"only {step.names[side]} has {_list(chain)} before the loss"
    elif quantity.passing == "forward" and pair is not None:
        words = exchanged_inputs(step, pair)
        if words:
            yield words
            return
        yield from _declared_before(step, pair)
        chains = [_before(step, side, stage) for side, stage in enumerate((pair.a, pair.b))]
        untrained = list(_untrained_there(step, pair))
        if untrained:
            yield from untrained
        elif not any(chains):
            yield from _wiring(step, pair)
        elif all(chains):
            yield (
                f"{step.names[0]} has {_list(chains[0])} where {step.names[1]} has "
                f"{_list(chains[1])}, {_between(step, 0, chains[0], pair.a)}"
            )
        for side, (chain, stage) in enumerate(zip(chains, (pair.a, pair.b), strict=True)):
            if chain and not chains[1 - side] and not untrained:
                where = _between(step, side, chain, stage)
                yield f"only {step.names[side]} has {_list(chain)} {where}"
    elif quantity.passing in ("backward", "parameter gradient"):
        name = quantity.parameter.a[0] if quantity.parameter else quantity.value[0]
        other = quantity.parameter.b[0] if quantity.parameter else quantity.value[1]
        for side, (one, value) in enumerate(zip((step.a, step.b), (name, other), strict=True)):
            alone = [s for s in one.takers.get(value, ()) if s in step.network.only[side]]
            if judged.difference.needed > step.rtol:  # of a small term more is said
                yield from _in_one_alone(step, side, value)
            for stage in alone:
                if step.own[side].has_gradient(stage):
                    yield f"only {step.names[side]} takes {value} in {_list([stage])}"
                elif stage.layer == "detach" and _is_used(step, side, stage):
                    yield (
                        f"only {step.names[side]} has {_list([stage])}, through which no gradient "
                        "flows"
                    )


def _untrained_there(step: Inspected, pair: StageMatch) -> Iterator[str]:
    """Whether one side takes a parameter where the other one takes a tensor that is none of its
    model's: in R's torch one that is assigned to `self$encoder$x`, where `self$encoder` is no
    module; in PyTorch one in a list, or without `nn.Parameter`."""
    for both in zip(pair.a.inputs, pair.b.inputs, strict=False):
        for side, own in enumerate((step.a, step.b)):
            mine, theirs = both[side], both[1 - side]
            maker = (step.a, step.b)[1 - side].producer.get(theirs)
            known = {one.name for one in own.side.trace.parameters if one.kind == "parameter"}
            if mine in known and maker is not None and maker.layer == "input":
                names = step.names[side], step.names[1 - side]
                yield (
                    f"{names[1]} takes {theirs} where {names[0]} takes its parameter {mine}: it "
                    f"is no parameter of {names[1]}'s model, and is not trained"
                )


def _in_one_alone(step: Inspected, side: int, value: str) -> Iterator[str]:
    """The stages that take a value on both sides, directly or through a detach, and that backward
    has reached on one side alone."""
    partner = (step.network.partner, step.network.partner_of_b)[side]
    for stage in step.own[side].step.takers.get(value, ()):
        pair = partner.get(stage.name)
        if pair is None or not step.own[side].has_gradient(stage):
            continue
        if not step.own[1 - side].has_gradient((pair.b, pair.a)[side]):
            yield f"only in {step.names[side]} a gradient comes back from {_list([stage])}"


def _is_used(step: Inspected, side: int, stage: ProgramStage) -> bool:
    """Whether a stage that backward reached takes what another one returned."""
    own = step.own[side]
    takers = [taker for name in stage.outputs for taker in own.step.takers.get(name, ())]
    return any(map(own.has_gradient, takers))


def _between(step: Inspected, side: int, chain: list[ProgramStage], stage: ProgramStage) -> str:
    only = _only(step, side)
    first = next((name for name in chain[0].inputs if name not in only), "")
    return f"between {first} and {stage.name}" if first else f"before {stage.name}"


def _only(step: Inspected, side: int) -> set[str]:
    return {output for stage in step.network.only[side] for output in stage.outputs}


def _before(step: Inspected, side: int, stage: ProgramStage) -> list[ProgramStage]:
    """The stages of one side alone that lead to a stage, in the order of execution."""
    only = step.network.only[side]
    return [one for one in _unjudged(step, side, stage) if one in only]


def _unjudged(step: Inspected, side: int, stage: ProgramStage) -> list[ProgramStage]:
    """The stages that lead to one and were not judged: those that the other side lacks, and those
    whose values a trace has no type for (complex numbers)."""
    own, only = (step.a, step.b)[side], step.network.only[side]
    found: list[ProgramStage] = []
    waiting = [stage]
    while waiting:
        one = waiting.pop()
        for name in (*one.inputs, *one.parameters.values()):
            producer = own.producer.get(name)
            if producer is None or producer in found:
                continue
            if producer in only or not any(f"forward/{o}" in own.arrays for o in producer.outputs):
                found.append(producer)
                waiting.append(producer)
    return [one for one in own.network if one in found]


def _declared_before(step: Inspected, pair: StageMatch) -> Iterator[str]:
    """What stages declare differently whose values are not recorded, and which lead to a pair."""
    for stage in _unjudged(step, 0, pair.a):
        partner = step.network.partner.get(stage.name)
        if partner is None:
            continue
        known, new = partner.a.options, partner.b.options
        said = [f"{step.names[1]}: {one}" for one in declared_differences(partner.a, partner.b)]
        for side, (own, other) in enumerate(((known, new), (new, known))):
            if not said:
                said = [
                    f"{step.names[side]}: {name} = {shown(value)}, of which {step.names[1 - side]} "
                    "says nothing"
                    for name, value in own.items() if name not in other
                ]  # fmt: skip
        yield from (f"{one} (in {stage.name}, whose numbers are not recorded)" for one in said)


def _wiring(step: Inspected, pair: StageMatch) -> Iterator[str]:
    """Inputs that do not belong together."""
    for one, two in zip(pair.a.inputs, pair.b.inputs, strict=False):
        partner = step.network.values.get(one)
        if partner is not None and partner != two:
            yield step.takes(one, two)


MOST_LISTED, FIRST, LAST = 12, 6, 3  # a recurrent layer that is written out has hundreds


def _list(stages: list[ProgramStage]) -> str:
    shown = [f"{stage.name} ({stage.layer})" for stage in stages]
    if len(shown) > MOST_LISTED:
        shown[FIRST:-LAST] = [f"{len(shown) - FIRST - LAST} more"]
    return ", ".join(shown)


def _clipped(step: Inspected, judged: Judged) -> Iterator[str]:
    """What was done to the gradients between backward and the update, on each side."""
    one = judged.quantity.parameter
    if one is None:
        return
    after = both_values(step, judged)
    before = one.values(step.a.arrays, step.b.arrays, "gradient/{}")
    changes, same = [], []
    for old, new in zip(before, after, strict=True):
        if old is None:
            return
        changes.append(change_of(old, new, GIVEN_RTOL[step.precision]))
        same.append(np.array_equal(old, new))
    alike = changes[0].is_like(changes[1], GIVEN_RTOL[step.precision])
    if same[0] != same[1] and (alike or "other" in (changes[0].kind, changes[1].kind)):
        side = same.index(False)
        old = np.asarray(before[side], dtype=np.float64)
        by = float(np.abs(after[side].astype(np.float64) - old).max(initial=0))
        yield (
            f"{step.names[side]} changes the gradient of {one.name} between backward and the "
            f"optimiser (by up to {by:.3g}); {step.names[1 - side]} does not"
        )
    elif not alike:
        said = [f"{name} {change}" for name, change in zip(step.names, changes, strict=True)]
        clipped = any(c.kind == "clamped" or 0 < c.number < 1 for c in changes)
        yield f"{said[1]}, {said[0]}" + (" (clipping?)" if clipped else "")


def _as_if(step: Inspected, judged: Judged) -> Iterator[str]:
    """What the side that is wrong computes: a usual mistake, if one gives it in this step and in
    the next."""
    quantity = judged.quantity
    if quantity.passing in ("state", "parameter"):
        yield from update_names(step, judged)
        return
    following = step.following
    for side, residual in enumerate(step.residuals(quantity)):
        own, name = step.own[side], quantity.value[side]
        if residual is None and quantity.passing == "forward":
            own = with_mask_of(step.own, side, quantity.stage)
            residual = None if own is step.own[side] else own.forward(name)
        if residual is None or residual.is_right:
            continue
        if quantity.passing not in ("forward", "buffer", "backward", "parameter gradient"):
            continue
        later = None
        if following is not None:
            later = with_mask_of(following, side, quantity.stage)
        several = named_mistakes(own, quantity.passing, name, later)
        if several:
            then = "" if following is not None else f"step {step.a.about.step + 1}"
            yield f"{step.names[side]}: {joined(several, then)}"


def _rounding(step: Inspected, judged: Judged) -> Iterator[str]:
    """Where every bit was asked for: how far the last bits are apart."""
    a, b = both_values(step, judged)
    if a.dtype.kind != "f" or a.shape != b.shape:
        return
    kind = "float64" if a.dtype == b.dtype == np.float64 else "float32"
    ulps = ulp_difference(a.astype(np.float64), b.astype(np.float64), kind)
    yield (
        f"rounding: {int((ulps > 0).sum()):,} of {ulps.size:,} elements differ, "
        f"by at most {int(ulps.max())} ULP"
    )
