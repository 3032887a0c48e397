"""Stages that one side alone has, computed for the other side's values.

Two programs may write the same in different stages: `cross_entropy_loss`, or `log_softmax` and
`nll_loss`. If one side's stages return for the other side's values what the other side has there,
they are the same function.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
from numpy.typing import NDArray

from comparisons.ports.expected.recompute import recompute
from comparisons.ports.matching.matched import NetworkMatch
from comparisons.ports.matching.parameters import ParameterMatch
from comparisons.ports.side import RecordedStep
from pyvae.trace.program import ProgramStage

__all__ = ["Chains"]


class Chains:
    """The stages that one side alone has, for the values of the other side.

    Arguments:
        own, other: A step of the side that has them, and of the other one.
        partners: The other side's names of values and parameters, by this side's.
    """

    def __init__(self, own: RecordedStep, other: RecordedStep, partners: dict[str, str]) -> None:
        self.own, self.other, self.partners = own, other, partners
        self.known: dict[str, NDArray | None] = {}
        self.known_gradients: dict[str, NDArray | None] = {}
        self.shaken, self.random = 0.0, np.random.default_rng(1)

    def shake(self, share: float, seed: int) -> Chains:
        """The same, where the other side's gradients are off by a share of their largest number."""
        found = Chains(self.own, self.other, self.partners)
        found.known = self.known
        found.shaken, found.random = share, np.random.default_rng(seed)
        return found

    @classmethod
    def of_both(
        cls,
        a: RecordedStep,
        b: RecordedStep,
        network: NetworkMatch,
        parameters: list[ParameterMatch],
    ) -> tuple[Chains, Chains]:
        """For the stages of either side."""
        single = {one.a[0]: one.b[0] for one in parameters if len(one.a) == len(one.b) == 1}
        there = network.values | single
        back = {two: one for one, two in there.items()}
        return cls(a, b, there), cls(b, a, back)

    @classmethod
    def of_one(cls, step: RecordedStep, names: Iterable[str]) -> Chains:
        """For the stages of one side and its own values.

        Arguments:
            step: Its step.
            names: The values that are taken as they are.
        """
        return cls(step, step, {name: name for name in names})

    def is_alone(self, name: str) -> bool:
        """Whether a value was returned by a stage that the other side lacks."""
        return name in self.own.producer and name not in self.partners

    def value(self, name: str) -> NDArray | None:
        """What a value would be if the stages before it had the other side's values; None if it
        cannot be computed."""
        if name not in self.known:
            self.known[name] = None  # a trace that goes round in circles is not followed
            self.known[name] = self._value(name)
        return self.known[name]

    def stages(self, name: str) -> list[ProgramStage]:
        """The stages that this side alone has and that lead to a value, in the order of
        execution."""
        found: list[str] = []
        waiting = [name]
        while waiting:
            one = waiting.pop()
            if not self.is_alone(one) or self.own.producer[one].name in found:
                continue
            stage = self.own.producer[one]
            found.append(stage.name)
            waiting += [*stage.inputs, *stage.parameters.values()]
        return [stage for stage in self.own.network if stage.name in found]

    def arrays(self, stage: ProgramStage) -> dict[str, NDArray] | None:
        """A stage's inputs and parameters as the other side has them, with its own mask and shape;
        None if one cannot be computed."""
        arrays = {}
        for one in (*stage.inputs, *stage.parameters.values()):
            value = self.value(one)
            if value is None:
                return None
            arrays[f"forward/{one}"] = value
        mask = self.own.arrays.get(f"draw/{stage.name}")
        if mask is not None:
            arrays[f"draw/{stage.name}"] = mask
        recorded = self.own.arrays.get(f"forward/{stage.outputs[0]}")
        if recorded is not None:  # its shape
            arrays[f"forward/{stage.outputs[0]}"] = recorded
        return arrays

    def value_with(self, name: str, values: Mapping[str, NDArray]) -> NDArray | None:
        """What a value would be if stages before it had returned other values."""
        changed = Chains(self.own, self.other, self.partners)
        changed.known.update(values)
        return changed.value(name)

    def gradient(self, name: str, loss: str) -> NDArray | None:
        """What the gradient of a value or parameter would be if this side's stages had the other
        side's values, and the gradients that it has there; None if it cannot be computed.

        Arguments:
            name: The value or parameter.
            loss: The value that this side called `backward` on.
        """
        if name == loss:
            value = self.own.value(name)
            return None if value is None else np.ones(value.shape)
        if name not in self.known_gradients:
            self.known_gradients[name] = None  # nor is one here
            self.known_gradients[name] = self._gradient(name, loss)
        return self.known_gradients[name]

    def _gradient(self, name: str, loss: str) -> NDArray | None:
        return self.handed_back(name, loss, self.own.takers.get(name, ()))

    def handed_back(self, name: str, loss: str, stages: Iterable[ProgramStage]) -> NDArray | None:
        """What some of the stages that take a value or parameter hand back to it; None if it cannot
        be computed.

        Arguments:
            name: The value or parameter.
            loss: The value that this side called `backward` on.
            stages: The stages.
        """
        value = self.own.value(name)
        if value is None:
            return None
        total = np.zeros(value.shape)
        for stage in stages:
            reached = [
                one for one in stage.outputs if one == loss or f"gradient/{one}" in self.own.arrays
            ]
            if not reached:
                continue
            arrays = self.arrays(stage)
            gradients = {one: self._gradient_there(one, loss) for one in reached}
            if arrays is None or any(one is None for one in gradients.values()):
                return None
            given = {f"gradient/{one}": x for one, x in gradients.items() if x is not None}
            found = recompute(stage, arrays | given, self.own.side.trace.index_base)
            if found is None:
                return None
            for one, part in found.gradients.items():
                if self.own.side.own(one) == name:
                    total = total + part.numpy().reshape(total.shape)
        return total

    def _gradient_there(self, output: str, loss: str) -> NDArray | None:
        """The gradient of what a stage returned: as the other side has it, if it has."""
        partner = self.partners.get(output)
        known = None if partner is None else self.other.arrays.get(f"gradient/{partner}")
        if known is None:
            return self.gradient(output, loss)
        if not self.shaken:
            return known
        signs = self.random.choice([-1.0, 1.0], known.shape)
        return known + self.shaken * float(np.abs(known).max(initial=0)) * signs

    def _value(self, name: str) -> NDArray | None:
        stage = self.own.producer.get(name)
        partner = self.partners.get(self.own.side.own(name))
        if partner is not None:
            found = self.other.value(partner)
            if found is None or found.dtype.kind == "f":
                return found
        if partner is not None or stage is None or stage.layer in ("input", "draw"):
            return self.own.value(name)  # indices are counted as this side does
        arrays = self.arrays(stage)
        if arrays is None:
            return None
        found_again = recompute(stage, arrays, self.own.side.trace.index_base)
        if found_again is None or name not in found_again.outputs:
            return None
        value, recorded = np.asarray(found_again.outputs[name].numpy()), self.own.value(name)
        kind = None if recorded is None else recorded.dtype.kind
        if kind == "b":
            return value.astype(bool)  # 0 and 1 would be added to what it masks
        whole = kind is not None and kind in "iu" and np.array_equal(value, np.rint(value))
        return value.astype(np.int64) if whole else value  # a class or an index
