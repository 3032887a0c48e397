"""Which parameter or buffer of one program is which of the other, and how it is stored there."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from comparisons.ports.matching.layouts import SAME_LAYOUT, Layout, find_layout
from comparisons.ports.matching.matched import NetworkMatch, StageMatch, matched_outputs
from comparisons.ports.side import RecordedStep

__all__ = ["ParameterMatch", "in_one_order", "match_parameters", "settle_layouts"]


@dataclass(frozen=True)
class ParameterMatch:
    """A parameter or buffer that both sides have.

    Attributes:
        a, b: Its name on each side; several where one side keeps in one array what the other keeps
            in several.
        how: `name`, `role` (of stages that belong together), `value`, `layer` or `map`.
        layout: What brings the second side's array into the first side's order.
        join: Of several names, how they make up the one: `concatenated` or `added`.
        kind: `parameter` or `buffer`.
    """

    a: tuple[str, ...]
    b: tuple[str, ...]
    how: str
    layout: Layout = SAME_LAYOUT
    join: str = ""
    kind: str = "parameter"

    @property
    def name(self) -> str:
        return " + ".join(self.a)

    def values(
        self, a: Mapping[str, NDArray], b: Mapping[str, NDArray], key: str
    ) -> tuple[NDArray | None, NDArray | None]:
        """Both sides' arrays, in one order; None for what is not recorded.

        Arguments:
            a, b: The arrays of a step, in which single parameters are in one order already
                (`in_one_order`).
            key: What of the parameter, such as `start/{}` or `state/{}.exp_avg`.
        """
        one, two = self._joined(a, self.a, key), self._joined(b, self.b, key)
        if self.join and one is not None and two is not None:
            two = self.layout.apply(two, one.shape)
        return one, two

    def _joined(
        self, arrays: Mapping[str, NDArray], names: tuple[str, ...], key: str
    ) -> NDArray | None:
        parts = [arrays.get(key.format(name)) for name in names]
        there = [part for part in parts if part is not None]
        if len(there) < len(parts):
            return None
        if len(there) == 1:
            return there[0]
        if self.join == "concatenated":
            return np.concatenate(there) if there[0].ndim else there[0]
        # of arrays that are added, each has the gradient of the sum, and the state that follows
        if key.startswith(("start/", "parameter/")):
            return np.sum(there, axis=0)
        return there[0]


def match_parameters(
    a: RecordedStep,
    b: RecordedStep,
    network: NetworkMatch,
    names: Mapping[str, str] | None = None,
) -> list[ParameterMatch]:
    """Finds which parameters and buffers belong together, in the first side's order.

    Arguments:
        a, b: A step of both sides.
        network: Which stages belong together.
        names: The map that the user gave: names of the first side's, each with the second's.
    """
    return _Matcher(a, b, network, names or {}).match()


class _Matcher:
    def __init__(
        self, a: RecordedStep, b: RecordedStep, network: NetworkMatch, names: Mapping[str, str]
    ) -> None:
        self.a, self.b, self.network, self.names = a, b, network, names
        self.kinds = [
            {one.name: one.kind for one in step.side.trace.parameters if not one.same_as}
            for step in (a, b)
        ]
        self.found: dict[str, ParameterMatch] = {}
        self.taken: set[str] = set()

    def match(self) -> list[ParameterMatch]:
        self._one_bias()
        for how, pairs in (
            ("map", iter(self.names.items())),
            ("name", ((name, name) for name in self.kinds[0])),
            ("role", self._by_role()),
        ):
            for name, other in pairs:
                self._add(name, other, how)
        self._by_value()
        self._by_parts()
        self._by_layer()
        return sorted(self.found.values(), key=lambda one: list(self.kinds[0]).index(one.a[0]))

    def _add(self, name: str, other: str, how: str) -> None:
        kinds = self.kinds
        if name not in kinds[0] or other not in kinds[1]:
            return
        if name in self.found or other in self.taken or kinds[0][name] != kinds[1][other]:
            return
        x, y = self.a.arrays.get(f"start/{name}"), self.b.arrays.get(f"start/{other}")
        layout = SAME_LAYOUT
        if x is not None and y is not None:
            known = find_layout(x, y)
            if known is None and x.size != y.size and how == "role":
                return  # parts of it may be kept apart
            layout = known or SAME_LAYOUT
        self._keep(ParameterMatch((name,), (other,), how, layout, kind=kinds[0][name]))

    def _keep(self, match: ParameterMatch) -> None:
        for name in match.a:
            self.found[name] = match
        self.taken.update(match.b)

    def _one_bias(self) -> None:
        """A recurrent layer's one bias, which the other side has, and trains, as two that are
        added."""
        for pair in self.network.pairs:
            single = [bool(one.options.get("one_bias")) for one in (pair.a, pair.b)]
            if single[0] == single[1]:
                continue
            one, two = (pair.a, pair.b) if single[0] else (pair.b, pair.a)
            ours, theirs = (self.a, self.b) if single[0] else (self.b, self.a)
            for role, name in one.parameters.items():
                second = two.parameters.get(role.replace("bias_ih", "bias_hh"), "")
                if not role.startswith("bias_ih") or role not in two.parameters or not second:
                    continue
                names = theirs.side.own(two.parameters[role]), theirs.side.own(second)
                if any(f"parameter/{one}" not in theirs.arrays for one in names):
                    continue  # frozen
                whole = (ours.side.own(name),)
                a, b = (whole, names) if single[0] else (names, whole)
                self._keep(ParameterMatch(a, b, "role", SAME_LAYOUT, "added"))

    def _by_role(self) -> Iterator[tuple[str, str]]:
        for pair in self.network.pairs:
            for role, name in pair.a.parameters.items():
                if role in pair.b.parameters:
                    other = pair.b.parameters[role]
                    yield self.a.side.own(name), self.b.side.own(other)

    def _left(self) -> tuple[dict[str, NDArray], dict[str, NDArray]]:
        """The start values of what has no partner yet."""
        first = [name for name in self.kinds[0] if name not in self.found]
        second = [name for name in self.kinds[1] if name not in self.taken]
        return (
            {n: self.a.arrays[f"start/{n}"] for n in first if f"start/{n}" in self.a.arrays},
            {n: self.b.arrays[f"start/{n}"] for n in second if f"start/{n}" in self.b.arrays},
        )

    def _by_value(self) -> None:
        """Arrays whose numbers only one array of the other side has."""
        first, second = self._left()
        # a trace has Keras' gates in PyTorch's order, but those of a GRU that PyTorch has not
        keeps_gates = any(KERAS in step.side.trace.environment for step in (self.a, self.b))
        for name, value in first.items():
            if _is_constant(value):
                continue
            layouts = {
                other: layout
                for other, there in second.items()
                if other not in self.taken
                and self.kinds[0][name] == self.kinds[1][other]
                and (layout := find_layout(value, there)) is not None
                and not (layout.blocks and keeps_gates)
            }
            if len(layouts) == 1:
                ((other, layout),) = layouts.items()
                kind = self.kinds[0][name]
                self._keep(ParameterMatch((name,), (other,), "value", layout, kind=kind))

    def _by_parts(self) -> None:
        """Arrays that the other side keeps in several, within stages that belong together."""
        for pair in self.network.pairs:
            first = [self.a.side.own(name) for name in pair.a.parameters.values()]
            second = [self.b.side.own(name) for name in pair.b.parameters.values()]
            first = [name for name in first if name not in self.found]
            second = [name for name in second if name not in self.taken]
            for whole in second:
                self._find_parts(whole, first, reverse=False)
            for whole in first:
                self._find_parts(whole, second, reverse=True)

    def _by_layer(self) -> None:
        """Buffers of layers whose parameters belong together, that start as no other one of their
        layer does: running statistics that one side moves by hand."""
        trained = [one for one in self.found.values() if one.kind == "parameter"]
        layers = {(_layer(x), _layer(y)) for one in trained for x in one.a for y in one.b}
        first, second = (
            {name: value for name, value in left.items() if kinds[name] == "buffer"}
            for left, kinds in zip(self._left(), self.kinds, strict=True)
        )
        for layer, other in sorted(layers):
            mine, theirs = _of_layer(first, layer), _of_layer(second, other)
            for name, value in mine.items():
                alike = [n for n, there in theirs.items() if _starts_alike(value, there)]
                own = [n for n, there in mine.items() if _starts_alike(value, there)]
                if len(alike) == len(own) == 1 and name not in self.found:
                    self._keep(ParameterMatch((name,), (alike[0],), "layer", kind="buffer"))

    def _find_parts(self, whole: str, parts: list[str], reverse: bool) -> None:
        """Finds two or three arrays of a stage that, put together, are one of the other side's."""
        ours, theirs = (self.b, self.a) if reverse else (self.a, self.b)
        value = theirs.arrays.get(f"start/{whole}")
        if value is None or whole in (self.found if reverse else self.taken):
            return
        for count in (2, 3):
            for start in range(len(parts) - count + 1):
                names = tuple(parts[start : start + count])
                if any(name in (self.taken if reverse else self.found) for name in names):
                    continue
                there = [ours.arrays.get(f"start/{name}") for name in names]
                for join, layout in _joins([x for x in there if x is not None], value, reverse):
                    a, b = ((whole,), names) if reverse else (names, (whole,))
                    self._keep(ParameterMatch(a, b, "value", layout, join))
                    return


