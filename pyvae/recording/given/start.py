"""Starts a model from the parameters and buffers that another trace started from."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from numpy.typing import NDArray
from torch import Tensor

from pyvae.errors import UserError
from pyvae.files.name_map import read_name_map
from pyvae.recording.parameters import Parameters
from pyvae.trace.program import ProgramTrace

__all__ = ["load_start", "read_map"]

COUNTER = "num_batches_tracked"  # of a batch norm; a network by hand has none, and needs none


def load_start(parameters: Parameters, trace: ProgramTrace, names: Mapping[str, str]) -> None:
    """Copies the parameters and buffers with which another program's first recorded step began.

    Arguments:
        parameters: The model's, which are overwritten, all or none.
        trace: The other program's.
        names: Of the model's parameters, how the other calls them, where that is another name.

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
    for name, tensor in own.items():
        theirs = names.get(name, name)
        array = arrays.get(f"start/{theirs}")
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


def read_map(path: Path, own: Parameters) -> dict[str, str]:
    """Reads a map of names: a CSV file with the columns a and b, as `pyvae compare` writes it.

    Returns:
        The other's name of each of the model's parameters, whichever column these stand in.

    Raises:
        UserError: If it cannot be read, or a row names none of the model's parameters.
    """
    mine = set(own.names())
    found: dict[str, str] = {}
    for a, b in read_name_map(path):
        if a in mine:
            found[a] = b
        elif b in mine:
            found[b] = a
    return found


def _check_names(names: Mapping[str, str], own: Mapping[str, Tensor], trace: ProgramTrace) -> None:
    theirs = {one.name for one in trace.parameters}
    for name, other in names.items():
        if name in own and other not in theirs:
            raise UserError(
                f"the map names '{other}', which trace '{trace.folder}' does not have",
                "correct the map",
            )
