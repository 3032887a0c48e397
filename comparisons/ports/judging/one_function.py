"""Whether both sides' stages are one function of the same values, though they are others."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from comparisons.ports.expected.recompute import recompute
from comparisons.ports.judging.alone.chains import Chains
from comparisons.ports.judging.inspected import Inspected
from comparisons.ports.judging.judged import GIVEN_RTOL
from comparisons.ports.judging.own import distance
from comparisons.ports.matching.matched import NetworkMatch, StageMatch, matched_outputs
from pyvae.trace.program import ProgramStage

__all__ = ["SAME", "Inputs", "OneFunction", "same_of_other_inputs", "without_pairs"]

Inputs = tuple[list[ProgramStage], list[ProgramStage]]  # both sides'
PARTED = ("forward", "parted")
FELT = 1e-6  # of the largest magnitude: what is more than rounding in float64
SAME_IN_FLOAT64 = 1e-12  # the same, of inputs in float64
ROUNDED = 0.5  # of the rule for inputs: by how much of itself a number of one may be off
MOVED = 3  # times that inputs are moved by this
FELT_BY = 100  # times what two results may differ by: what another input has to make of them
SAME = 1e-9  # relative, in float64: how near two ways to compute a value are
UNSEEN = 2.0**-25  # relative: less than half of a rounding in float32, as of an eps of 1e-8


def without_pairs(step: Inspected, pairs: list[StageMatch]) -> NetworkMatch:
    """The step's network with fewer pairs."""
    kept = tuple(pair for pair in step.network.pairs if pair not in pairs)
    paired = [{pair.a.name for pair in kept}, {pair.b.name for pair in kept}]
    only = [
        tuple(stage for stage in one.network if stage.name not in names)
        for one, names in zip((step.a, step.b), paired, strict=True)
    ]
    return NetworkMatch(kept, (only[0], only[1]))


class OneFunction:
    """Both sides' stages of a step, computed in float64 of the same values.

    Arguments:
        step: The step.
        names: Both sides' names of a quantity, by its key.
        can_part: Whether two stages may be no pair.
        same: How near two ways to compute a value are, relative to the largest magnitude.
    """

    def __init__(
        self,
        step: Inspected,
        names: Callable[[str], tuple[str, str]],
        can_part: Callable[[StageMatch], bool],
        same: float = SAME,
    ) -> None:
        self.step, self.names, self.can_part = step, names, can_part
        self.same = max(same, SAME if step.precision == "float64" else UNSEEN)

    def chains(self, pairs: list[StageMatch]) -> Iterator[tuple[Chains, Chains]]:
        """Both sides' stages, each for the second side's values, where some pairs are none: for
        those of all other pairs; and, as these are rounded, for those of modules alone."""
        a, b = self.step.a, self.step.b
        functions = [pair for pair in self.step.network.pairs if self.can_part(pair)]
        for left_out in (pairs, functions):
            network = without_pairs(self.step, left_out)
            first = Chains.of_both(a, b, network, list(self.step.parameters))[0]
            yield first, Chains.of_one(b, first.partners.values())

    def is_one(self, end: str, chains: tuple[Chains, Chains]) -> bool:
        """Whether both sides' stages return the same there, in float64.

        Arguments:
            end: The quantity's key.
            chains: One of those that `chains` yields.
        """
        x, y = (_returned(one, name) for one, name in zip(chains, self.names(end), strict=True))
        if x is None or y is None or x.size != y.size:
            return False
        largest = max(np.abs(x).max(initial=0), np.abs(y).max(initial=0))
        return distance(x.ravel(), y.ravel()) <= self.same * largest

    def is_felt(self, pair: StageMatch, ends: set[str], chains: tuple[Chains, Chains]) -> bool:
        """Whether what a pair returns otherwise is felt at the ends. If not, as where a mask hides
        it, that these agree says nothing of it."""
        for one in self.step.judged:
            if (one.quantity.stage, one.quantity.passing, one.verdict) != (pair, *PARTED):
                continue
            first, second = one.quantity.value
            a, b = self.step.a.value(first), self.step.b.value(second)
            for side, chain in enumerate(chains):
                name = one.quantity.value[side]
                value = chain.value(name) if side == 0 else b
                if value is None or a is None or b is None:
                    return False
                moved = {name: _moved(value, a, b)}
                names = [self.names(end)[side] for end in ends]
                pairs = [(_returned(chain, n), _returned(chain, n, moved)) for n in names]
                same = [x is not None and y is not None and np.array_equal(x, y) for x, y in pairs]
                if name not in names and all(same):
                    return False
        return True