def _joins(parts: list[NDArray], whole: NDArray, reverse: bool) -> Iterator[tuple[str, Layout]]:
    """How parts make up a whole: one after the other, or added."""
    if len(parts) < 2 or any(x.shape[1:] != parts[0].shape[1:] or not x.ndim for x in parts):
        return
    together = np.concatenate(parts)
    pair = (whole, together) if reverse else (together, whole)
    layout = find_layout(*pair)
    if layout is not None:
        yield "concatenated", layout
    if all(x.shape == parts[0].shape for x in parts):
        total = np.sum(parts, axis=0)
        layout = find_layout(*((whole, total) if reverse else (total, whole)))
        if layout is not None:
            yield "added", layout


def _layer(name: str) -> str:
    return name.rpartition(".")[0]


def _of_layer(arrays: Mapping[str, NDArray], layer: str) -> dict[str, NDArray]:
    return {name: value for name, value in arrays.items() if _layer(name) == layer}


def _starts_alike(a: NDArray, b: NDArray) -> bool:
    return a.shape == b.shape and np.array_equal(a, b)


def _is_constant(value: NDArray) -> bool:
    return value.size == 0 or bool((value == value.flat[0]).all())


TORCH = ("pytorch", "r-torch")
KERAS = "keras"
OF_PARAMETER = ("start", "gradient", "given", "before", "state", "parameter", "buffer")


