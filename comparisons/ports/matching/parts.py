"""A batch that one side takes in several parts, one after the other, as where gradients accumulate.

Where one program calls `backward` on the whole batch, and the other one on each of its parts, no
value of one is a value of the other; the parts put together are. So the stages of the parts are
made one: their rows stand one after the other, each with its gradient, and what a layer returns for
them is what it returns for the whole batch, unless it mixes rows, as a batch norm does. A number
that is the mean, or the sum, of rows is the mean, or the sum, of what the parts have. What is
neither stays as it is, for each part by itself, and takes its rows of what was put together.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from comparisons.ports.expected.recompute import recompute
from comparisons.ports.matching.stages import family
from comparisons.ports.side import RecordedStep
from pyvae.trace.program import ProgramStage

__all__ = ["OVER_PARTS", "together"]

OVER_PARTS = "over the parts"  # names of stages that no program has called
OUTSIDE = ("input", "draw")
OF_STAGES = ("forward", "gradient", "draw")
SHAPES = ("view", "expand", "repeat", "zeros", "ones", "full", "randn", "rand")
ROUNDED = {2: 1e-2, 4: 1e-5, 8: 1e-12}  # how near a mean is to one of means, by a number's bytes


def together(a: RecordedStep, b: RecordedStep) -> tuple[RecordedStep, RecordedStep]:
    """Makes the parts of a batch one where the two sides do not take as many.

    Arguments:
        a, b: A step of both sides.

    Returns:
        The two, each as it was where there is nothing to be put together.
    """
    found = [_parts(one) for one in (a, b)]
    if len(found[0]) == len(found[1]) and _given(a, found[0]) == _given(b, found[1]):
        return a, b
    sides = []
    for step, parts, other, others in ((a, found[0], b, found[1]), (b, found[1], a, found[0])):
        joined: RecordedStep | None = step
        if len(parts) > 1:
            joined = _Joined(step, parts, other, others).step()
            joined = joined or _Joined(step, parts, other, others, numbers=False).step()
        if joined is None:
            return a, b
        sides.append(joined)
    return sides[0], sides[1]


Part = list[ProgramStage]


def _parts(step: RecordedStep) -> list[Part]:
    """The stages that lead to each `backward`, if they are the same calls for each; else none."""
    losses = [key for key in step.arrays if key.startswith("loss/backward.")]
    if len(losses) < 2:
        return []
    group = {stage.name: stage.name for stage in step.network}

    def root(name: str) -> str:
        while group[name] != name:
            name = group[name]
        return name

    for stage in step.network:
        for name in (*stage.inputs, *stage.parameters.values()):
            before = step.producer.get(name)
            if before is not None and before.layer != "input":
                group[root(stage.name)] = root(before.name)
    takers = {s.name: {root(t.name) for t in step.takers.get(s.name, ())} for s in step.network}
    found: dict[str, Part] = {}
    for stage in step.network:
        one = root(stage.name)
        if stage.layer == "input":
            if len(takers[stage.name]) != 1:
                continue  # all parts take it
            one = next(iter(takers[stage.name]))
        found.setdefault(one, []).append(stage)
    parts = list(found.values())
    if len(parts) != len(losses) or len({tuple(map(_called, part)) for part in parts}) > 1:
        return []
    return parts if any(stage.parameters for stage in parts[0]) else []


def _given(step: RecordedStep, parts: list[Part]) -> list[list[int]]:
    """How many numbers each part is given: as many in other layouts are no other rows."""
    return [
        sorted(
            value.size
            for stage in part
            if stage.layer in OUTSIDE
            and (value := step.arrays.get(f"forward/{stage.name}")) is not None
        )
        for part in parts
    ]


def _put_together(
    step: RecordedStep, parts: list[Part]
) -> Iterator[tuple[tuple[int, ...], str, int, list[int]]]:
    """The shapes that what the parts are given may have, put together: each with its kind of
    number, the axis, and the rows of each part. Those of a step that has none, as they are."""
    for calls in zip(*(parts or [list(step.network)]), strict=True):
        values = [step.arrays.get(f"forward/{one.name}") for one in calls]
        there = [value for value in values if value is not None and value.ndim]
        if calls[0].layer not in OUTSIDE or len(there) < len(calls):
            continue
        shape, kind = there[0].shape, there[0].dtype.kind
        for axis in range(len(shape)):
            if _may_follow(there, axis):
                rows = [value.shape[axis] for value in there]
                yield (*shape[:axis], sum(rows), *shape[axis + 1 :]), kind, axis, rows


def _called(stage: ProgramStage) -> tuple[str, str]:
    return stage.name.partition("#")[0], stage.layer


@dataclass
class _Whole:
    """What the parts' values of one name make, put together: `rows` one after the other along an
    axis, the `same` in each, their `mean` or their `sum`."""

    how: str
    axis: int = 0


@dataclass
class _Joined:
    """The parts of a step, put together.

    Arguments:
        own: The step.
        parts: The stages of each part.
        other, others: The other side's step, and its parts.
        numbers: Whether numbers are put together, too, if they can be; not all may be.
    """

    own: RecordedStep
    parts: list[Part]
    other: RecordedStep
    others: list[Part]
    numbers: bool = True
    arrays: dict[str, NDArray] = field(default_factory=dict)
    stages: list[ProgramStage] = field(default_factory=list)
    known: dict[str, _Whole] = field(default_factory=dict)
    first: dict[str, str] = field(default_factory=dict)  # the first part's name of a value
    cut: dict[str, list[str]] = field(default_factory=dict)  # rows of each part, by the whole
    alone: set[str] = field(default_factory=set)  # stages that the other side has no like of
    axis: int = 0
    rows: list[int] = field(default_factory=list)
    theirs: list[int] = field(default_factory=list)  # the other side's rows, of each part

    def step(self) -> RecordedStep | None:
        """The step with its parts put together; None if they are no parts of a batch."""
        if not self._find_rows():
            return None
        mine = {stage.name for part in self.parts for stage in part}
        self.stages = [stage for stage in self.own.network if stage.name not in mine]
        self.known = {name: _Whole("same") for stage in self.stages for name in stage.outputs}
        for name in self.known:
            self._keep(name, name)
        for calls in zip(*self.parts, strict=True):
            if not self._join(calls) and not self._leave(calls):
                return None
        if not self._add_up():
            return None
        gone = {
            key
            for key in self.own.arrays
            if key.startswith("loss/backward.")
            or (key.partition("/")[0] in OF_STAGES and self._is_of_parts(key, mine))
        }
        arrays = _Changed(self.own.arrays, self.arrays, gone)
        return replace(
            self.own, network=tuple(self.stages), arrays=arrays, parts=tuple(self.rows),
            alone=frozenset(self.alone),
        )  # fmt: skip

    def _is_of_parts(self, key: str, mine: set[str]) -> bool:
        name = key.partition("/")[2]
        producer = self.own.producer.get(name)
        return name in mine or (producer is not None and producer.name in mine)

    def _keep(self, name: str, new: str) -> None:
        for kind in OF_STAGES:
            value = self.own.arrays.get(f"{kind}/{name}")
            if value is not None:
                self.arrays[f"{kind}/{new}"] = value

    def _find_rows(self) -> bool:
        """Whether what the other side is given is as long as the parts together, and along which
        axis."""
        there = {(*found,): rows for *found, _, rows in _put_together(self.other, self.others)}
        for *found, axis, rows in _put_together(self.own, self.parts):
            if tuple(found) in there:
                self.axis, self.rows, self.theirs = axis, rows, there[tuple(found)]
                return True
        return False

    def _join(self, calls: Sequence[ProgramStage]) -> bool:
        """Makes one stage of a call of each part; False if it cannot be one."""
        first = calls[0]
        given = [tuple(self.known.get(name) for name in self._taken(one)) for one in calls]
        if first.layer not in OUTSIDE and any(
            whole is None and name in self.own.producer
            for one, wholes in zip(calls, given, strict=True)
            for name, whole in zip(self._taken(one), wholes, strict=True)
        ):
            return False
        if len({len(one.outputs) for one in calls}) > 1:
            return False
        options = self._options(calls)
        if options is None:
            return False
        stage = replace(
            first, options=options,
            inputs=tuple(self._name(name) for name in first.inputs),
            parameters={role: self._name(name) for role, name in first.parameters.items()},
        )  # fmt: skip
        found = {}
        for names in zip(*(one.outputs for one in calls), strict=True):
            whole = self._whole(stage, names)
            if whole is None:
                return False
            found[names] = whole
        for names, whole in found.items():
            for name in names:
                self.known[name] = whole
                self.first[name] = names[0]
            self._put(names, whole)
        self._put_mask(calls, next(iter(found.values())))
        self.stages.append(stage)
        return True

    def _taken(self, stage: ProgramStage) -> tuple[str, ...]:
        return (*stage.inputs, *stage.parameters.values())

    def _name(self, name: str) -> str:
        return self.first.get(name, name)

    def _options(self, calls: Sequence[ProgramStage]) -> Mapping[str, object] | None:
        """The options of a call for all rows: a shape that has a part's rows has all."""
        found = dict(calls[0].options)
        for name, value in found.items():
            values = [one.options.get(name) for one in calls]
            if isinstance(value, list | tuple) and family(calls[0].layer) in SHAPES:
                sizes = [list(one) for one in values if isinstance(one, list | tuple)]
                at = self.axis if self.axis < len(value) else 0
                if len(sizes) == len(calls) and len({len(one) for one in sizes}) == 1 and value:
                    times = {one[at] / rows for one, rows in zip(sizes, self.rows, strict=True)}
                    if len(times) == 1 and times.copy().pop() > 0:
                        size = list(value)
                        size[at] = sum(one[at] for one in sizes)
                        found[name] = size
                        continue
            if any(one != value for one in values):
                return None
        return found

    def _whole(self, stage: ProgramStage, names: Sequence[str]) -> _Whole | None:
        values = [self.own.arrays.get(f"forward/{name}") for name in names]
        there = [value for value in values if value is not None]
        if len(there) < len(values):
            return None
        if all(value.size == 1 for value in there):
            return self._number(stage, names[0], there)
        same = all(np.array_equal(value, there[0], equal_nan=True) for value in there)
        axis = self._axis(stage, there)
        if same and (axis is None or self._is_there(stage, there[0].shape)):
            return _Whole("same")
        return None if axis is None else _Whole("rows", axis)

    def _is_there(self, stage: ProgramStage, shape: tuple[int, ...]) -> bool:
        """Whether a stage of the other side returns what has a shape."""
        return any(
            value.shape == shape
            for one in self.other.network
            if family(one.layer) == family(stage.layer)
            for name in one.outputs
            if (value := self.other.arrays.get(f"forward/{name}")) is not None
        )

    def _axis(self, stage: ProgramStage, values: Sequence[NDArray]) -> int | None:
        """Along which axis the rows of each part stand."""
        axes = [self.axis, *(n for n in range(values[0].ndim) if n != self.axis)]
        found = [
            axis
            for axis in axes
            if _may_follow(values, axis) and [value.shape[axis] for value in values] == self.rows
        ]
        for axis in found:  # of several, one that the other side's rows stand along
            shape = list(values[0].shape)
            shape[axis] = self.theirs[0]
            if self._is_there(stage, tuple(shape)):
                return axis
        if found:
            return found[0]
        if not values[0].ndim or not _may_follow(values, 0):
            return None
        times = {len(value) / rows for value, rows in zip(values, self.rows, strict=True)}
        if len(times) > 1 or not float(times.copy().pop()).is_integer():
            return None
        if family(stage.layer) == "view":  # rows of rows stay in their order
            before = self.arrays.get(f"forward/{stage.inputs[0]}") if stage.inputs else None
            joined = np.concatenate(values)
            if before is None or not np.array_equal(before.ravel(), joined.ravel(), equal_nan=True):
                return None
        return 0

    def _number(self, stage: ProgramStage, name: str, values: Sequence[NDArray]) -> _Whole | None:
        """Whether a number of all rows is the mean of what the parts have, or their sum."""
        numbers = [float(value.item()) for value in values]
        if stage.layer in OUTSIDE:
            return _Whole("same") if len(set(numbers)) == 1 else None
        if not self.numbers:
            return None
        arrays = dict(self.arrays)
        for one in (*stage.inputs, *stage.parameters.values()):
            if f"forward/{one}" not in arrays and f"start/{one}" in self.own.arrays:
                arrays[f"start/{one}"] = self.own.arrays[f"start/{one}"]
        arrays[f"forward/{name}"] = values[0]
        found = recompute(stage, arrays, self.own.side.trace.index_base)
        if found is None or name not in found.outputs:
            return None
        expected = float(found.outputs[name].item())
        allowed = ROUNDED.get(values[0].dtype.itemsize, 0.0)
        allowed *= max(map(abs, (*numbers, expected)))
        if len(set(self.rows)) == 1 and abs(float(np.mean(numbers)) - expected) <= allowed:
            return _Whole("mean")
        return _Whole("sum") if abs(float(np.sum(numbers)) - expected) <= allowed else None

    def _put(self, names: Sequence[str], whole: _Whole) -> None:
        values = [self.own.arrays[f"forward/{name}"] for name in names]
        self.arrays[f"forward/{names[0]}"] = _made_one(values, whole)
        slopes = [self.own.arrays.get(f"gradient/{name}") for name in names]
        there = [one for one in slopes if one is not None]
        if len(there) == len(slopes):
            # a mean moves by a part of what each number does, and what is one by all of them
            how = {"mean": "sum", "same": "sum", "sum": "mean"}.get(whole.how, whole.how)
            self.arrays[f"gradient/{names[0]}"] = _made_one(there, _Whole(how, whole.axis))

    def _put_mask(self, calls: Sequence[ProgramStage], whole: _Whole) -> None:
        masks = [self.own.arrays.get(f"draw/{one.name}") for one in calls]
        there = [one for one in masks if one is not None]
        if len(there) == len(masks) and whole.how == "rows" and _may_follow(there, whole.axis):
            self.arrays[f"draw/{calls[0].name}"] = np.concatenate(there, whole.axis)

    def _leave(self, calls: Sequence[ProgramStage]) -> bool:
        """Leaves a call of each part as it is, with its rows of what was put together; False if
        they are not known any more."""
        for at, stage in enumerate(calls):
            new = {}
            for name in self._taken(stage):
                whole = self.known.get(name)
                if whole is not None and whole.how in ("mean", "sum"):
                    return False
                if whole is not None and name in self.first:
                    new[name] = self._rows_of(self.first[name], name, at, whole)
            inputs = tuple(new.get(name, name) for name in stage.inputs)
            roles = {role: new.get(name, name) for role, name in stage.parameters.items()}
            self.stages.append(replace(stage, inputs=inputs, parameters=roles))
            self.alone.add(stage.name)
            for name in stage.outputs:
                self._keep(name, name)
            self._keep(stage.name, stage.name)
        return True

    def _rows_of(self, first: str, name: str, at: int, whole: _Whole) -> str:
        """The name of a part's rows of a value that was put together."""
        if whole.how == "same":
            return first
        if first not in self.cut:
            names = [f"{first} ({n} of {len(self.parts)})" for n in range(1, len(self.parts) + 1)]
            sizes = [one.shape[whole.axis] for one in self._each(first)]
            options = {"split_size": sizes, "dim": whole.axis}
            cut = f"{first} {OVER_PARTS}"
            self.stages.append(
                ProgramStage(cut, "split_with_sizes", (first,), options, {}, tuple(names))
            )
            self.alone.add(cut)
            for kind in ("forward", "gradient"):
                value = self.arrays.get(f"{kind}/{first}")
                if value is not None:
                    parts = np.split(value, np.cumsum(sizes)[:-1], whole.axis)
                    self.arrays |= {f"{kind}/{n}": x for n, x in zip(names, parts, strict=True)}
            self.cut[first] = names
        return self.cut[first][at]

    def _each(self, first: str) -> list[NDArray]:
        names = [name for name, one in self.first.items() if one == first]
        return [self.own.arrays[f"forward/{name}"] for name in names]

    def _add_up(self) -> bool:
        """Adds the loss: the sum of what `backward` was called on. False if that is not known."""
        total = self.own.arrays.get("loss/total")
        name = f"loss {OVER_PARTS}"
        self.alone.add(name)
        ends = self._ends()
        if total is None or not all(ends):
            return False
        value = np.asarray(total).reshape(())
        whole = self.known.get(ends[0])
        if whole is not None and whole.how == "sum" and ends[0] in self.first:
            self.arrays[f"forward/{self.first[ends[0]]}"] = value
            self.arrays.setdefault(f"gradient/{self.first[ends[0]]}", np.ones(()))
            return True
        if whole is not None and whole.how == "mean":
            first, count = self.first[ends[0]], len(self.parts)
            self.stages.append(ProgramStage(name, "mul", (first,), {"other": count}))
            self.arrays.setdefault(f"gradient/{first}", np.full((), float(count)))
        else:
            row = f"{name}: each"
            self.stages += [
                ProgramStage(row, "stack", tuple(ends), {"dim": 0}),
                ProgramStage(name, "sum", (row,)),
            ]
            self.arrays[f"forward/{row}"] = np.stack(
                [np.asarray(self.own.arrays[f"forward/{one}"]).reshape(()) for one in ends]
            )
            self.arrays[f"gradient/{row}"] = np.ones(len(ends))
            for one in ends:
                self.arrays.setdefault(f"gradient/{one}", np.ones(()))
            self.alone.add(row)
        self.arrays[f"forward/{name}"] = value
        return True

    def _ends(self) -> list[str]:
        """What `backward` was called on in each part, in whatever order it was called."""
        arrays = self.own.arrays
        losses = [float(arrays[key].item()) for key in arrays if key.startswith("loss/backward.")]
        found = []
        for part in self.parts:
            numbers = {
                name: float(value.item())
                for stage in part
                for name in stage.outputs
                if (value := arrays.get(f"forward/{name}")) is not None and value.size == 1
            }
            there = [name for name, number in numbers.items() if number in losses]
            if there:
                losses.remove(numbers[there[-1]])
            found.append(there[-1] if there else "")
        return found


