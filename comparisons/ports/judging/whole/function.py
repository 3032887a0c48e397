"""One side's step as a function of its parameters: all of its stages one after the other, in
float64, and the gradient of what `backward` was called on."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from comparisons.ports.expected.call import NotRecomputableError
from comparisons.ports.expected.recompute import REFUSED, as_tensor, bound_to, computing
from comparisons.ports.expected.size import tensors_in
from comparisons.ports.judging.own import Own
from pyvae.trace.program import ProgramStage

__all__ = ["OUTSIDE", "Evaluated", "StepFunction"]

OUTSIDE = ("", "draw", "input")
TAKEN = "taken from the other side: "  # in front of a name
ROUNDING = 2.0**-24  # of a number in float32
MOST_NUMBERS = 20_000_000  # of all values of a step together


@dataclass(frozen=True)
class Evaluated:
    """What a step makes of its parameters.

    Attributes:
        loss: The sum of what `backward` was called on.
        gradients: Of each parameter, by name; zeros if the loss does not depend on it.
        values: What the stages return, of those that were asked for.
        slopes: The gradients of these.
    """

    loss: float
    gradients: dict[str, NDArray]
    values: dict[str, NDArray]
    slopes: dict[str, NDArray]


class StepFunction:
    """One side's step as a function of its parameters.

    Arguments:
        own: What that side should have returned.
        outside: What comes from outside, by name, where it is to be another side's: its name there,
            and its numbers.
        rounded: Which of many ways to round what comes from outside once more; 0 for none.
    """

    def __init__(
        self, own: Own, outside: Mapping[str, tuple[str, NDArray]] | None = None, rounded: int = 0
    ) -> None:
        self.own, self.step = own, own.step
        self.outside = outside or {}
        self.rounded = rounded
        self.stand_ins: Mapping[str, str] = {}
        self.other: StepFunction | None = None
        self.names: Mapping[str, str] = {}

    def take(
        self, stand_ins: Mapping[str, str], other: StepFunction, names: Mapping[str, str]
    ) -> None:
        """Takes what was not recorded from another step, for the same parameters.

        Arguments:
            stand_ins: What comes from outside, by name, each with the name of the other's value.
            other: The other step.
            names: The parameters' names here, by those there.
        """
        self.stand_ins, self.other, self.names = stand_ins, other, names

    def as_recorded(self) -> StepFunction:
        """The same, of the numbers that this step was given itself."""
        return self._copy(None, 0)

    def rounding(self, rounded: int) -> StepFunction:
        """The same, where what comes from outside is rounded once more."""
        return self._copy(self.outside, rounded)

    def _copy(
        self, outside: Mapping[str, tuple[str, NDArray]] | None, rounded: int
    ) -> StepFunction:
        found = StepFunction(self.own, outside, rounded)
        found.take(self.stand_ins, self.other or found, self.names)
        return found

    @cached_property
    def ends(self) -> list[str]:
        """The values that `backward` was called on; none if they cannot be told."""
        arrays = self.step.arrays
        losses = [arrays[key].item() for key in arrays if key.startswith("loss/backward.")]
        if not losses:
            return [self.own.loss] if self.own.loss else []
        numbers = [
            (name, value.item())
            for stage in self.step.network
            for name in stage.outputs
            if (value := arrays.get(f"forward/{name}")) is not None and value.size == 1
        ]
        found: list[str] = []
        for loss in losses:
            last = [name for name, number in numbers if number == loss and name not in found]
            if not last:
                return []
            found.append(last[-1])
        return found

    @cached_property
    def before_loss(self) -> frozenset[str]:
        """The names of the stages that the loss is computed from."""
        return self._before(self.ends)

    def _before(self, names: Collection[str]) -> frozenset[str]:
        found: set[str] = set()
        waiting = list(names)
        while waiting:
            stage = self.step.producer.get(waiting.pop())
            if stage is not None and stage.name not in found:
                found.add(stage.name)
                waiting += [*stage.inputs, *stage.parameters.values()]
        return frozenset(found)

    def last_of(self, name: str) -> list[str]:
        """What is computed from a value, and which no stage takes any more."""
        waiting, seen, found = [name], {name}, []
        while waiting:
            one = waiting.pop()
            taken = self.step.takers.get(one, ())
            found += [] if taken else [one]
            further = [output for stage in taken for output in stage.outputs]
            waiting += [output for output in further if output not in seen]
            seen.update(further)
        return found

    def values_at(
        self, parameters: Mapping[str, NDArray], names: Collection[str]
    ) -> list[NDArray] | None:
        """Computes values that need not lead to the loss; None if they cannot be computed.

        Arguments:
            parameters: By name; all others are as they were.
            names: The values.
        """
        try:
            with computing():
                known = {name: as_tensor(one).requires_grad_() for name, one in parameters.items()}
                self._fill(known, {}, self._before(names))
        except (*REFUSED, RecursionError):
            return None
        return [known[name].detach().numpy() for name in names]

    def leads_to_loss(self, name: str) -> bool:
        """Whether the loss is computed from a value."""
        stage = self.step.producer.get(name)
        return stage is not None and stage.name in self.before_loss

    def is_only_derived(self, name: str) -> bool:
        """Whether the loss is computed from a value's derivatives alone: what is added to the value
        is then not seen there."""
        waiting, seen = [name], {name}
        while waiting:
            one = waiting.pop()
            if one in self.ends:
                return False
            for stage in self.step.takers.get(one, ()):
                if stage.layer != "grad":
                    waiting += [output for output in stage.outputs if output not in seen]
                    seen.update(stage.outputs)
        return True

    @cached_property
    def can_be_computed(self) -> bool:
        """Whether it is known what `backward` was called on, and the step is not too large."""
        numbers = 0
        for stage in self.step.network:
            for name in stage.outputs if stage.name in self.before_loss else ():
                value = self.step.arrays.get(f"forward/{name}")
                numbers += 0 if value is None else value.size
        return bool(self.before_loss) and numbers <= MOST_NUMBERS

    def at(
        self,
        parameters: Mapping[str, NDArray],
        added: Mapping[str, NDArray] | None = None,
        wanted: Collection[str] = (),
    ) -> Evaluated | None:
        """Computes the step; None if it cannot be computed, or is not finite.

        Arguments:
            parameters: By name; all others are as they were.
            added: What is added to values on the way, by name.
            wanted: Values that are wanted, with their gradients.
        """
        if not self.can_be_computed:
            return None
        try:
            with computing():
                return self._at(parameters, added or {}, wanted)
        except (*REFUSED, RecursionError):
            return None

    def _at(
        self,
        parameters: Mapping[str, NDArray],
        added: Mapping[str, NDArray],
        wanted: Collection[str],
    ) -> Evaluated | None:
        known = {name: as_tensor(value).requires_grad_() for name, value in parameters.items()}
        self._fill(known, added, self.before_loss)
        loss = torch.stack([known[name].to(torch.float64).sum() for name in self.ends]).sum()
        names = [*parameters, *(name for name in wanted if known[name].requires_grad)]
        found = torch.autograd.grad(loss, [known[name] for name in names], allow_unused=True)
        arrays = {
            name: np.zeros(known[name].shape) if one is None else one.numpy()
            for name, one in zip(names, found, strict=True)
        }
        if not all(np.isfinite(one).all() for one in (loss.item(), *arrays.values())):
            return None
        return Evaluated(
            loss.item(),
            {name: arrays[name] for name in parameters},
            {name: known[name].detach().numpy() for name in wanted},
            {name: arrays.get(name, np.zeros(known[name].shape)) for name in wanted},
        )

    def _fill(
        self, known: dict[str, Tensor], added: Mapping[str, NDArray], stages: Collection[str]
    ) -> None:
        """Computes these stages, one after the other."""
        if self.stand_ins and self.other is not None:
            theirs = {two: known[one] for two, one in self.names.items() if one in known}
            self.other._fill(theirs, {}, self.other.before_loss)
            known |= {f"{TAKEN}{one}": theirs[two] for one, two in self.stand_ins.items()}
        for stage in self.step.network:
            if stage.name not in stages:
                continue
            taken = [known.get(f"{TAKEN}{name}") for name in stage.outputs]
            values = [one for one in taken if one is not None]
            if len(values) < len(taken):
                values = self._call(stage, known)
            for name, value in zip(stage.outputs, values, strict=False):
                more = added.get(name)
                known[name] = value if more is None else value + as_tensor(more)

    def _call(self, stage: ProgramStage, known: dict[str, Tensor]) -> list[Tensor]:
        """What a stage returns, one tensor for each of its outputs."""
        if stage.layer in OUTSIDE:
            return [self._from_outside(name) for name in stage.outputs]
        given = {}
        for name in (*stage.inputs, *stage.parameters.values()):
            first = self.step.side.own(name)
            if name not in known and first not in known:
                known[first] = self._given(first)
            given[name] = known[name] if name in known else known[first]
        if stage.layer == "grad":
            return self._derivatives(stage, [given[name] for name in stage.inputs])
        base = self.step.side.trace.index_base
        found = list(tensors_in(bound_to(stage, given, self.own.arrays, base)()))
        if len(found) < len(stage.outputs):
            raise NotRecomputableError(stage.name)
        return found

    def _from_outside(self, name: str) -> Tensor:
        there, value = self.outside.get(name, (name, self.step.value(name)))
        if value is not None and value.dtype == np.float32 and self.rounded:
            random = np.random.default_rng((self.rounded, *map(ord, there)))
            signs = random.choice([-1.0, 1.0], value.shape)
            value = value.astype(np.float64) * (1 + ROUNDING * signs)
        return self._given(name, value)

    def _given(self, name: str, value: NDArray | None = None) -> Tensor:
        """What comes from outside, or a parameter that is not asked for, or a buffer."""
        if value is None:
            value = self.outside.get(name, (name, self.step.value(name)))[1]
        if value is None:
            raise NotRecomputableError(name)
        found = as_tensor(value)
        return found.requires_grad_() if found.dtype.is_floating_point else found

    def _derivatives(self, stage: ProgramStage, given: Sequence[Tensor]) -> list[Tensor]:
        """What `torch.autograd.grad` returns: it was given what is derived, with respect to what,
        and perhaps weights, one after the other."""
        count, options = len(stage.outputs), stage.options
        names = [f"{stage.name}.{at}" for at in range(count)]
        if list(stage.outputs) != names or options.get("is_grads_batched"):
            raise NotRecomputableError(stage.name)
        shapes = [self.step.arrays[f"forward/{name}"].shape for name in names]
        rest = len(given) - count
        ways = []
        for of in {rest, rest // 2} if rest % 2 == 0 else {rest}:
            derived, to, weights = given[:of], given[of : of + count], given[of + count :]
            numbers = all(one.numel() == 1 for one in derived)
            alike = [one.shape for one in weights] == [one.shape for one in derived]
            if [tuple(one.shape) for one in to] == shapes and (alike if weights else numbers):
                ways.append((derived, to, weights))
        if len(ways) != 1:
            raise NotRecomputableError(stage.name)
        derived, to, weights = ways[0]
        found = torch.autograd.grad(
            derived, to, weights or None, create_graph=True, allow_unused=True
        )
        there = [
            torch.zeros_like(one) if slope is None else slope
            for one, slope in zip(to, found, strict=True)
        ]
        return there if options.get("create_graph") else [one.detach() for one in there]
