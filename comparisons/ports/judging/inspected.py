"""One step of both sides, and what was found in it so far."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from comparisons.ports.expected.r_torch_bugs import known_bugs
from comparisons.ports.judging.alone.chains import Chains
from comparisons.ports.judging.judged import RTOL, Judged
from comparisons.ports.judging.own import Own, Residual, distance
from comparisons.ports.judging.quantities import PortQuantity
from comparisons.ports.judging.whole.effective import Effective
from comparisons.ports.matching.matched import NetworkMatch, count_rows
from comparisons.ports.matching.parameters import ParameterMatch
from comparisons.ports.matching.unit_axes import UnitAxes
from comparisons.ports.side import RecordedStep

__all__ = ["Inspected", "bugs_of"]

SAME_GRADIENT = 1e-9  # relative, in float64


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
        doubted: By parameter, what is to be said of a state that an earlier step left, under a name
            of the program's own, otherwise than it should have.
        followed: States, as PARAMETER.KEY by the first side's names, that earlier gradients give on
            both sides, from where these were the same.
        rounded: By input that was computed without gradients, what its difference needed in the
            first step that has it; all steps share it.
        untrained: The parameters that belong together of networks that are not trained, by their
            entries in the step's file.
        read_next: Reads the next recorded step of both sides; None if there is none.
        accepted: Differences of the libraries that the user accepts, by name.
        whole: What each side does to its gradients, if the whole step of both is known to be one
            function of the parameters.
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
    doubted: Mapping[str, str] = field(default_factory=dict)
    followed: Collection[str] = ()
    rounded: dict[str, float] = field(default_factory=dict)
    untrained: Sequence[ParameterMatch] = ()
    accepted: Collection[str] = ()
    whole: Effective | None = None

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
        self.unit_axes = UnitAxes(self.a, self.b, self.network, rtol)
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

    def takes(self, one: str, two: str) -> str:
        """Says that two stages that belong together take values that do not."""
        back = {theirs: mine for mine, theirs in self.network.values.items()}
        known = back.get(two, two)
        other = f", which is {self.names[0]}'s {known}" if known != two else ""
        return f"{self.names[0]}'s takes {one}, {self.names[1]}'s takes {two}{other}"

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

    @cached_property
    def may_miss(self) -> bool:
        """Whether NaN among other numbers may stand for those that are missing: it has not come
        into the loss."""
        losses = [one.arrays.get("loss/total") for one in (self.a, self.b)]
        return all(loss is not None and bool(np.isfinite(loss).all()) for loss in losses)

    @cached_property
    def has_one_gradient(self) -> bool:
        """Whether every parameter has the same gradient on both sides, computed in float64 of the
        same parameters and inputs: what a value gets on one side alone, such as the first call of a
        network, its parameters then get elsewhere on the other."""
        given = {
            name: partner
            for name, partner in self.chains[0].partners.items()
            if (maker := self.a.producer.get(name)) is None or maker.layer in ("input", "draw")
        }
        chains = (
            Chains.of_one(self.a, given),
            Chains(self.b, self.a, {two: one for one, two in given.items()}),
        )
        compared = self.whole is not None
        for one in () if compared else self.parameters:
            names = one.a[0], one.b[0]
            if one.kind != "parameter" or f"gradient/{names[0]}" not in self.a.arrays:
                continue
            if len(one.a) > 1 or len(one.b) > 1:
                return False
            try:
                x, y = (
                    chain.gradient(name, own.loss)
                    for chain, name, own in zip(chains, names, self.own, strict=True)
                )
            except RecursionError:  # of very deep networks
                return False
            if x is None or y is None or x.size != y.size:
                return False
            if distance(x.ravel(), y.ravel()) > SAME_GRADIENT * np.abs(x).max(initial=0):
                return False
            compared = True
        return compared

    @property
    def goes_its_own_way(self) -> bool:
        """Whether each side goes on from parameters of its own: the earlier steps left others, by
        what the user accepts."""
        return bool(self.accepted) and self.before is not None and not self.exact

    @property
    def exact(self) -> bool:
        return self.rtol == 0

    @property
    def names(self) -> tuple[str, str]:
        return self.a.side.name, self.b.side.name

    def values(self, quantity: PortQuantity) -> tuple[NDArray | None, NDArray | None]:
        """Both sides' values of a quantity, in the first side's order, indices counted from 0, in
        one shape where axes of one element have no effect; None for what is not recorded."""
        a, b = quantity.arrays(self.a, self.b)
        if a is None or b is None:
            return a, b
        if quantity.passing in ("input", "draw", "forward"):
            a, b = self.as_meant(quantity.value, (a, b))
        elif self.whole is not None and not self.whole.is_plain:
            a, b = self._as_they_count(quantity, (a, b), self.whole)
        if quantity.stage is None:
            return a, b
        return a, self.unit_axes.in_one_shape(quantity.value, a, b)

    def _as_they_count(
        self, quantity: PortQuantity, values: tuple[NDArray, NDArray], whole: Effective
    ) -> tuple[NDArray, NDArray]:
        """Both sides' values, with what each side does to its gradients before the update."""
        one, passing = quantity.parameter, quantity.passing
        if passing == "backward" or quantity.key.startswith("loss/backward."):
            return values[0] * whole.scales[0], values[1] * whole.scales[1]
        if quantity.key == "loss/total":
            starts: tuple[dict[str, NDArray], dict[str, NDArray]] = ({}, {})
            for match in self.parameters:
                both = match.values(self.a.arrays, self.b.arrays, "start/{}")
                for side, value in enumerate(both):
                    if value is not None:
                        starts[side][match.name] = value
            losses = (
                whole.loss(side, float(value.item()), starts[side])
                for side, value in enumerate(values)
            )
            return np.asarray(next(losses)), np.asarray(next(losses))
        if one is None or passing not in ("parameter gradient", "given gradient"):
            return values
        made = whole.gradient if passing == "parameter gradient" else whole.given
        start = one.values(self.a.arrays, self.b.arrays, "start/{}")
        if start[0] is None or start[1] is None:
            return values
        return made(0, one.name, values[0], start[0]), made(1, one.name, values[1], start[1])

    def as_meant(
        self, names: tuple[str, str], values: tuple[NDArray, NDArray]
    ) -> tuple[NDArray, NDArray]:
        """Both sides' values, indices counted from 0.

        Arguments:
            names: What they are called.
            values: The values, which need not be those that were recorded.
        """
        a, b = values
        bases = self.a.side.trace.index_base, self.b.side.trace.index_base
        if bases[0] == bases[1] or not count_rows(a, b):
            return a, b
        both = list(zip((self.a, self.b), names, strict=True))
        if not any(one.is_index(name) for one, name in both):
            return a, b
        # a side that adds 1, or subtracts it, before it takes an index may count it from elsewhere
        counted = all(one.is_index(name, as_it_is=True) for one, name in both)
        if not counted and a.shape == b.shape and np.array_equal(a, b):
            return a, b
        return a.astype("int64") - bases[0], b.astype("int64") - bases[1]

    def residuals(self, quantity: PortQuantity) -> tuple[Residual | None, Residual | None]:
        """How far each side's quantity is from what it should be for its own inputs."""
        first, second = (
            _residual(own, quantity, name)
            for own, name in zip(self.own, quantity.value, strict=True)
        )
        return first, second


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
