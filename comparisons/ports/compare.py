"""Two recorded programs, held against each other step by step."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from comparisons.agreement.tolerances import RULES
from comparisons.ports.judging.alone.parameters import states_that_follow
from comparisons.ports.judging.another_way import judge_another_way
from comparisons.ports.judging.declared import optimiser_differences, stages_declared
from comparisons.ports.judging.inspected import Inspected
from comparisons.ports.judging.judge import judge_step
from comparisons.ports.judging.judged import Judged, precision_of, tolerance
from comparisons.ports.judging.other_masks import FILLS
from comparisons.ports.judging.whole.words import whole_hints
from comparisons.ports.judging.why.accepted import check_accepted, how_to_accept
from comparisons.ports.judging.within.unrecorded import unrecorded_hint
from comparisons.ports.matching.matched import NetworkMatch, StageMatch
from comparisons.ports.matching.names import check_names, read_names
from comparisons.ports.matching.parameters import (
    ParameterMatch,
    in_one_order,
    match_parameters,
    settle_layouts,
)
from comparisons.ports.matching.parts import together
from comparisons.ports.matching.results import with_results, without_results
from comparisons.ports.matching.stacked import stacked
from comparisons.ports.matching.stages import match_stages
from comparisons.ports.notes import notes, padding_hints, parts_hints, precision_hint, states_kept
from comparisons.ports.place import find_first_part
from comparisons.ports.result import FirstPart, PortComparison
from comparisons.ports.side import Overlaid, RecordedStep, Side, load_sides
from comparisons.ports.teachers.pairs import match_untrained
from comparisons.ports.updates.hooks import hooked
from pyvae.errors import UserError
from pyvae.trace.program import ProgramTrace

__all__ = ["compare_programs"]

GIVEN = ("input", "draw", "loss")  # any two programs have them

Given = ProgramTrace | Path | str


def compare_programs(
    a: Given,
    b: Given,
    names: Mapping[str, str] | Path | str | None = None,
    exact: bool = False,
    progress: Callable[[int, int], object] | None = None,
    accept: Iterable[str] = (),
) -> PortComparison:
    """Compares two recorded programs, whoever wrote them, and finds where they first part.

    Stages and parameters are matched by name, else by order, layer and shape, or by value. What
    both have is compared in the order of computation: what a step starts from, its inputs and
    draws, the forward pass, the loss, gradients, the optimiser's state, parameters and buffers.

    Arguments:
        a: A recorded program, or its folder.
        b: The other one.
        names: A map of names that do not belong together by themselves (the first side's, each with
            the second's), or a CSV file with columns a and b.
        exact: Every bit has to be equal.
        progress: Called with the number of steps done and their total.
        accept: What the two libraries may do otherwise, and a faithful port may have:
            `running-variance` (Keras' moving variance is of the biased variance), `adam-eps`
            (Keras adds it before the bias correction), `rmsprop-eps` (Keras adds it inside the
            square root). Each side still has to return what its own library makes of its own
            numbers.

    Raises:
        UserError: If one cannot be read, the map names what is not there, what is accepted is not
            known, or the two have nothing in common.

    Example:
        >>> found = compare_programs("python", "r")  # doctest: +SKIP
        >>> found.verdict  # doctest: +SKIP
        'part at step 1, features.1 (batch_norm2d), forward'
    """
    sides = load_sides(a, b)
    given = read_names(Path(names)) if isinstance(names, (str, Path)) else dict(names or {})
    check_names(given, *sides)
    accepted = check_accepted(accept, exact)
    return _Comparer(sides, given, exact, accepted).compare(progress or (lambda done, total: None))


class _Comparer:
    def __init__(
        self,
        sides: tuple[Side, Side],
        names: Mapping[str, str],
        exact: bool,
        accepted: Collection[str],
    ) -> None:
        self.sides, self.names, self.exact, self.accepted = sides, names, exact, accepted
        self.networks: dict[tuple[int, int], NetworkMatch] = {}  # as they were judged last
        self.matched: dict[tuple[int, int], NetworkMatch] = {}
        self.sizes: dict[tuple[int, int], tuple[tuple[int, ...], ...]] = {}
        self.parameters: list[ParameterMatch] | None = None
        self.untrained: list[ParameterMatch] = []
        self.judged: list[Judged] = []
        self.by_network: dict[tuple[int, int], tuple[NetworkMatch, list[str]]] = {}
        self.fills: list[str] = []
        self.declared: list[str] = []
        self.kept: dict[str, str] = {}
        self.doubted: dict[str, str] = {}
        self.followed: set[str] = set()
        self.rounded: dict[str, float] = {}
        self.earlier: list[tuple[RecordedStep, RecordedStep]] = []
        self.lacking = [0, 0]
        self.first_lacking = ["", ""]
        self.first: FirstPart | None = None
        self.other_ways: list[StageMatch] = []
        self.hints: dict[str, str] = {}
        self.precision = "float64"

    def compare(self, progress: Callable[[int, int], object]) -> PortComparison:
        numbers = [{one.step for one in side.trace.steps} for side in self.sides]
        steps = sorted(numbers[0] & numbers[1])
        if not steps:
            raise UserError(
                f"{self.sides[0].name} and {self.sides[1].name} have no recorded step in common",
                "record the same steps of both",
            )
        before: Inspected | None = None
        for done, number in enumerate(steps):
            progress(done, len(steps))
            following = steps[done + 1] if done + 1 < len(steps) else None
            before = self._step(number, before, following)
        progress(len(steps), len(steps))
        computed = any(one.quantity.passing not in GIVEN for one in self.judged)
        if not computed and (any(self.lacking) or not self.judged):
            raise UserError(
                f"{self.sides[0].name} and {self.sides[1].name} have nothing in common: no stage "
                "and no parameter of one is found in the other",
                "say with --map names.csv what belongs together",
            )
        bits = self.exact and self.first is not None
        declared = [words for _, found in self.by_network.values() for words in found]
        declared += [*self.fills, *self.declared, *self.kept.values()]
        parted = " ".join(self.first.words) if self.first is not None else ""
        if self.first is not None:
            for name in ("hooks", "without gradients", "factor", "weight decay"):
                self.hints.pop(name, None)  # what agreed until then
        hints = self.hints.values() if "padding_mode" not in parted else ()
        said = [*hints, *notes(self.sides, steps, bits, self.other_ways)]
        if self.first is not None and not self.exact:
            said += how_to_accept(self.first.words)
        return PortComparison(
            self.sides, tuple(steps), list(self.networks.values()), self.parameters or [],
            self.judged, (self.lacking[0], self.lacking[1]), self.first, self.exact, self.precision,
            list(dict.fromkeys(declared)), said,
            self.other_ways, (self.first_lacking[0], self.first_lacking[1]),
        )  # fmt: skip

    def _step(self, number: int, before: Inspected | None, following: int | None) -> Inspected:
        a, b = stacked(*together(*(side.step(number) for side in self.sides)))
        precision = precision_of((a, b))
        if RANK.index(precision) < RANK.index(self.precision):
            self.precision = precision
        key = a.about.network, b.about.network
        if self.sizes.get(key) != (a.parts, b.parts):
            self.matched[key] = self.networks[key] = match_stages(a, b, self.names)
            self.sizes[key] = a.parts, b.parts
        network = self.matched[key]
        if self.parameters is None:
            found = match_parameters(a, b, network, self.names)
            self.parameters = settle_layouts(a, b, network, found, tolerance(precision, False))
            self.untrained = match_untrained(*self.sides, self.parameters)
        a, b = in_one_order(a, b, self.parameters)
        a, b, network = with_results(a, b, network)
        follows = before is not None and before.a.about.step == number - 1
        step = Inspected(
            a, b, network, self.parameters, precision, tolerance(precision, self.exact),
            self._earlier(before) if before is not None and follows else None,
            0.0 if self.exact or before is None or follows else _drift(precision),
            read_next=lambda: None if following is None else self._read(following),
            doubted=dict(self.doubted), followed=self.followed if follows else (),
            rounded=self.rounded, untrained=self.untrained, accepted=self.accepted,
        )  # fmt: skip
        self.declared += settings_declared(step)
        if self.first is None:
            for one, kept, words in states_kept(step):
                self.kept.setdefault(kept, words)
                self.doubted.setdefault(one.name, words)
            if any(own.has_own_states for own in step.own):
                self.followed = states_that_follow(
                    step.own, step.parameters, step.rtol, step.followed
                )
        for name, words in (*padding_hints(step), *precision_hint(step), *parts_hints(step)):
            self.hints.setdefault(name, words)
        first = judge_step(step, parted=self.first is not None)
        if first is not None and self.first is None:
            step, first, other_ways = judge_another_way(step, first)
            network = without_results(step.network)
            if step.whole is not None:  # that is asked for in each step
                self.networks[key] = network
            elif all(pair.a.layer not in GIVEN for pair in other_ways):  # and so is what is given
                self.networks[key] = self.matched[key] = network
            self.other_ways += [pair for pair in other_ways if pair not in self.other_ways]
            fills = [pair for pair in other_ways if pair.a.layer in FILLS]
            self.fills += stages_declared(fills, step.a, step.b)
            if first is not None:
                self.first = find_first_part(step, first)
        network = self.networks[key]
        if key not in self.by_network or self.by_network[key][0] is not network:
            self.by_network[key] = network, list(stages_declared(network.pairs, step.a, step.b))
        for name, words in (*hooked(step), *unrecorded_hint(step), *whole_hints(step)):
            self.hints.setdefault(name, words)
        self.judged += step.judged
        self._count_lacking(step)
        return step

    def _read(self, number: int) -> tuple[RecordedStep, RecordedStep]:
        """A step of both sides, its parameters in the order of the first side's."""
        a, b = stacked(*together(*(side.step(number) for side in self.sides)))
        return in_one_order(a, b, self.parameters or [])

    def _earlier(self, before: Inspected) -> tuple[RecordedStep, RecordedStep]:
        """The step before, with what only earlier ones recorded: several optimisers take turns."""
        self.earlier = [*self.earlier, (before.a, before.b)][-MOST_OPTIMISERS:]
        if self.earlier[0][0].about.step != before.a.about.step - len(self.earlier) + 1:
            self.earlier = [(before.a, before.b)]  # steps between were not recorded
        sides = []
        for side, newest in enumerate((before.a, before.b)):
            arrays = self.earlier[0][side].arrays
            for pair in self.earlier[1:]:
                arrays = Overlaid(arrays, pair[side].arrays)
            sides.append(replace(newest, arrays=arrays))
        return sides[0], sides[1]

    def _count_lacking(self, step: Inspected) -> None:
        """Counts the recorded values that have no partner."""
        for side, recorded in enumerate((step.a, step.b)):
            used = set()
            for one in step.judged:
                key = (one.quantity.key, one.quantity.key_b)[side]
                used.update(key.split(" + "))
            kinds = ("forward/", "gradient/", "loss/", "parameter/", "buffer/", "state/", "draw/")
            values = {key for key in recorded.arrays if key.startswith(kinds)}
            self.lacking[side] += len(values - used)
            self.first_lacking[side] = self.first_lacking[side] or min(values - used, default="")


MOST_OPTIMISERS = 8  # whose steps take turns
RANK = ("float16", "float32", "float64")


def _drift(precision: str) -> float:
    """What two runs that go their own ways may have drifted apart by."""
    return RULES["float64" if precision == "float64" else "float32"]["parameter"].rtol


def settings_declared(step: Inspected) -> Iterator[str]:
    """What the optimisers of a step declare differently, of any parameter."""
    optimiser = step.a.about.optimiser
    for one in step.parameters:
        for words in optimiser_differences(step.a.about, step.b.about, one):
            yield f"{optimiser.name if optimiser else ''}: {words}"
