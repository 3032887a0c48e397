"""Starts a model from the parameters and buffers that another trace started from."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pyvae.errors import UserError
from pyvae.recording.given.names import OtherNames
from pyvae.recording.given.recurrent import recurrent_start
from pyvae.recording.parameters import Parameters
from pyvae.trace.program import ProgramTrace

__all__ = ["load_start"]

KERAS_NAMES = {
    "kernel": "weight", "embeddings": "weight", "gamma": "weight", "beta": "bias",
    "moving_mean": "running_mean", "moving_variance": "running_var",
}  # fmt: skip
COUNTER = "num_batches_tracked"  # of a batch norm; a network by hand has none, and needs none


def load_start(parameters: Parameters, trace: ProgramTrace, names: OtherNames) -> None:
    """Copies the parameters and buffers with which another program's first recorded step began.

    Arguments:
        parameters: The model's, which are overwritten, all or none.
        trace: The other program's.
        names: How the other calls the model's parameters, where that is another name.

    Raises:
        UserError: If the other lacks one, or has it in another shape.
    """
    if not trace.steps:
        raise UserError(f"trace '{trace.folder}' has no step", "record one")
    first = trace.steps[0].step
    arrays = trace.arrays(first)
    own = dict(parameters.tensors())
    _check_names(names, own, trace)
    found: list[tuple[Tensor, NDArray]] = []
    known = {key.removeprefix("start/") for key in arrays if key.startswith("start/")}
    is_keras = any(name.rpartition(".")[2] in KERAS_NAMES for name in own)
    aliases = _aliases(known) if is_keras or "keras" in trace.environment else {}
    there = _Start(parameters, arrays, names, known, aliases)
    for name, tensor in own.items():
        kernel = parameters.kernels.get(name)
        parts = [there.of(one) for one in (kernel.names(name) if kernel is not None else (name,))]
        found_parts = [part for part in parts if part is not None]
        theirs = names.of(name, known | {*aliases})
        if not found_parts and theirs == name and name.endswith(COUNTER):
            continue
        if len(found_parts) < len(parts):
            raise UserError(
                f"trace '{trace.folder}' has no '{theirs}' to start from",
                f"give its name for '{name}' in the map of names, a CSV file with columns a and b",
            )
        array = found_parts[0]
        if kernel is not None:
            array = kernel.undo(np.stack(found_parts) if kernel.apart else array)
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


class _Start:
    """What another program's parameters start from, by the names of the program's own.

    Arguments:
        parameters: The program's own.
        arrays: The other's, as `start/NAME`.
        names: How the other calls them, where that is another name.
        known: Its names.
        aliases: Further names for them.
    """

    def __init__(
        self, parameters: Parameters, arrays: Mapping[str, NDArray], names: OtherNames,
        known: Collection[str], aliases: Mapping[str, str],
    ) -> None:  # fmt: skip
        self._own = {one.name: one.shape for one in parameters.listed}
        self._arrays, self._names, self._known = arrays, names, known
        self._aliases = aliases

    def of(self, name: str) -> NDArray | None:
        """The numbers for a parameter or buffer, as a trace has them; None if there are none."""
        array = self._array(self._named(name, self._known))
        if array is not None:
            return array
        return recurrent_start(
            name, self._own.get(name, ()), self._own, self._known, self._array, self._named
        )

    def _array(self, name: str) -> NDArray | None:
        return self._arrays.get(f"start/{name}")

    def _named(self, name: str, among: Collection[str]) -> str:
        theirs = self._names.of(name, {*among, *self._aliases})
        return self._aliases.get(theirs, theirs)


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
