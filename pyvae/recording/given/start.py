"""Starts a model from the parameters and buffers that another trace started from."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path

import torch
from numpy.typing import NDArray
from torch import Tensor

from pyvae.errors import UserError
from pyvae.recording.given.names import OtherNames
from pyvae.recording.parameters import Parameters
from pyvae.trace.program import ProgramTrace
from pyvae.weights.keras_layers import RENAMED
from pyvae.weights.read_keras import from_keras_names

__all__ = ["load_start"]

KERAS_NAMES = {"kernel": "weight", **RENAMED}
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
    of_keras = _as_pytorch(trace, arrays)
    own = dict(parameters.tensors())
    _check_names(names, own, trace)
    found: list[tuple[Tensor, NDArray]] = []
    known = {key.removeprefix("start/") for key in arrays if key.startswith("start/")} | {*of_keras}
    for name, tensor in own.items():
        theirs = names.of(name, known)
        array = arrays.get(f"start/{theirs}")
        if array is None or name.rpartition(".")[2] != theirs.rpartition(".")[2]:
            array = of_keras.get(_named_by_keras(theirs), array)
        if array is None:
            array = _as_keras(name, arrays, names, known)
        if array is None and theirs == name and name.endswith(COUNTER):
            continue
        if array is None:
            raise UserError(
                f"trace '{trace.folder}' has no '{theirs}' to start from",
                f"give its name for '{name}' in the map of names, a CSV file with columns a and b",
            )
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


def _as_pytorch(trace: ProgramTrace, arrays: Mapping[str, NDArray]) -> dict[str, NDArray]:
    """Keras' variables as PyTorch's layers store them, by their names there: `dense.kernel` is
    `dense.weight`, transposed. Empty if the program is none of Keras'."""
    if "keras" not in trace.environment:
        return {}
    held = {
        key.removeprefix("start/"): one for key, one in arrays.items() if key.startswith("start/")
    }
    try:
        stored = from_keras_names(held, trace.folder or Path()).tensors
    except UserError:  # none of its layers is known
        return {}
    return {name: one.numpy() for name, one in stored.items()}


def _as_keras(
    name: str, arrays: Mapping[str, NDArray], names: OtherNames, known: Collection[str]
) -> NDArray | None:
    """What a variable of Keras begins with, of a program whose layers are PyTorch's."""
    last = name.rpartition(".")[2]
    array = arrays.get(f"start/{names.of(_named_by_keras(name), known)}")
    if last not in KERAS_NAMES or array is None:
        return None
    if last != "kernel" or array.ndim < 2:
        return array
    return array.transpose(*range(2, array.ndim), 1, 0)  # (out, in, place) to (place, in, out)


def _named_by_keras(name: str) -> str:
    """PyTorch's name of a variable of Keras'."""
    layer, _, last = name.rpartition(".")
    return f"{layer}.{KERAS_NAMES.get(last, last)}"


def _check_names(names: OtherNames, own: Mapping[str, Tensor], trace: ProgramTrace) -> None:
    theirs = {one.name for one in trace.parameters}
    for name, other in names.pairs:
        if name in own and other not in theirs:
            raise UserError(
                f"the map names '{other}', which trace '{trace.folder}' does not have",
                "correct the map",
            )