def same_of_other_inputs(step: Inspected, inputs: Inputs) -> bool:
    """Whether both sides compute the same of inputs that are no pairs, for the second side's other
    values: what stages that belong together return, and the gradients that they hand back.

    Arguments:
        step: The step, without these pairs.
        inputs: The inputs of both sides.
    """
    first = step.chains[0]
    chains = first, Chains.of_one(step.b, first.partners.values())
    ends = _ends(step, inputs)
    allowed = max(GIVEN_RTOL[step.precision], SAME_IN_FLOAT64)
    for side, given in enumerate(inputs):
        there = [end[side] for end in ends]
        if not all(_is_felt(chains[side], there, one, FELT_BY * allowed) for one in given):
            return False
    moved = [_moved_inputs(step, chains, inputs, seed) for seed in range(MOVED)]
    for names in ends:
        if not _is_same(
            [[_returned(chain, name) for chain, name in zip(both, names, strict=True)]
             for both in (chains, *moved)],
            allowed,
        ):  # fmt: skip
            return False
        pair = step.network.partner.get(step.a.producer[names[0]].name)
        for one, two in () if pair is None else zip(pair.a.inputs, pair.b.inputs, strict=False):
            if step.network.values.get(one) != two or f"gradient/{one}" not in step.own[0].arrays:
                continue
            both_stages = (pair.a, pair.b) if pair else ()
            if not _is_same(
                [[chain.handed_back(name, own.loss, [stage])
                  for chain, name, own, stage in zip(
                      both, (one, two), step.own, both_stages, strict=True)]
                 for both in (chains, *moved)],
                allowed,
            ):  # fmt: skip
                return False
    for names, stages in _taken_on_the_way(step, inputs):
        handed = [
            [chain.handed_back(name, own.loss, taken)
             for chain, name, own, taken in zip(both, names, step.own, stages, strict=True)]
            for both in (chains, *moved)
        ]  # fmt: skip
        if not _is_same(handed, allowed):
            return False
    return bool(ends)


def _taken_on_the_way(
    step: Inspected, inputs: Inputs
) -> Iterator[tuple[tuple[str, str], tuple[list[ProgramStage], list[ProgramStage]]]]:
    """The values of both sides that belong together and have a gradient, of which stages that have
    no partner make something of these inputs, with these stages of both sides."""
    stages: tuple[list[ProgramStage], list[ProgramStage]] = ([], [])
    for side, partner in enumerate((step.network.partner, step.network.partner_of_b)):
        waiting = [name for stage in inputs[side] for name in stage.outputs]
        while waiting:
            for stage in step.own[side].step.takers.get(waiting.pop(), ()):
                if stage.name not in partner and stage not in stages[side]:
                    stages[side].append(stage)
                    waiting += stage.outputs
    for one in dict.fromkeys(name for stage in stages[0] for name in stage.inputs):
        two = step.network.values.get(one)
        if two is None or any(
            f"gradient/{name}" not in own.arrays
            for name, own in zip((one, two), step.own, strict=True)
        ):
            continue
        first, second = (
            [stage for stage in taken if name in stage.inputs]
            for taken, name in zip(stages, (one, two), strict=True)
        )
        if first and second:
            yield (one, two), (first, second)


def _moved_inputs(
    step: Inspected, chains: tuple[Chains, Chains], inputs: Inputs, seed: int
) -> tuple[Chains, Chains]:
    """The same, where each number of these inputs is off by what it may be rounded: all of them up,
    or each up or down."""
    random = np.random.default_rng(seed)
    found = []
    for side, chain in enumerate(chains):
        moved = Chains(chain.own, chain.other, chain.partners)
        for stage in inputs[side]:
            name = stage.outputs[0]
            value, given = chain.value(name), (step.a, step.b)[side].value(name)
            if value is not None and given is not None and given.dtype.kind == "f":
                signs = random.choice([-1.0, 1.0], value.shape) if seed else 1.0
                moved.known[name] = value * (1 + ROUNDED * GIVEN_RTOL[step.precision] * signs)
        found.append(moved)
    return found[0], found[1]


