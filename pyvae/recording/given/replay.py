"""Feeds the masks and draws of another trace to a program."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Collection, Mapping

import torch
from numpy.typing import NDArray
from torch import Tensor

from pyvae.errors import UserError
from pyvae.recording.given.names import OtherNames
from pyvae.recording.seen.masks_within import masks_of_one
from pyvae.trace.program import ProgramStage, ProgramTrace

__all__ = ["Replay", "standard"]

# What Keras calls a dropout layer that has no name: such masks are fed in their order
AUTOMATIC = re.compile(r"(.*\.)?([a-z]+_)*dropout([1-3]d)?(_[0-9]+)?(#[0-9]+)?")
STANDARD = {"mean": 0, "std": 1}  # of `normal`, which is then `randn`


class Replay:
    """Masks and draws of another trace, in the order in which it drew them.

    Arguments:
        trace: The other trace.
        names: What its layers are called, where that is another name.

    Attributes:
        number: The step that the program makes.
        ahead: Whether what is drawn may belong to the step after it: a forward pass begins with the
            call of the network, and its noise may be drawn before that.
        last_mask: The mask that was fed last.
    """

    def __init__(self, trace: ProgramTrace, names: OtherNames | None = None) -> None:
        self.trace, self.names = trace, names or OtherNames()
        self.number = 1
        self.ahead = False
        self.last_mask: NDArray | None = None
        self._calls: Counter[str] = Counter()
        self._draws: dict[int, list[ProgramStage]] = {}  # of each step, those that wait
        self._arrays: dict[str, NDArray] = {}
        self._fed: set[str] = set()  # masks, in this step
        kinds = [one.optimiser.kind for one in trace.steps if one.optimiser is not None]
        self._of_keras = any(kind.startswith("keras_") for kind in kinds)

    def begin_step(self) -> None:
        """Reads what the other program drew in this step.

        Raises:
            UserError: If it was not recorded, or cannot be read.
        """
        self._arrays = self.trace.arrays(self.number)
        self._waiting(self.number)
        self._calls.clear()
        self._fed.clear()

    def _waiting(self, number: int) -> list[ProgramStage]:
        """The draws of a step that were not fed yet; none if it was not recorded."""
        if number not in self._draws:
            recorded = any(one.step == number for one in self.trace.steps)
            network = self.trace.network_of(number) if recorded else ()
            self._draws[number] = [stage for stage in network if stage.layer == "draw"]
        return self._draws[number]

    def drop(self, name: str, given: Tensor | None, output: Tensor, p: float) -> Tensor:
        """Computes a dropout layer with the other's mask.

        Arguments:
            name: The layer's, without the number of the call.
            given: What went in.
            output: What it computed with a mask of its own.
            p: The probability to drop.

        Raises:
            UserError: If the other has no mask of this layer, or one of another shape; or if the
                layer has overwritten what went in.
        """
        name = self._called(name)
        array = self._mask(name, tuple(output.shape))
        if given is None or given is output:
            raise UserError(
                f"replay cannot reach '{name}', which works in place", "set inplace=False"
            )
        held = torch.from_numpy(array.copy())
        try:
            held = held.expand(output.shape)
        except RuntimeError:
            raise self._shape(f"the mask of '{name}'", array, output) from None
        self.last_mask = held.numpy().copy()
        noise = held.to(output.device, output.dtype).div_(1 - p)
        return given * noise  # as PyTorch does

    def within(self, name: str, layer: str) -> Callable[[Tensor], None]:
        """What overwrites the masks that a layer draws within itself by the other's, one after the
        other.

        Arguments:
            name: The layer's, without the number of the call.
            layer: Which layer it is.

        Raises:
            UserError: If the other has no masks of this layer, or, when it is called, others.
        """
        name = self._called(name)
        array = self._mask(name)
        with torch._C.DisableTorchFunction():  # it is not the program that takes them apart
            waiting = masks_of_one(layer, torch.from_numpy(array.copy()))

        def put(drawn: Tensor) -> None:
            if not waiting or waiting[0].numel() != drawn.numel():
                raise self._shape(f"the mask within '{name}'", array, drawn)
            drawn.copy_(waiting.pop(0).reshape(drawn.shape))

        return put

    def unreached(self, name: str) -> UserError:
        """What is wrong with a layer whose masks are drawn where they cannot be replaced."""
        return UserError(
            f"replay cannot reach the masks that '{name}' draws within itself",
            "set its dropout to 0 in both programs, train on the CPU, or leave out replay",
        )

    def _mask(self, name: str, shape: tuple[int, ...] | None = None) -> NDArray:
        """The other's mask of a layer: by its name, or the next one of a shape."""
        masks = {key.removeprefix("draw/") for key in self._arrays if key.startswith("draw/")}
        there = self._there(name, masks)
        if there == name and there not in masks:  # and no map names it
            automatic = self._of_keras and all(map(AUTOMATIC.fullmatch, masks))
            network = self.trace.network_of(self.number)
            waiting = (
                one.name
                for one in network
                if one.name in masks - self._fed
                and (automatic or _may_become(self._arrays[f"draw/{one.name}"].shape, shape))
            )
            there = next(waiting, there)
        self._fed.add(there)
        array = self._arrays.get(f"draw/{there}")
        if array is None:
            raise UserError(
                f"'{self.trace.folder}' has no mask of '{name}' in step {self.number}",
                "record it with the same dropout layers, say in the map of names what it is called "
                "there, or leave out replay",
            )
        return array

    def put_draw(self, name: str, options: Mapping[str, object], drawn: Tensor, used: bool) -> None:
        """Replaces random numbers by the other's.

        Arguments:
            name: The draw's, without the number of the call.
            options: What the draw is given: which distribution it is of, and with which settings.
            drawn: The program's own numbers, which are overwritten.
            used: Whether the model drew them; others may be for the order of the data.

        Raises:
            UserError: If the other did not draw them, or drew another shape.
        """
        name, number = self._called(name), self.number
        distribution = standard(options)
        stage = self._stage_for(name, distribution, number)
        if stage is None and self.ahead:
            number += 1
            stage = self._stage_for(name, distribution, number)
        if stage is None:
            if not used:
                return
            raise UserError(
                f"'{self.trace.folder}' has no more draws of {distribution} in step "
                f"{self.number}, where '{name}' is drawn",
                "let both programs draw in the same order, or leave out replay",
            )
        arrays = self._arrays if number == self.number else self.trace.stored(number)
        array = arrays.get(f"forward/{stage.outputs[0]}")
        if array is None or array.shape != tuple(drawn.shape):
            if not used and array is not None:
                return
            raise self._shape(f"the draw '{stage.name}'", array, drawn)
        self._draws[number].remove(stage)
        with torch.no_grad():
            drawn.copy_(torch.from_numpy(array.copy()))

    def _stage_for(self, name: str, distribution: str, number: int) -> ProgramStage | None:
        """The draw of that name in a step, or the first one that is alike. Where some are taken
        ahead, those that are left have other numbers."""
        alike = [one for one in self._waiting(number) if standard(one.options) == distribution]
        there = self._there(name, {one.name for one in alike})
        if self.ahead:
            plain = there.partition("#")[0]
            named = [one for one in alike if one.name.partition("#")[0] == plain]
        else:
            named = [one for one in alike if one.name == there]
        return next(iter([*named, *alike]), None)

    def _there(self, name: str, known: Collection[str]) -> str:
        """The other's name of a layer or draw: of a second call, that of the layer's second one."""
        found = self.names.of(name, known)
        if found not in known and "#" in name:
            base, _, count = name.partition("#")
            plain = {one.partition("#")[0] for one in known}
            found = f"{self.names.of(base, plain)}#{count}"
        return found

    def _called(self, name: str) -> str:
        self._calls[name] += 1
        count = self._calls[name]
        return name if count == 1 else f"{name}#{count}"

    def _shape(self, what: str, array: NDArray | None, own: Tensor) -> UserError:
        theirs = "no values" if array is None else f"shape {array.shape}"
        return UserError(
            f"{what} has {theirs} in step {self.number} of '{self.trace.folder}', where the "
            f"program draws {tuple(own.shape)}",
            "let both programs draw the same shapes in the same order, or leave out replay",
        )


def _may_become(one: tuple[int, ...], other: tuple[int, ...] | None) -> bool:
    """Whether a mask may be expanded to a shape."""
    if other is None or len(one) != len(other):
        return False
    return all(a in (1, b) for a, b in zip(one, other, strict=True))


def standard(options: Mapping[str, object]) -> str:
    """The distribution of a draw; a standard normal one is `randn`, whichever function draws it."""
    found = str(options.get("distribution", ""))
    is_standard = found == "normal" and all(options.get(k) == v for k, v in STANDARD.items())
    return "randn" if is_standard else found
