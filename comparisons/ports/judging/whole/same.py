"""Whether both sides' steps are one function of the parameters, though their stages are others.

A mean of what a layer returns is what the layer returns for the mean; a network may be called once
for all rows, or for some of them at a time; a derivative may be taken by `torch.autograd.grad`, or
written out. Stages that have no like then stand beside each other, and so do values that are no
pairs. But the loss, and the gradient of every parameter, are the same numbers for whatever
parameters: both sides' stages are computed in float64, one after the other, for the parameters as
they are and for others. Numbers that are the same by chance, as those of a bias of zero, are not
any more then.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from comparisons.ports.judging.inspected import Inspected
from comparisons.ports.judging.judged import EPSILON
from comparisons.ports.judging.one_function import SAME
from comparisons.ports.judging.own import Own, distance
from comparisons.ports.judging.whole.both import functions_of
from comparisons.ports.judging.whole.effective import Effective, find_effective
from comparisons.ports.judging.whole.function import Evaluated
from comparisons.ports.matching.layouts import SAME_LAYOUT
from comparisons.ports.matching.parameters import ParameterMatch

__all__ = ["UPDATED", "SameStep", "end_alike", "same_step"]

MOVED = (0.0, 0.1, 0.03, 0.01)  # of a parameter's own size: by how much, in turn
SMALL = 0.2  # of these, where a parameter is zero
LEAST = 3  # of these at which both are finite: a logarithm may not be
BESIDE = 1e-4  # of what a number may be off by: how little of the largest one
ROUGH = 1e-5  # how near the two are at least, if it is for roundings that they differ
ROUNDINGS = 4  # times that inputs are rounded once more
ROOM = 10  # times what that makes of a number, which may be little by chance
UPDATED = ("given gradient", "state", "parameter")
UNSEEN_ROUNDINGS = 64  # of what backward leaves, where a part of it was not seen
COARSE = ("bfloat16", "float16", "half")


class SameStep:
    """Both sides' steps, which are one function of the parameters.

    Arguments:
        step: The step.
        parameters: Those that have a gradient on both sides.
        effective: What is done to the gradients.
    """

    def __init__(
        self, step: Inspected, parameters: list[ParameterMatch], effective: Effective
    ) -> None:
        self.step, self.parameters, self.effective = step, parameters, effective
        self.functions = functions_of(step)

    def holds(self) -> bool:
        """Whether it is true."""
        return (
            all(one.can_be_computed for one in self.functions)
            and all(self._is_what_was_recorded(side) for side in (0, 1))
            and self._are_same()
        )

    def _are_same(self) -> bool:
        found = []
        for seed in range(len(MOVED)):
            found.append(self._is_same(seed))
            if found[-1] is False or found[0] is None:
                return False
        return sum(one is True for one in found) >= LEAST

    def _is_what_was_recorded(self, side: int) -> bool:
        """Whether a side's stages give the loss and the gradients that it recorded: nothing else
        has come into them."""
        own = self.step.own[side]
        starts = {n: own.step.arrays[f"start/{n}"] for one in self.parameters
                  for n in (one.a, one.b)[side]}  # fmt: skip
        found = self.functions[side].as_recorded().at(starts)
        total = own.step.arrays.get("loss/total")
        if found is None or total is None:
            return False
        rtol = self.step.rtol
        if self.functions[side].stand_ins:  # it was taken to be what the other side has
            rtol = min(rtol, UNSEEN_ROUNDINGS * EPSILON[self.step.precision])
        if abs(found.loss - total.item()) > rtol * abs(found.loss):
            return False
        return all(
            _is_near(own, n, value, own.step.arrays[f"gradient/{n}"], rtol)
            for n, value in found.gradients.items()
        )

    def end_alike(self, one: str, two: str) -> bool:
        """Whether what is computed from two values, one of each side, ends in the same numbers: as
        the last state of a loop, which nothing takes any more."""
        names = [self.functions[0].last_of(one), self.functions[1].last_of(two)]
        if not all(names) or len(names[0]) != len(names[1]):
            return False
        for seed in range(len(MOVED)):
            both = [
                function.values_at(given, ends)
                for function, given, ends in zip(
                    self.functions, self.starts(seed), names, strict=True
                )
            ]
            if both[0] is None or both[1] is None:
                return False
            if not seed and not all(map(self._are_recorded, (0, 1), names, both)):
                return False
            left = list(both[1])
            for x in both[0]:
                at = next((n for n, y in enumerate(left) if _are_equal(x, y)), None)
                if at is None:
                    return False
                left.pop(at)
        return True

    def _are_recorded(self, side: int, names: list[str], values: list[NDArray] | None) -> bool:
        """Whether a side has recorded values as they should be."""
        for name, value in zip(names, values or [], strict=True):
            recorded = self.step.own[side].step.value(name)
            if recorded is None or recorded.size != value.size:
                return False
            x, y = recorded.ravel().astype(np.float64), value.ravel().astype(np.float64)
            if distance(x, y) > self.step.rtol * float(np.abs(y).max(initial=0)):
                return False
        return True

    def _is_same(self, seed: int) -> bool | None:
        """Whether both sides give the same for one set of parameters: the first side's own ones, or
        others; None if neither can be computed there."""
        starts = self.starts(seed)
        values = self._at(starts)
        if values[0] is None or values[1] is None:
            return None if values[0] is values[1] else False
        if any(x.size != y.size for x, y in zip(values[0], values[1], strict=True)):
            return False
        largest = max(float(np.abs(x).max(initial=0)) for x in values[0][1:])
        pairs = [
            (x.ravel(), y.ravel(), SAME * BESIDE * largest * bool(at))
            for at, (x, y) in enumerate(zip(values[0], values[1], strict=True))
        ]
        if all(_are_near(x, y, SAME, beside) for x, y, beside in pairs):
            return True
        if not all(_are_near(x, y, ROUGH, beside + ROUGH * largest) for x, y, beside in pairs):
            return False
        room = self._of_roundings(starts, (values[0], values[1]))
        return room is not None and all(
            _are_near(x, y, SAME, beside + more)
            for (x, y, beside), more in zip(pairs, room, strict=True)
        )

    def _at(
        self, starts: Sequence[Mapping[str, NDArray]], rounded: int = 0
    ) -> list[list[NDArray] | None]:
        """The loss and all gradients of both sides, as they count; None where they cannot be
        computed.

        Arguments:
            starts: The parameters of both.
            rounded: As of a `StepFunction`.
        """
        functions = [one.rounding(rounded) if rounded else one for one in self.functions]
        found = [one.at(given) for one, given in zip(functions, starts, strict=True)]
        return [
            None if one is None else self._values(side, one, starts[side])
            for side, one in enumerate(found)
        ]

    def _of_roundings(
        self,
        starts: Sequence[Mapping[str, NDArray]],
        values: tuple[list[NDArray], list[NDArray]],
    ) -> list[NDArray] | None:
        """What the roundings of inputs make of the difference of each number: the rows of a matrix
        that add up to 1 do so up to these, and so does what rests on it. What differs for another
        reason is hardly moved by them."""

        def apart(pair: Sequence[list[NDArray]]) -> list[NDArray]:
            return [x.ravel() - y.ravel() for x, y in zip(*pair, strict=True)]

        here = apart(values)
        most = [np.zeros(one.shape) for one in here]
        for seed in range(1, ROUNDINGS + 1):
            first, second = self._at(starts, seed)
            if first is None or second is None:
                return None
            for at, one in enumerate(apart((first, second))):
                most[at] = np.maximum(most[at], np.abs(one - here[at]))
        return [ROOM * one for one in most]

    def _values(self, side: int, found: Evaluated, given: Mapping[str, NDArray]) -> list[NDArray]:
        """The loss and all gradients, as they count."""
        starts: dict[str, NDArray] = {}
        gradients: dict[str, NDArray] = {}
        for one in self.parameters:
            for kind, arrays in ((starts, given), (gradients, found.gradients)):
                both = (arrays, {}) if side == 0 else ({}, arrays)
                value = one.values(*both, "{}")[side]
                if value is None:
                    raise ValueError(one.name)
                kind[one.name] = value
        loss = np.asarray(self.effective.loss(side, found.loss, starts))
        return [
            loss,
            *(self.effective.gradient(side, n, gradients[n], starts[n]) for n in gradients),
        ]

    def starts(self, seed: int) -> tuple[dict[str, NDArray], dict[str, NDArray]]:
        """Parameters of both sides, by their names: the first side's own for 0, or others."""
        random = np.random.default_rng(seed)
        found: tuple[dict[str, NDArray], dict[str, NDArray]] = ({}, {})
        for one in self.parameters:
            for name in one.a:
                value = self.step.a.arrays[f"start/{name}"].astype(np.float64)
                size = float(np.sqrt((value**2).mean())) or SMALL
                found[0][name] = value + MOVED[seed] * size * random.standard_normal(value.shape)
            parts = [found[0][name] for name in one.a]
            whole = (
                np.sum(parts, axis=0)
                if one.join == "added"
                else np.concatenate([part.ravel() for part in parts])
            )
            there = {name: self.step.b.arrays[f"start/{name}"] for name in one.b}
            found[1].update(_parts(one, whole, there))
        return found