class Turned(Mapping[str, NDArray]):
    """Arrays of which some are brought into another order when they are asked for."""

    def __init__(
        self, arrays: Mapping[str, NDArray], turns: Mapping[str, Callable[[NDArray], NDArray]]
    ) -> None:
        self.arrays, self.turns = arrays, turns

    def __getitem__(self, key: str) -> NDArray:
        value = self.arrays[key]
        return self.turns[key](value) if key in self.turns else value

    def __iter__(self) -> Iterator[str]:
        return iter(self.arrays)

    def __len__(self) -> int:
        return len(self.arrays)

    def __contains__(self, key: object) -> bool:
        return key in self.arrays


def in_one_order(
    a: RecordedStep, b: RecordedStep, found: Sequence[ParameterMatch]
) -> tuple[RecordedStep, RecordedStep]:
    """Brings parameters that are stored another way, and all that belongs to them, into PyTorch's
    order: the first side's, unless only the second side is PyTorch's or R torch's."""
    odd = [one for one in found if one.layout != SAME_LAYOUT and not one.join]
    if not odd:
        return a, b
    engines = [step.side.trace.engine in TORCH for step in (a, b)]
    turn_a = engines == [False, True]
    turned = a if turn_a else b
    shapes = {one.name: one.shape for one in (b if turn_a else a).side.trace.parameters}
    turns: dict[str, Callable[[NDArray], NDArray]] = {}
    for one in odd:
        name = one.a[0] if turn_a else one.b[0]
        shape = shapes[one.b[0] if turn_a else one.a[0]]
        turn = partial(one.layout.undo if turn_a else one.layout.apply, shape=shape)
        for key in turned.arrays:
            kind, _, rest = key.partition("/")
            of_it = rest == name or (
                kind in ("before", "state") and rest.rpartition(".")[0] == name
            )
            if kind in OF_PARAMETER and of_it:
                turns[key] = turn
    turned = replace(turned, arrays=Turned(turned.arrays, turns))
    return (turned, b) if turn_a else (a, turned)