def _may_follow(values: Sequence[NDArray], axis: int) -> bool:
    """Whether arrays have one shape but for an axis."""
    shapes = {(*one.shape[:axis], *one.shape[axis + 1 :]) for one in values}
    return len(shapes) == 1 and len({one.ndim for one in values}) == 1 and axis < values[0].ndim


def _made_one(values: Sequence[NDArray], whole: _Whole) -> NDArray:
    if whole.how == "rows":
        return np.concatenate(values, whole.axis)
    if whole.how == "same":
        return values[0]
    summed = np.sum(values, axis=0, dtype=np.float64)
    summed = summed / len(values) if whole.how == "mean" else summed
    return np.asarray(summed).astype(values[0].dtype)


class _Changed(Mapping[str, NDArray]):
    """Arrays of which some are others, and some are gone."""

    def __init__(
        self, arrays: Mapping[str, NDArray], changed: dict[str, NDArray], gone: set[str]
    ) -> None:
        self.arrays, self.changed = arrays, changed
        self.kept = [*(key for key in arrays if key not in gone and key not in changed), *changed]
        self.has = set(self.kept)

    def __getitem__(self, key: str) -> NDArray:
        if key in self.changed:
            return self.changed[key]
        if key not in self.has:
            raise KeyError(key)
        return self.arrays[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self.kept)

    def __len__(self) -> int:
        return len(self.kept)

    def __contains__(self, key: object) -> bool:
        return key in self.has