def _parts(
    one: ParameterMatch, whole: NDArray, there: Mapping[str, NDArray]
) -> Mapping[str, NDArray]:
    """What the second side's arrays of a parameter are for what the first side's make; as they were
    where that is not known.

    Arguments:
        one: The parameter.
        whole: What the first side's arrays make.
        there: The second side's arrays, by name.
    """
    if one.join and one.layout != SAME_LAYOUT:
        return there
    if one.join == "added":
        first, *others = there
        rest = np.sum([there[name] for name in others], axis=0) if others else 0.0
        return {**there, first: (whole - rest).reshape(there[first].shape)}
    if whole.size != sum(value.size for value in there.values()):
        return there
    at, found = 0, {}
    for name, value in there.items():
        found[name] = whole.ravel()[at : at + value.size].reshape(value.shape)
        at += value.size
    return found


def end_alike(step: Inspected, one: str, two: str) -> bool:
    """Whether what is computed from two values, one of each side, ends in the same numbers, where
    it does not lead to the loss."""
    both = SameStep(step, _with_gradients(step), Effective())
    if any(
        function.leads_to_loss(n) for function, n in zip(both.functions, (one, two), strict=True)
    ):
        return False
    return both.end_alike(one, two)


def same_step(step: Inspected) -> Effective | None:
    """Whether both sides' steps are one function of the parameters, but for what each does to its
    gradients before the update.

    Arguments:
        step: The step, as far as it was judged.

    Returns:
        What each does; None if the steps are none, or it cannot be told.
    """
    parameters = _with_gradients(step)
    if not parameters or step.exact or step.precision == "float16" or _rounds(step):
        return None
    plain = Effective()
    other = find_effective(step.own, parameters, step.precision)
    for effective in (other, plain) if _updates_differ(step) else (plain, other):
        if effective is None:
            continue
        if not step.goes_its_own_way and not _may_be(step, parameters, effective):
            continue
        if SameStep(step, parameters, effective).holds():
            return effective
    return None