def settle_layouts(
    a: RecordedStep,
    b: RecordedStep,
    network: NetworkMatch,
    found: list[ParameterMatch],
    rtol: float,
) -> list[ParameterMatch]:
    """Tells parameters that are stored another way from those that are wrong.

    A square kernel that is transposed may be either. Where both arrays have one shape, another
    layout is believed only if what the stages return with it agrees; if no stage tells, if the
    parameters after the step are again each other's in that layout.
    """
    return [
        replace(one, layout=SAME_LAYOUT)
        if _is_doubtful(a, b, one) and not _is_borne_out(a, b, network, one, rtol)
        else one
        for one in found
    ]


def _is_doubtful(a: RecordedStep, b: RecordedStep, one: ParameterMatch) -> bool:
    if one.layout == SAME_LAYOUT or one.join:
        return False
    shapes = [step.arrays[f"start/{names[0]}"].shape for step, names in ((a, one.a), (b, one.b))]
    return shapes[0] == shapes[1]


def _is_borne_out(
    a: RecordedStep, b: RecordedStep, network: NetworkMatch, one: ParameterMatch, rtol: float
) -> bool:
    told = False
    for pair in network.pairs:
        if one.a[0] not in pair.a.parameters.values():
            continue
        for first, second in matched_outputs(pair):
            values = [s.arrays.get(f"forward/{n}") for s, n in ((a, first), (b, second))]
            if values[0] is not None and values[1] is not None:
                if _near(values[0], values[1], rtol):
                    told = True
                elif _given_the_same(a, b, pair, rtol):
                    return False
    if told:
        return True
    plain = replace(one, layout=SAME_LAYOUT).values(a.arrays, b.arrays, "gradient/{}")
    a, b = in_one_order(a, b, [one])
    turned = one.values(a.arrays, b.arrays, "gradient/{}")
    if all(x is not None for x in (*plain, *turned)):  # the two had parted before that stage
        return _apart(*turned) < _apart(*plain)
    after = one.values(a.arrays, b.arrays, "parameter/{}")
    return after[0] is not None and after[1] is not None and _near(after[0], after[1], rtol)


def _given_the_same(a: RecordedStep, b: RecordedStep, pair: StageMatch, rtol: float) -> bool:
    """Whether two stages take the same numbers: only then what they return tells something."""
    values = [(a.value(x), b.value(y)) for x, y in zip(pair.a.inputs, pair.b.inputs, strict=False)]
    return all(x is not None and y is not None and _near(x, y, rtol) for x, y in values)


def _apart(a: NDArray | None, b: NDArray | None) -> float:
    if a is None or b is None or a.shape != b.shape:
        return np.inf
    return float(np.linalg.norm((a.astype(np.float64) - b).ravel()))


def _near(a: NDArray, b: NDArray, rtol: float) -> bool:
    if a.shape != b.shape:
        return False
    largest = max(float(np.abs(x).max(initial=0)) for x in (a, b))
    return float(np.abs(a.astype(np.float64) - b).max(initial=0)) <= rtol * largest
