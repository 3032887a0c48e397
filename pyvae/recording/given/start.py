"""Starts a model from the parameters and buffers that another trace started from."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pyvae.errors import UserError
from pyvae.recording.given.in_order import in_order, in_words
from pyvae.recording.given.names import OtherNames
from pyvae.recording.given.recurrent import recurrent_start
from pyvae.recording.parameters import Parameters
from pyvae.trace.program import ProgramParameter, ProgramTrace

__all__ = ["load_start"]

KERAS_NAMES = {
    "kernel": "weight", "embeddings": "weight", "gamma": "weight", "beta": "bias",
    "moving_mean": "running_mean", "moving_variance": "running_var",
}  # fmt: skip
TORCH = ("pytorch", "r-torch")  # whose layouts are known: others may keep a square weight turned
COUNTER = "num_batches_tracked"  # of a batch norm; a network by hand has none, and needs none


def load_start(parameters: Parameters, trace: ProgramTrace, names: OtherNames) -> dict[str, str]:
    """Copies the parameters and buffers with which another program's first recorded step began.

    Where names do not say which is which, their order does, if the other computed with PyTorch or
    R's torch, and all that is left has the same shapes on both sides, one after the other.

    Arguments:
        parameters: The model's, which are overwritten, all or none.
        trace: The other program's.
        names: How the other calls the model's parameters, where that is another name.

    Returns:
        The other's names of those that were found by their order.

    Raises:
        UserError: If the other lacks one, or has it in another shape.
    """
    if not trace.steps:
        raise UserError(f"trace '{trace.folder}' has no step", "record one")
    arrays = trace.arrays(trace.steps[0].step)
    own = dict(parameters.tensors())
    _check_names(names, own, trace)
    found: list[tuple[Tensor, NDArray]] = []
    known = {key.removeprefix("start/") for key in arrays if key.startswith("start/")}
    is_keras = any(name.rpartition(".")[2] in KERAS_NAMES for name in own)
    aliases = _aliases(known) if is_keras or "keras" in trace.environment else {}
    start = _Start(parameters, arrays, names, known, aliases)
    listed = [one for one in parameters.listed if not one.same_as]
    lacking = [o for o in listed if start.of(o.name) is None and not start.is_counted(o.name)]
    if lacking:
        start.ordered |= _in_order(lacking, trace, known - start.used)
    for name, tensor in own.items():
        kernel = parameters.kernels.get(name)
        parts = [start.of(one) for one in (kernel.names(name) if kernel is not None else (name,))]
        there = [part for part in parts if part is not None]
        if not there:  # it counts what the other does not count
            continue
        array = there[0]
        if kernel is not None:
            array = kernel.undo(np.stack(there) if kernel.apart else array)
        if array.shape != tuple(tensor.shape) and not array.size == tensor.numel() == 1:
            raise UserError(
                f"'{name}' has shape {tuple(tensor.shape)}, and {array.shape} in trace "
                f"'{trace.folder}'",
                "make both networks alike first",
            )
        found.append((tensor, array))
    with torch.no_grad():
        for tensor, array in found:
            tensor.copy_(torch.from_numpy(array.copy()).reshape(tensor.shape))
    return start.ordered


class _Start:
    """What another program's parameters start from, by the names of the program's own.

    Arguments:
        parameters: The program's own.
        arrays: The other's, as `start/NAME`.
        names: How the other calls them, where that is another name.
        known: Its names.
        aliases: Further names for them.

    Attributes:
        ordered: The other's names of those that are found by their order.
        used: The other's names of what was found.
    """

    def __init__(
        self, parameters: Parameters, arrays: Mapping[str, NDArray], names: OtherNames,
        known: Collection[str], aliases: Mapping[str, str],
    ) -> None:  # fmt: skip
        self._own = {one.name: one.shape for one in parameters.listed}
        self._arrays, self._names, self._known = arrays, names, known
        self._aliases = aliases
        self.ordered: dict[str, str] = {}
        self.used: set[str] = set()

    def of(self, name: str) -> NDArray | None:
        """The numbers for a parameter or buffer, as a trace has them; None if there are none."""
        array = self._array(self._named(name, self._known))
        if array is not None:
            return array
        return recurrent_start(
            name, self._own[name], self._own, self._known, self._array, self._named
        )

    def is_counted(self, name: str) -> bool:
        """Whether it counts what the other need not count."""
        return name.endswith(COUNTER) and self._named(name, self._known) == name

    def _array(self, name: str) -> NDArray | None:
        array = self._arrays.get(f"start/{name}")
        if array is not None:
            self.used.add(name)
        return array

    def _named(self, name: str, among: Collection[str]) -> str:
        theirs = self.ordered.get(name) or self._names.of(name, {*among, *self._aliases})
        return self._aliases.get(theirs, theirs)


def _in_order(
    lacking: Sequence[ProgramParameter], trace: ProgramTrace, left: Collection[str]
) -> dict[str, str]:
    """The other's names of what it has under no name that is known.

    Raises:
        UserError: If their order does not say it.
    """
    theirs = [
        one
        for one in trace.parameters
        if one.name in left and not one.same_as and not one.name.endswith(COUNTER)
    ]
    found = in_order(lacking, theirs) if trace.engine in TORCH else None
    if found is None:
        first = lacking[0].name
        has = f"; what it has besides: {in_words(theirs)}" if theirs else ""
        raise UserError(
            f"trace '{trace.folder}' has no '{first}' to start from{has}",
            f"give its name for '{first}' in the map of names, a CSV file with columns a and b",
        )
    return found


def _aliases(known: Collection[str]) -> dict[str, str]:
    """Names of layers' parameters in PyTorch and in Keras, each with what it is on the other side:
    `dense.weight` is `dense.kernel` there."""
    found: dict[str, str] = {}
    for name in known:
        layer, _, last = name.rpartition(".")
        for keras, ours in KERAS_NAMES.items():
            if last in (keras, ours):
                other = f"{layer}.{ours if last == keras else keras}"
                if other not in known:
                    found.setdefault(other, name)
    return found


def _check_names(names: OtherNames, own: Mapping[str, Tensor], trace: ProgramTrace) -> None:
    theirs = {one.name for one in trace.parameters}
    for name, other in names.pairs:
        if name in own and other not in theirs:
            raise UserError(
                f"the map names '{other}', which trace '{trace.folder}' does not have",
                "correct the map",
            )
