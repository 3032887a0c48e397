"""One side of a port: a recorded program, under the name by which it is spoken of."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from numpy.typing import NDArray

from pyvae.errors import UserError
from pyvae.trace.program import ProgramStage, ProgramStep, ProgramTrace

__all__ = ["INDEX_TAKERS", "Overlaid", "RecordedStep", "Side", "load_sides"]

Arrays = Mapping[str, NDArray]
INDEX_TAKERS = (
    "bincount", "cross_entropy_loss", "embedding", "embedding_bag", "gather", "index", "index_add",
    "index_copy", "index_fill", "index_put", "index_select", "multi_margin_loss", "nll_loss",
    "nll_loss2d", "one_hot", "put", "scatter", "scatter_add", "take", "take_along_dim",
)  # fmt: skip
INDEX_MAKERS = ("argmax", "argmin", "argsort")
INDEX_SECOND = ("max", "min", "sort", "topk")  # of two outputs
# Functions that return another class or index than they are given, and may count from elsewhere
COUNTS_ON = (
    "add", "sub", "rsub", "mul", "div", "floor_divide", "remainder", "fmod", "neg", "abs", "pow",
    "sum", "prod", "cumsum",
)  # fmt: skip


@dataclass(frozen=True)
class Side:
    """A recorded program and its name: the folder as it was typed."""

    name: str
    trace: ProgramTrace

    def step(self, number: int) -> RecordedStep:
        """Reads a recorded step.

        Values that no stage of the trace returned are there as stages of their own, of which
        nothing is known but the name.
        """
        network, arrays = self.trace.network_of(number), self.trace.stored(number)
        known = {output for stage in network for output in stage.outputs}
        names = {key.removeprefix("forward/") for key in arrays if key.startswith("forward/")}
        further = [ProgramStage(name, "") for name in sorted(names - known)]
        return RecordedStep(self, self.trace.recorded(number), (*network, *further), arrays)

    @cached_property
    def untrained(self) -> dict[str, list[int]]:
        """The parameters of networks that the program uses and does not train, as
        `untrained/NETWORK/NAME`, each with the steps that have it: those in which it is not what it
        was."""
        found: dict[str, list[int]] = {}
        for step in self.trace.steps:
            for key in self.trace.stored(step.step):
                if key.startswith("untrained/"):
                    found.setdefault(key, []).append(step.step)
        return found

    @cached_property
    def trained(self) -> set[str]:
        """The parameters that an optimiser of any recorded step has."""
        optimisers = (one.optimiser for one in self.trace.steps if one.optimiser is not None)
        return {name for one in optimisers for group in one.groups for name in group.parameters}

    @cached_property
    def beside(self) -> set[str]:
        """Parameters of the recorded model that no optimiser has and no recorded stage takes: of a
        part that is called without gradients, such as a teacher."""
        stages = [stage for network in self.trace.networks for stage in network]
        taken = {self.own(n) for s in stages for n in (*s.inputs, *s.parameters.values())}
        mine = {one.name for one in self.trace.parameters if one.kind == "parameter"}
        return (
            mine - taken - self.trained - self.shared.keys() if stages and self.trained else set()
        )

    @cached_property
    def shared(self) -> dict[str, str]:
        """Further names of shared parameters, each with the first one."""
        return {one.name: one.same_as for one in self.trace.parameters if one.same_as}

    def own(self, name: str) -> str:
        """The name under which a parameter is listed first."""
        return self.shared.get(name, name)


@dataclass(frozen=True)
class RecordedStep:
    """One step of one side: what was executed, and the values.

    Attributes:
        side: Whose.
        about: Its number, its optimiser and the state of its generator.
        network: Its stages, in the order of execution.
        arrays: Its values, by key (docs/reference/trace-of-a-program.md).
        parts: Where the parts of a batch were put together, the rows of each.
        in_calls: Whether these are calls of a network before one `backward`.
        alone: Names of stages that have no partner: of what was not put together.
    """

    side: Side
    about: ProgramStep
    network: tuple[ProgramStage, ...]
    arrays: Arrays
    parts: tuple[int, ...] = ()
    in_calls: bool = False
    alone: frozenset[str] = frozenset()

    @cached_property
    def till(self) -> list[Arrays]:
        """The values of all recorded steps up to this one, which are read when asked for."""
        trace = self.side.trace
        return [trace.stored(one.step) for one in trace.steps if one.step <= self.about.step]

    @cached_property
    def producer(self) -> dict[str, ProgramStage]:
        """The stage that returned a value, by the value's name."""
        return {output: stage for stage in self.network for output in stage.outputs}

    @cached_property
    def takers(self) -> dict[str, list[ProgramStage]]:
        """The stages that take a value or parameter, by its name."""
        found: dict[str, list[ProgramStage]] = {}
        for stage in self.network:
            for name in dict.fromkeys((*stage.inputs, *stage.parameters.values())):
                found.setdefault(self.side.own(name), []).append(stage)
        return found

    def value(self, name: str) -> NDArray | None:
        """What a name stood for in the forward pass: a stage's output, a parameter or buffer."""
        for key in (f"forward/{name}", f"start/{name}", f"start/{self.side.own(name)}"):
            if key in self.arrays:
                return self.arrays[key]
        return None

    def of_network(self, key: str) -> NDArray | None:
        """A parameter of a network that is not trained, as it was in this step: what the last step
        has that has it.

        Arguments:
            key: `untrained/NETWORK/NAME`, or `start/NAME` of one within the recorded model.
        """
        if key in self.arrays or key.startswith("start/"):
            return self.arrays.get(key)
        steps = [one for one in self.side.untrained.get(key, ()) if one < self.about.step]
        return self.side.trace.stored(steps[-1])[key] if steps else None

    def is_index(self, name: str, as_it_is: bool = False, depth: int = 20) -> bool:
        """Whether a layer takes a whole number as the number of a class or row, or returns it as
        one.

        Arguments:
            name: The number.
            as_it_is: Whether it has to be this number: what something is added to before it is
                taken may be counted from elsewhere.
            depth: Through how many stages it may be handed on.
        """
        maker = self.producer.get(name)
        if maker is not None and maker.layer in INDEX_MAKERS:
            return True
        if maker is not None and maker.layer in INDEX_SECOND and name == f"{maker.name}.1":
            return True
        for stage in self.takers.get(name, ()):
            if stage.layer in INDEX_TAKERS:
                return True
            if as_it_is and stage.layer in COUNTS_ON:
                continue
            handed_on = [
                output
                for output in stage.outputs
                if (value := self.arrays.get(f"forward/{output}")) is not None
                and value.dtype.kind in "iu"
            ]
            if depth and any(self.is_index(one, as_it_is, depth - 1) for one in handed_on):
                return True
        return False