def _updates_differ(step: Inspected) -> bool:
    """Whether the gradients are the same, and what is done to them is not."""
    first = next((one for one in step.judged if one.verdict == "parted"), None)
    return first is not None and first.quantity.passing in UPDATED


def _with_gradients(step: Inspected) -> list[ParameterMatch]:
    """The parameters that have a gradient on both sides; none if one side alone has another."""
    found = []
    for one in step.parameters:
        there = [
            all(f"{kind}/{n}" in own.step.arrays for n in names for kind in ("gradient", "start"))
            for own, names in zip(step.own, (one.a, one.b), strict=True)
        ]
        if one.kind != "parameter" or not any(there):
            continue
        if not all(there):
            return []
        found.append(one)
    return found


def _rounds(step: Inspected) -> bool:
    """Whether a side takes numbers to a coarser type on the way, which a formula in float64 does
    not see."""
    return any(
        stage.layer == "to" and stage.options.get("dtype") in COARSE
        for own in step.own
        for stage in own.step.network
    )


def _may_be(step: Inspected, parameters: list[ParameterMatch], effective: Effective) -> bool:
    """Whether the recorded loss and gradients, as they count, agree: if not, there is nothing to
    compute."""
    starts: list[dict[str, NDArray]] = [{}, {}]
    pairs = []
    for one in parameters:
        gradients, values = (
            one.values(step.a.arrays, step.b.arrays, f"{kind}/{{}}")
            for kind in ("gradient", "start")
        )
        both = []
        for side, (gradient, start) in enumerate(zip(gradients, values, strict=True)):
            if gradient is None or start is None:
                return False
            starts[side][one.name] = start
            both.append(effective.gradient(side, one.name, gradient, start))
        pairs.append((one, both[0], both[1]))
    losses = []
    for side, own in enumerate(step.own):
        total = own.step.arrays.get("loss/total")
        if total is None:
            return False
        losses.append(effective.loss(side, float(total.item()), starts[side]))
    if abs(losses[0] - losses[1]) > 2 * step.rtol * max(map(abs, losses)):
        return False
    return all(x.size == y.size and _agree(step, effective, one, x, y) for one, x, y in pairs)


def _agree(
    step: Inspected, effective: Effective, one: ParameterMatch, x: NDArray, y: NDArray
) -> bool:
    """Whether a parameter's gradients, as they count, agree: of each side's sums may be left what
    rounding makes of them."""
    apart = distance(x.ravel(), y.ravel())
    if apart <= 2 * step.rtol * float(np.abs(x).max(initial=0)):
        return True
    rooms = [
        abs(scale) * _of_sums(own, names[0])
        for scale, own, names in zip(effective.scales, step.own, (one.a, one.b), strict=True)
    ]
    return apart <= sum(rooms)


def _is_near(own: Own, name: str, value: NDArray, recorded: NDArray, rtol: float) -> bool:
    """Whether a parameter's gradient was recorded as it should be."""
    if value.size != recorded.size:
        return False
    apart = distance(value.ravel(), recorded.astype(np.float64).ravel())
    return apart <= rtol * float(np.abs(value).max(initial=0)) or apart <= _of_sums(own, name)


def _of_sums(own: Own, name: str) -> float:
    """What rounding may make of a parameter's gradient, which may be a sum that cancels: of a bias
    before a batch norm nothing is left but that."""
    residual = own.backward(name)
    return residual.allowed if residual is not None and residual.is_right else 0.0


def _are_equal(x: NDArray, y: NDArray) -> bool:
    if x.size != y.size:
        return False
    largest = float(np.abs(x).max(initial=0))
    return distance(x.ravel().astype(np.float64), y.ravel().astype(np.float64)) <= SAME * largest


def _are_near(x: NDArray, y: NDArray, same: float, beside: NDArray | float) -> bool:
    """Whether numbers are near each other, each by its own size."""
    size = np.maximum(np.abs(x), np.abs(y))
    with np.errstate(invalid="ignore"):
        return bool((np.abs(x - y) <= same * size + beside).all())
