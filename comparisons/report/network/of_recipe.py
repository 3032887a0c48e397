"""A recipe's network, as two engines computed it in the step in which they first part."""

from __future__ import annotations

from collections.abc import Container, Sequence

from comparisons.agreement.spread import Spread
from comparisons.agreement.stage import StageAgreement
from comparisons.diagnosis.first_divergence import AFTER, Divergence
from comparisons.report.network.model import Entry, ShownNetwork, ShownStage
from comparisons.steps.comparison import TINY, Comparison
from pyvae.model.stages import Stage
from pyvae.recipes import get_recipe

__all__ = ["network_of"]

NO_STAGE = "parameters of no stage"


def network_of(comparison: Comparison) -> ShownNetwork | None:
    """The step in which the two first part, or of those that agree the one with the largest
    difference relative to what is allowed; None if no stages were compared."""
    found = comparison.divergence
    agreements = _step_of(comparison.stages, found)
    if not agreements:
        return None
    stages = get_recipe(comparison.under_test.recipe).stages
    place = {stage.name: at for at, stage in enumerate(stages)}
    of: dict[int, list[Entry]] = {}
    order = []
    first = None
    for agreement in agreements:
        entry = _entry(agreement, place)
        order.append(entry)
        is_first = found is not None and agreement is found.agreement
        first = entry if is_first else first
        stage = found.stages[0] if found and is_first and len(found.stages) == 1 else ""
        at = place.get(stage, _place_of(agreement, stages, place))
        of.setdefault(len(stages) if at is None else at, []).append(entry)
    shown = [
        ShownStage(
            stage.name, stage.layer, tuple(sorted(place[name] for name in stage.inputs)),
            tuple(of.get(at, ())),
        )
        for at, stage in enumerate(stages)
    ]  # fmt: skip
    if len(stages) in of:
        shown.append(ShownStage(NO_STAGE, "", (), tuple(of[len(stages)])))
    if found is not None and found.passing == AFTER:
        first = _entry(found.agreement)
        order.append(first)
        shown.append(ShownStage(found.stage, AFTER, (), (first,)))
    spreads = found.spreads if found is not None else {}

    def spread(entry: Entry) -> Spread | None:
        return spreads.get(entry.key)

    return ShownNetwork(
        agreements[0].step, (comparison.under_test.engine, comparison.reference.engine), shown,
        order, first, found.sentence() if found and first else "",
        found.words if found and first else (), spread, _later(comparison, agreements[0].step),
    )  # fmt: skip


def _step_of(
    agreements: Sequence[StageAgreement], found: Divergence | None
) -> Sequence[StageAgreement]:
    """The agreements of one step: of the step where the two part as it was inspected for that."""
    steps: list[list[StageAgreement]] = []
    keys: set[str] = set()
    for one in agreements:
        if not steps or steps[-1][0].step != one.step or one.quantity.key in keys:
            steps.append([])
            keys = set()
        steps[-1].append(one)
        keys.add(one.quantity.key)
    for step in steps:
        if found is not None and any(one is found.agreement for one in step):
            return step
    worst = [max(_badness(one) for one in step) for step in steps]
    return steps[worst.index(max(worst))] if steps else ()


def _badness(one: StageAgreement) -> float:
    return float("inf") if one.problem else one.required_rtol / (one.rtol or TINY)


def _later(comparison: Comparison, number: int) -> list[tuple[int, int, int]]:
    if comparison.divergence is None:
        return []
    counts: dict[int, list[int]] = {}
    for one in comparison.stages:
        if one.step > number:
            count = counts.setdefault(one.step, [0, 0])
            count[0] += 1
            count[1] += not one.agrees
    return [(step, whole, off) for step, (whole, off) in sorted(counts.items())]


def _entry(one: StageAgreement, known: Container[str] = ()) -> Entry:
    verdict = "equal" if one.raw_max_abs == 0 else "explained" if one.explained else "within"
    return Entry(
        _column(one, known), one.quantity.key, one.agrees, verdict if one.agrees else "", one.shape,
        one.largest, one.max_abs, one.required_rtol, one.rtol, one.problem or one.explained,
    )  # fmt: skip


def _column(one: StageAgreement, known: Container[str]) -> str:
    key, passing = one.quantity.key, one.quantity.passing
    if key.startswith("buffer/"):
        return "update"
    if passing == "backward":
        return passing if one.quantity.name in known else "gradient"
    return passing if passing in ("start", "forward") else "update"


def _place_of(one: StageAgreement, stages: Sequence[Stage], place: dict[str, int]) -> int | None:
    """The stage that computes a quantity, or to which a parameter belongs."""
    quantity = one.quantity
    by = [place[name] for name in quantity.computed_by if name in place]
    if by:
        return min(by)
    if quantity.name in place:
        return place[quantity.name]
    module = quantity.name.rpartition(".")[0]
    return next((at for at, stage in enumerate(stages) if stage.path == module), None)