class Overlaid(Mapping[str, NDArray]):
    """Arrays of which some are others than were recorded."""

    def __init__(self, arrays: Arrays, changed: Arrays) -> None:
        self.arrays, self.changed = arrays, changed

    def __getitem__(self, key: str) -> NDArray:
        return self.changed[key] if key in self.changed else self.arrays[key]

    def __iter__(self) -> Iterator[str]:
        return iter({**dict.fromkeys(self.arrays), **dict.fromkeys(self.changed)})

    def __len__(self) -> int:
        return len({*self.arrays, *self.changed})

    def __contains__(self, key: object) -> bool:
        return key in self.changed or key in self.arrays


def load_sides(a: ProgramTrace | Path | str, b: ProgramTrace | Path | str) -> tuple[Side, Side]:
    """Two recorded programs, from memory or from their folders, with names that differ.

    Raises:
        UserError: If one cannot be read, or has no recorded step.
    """
    sides = [_load(one) for one in (a, b)]
    for side in sides:
        if not side.trace.steps:
            raise UserError(
                f"no step was recorded in '{side.trace.folder}'"
                + (f": {side.trace.ended}" if side.trace.ended else ""),
                "record a program that calls its optimiser's step(), or a network",
            )
    if sides[0].name == sides[1].name:
        sides = [
            Side(f"{side.name} ({mark})", side.trace)
            for side, mark in zip(sides, "AB", strict=True)
        ]
    return sides[0], sides[1]


def _load(given: ProgramTrace | Path | str) -> Side:
    if isinstance(given, ProgramTrace):
        return Side(given.folder.name if given.folder else given.engine, given)
    return Side(str(given).rstrip("/") or str(given), ProgramTrace.load(given))