def _is_same(both: list[list[NDArray | None]], allowed: float) -> bool:
    """Whether two values are the same: as a whole, and row by row, column by column, up to what the
    roundings of the inputs make of each.

    Arguments:
        both: The two, then the same of inputs that are moved.
        allowed: The share of the largest number of all by which they may differ.
    """
    if not _are_same(both[0], allowed):
        return False
    x, y = (np.asarray(one, dtype=np.float64) for one in both[0])
    y = y.reshape(x.shape)
    changes = [np.zeros(x.shape)]
    for pair in both[1:]:
        for one, two in zip(pair, (x, y), strict=True):
            if one is None or one.size != two.size:
                return False
            changes.append(_distances(one.reshape(x.shape), two))
    change, apart = np.max(changes, axis=0), _distances(x, y)
    least = SAME_IN_FLOAT64 * max(np.abs(one[np.isfinite(one)]).max(initial=0) for one in (x, y))
    for axis in range(max(x.ndim, 1)):
        others = tuple(n for n in range(x.ndim) if n != axis)
        if (apart.max(axis=others) > change.max(axis=others) + least).any():
            return False
    return True


def _distances(x: NDArray, y: NDArray) -> NDArray:
    """How far the elements of two arrays are apart: not where both are NaN, or one infinity."""
    with np.errstate(invalid="ignore"):
        same = (x == y) | (np.isnan(x) & np.isnan(y))
        return np.where(same, 0.0, np.abs(x - y))


def _ends(step: Inspected, inputs: Inputs) -> set[tuple[str, str]]:
    """What stages that belong together return, or the loss, where the first of either side's comes
    after inputs that are no pairs."""
    found: set[tuple[str, str]] = set()
    losses = step.own[0].loss, step.own[1].loss
    for side, partner in enumerate((step.network.partner, step.network.partner_of_b)):
        waiting = [name for stage in inputs[side] for name in stage.outputs]
        seen = set(waiting)
        while waiting:
            name = waiting.pop()
            if name == losses[side]:
                found.add(losses)
            for stage in step.own[side].step.takers.get(name, ()):
                pair = partner.get(stage.name)
                if pair is not None:
                    found.update(matched_outputs(pair))
                else:
                    waiting += [one for one in stage.outputs if one not in seen]
                    seen.update(stage.outputs)
    return found


def _is_felt(chain: Chains, ends: list[str], stage: ProgramStage, least: float) -> bool:
    """Whether an input's numbers in another order make another result: if it is lost beside larger
    ones, that the results agree says nothing."""
    name = stage.outputs[0]
    value = chain.value(name)
    if value is None or not value.ndim:
        return False
    moved = {name: np.roll(value, 1)}
    both = [(_returned(chain, end), _returned(chain, end, moved)) for end in ends]
    return any(x is not None and y is not None and not _are_same((x, y), least) for x, y in both)


def _are_same(values: Sequence[NDArray | None], allowed: float) -> bool:
    x, y = values
    if x is None or y is None or x.size != y.size:
        return False
    largest = max(np.abs(x).max(initial=0), np.abs(y).max(initial=0))
    return distance(x.ravel(), y.ravel()) <= allowed * largest


def _moved(value: NDArray, a: NDArray, b: NDArray) -> NDArray:
    """A value with something added where two sides differ: of the size of their difference, if that
    is more than rounding."""
    value = value.astype(np.float64)
    if a.shape != b.shape or a.shape != value.shape:
        return value * 1.1 + 0.1
    far = np.nan_to_num(np.abs(a.astype(np.float64) - b.astype(np.float64)))
    far = np.where(far > 0, np.maximum(far, FELT * np.nan_to_num(np.abs(value)).max(initial=0)), 0)
    return value + far * np.random.default_rng(1).uniform(0.5, 1.5, far.shape)


def _returned(
    chains: Chains, name: str, moved: Mapping[str, NDArray] | None = None
) -> NDArray | None:
    """What the stage that returned a value makes of the other side's values, or where some are
    moved; None if that cannot be computed."""
    if moved:
        chains = Chains(chains.own, chains.other, chains.partners)
        chains.known.update(moved)
    stage = chains.own.producer.get(name)
    arrays = None if stage is None else chains.arrays(stage)
    if stage is None or arrays is None:
        return None
    found = recompute(stage, arrays, chains.own.side.trace.index_base)
    value = None if found is None else found.outputs.get(name)
    return None if value is None else value.numpy().astype(np.float64)
