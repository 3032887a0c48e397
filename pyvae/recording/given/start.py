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
    mine = {one.name: one.shape for one in parameters.listed}

    def named(name: str, among: Collection[str]) -> str:
        theirs = names.of(name, {*among, *aliases})
        return aliases.get(theirs, theirs)

    def array_of(name: str) -> NDArray | None:
        return arrays.get(f"start/{name}")

    def find(name: str) -> NDArray | None:
        array = array_of(named(name, known))
        if array is None:
            array = recurrent_start(name, mine[name], mine, known, array_of, named)
        return array

    for name, tensor in own.items():
        kernel = parameters.kernels.get(name)
        parts = [find(one) for one in (kernel.names(name) if kernel is not None else (name,))]
        there = [part for part in parts if part is not None]
        theirs = names.of(name, known | {*aliases})
        if not there and theirs == name and name.endswith(COUNTER):
            continue
        if len(there) < len(parts):
            raise UserError(
                f"trace '{trace.folder}' has no '{theirs}' to start from",
                f"give its name for '{name}' in the map of names, a CSV file with columns a and b",
            )
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
