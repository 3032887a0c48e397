"""Two recorded programs as one network: what both have, and what one side alone has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from comparisons.agreement.spread import Spread, spread_of
from comparisons.ports.judging.inspected import Inspected
from comparisons.ports.judging.judged import Judged, tolerance
from comparisons.ports.judging.quantities import PortQuantity
from comparisons.ports.matching.matched import NetworkMatch
from comparisons.ports.matching.parameters import in_one_order
from comparisons.ports.matching.results import with_results
from comparisons.ports.result import PortComparison
from comparisons.ports.side import RecordedStep
from comparisons.report.network.model import Entry, ShownNetwork, ShownStage
from pyvae.trace.program import ProgramStage

__all__ = ["network_of"]

COLUMN_OF = {
    "start": "start",
    "untrained": "start",
    "input": "forward",
    "draw": "forward",
    "forward": "forward",
    "loss": "forward",
    "backward": "backward",
    "parameter gradient": "gradient",
    "given gradient": "gradient",
    "state": "update",
    "parameter": "update",
    "buffer": "update",
}
LOSS, NO_STAGE = "loss", "parameters of no stage"


def network_of(found: PortComparison) -> ShownNetwork | None:
    """The step in which two programs first part, or of those that agree the one with the largest
    difference; None if nothing was compared."""
    if not found.judged:
        return None
    number = _step_of(found)
    a, b = (side.step(number) for side in found.sides)
    a, b = in_one_order(a, b, found.parameters)
    a, b, match = with_results(a, b, _network_of_step(found, number))
    inspected = Inspected(
        a, b, match, found.parameters, found.precision, tolerance(found.precision, found.exact)
    )
    merged = _Merged(inspected)
    judged = [one for one in found.judged if one.step == number]
    entries = [_entry(one) for one in judged]
    quantities = {id(entry): one.quantity for entry, one in zip(entries, judged, strict=True)}
    first = None
    if found.first is not None:
        at = next(i for i, one in enumerate(judged) if one is found.first.judged)
        first = entries[at]

    def spread(entry: Entry) -> Spread | None:
        return _spread(inspected, quantities[id(entry)], entry)

    return ShownNetwork(
        number, found.names, merged.stages(entries, quantities), entries, first,
        found.first.place if found.first else "", found.first.words if found.first else (),
        spread, _later(found, number),
    )  # fmt: skip


def _step_of(found: PortComparison) -> int:
    if found.first is not None:
        return found.first.judged.step
    return max(found.judged, key=lambda one: one.difference.needed).step


def _network_of_step(found: PortComparison, number: int) -> NetworkMatch:
    """The pair of networks that a step ran through: they are listed as they were first met."""

    def key(step: int) -> tuple[int, ...]:
        return tuple(side.trace.recorded(step).network for side in found.sides)

    met = list(dict.fromkeys(map(key, found.steps)))
    return found.networks[met.index(key(number))]


def _later(found: PortComparison, number: int) -> list[tuple[int, int, int]]:
    if found.first is None:
        return []
    counts = {step: [0, 0] for step in found.steps if step > number}
    for one in found.judged:
        if one.step in counts:
            counts[one.step][0] += 1
            counts[one.step][1] += one.verdict == "parted"
    return [(step, whole, off) for step, (whole, off) in counts.items()]


def _entry(one: Judged) -> Entry:
    difference, parted = one.difference, one.verdict == "parted"
    note = difference.problem or (one.why if one.verdict == "explained" else "")
    return Entry(
        COLUMN_OF[one.quantity.passing], one.quantity.key, not parted,
        "" if parted else one.verdict, difference.shape, difference.largest, difference.max_abs,
        difference.needed, one.rtol, note,
    )  # fmt: skip


def _spread(step: Inspected, quantity: PortQuantity, entry: Entry) -> Spread | None:
    a, b = step.values(quantity)
    if a is None or b is None:
        return None
    allowed = entry.allowed * entry.largest if np.isfinite(entry.largest) else 0.0
    base = step.a.side.trace.index_base
    return spread_of(a, b, allowed, quantity.parameter is not None, base)


class _Merged:
    """Both sides' stages in one order: the first side's, and between them those that the second
    side alone has."""

    def __init__(self, step: Inspected) -> None:
        self.step = step
        self.listed: list[tuple[ProgramStage | None, ProgramStage | None]] = []
        alone = _alone(step.b, step.network)
        self.listed += [(None, stage) for stage in alone.get("", ())]
        for stage in step.a.network:
            pair = step.network.partner.get(stage.name)
            self.listed.append((stage, pair.b if pair else None))
            if pair is not None:
                self.listed += [(None, other) for other in alone.get(pair.b.name, ())]
        self.place: tuple[dict[str, int], dict[str, int]] = ({}, {})
        for at, both in enumerate(self.listed):
            for side, one in enumerate(both):
                if one is not None:
                    self.place[side].update(dict.fromkeys(one.outputs, at))
                    self.place[side][one.name] = at

    def stages(
        self, entries: Sequence[Entry], quantities: Mapping[int, PortQuantity]
    ) -> list[ShownStage]:
        """The stages with their entries, and two more for what belongs to none."""
        loss, none = len(self.listed), len(self.listed) + 1
        of: dict[int, list[Entry]] = {}
        for entry in entries:
            quantity = quantities[id(entry)]
            place = loss if quantity.passing == "loss" else self._place_of(quantity)
            of.setdefault(none if place is None else place, []).append(entry)
        shown = [self._shown(at, of.get(at, ())) for at in range(len(self.listed))]
        if loss in of:
            last = max((at for at, stage in enumerate(shown) if stage.entries), default=None)
            inputs = () if last is None else (last,)
            shown.append(ShownStage(LOSS, "", inputs, tuple(of[loss])))
        if none in of:
            shown.append(ShownStage(NO_STAGE, "", (), tuple(of[none])))
        return shown

    def _shown(self, at: int, entries: Sequence[Entry]) -> ShownStage:
        a, b = self.listed[at]
        inputs = {
            self.place[side][name]
            for side, one in enumerate((a, b))
            for name in (() if one is None else (*one.inputs, *one.parameters.values()))
            if name in self.place[side]
        }
        only = other = ""
        if a is None or b is None:
            only = self.step.names[0 if b is None else 1]
        elif (a.name, a.layer) != (b.name, b.layer):
            layer = f" ({b.layer})" if b.layer else ""
            other = f"in {self.step.names[1]} {b.name}{layer}"
        stage = next(one for one in (a, b) if one is not None)
        return ShownStage(
            stage.name, stage.layer, tuple(sorted(i for i in inputs if i < at)), tuple(entries),
            other, only,
        )  # fmt: skip

    def _place_of(self, quantity: PortQuantity) -> int | None:
        """The stage that computes a quantity: of a gradient the one whose backward pass does."""
        if quantity.passing == "untrained":
            return self._without_gradients()
        if quantity.parameter is not None:
            for side, names in enumerate((quantity.parameter.a, quantity.parameter.b)):
                taken = [self._first_taker(side, name) for name in names]
                known = [at for at in taken if at is not None]
                if known:
                    return min(known)
            return None
        name = quantity.value[0]
        if quantity.passing == "backward":
            taker = self._first_taker(0, name, backward=True)
            if taker is not None:
                return taker
        return self.place[0].get(name)

    def _without_gradients(self) -> int | None:
        """The first input that a network may have computed which is not trained."""
        for at, both in enumerate(self.listed):
            if any(one is not None and one.options.get("without_gradients") for one in both):
                return at
        return None

    def _first_taker(self, side: int, name: str, backward: bool = False) -> int | None:
        step = (self.step.a, self.step.b)[side]
        own = self.step.own[side]
        takers = step.takers.get(step.side.own(name), ())
        places = [
            self.place[side][stage.name]
            for stage in takers
            if stage.name in self.place[side] and (not backward or own.has_gradient(stage))
        ]
        return min(places, default=None)


def _alone(step: RecordedStep, network: NetworkMatch) -> dict[str, list[ProgramStage]]:
    """The stages that the second side alone has, by the paired stage after which they come."""
    only = {stage.name for stage in network.only[1]}
    found: dict[str, list[ProgramStage]] = {}
    after = ""
    for stage in step.network:
        if stage.name in only:
            found.setdefault(after, []).append(stage)
        elif stage.name in network.partner_of_b:
            after = stage.name
    return found
