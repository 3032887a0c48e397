"""The parts of a step, put together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from comparisons.ports.matching.kinds import family
from comparisons.ports.matching.parts.find import OUTSIDE, Part, ends_of, put_together
from comparisons.ports.matching.parts.of_all import number_of_all, options_of_all
from comparisons.ports.matching.parts.whole import Whole, made_one, may_follow
from comparisons.ports.side import RecordedStep
from pyvae.trace.program import ProgramStage

__all__ = ["OVER_PARTS", "Joined"]

OVER_PARTS = "over the parts"  # names of stages that no program has called
OF_STAGES = ("forward", "gradient", "draw")


@dataclass
class Joined:
    """The parts of a step, put together.

    Arguments:
        own: The step.
        parts: The stages of each part.
        other, others: The other side's step, and its parts.
        numbers: Whether numbers are put together, too, if they can be; not all may be.
        several_losses: Whether each part leads to a `backward` of its own.
    """

    own: RecordedStep
    parts: list[Part]
    other: RecordedStep
    others: list[Part]
    numbers: bool = True
    several_losses: bool = True
    arrays: dict[str, NDArray] = field(default_factory=dict)
    stages: list[ProgramStage] = field(default_factory=list)
    known: dict[str, Whole] = field(default_factory=dict)
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
        others = [stage for stage in self.own.network if stage.name not in mine]
        known = [name for stage in others for name in stage.outputs]
        for name in known:
            self._keep(name, name)
        if self.several_losses:
            self.stages = others
            self.known = {name: Whole("same") for name in known}
        for calls in zip(*self.parts, strict=True):
            if not self._join(calls) and not self._leave(calls):
                return None
        if not self.several_losses:
            self._go_on(others)
        elif not self._add_up():
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
            in_calls=not self.several_losses, alone=frozenset(self.alone),
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
        there = {(*found,): rows for *found, _, rows in put_together(self.other, self.others)}
        for *found, axis, rows in put_together(self.own, self.parts):
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
        options = options_of_all(calls, self.axis, self.rows)
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

    def _whole(self, stage: ProgramStage, names: Sequence[str]) -> Whole | None:
        values = [self.own.arrays.get(f"forward/{name}") for name in names]
        there = [value for value in values if value is not None]
        if len(there) < len(values):
            return None
        if all(value.size == 1 for value in there):
            return self._number(stage, names[0], there)
        same = all(np.array_equal(value, there[0], equal_nan=True) for value in there)
        axis = self._axis(stage, there)
        if same and (axis is None or self._is_there(stage, there[0].shape)):
            return Whole("same")
        return None if axis is None else Whole("rows", axis)

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
            if may_follow(values, axis) and [value.shape[axis] for value in values] == self.rows
        ]
        for axis in found:  # of several, one that the other side's rows stand along
            shape = list(values[0].shape)
            shape[axis] = self.theirs[0]
            if self._is_there(stage, tuple(shape)):
                return axis
        if found:
            return found[0]
        if not values[0].ndim or not may_follow(values, 0):
            return None
        times = {len(value) / rows for value, rows in zip(values, self.rows, strict=True)}
        if len(times) > 1 or not float(next(iter(times))).is_integer():
            return None
        if family(stage.layer) == "view":  # rows of rows stay in their order
            before = self.arrays.get(f"forward/{stage.inputs[0]}") if stage.inputs else None
            joined = np.concatenate(values)
            if before is None or not np.array_equal(before.ravel(), joined.ravel(), equal_nan=True):
                return None
        return 0

    def _number(self, stage: ProgramStage, name: str, values: Sequence[NDArray]) -> Whole | None:
        if stage.layer in OUTSIDE:
            return Whole("same") if len({float(value.item()) for value in values}) == 1 else None
        if not self.numbers:
            return None
        return number_of_all(stage, name, values, self.arrays, self.own, self.rows)

    def _put(self, names: Sequence[str], whole: Whole) -> None:
        values = [self.own.arrays[f"forward/{name}"] for name in names]
        self.arrays[f"forward/{names[0]}"] = made_one(values, whole)
        slopes = [self.own.arrays.get(f"gradient/{name}") for name in names]
        there = [one for one in slopes if one is not None]
        if len(there) == len(slopes):
            # a mean moves by a part of what each number does, and what is one by all of them
            how = {"mean": "sum", "same": "sum", "sum": "mean"}.get(whole.how, whole.how)
            self.arrays[f"gradient/{names[0]}"] = made_one(there, Whole(how, whole.axis))

    def _put_mask(self, calls: Sequence[ProgramStage], whole: Whole) -> None:
        masks = [self.own.arrays.get(f"draw/{one.name}") for one in calls]
        there = [one for one in masks if one is not None]
        if len(there) == len(masks) and whole.how == "rows" and may_follow(there, whole.axis):
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

    def _go_on(self, stages: Sequence[ProgramStage]) -> None:
        """Adds the stages that take what all parts return, each with the rows that it takes."""
        at = {
            name: n for n, part in enumerate(self.parts) for stage in part for name in stage.outputs
        }
        for stage in stages:
            new = {
                name: self._rows_of(self.first[name], name, at[name], self.known[name])
                for name in self._taken(stage)
                if name in self.first
            }
            inputs = tuple(new.get(name, name) for name in stage.inputs)
            roles = {role: new.get(name, name) for role, name in stage.parameters.items()}
            self.stages.append(replace(stage, inputs=inputs, parameters=roles))

    def _rows_of(self, first: str, name: str, at: int, whole: Whole) -> str:
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
        ends = ends_of(self.own, self.parts)
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
