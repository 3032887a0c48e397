"""What two optimisers declare differently, with what all parameters and steps say of it."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice, pairwise

from comparisons.ports.judging.declared import optimiser_differences
from comparisons.ports.judging.inspected import Inspected
from comparisons.ports.judging.judge import settings_differences
from comparisons.ports.judging.own import Own
from comparisons.ports.judging.quantities import PortQuantity
from comparisons.ports.matching.parameters import ParameterMatch
from comparisons.ports.updates.parts import following, part_of
from comparisons.ports.updates.rates import schedule_difference
from comparisons.ports.updates.ways.fitted import fitted_rate, rate_factor
from comparisons.ports.updates.words import matched, parameters_of, those
from pyvae.trace.program import ProgramStep

__all__ = ["declared_words", "schedule_words"]

MOST = 100  # steps of a schedule


def declared_words(step: Inspected, quantity: PortQuantity) -> list[str]:
    """What the optimisers declare differently that has an effect on a quantity: of which parameters
    alone, and how two schedules differ.

    Arguments:
        step: The step, as far as it was judged.
        quantity: A parameter, or a state, after the step.
    """
    one = quantity.parameter
    found = settings_differences(step, quantity)
    if one is None:
        return found
    words = []
    for said in found:
        setting = said.removeprefix(f"{step.names[1]}: ")
        if setting.startswith("lr = "):
            how = _schedules(step, one)
            said += f": {how}" if how else ""
        words.append(said + _of_which(step, setting))
    return words


def _of_which(step: Inspected, setting: str) -> str:
    """Of which parameters it is said, if not of all."""
    trained = [
        one
        for one in step.parameters
        if one.kind == "parameter"
        and _rate(step.a.about, one.a[0]) is not None
        and _rate(step.b.about, one.b[0]) is not None
    ]
    have = [
        one for one in trained if setting in optimiser_differences(step.a.about, step.b.about, one)
    ]
    if len(have) in (0, len(trained)):
        return ""
    names = [name for one in have for name in matched(one, 0)]
    return f", of {those(names, parameters_of(step, 0))} alone"


def _schedules(step: Inspected, one: ParameterMatch) -> str:
    """How the declared learning rates of a parameter differ, over all recorded steps."""
    numbers = _numbers(step)
    rates = []
    for recorded, name in zip((step.a, step.b), (one.a[0], one.b[0]), strict=True):
        steps = {about.step: about for about in recorded.side.trace.steps}
        rates.append([_rate(steps[number], name) for number in numbers])
    return _difference(step.names, rates[0], rates[1])


def schedule_words(step: Inspected, side: int, one: ParameterMatch) -> str:
    """How the learning rates that a side's updates have differ from those that are declared on the
    other side.

    Arguments:
        step: The step, as far as it was judged.
        side: The side whose updates are not those of the rates that it declares.
        one: The parameter.
    """
    own, names = step.own[side], (one.a[0], one.b[0])
    numbers = _numbers(step)
    steps = [
        {about.step: about for about in recorded.side.trace.steps} for recorded in (step.a, step.b)
    ]
    declared = [[_rate(steps[i][n], names[i]) for n in numbers] for i in (0, 1)]
    found = {n: rate for n, rate in zip(numbers, declared[side], strict=True)
             if n < step.a.about.step}  # fmt: skip
    for later in (own, *islice(following(own), MOST)):
        found[later.step.about.step] = _effective(later, names[side])
    other = declared[1 - side]
    rates = [_beside(found.get(n), other) for n in numbers]
    there = (step.names[1 - side], step.names[side])
    return _difference(there, other, rates)


FITTED = 1e-4  # relative: how far a fitted rate may be from a declared one


def _beside(rate: float | None, declared: Sequence[float | None]) -> float | None:
    """A fitted rate, or the declared one that it stands for."""
    for one in declared:
        if rate is not None and one is not None and abs(rate - one) <= FITTED * abs(one):
            return one
    return rate


def _difference(
    names: tuple[str, str], a: Sequence[float | None], b: Sequence[float | None]
) -> str:
    known = [(x, y) for x, y in zip(a, b, strict=True) if x is not None and y is not None]
    if len(known) < len(a):
        return ""
    return schedule_difference(names, [x for x, _ in known], [y for _, y in known])


def _numbers(step: Inspected) -> list[int]:
    """The steps that both recorded of this optimiser, as far as none is left out."""
    both = []
    for one in (step.a, step.b):
        name = one.about.optimiser.name if one.about.optimiser is not None else ""
        both.append(
            {s.step for s in one.side.trace.steps if s.optimiser and s.optimiser.name == name}
        )
    numbers = sorted(both[0] & both[1])[:MOST]
    gaps = {later - earlier for earlier, later in pairwise(numbers)}
    return numbers if len(gaps) <= 1 else []


def _rate(step: ProgramStep, name: str) -> float | None:
    groups = step.optimiser.groups if step.optimiser is not None else ()
    rates = [group.settings.get("lr") for group in groups if name in group.parameters]
    return float(rates[0]) if rates and isinstance(rates[0], int | float) else None


def _effective(own: Own, name: str) -> float | None:
    part = part_of(own, name)
    factor = rate_factor(part) if part is not None else None
    return None if part is None or factor is None else fitted_rate(part, factor)
