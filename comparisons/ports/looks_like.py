"""What the first difference of two programs looks like."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray

from comparisons.agreement.arrays import ulp_difference
from comparisons.diagnosis.relations import relation, shape_relation
from comparisons.ports.as_if import as_if_settings
from comparisons.ports.expected.declared import declared_differences
from comparisons.ports.judging.declared import stage_differences
from comparisons.ports.judging.given import change_of
from comparisons.ports.judging.judge import (
    GIVEN_RTOL,
    Inspected,
    based,
    bugs_of,
    settings_differences,
)
from comparisons.ports.judging.judged import RTOL, Judged
from comparisons.ports.matching.layouts import SAME_LAYOUT, find_layout
from comparisons.ports.matching.stages import StageMatch, family
from comparisons.ports.mistakes.fit import joined
from comparisons.ports.mistakes.kept_by_hand import kept_by_hand
from comparisons.ports.mistakes.named import named_mistakes
from comparisons.ports.mistakes.undrawn import with_mask_of
from comparisons.ports.mistakes.written_out import written_out
from comparisons.ports.r_torch_order import r_torch_order
from pyvae.trace.program import ProgramStage

__all__ = ["looks_like"]


def looks_like(step: Inspected, judged: Judged) -> Iterator[str]:
    """Yields what is known of a difference, the most telling first.

    Arguments:
        step: The step, as far as it was judged.
        judged: Its first quantity that parts.
    """
    if any(value is None for value in judged.quantity.arrays(step.a, step.b)):
        yield judged.why  # one side alone has it
        return
    words = list(written_out(step, judged))
    words += _declared(step, judged)
    words += _one_sided(step, judged)
    if step.exact and not words and judged.difference.needed <= RTOL[step.precision]:
        yield from r_torch_order(step, judged)
        yield from _rounding(step, judged)
        return
    if not words and judged.quantity.passing in ("input", "draw"):
        words += _inputs(step, judged)
    pair = judged.quantity.stage
    if pair is not None and {pair.a.layer, pair.b.layer} == {"draw", "input"}:
        words = words or [word for word in _related(step, judged) if word != judged.why]
    if not words and judged.quantity.passing == "draw":
        words += _draws(step, judged)
    if not words and judged.quantity.passing == "given gradient":
        words += _clipped(step, judged)
    if not words:
        words += [*_as_if(step, judged), *kept_by_hand(step, judged)]
    if not words:
        words += _related(step, judged)
    if not words and judged.why:
        words.append(judged.why)
    yield from dict.fromkeys(words)


def _values(step: Inspected, judged: Judged) -> tuple[NDArray, NDArray]:
    a, b = judged.quantity.arrays(step.a, step.b)
    if a is None or b is None:
        raise KeyError(judged.quantity.key)  # it was not judged
    return based(step, judged.quantity, a, b)


def _declared(step: Inspected, judged: Judged) -> Iterator[str]:
    quantity = judged.quantity
    if quantity.passing == "forward" and quantity.stage is not None:
        pair = quantity.stage
        if family(pair.a.layer) != family(pair.b.layer):
            yield f"{step.names[1]}: {pair.b.layer} where it is {pair.a.layer}"
            return
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
        for pair in _takers(step, judged):
            yield from stage_differences(pair, *step.own, what="buffers")
    elif quantity.passing in ("state", "parameter") and quantity.parameter is not None:
        yield from bugs_of(step, "optim_")
        yield from settings_differences(step, quantity)


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
        chains = [_before(step, side, stage) for side, stage in enumerate((pair.a, pair.b))]
        if not any(chains):
            yield from _wiring(step, pair)
        elif all(chains):
            yield (
                f"{step.names[0]} has {_list(chains[0])} where {step.names[1]} has "
                f"{_list(chains[1])}, {_between(step, 0, chains[0], pair.a)}"
            )
        for side, (chain, stage) in enumerate(zip(chains, (pair.a, pair.b), strict=True)):
            if chain and not chains[1 - side]:
                where = _between(step, side, chain, stage)
                yield f"only {step.names[side]} has {_list(chain)} {where}"
    elif quantity.passing in ("backward", "parameter gradient"):
        name = quantity.parameter.a[0] if quantity.parameter else quantity.value[0]
        other = quantity.parameter.b[0] if quantity.parameter else quantity.value[1]
        for side, (one, value) in enumerate(zip((step.a, step.b), (name, other), strict=True)):
            for stage in one.takers.get(value, ()):
                if stage in step.network.only[side] and step.own[side].has_gradient(stage):
                    yield f"only {step.names[side]} takes {value} in {_list([stage])}"


def _between(step: Inspected, side: int, chain: list[ProgramStage], stage: ProgramStage) -> str:
    only = _only(step, side)
    first = next((name for name in chain[0].inputs if name not in only), "")
    return f"between {first} and {stage.name}" if first else f"before {stage.name}"


def _only(step: Inspected, side: int) -> set[str]:
    return {output for stage in step.network.only[side] for output in stage.outputs}


def _before(step: Inspected, side: int, stage: ProgramStage) -> list[ProgramStage]:
    """The stages of one side alone that lead to a stage, in the order of execution."""
    own, only = (step.a, step.b)[side], step.network.only[side]
    found: list[ProgramStage] = []
    waiting = [stage]
    while waiting:
        one = waiting.pop()
        for name in (*one.inputs, *one.parameters.values()):
            producer = own.producer.get(name)
            if producer is not None and producer in only and producer not in found:
                found.append(producer)
                waiting.append(producer)
    return [one for one in own.network if one in found]


def _wiring(step: Inspected, pair: StageMatch) -> Iterator[str]:
    """Inputs that do not belong together."""
    for one, two in zip(pair.a.inputs, pair.b.inputs, strict=False):
        partner = step.network.values.get(one)
        if partner is not None and partner != two:
            yield f"{step.names[0]}'s takes {one}, {step.names[1]}'s takes {two}"


def _list(stages: list[ProgramStage]) -> str:
    return ", ".join(f"{stage.name} ({stage.layer})" for stage in stages)


def _inputs(step: Inspected, judged: Judged) -> Iterator[str]:
    """Rows in another order, indices that are off by one."""
    a, b = _values(step, judged)
    if a.shape != b.shape:
        return
    bases = [one.side.trace.index_base for one in (step.a, step.b)]
    if a.dtype.kind in "iu" and b.dtype.kind in "iu":
        gap = np.unique(b.astype(np.int64) - a)
        if len(gap) == 1:
            how = f"{step.names[1]}'s are {abs(int(gap[0]))} {'more' if gap[0] > 0 else 'less'}"
            counted = [
                f"{name} counts from {base}" for name, base in zip(step.names, bases, strict=True)
            ]
            yield f"indices are off by {abs(int(gap[0]))}: {how} ({', '.join(counted)})"
            return
        other = _renumbered(a, b)
        if other:
            shown = ", ".join(f"{y} where it is {x}" for x, y in other[:3])
            yield f"the same classes under other numbers: {step.names[1]} has {shown}" + (
                ", ..." if len(other) > 3 else ""
            )
            return
    rows = _row_order(a, b)
    if rows is not None and (rows != np.arange(len(rows))).any():
        first = int(np.flatnonzero(rows != np.arange(len(rows)))[0])
        yield (
            "the same rows in another order: "
            f"row {first + bases[0]} of {step.names[0]} is row {int(rows[first]) + bases[1]} of "
            f"{step.names[1]}"
        )


def _renumbered(a: NDArray, b: NDArray) -> list[tuple[int, int]]:
    """Which number of a is which of b, if each is always the same one, and several are others."""
    pairs = np.unique(np.stack([a.ravel(), b.ravel()]), axis=1).T
    there = [len(np.unique(pairs[:, column])) for column in (0, 1)]
    if len(pairs) < 2 or 2 * len(pairs) > a.size + 4 or there != [len(pairs), len(pairs)]:
        return []
    return [(int(x), int(y)) for x, y in pairs if x != y]


def _row_order(a: NDArray, b: NDArray) -> NDArray | None:
    """For each row of a its place in b, if both have the same rows."""
    if not a.ndim or len(a) < 2:
        return None
    places: dict[bytes, list[int]] = {}
    kind = min(a.dtype, b.dtype, key=lambda one: one.itemsize)  # to which both are rounded
    for at, row in enumerate(np.ascontiguousarray(b.astype(kind))):
        places.setdefault(row.tobytes(), []).append(at)
    found = []
    for row in np.ascontiguousarray(a.astype(kind)):
        there = places.get(row.tobytes())
        if not there:
            return None
        found.append(there.pop(0))
    return np.array(found)


def _draws(step: Inspected, judged: Judged) -> Iterator[str]:
    """Another draw of the other side, other draws altogether."""
    a, b = _values(step, judged)
    mine = judged.quantity.key_b
    keys = [key for key in step.b.arrays if key.startswith("draw/")]
    keys += [f"forward/{s.name}" for s in step.b.network if s.layer == "draw"]
    for key in keys:
        other = step.b.arrays.get(key)
        if (
            key != mine
            and other is not None
            and other.shape == a.shape
            and np.array_equal(a, other)
        ):
            name = key.partition("/")[2]
            yield (
                f"another order of draws: what {step.names[0]} draws in "
                f"{judged.quantity.value[0]}, {step.names[1]} draws in {name}"
            )
            return
    if a.shape == b.shape and np.array_equal(np.sort(a, None), np.sort(b, None)) and a.ndim:
        rows = _row_order(a, b)
        if rows is not None:
            yield "the same numbers in another order"
            return
    states = step.a.about.generator, step.b.about.generator
    if all(states):
        same = "the same state" if states[0] == states[1] else "different states"
        yield f"other random numbers; the generators were in {same} when the step began"
    else:
        yield "other random numbers: another seed, or something was drawn before"


def _clipped(step: Inspected, judged: Judged) -> Iterator[str]:
    """What was done to the gradients between backward and the update, on each side."""
    one = judged.quantity.parameter
    if one is None:
        return
    after = _values(step, judged)
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
    following = step.following
    for side, residual in enumerate(step.residuals(quantity)):
        own, name = step.own[side], quantity.value[side]
        if residual is None and quantity.passing == "forward":
            own = with_mask_of(step.own, side, quantity.stage)
            residual = None if own is step.own[side] else own.forward(name)
        if residual is None or residual.is_right:
            continue
        if quantity.passing in ("state", "parameter"):
            several = list(as_if_settings(own, quantity.passing, name, residual))[:3]
        elif quantity.passing in ("forward", "buffer", "backward", "parameter gradient"):
            later = None
            if following is not None:
                later = with_mask_of(following, side, quantity.stage)
            several = named_mistakes(own, quantity.passing, name, later)
        else:
            continue
        if several:
            then = "" if following is not None else f"step {step.a.about.step + 1}"
            yield f"{step.names[side]}: {joined(several, then)}"


def _related(step: Inspected, judged: Judged) -> Iterator[str]:
    a, b = _values(step, judged)
    rtol = judged.rtol or GIVEN_RTOL[step.precision]
    x, y = (torch.from_numpy(np.array(value, dtype=np.float64)) for value in (a, b))
    if judged.quantity.passing == "start" and (step.drift or judged.why.endswith("does not")):
        yield judged.why
        return
    if judged.quantity.passing == "start" and judged.quantity.parameter is not None:
        layout = find_layout(a, b)
        if layout is not None and layout != SAME_LAYOUT:
            yield f"{step.names[1]} has it {layout}"
            return
    if x.shape != y.shape:
        yield from shape_relation(step.names, x, y, rtol)
        return
    words = relation(step.names, x, y, _factors(step), rtol)
    yield from words
    few = int((x != y).sum())
    if (
        not words
        and judged.quantity.passing in ("start", "input", "draw")
        and 5 * few <= 2 * x.numel()
    ):
        yield f"{few:,} of {x.numel():,} numbers {'differs' if few == 1 else 'differ'}"
    elif not words and judged.quantity.passing == "start" and x.numel() > 1:
        yield (
            f"other numbers: standard deviation {float(x.std()):.3g} in {step.names[0]}, "
            f"{float(y.std()):.3g} in {step.names[1]}"
        )
    if not words and judged.quantity.passing in ("parameter gradient", "state"):
        yield from _of_before(step, judged, x, y)


def _of_before(step: Inspected, judged: Judged, x: torch.Tensor, y: torch.Tensor) -> Iterator[str]:
    """A gradient that still has the step before in it."""
    one = judged.quantity.parameter
    if step.before is None or one is None or judged.quantity.passing != "parameter gradient":
        return
    earlier = one.values(step.before[0].arrays, step.before[1].arrays, "gradient/{}")
    sides = ((0, y - x), (1, x - y))
    for side, difference in sides:
        last = earlier[1 - side]
        if last is None or last.shape != tuple(x.shape):
            continue
        added = -difference
        value = torch.from_numpy(np.array(last, dtype=np.float64))
        if float((added.abs() - value.abs()).abs().max()) <= 1e-3 * float(value.abs().max()):
            name = step.names[1 - side]
            yield f"{name} adds the gradient of the step before (is zero_grad missing?)"
            return


def _factors(step: Inspected) -> dict[str, float]:
    """Constants that a value is often off by."""
    found = {"1/2": 0.5, "255/256 (divided by 256 where it is 255)": 255 / 256, "1/255": 1 / 255}
    for stage in step.a.network:
        value = step.a.arrays.get(f"forward/{stage.name}")
        if stage.layer == "input" and value is not None and value.ndim and value.shape[0] > 1:
            found.setdefault(f"1/batch size (1/{value.shape[0]})", 1 / value.shape[0])
            break
    for stage in step.a.network:
        p = stage.options.get("p")
        if "dropout" in stage.layer and isinstance(p, float) and 0 < p < 1:
            found[f"(1 - p) = {1 - p:g} ({stage.name}'s 1/(1 - p) is missing)"] = 1 - p
    return found


def _rounding(step: Inspected, judged: Judged) -> Iterator[str]:
    """Where every bit was asked for: how far the last bits are apart."""
    a, b = _values(step, judged)
    if a.dtype.kind != "f" or a.shape != b.shape:
        return
    kind = "float64" if a.dtype == b.dtype == np.float64 else "float32"
    ulps = ulp_difference(a.astype(np.float64), b.astype(np.float64), kind)
    yield (
        f"rounding: {int((ulps > 0).sum()):,} of {ulps.size:,} elements differ, "
        f"by at most {int(ulps.max())} ULP"
    )
