"""Reads the weights of a file, of whatever kind; its first bytes say which."""

from __future__ import annotations

import zipfile
from pathlib import Path

import torch

from pyvae.data.npz import read_npz
from pyvae.errors import UserError
from pyvae.files.reading import open_file
from pyvae.weights.read_keras import INSIDE, from_keras_names, read_keras
from pyvae.weights.read_pytorch import read_pytorch
from pyvae.weights.read_safetensors import read_safetensors
from pyvae.weights.tree import SavedState

__all__ = ["read_weights"]

HDF5, ZIP = b"\x89HDF\r\n\x1a\n", b"PK\x03\x04"
RDS = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"X\n", b"A\n", b"B\n")  # how R's saveRDS begins
PICKLE = (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")  # PyTorch before 1.6
READABLE = (
    "a safetensors file, a state dict of PyTorch or of R's torch, or weights of Keras (.h5, .keras)"
)


def read_weights(path: Path, part: str | None = None, *, keras: bool = False) -> SavedState:
    """Reads the weights of a file.

    Arguments:
        path: The file.
        part: Of a checkpoint with several state dicts, which.
        keras: Whether names in a safetensors or npz file are Keras'.

    Raises:
        UserError: If it cannot be read, or holds no weights.
    """
    try:
        with open_file(path) as file:
            head = file.read(8)
        state = _read(path, head, part, keras)
    except UserError:
        raise
    except FileNotFoundError:
        raise UserError(f"'{path}' does not exist", "check the path") from None
    except Exception as error:  # zipfile, pickletools and HDF5 raise a dozen kinds of their own
        raise UserError(
            f"'{path}' cannot be read ({error or type(error).__name__})", f"give {READABLE}"
        ) from error
    if not state.tensors:
        raise UserError(f"'{path}' holds no weights", f"give {READABLE}")
    return state


def _read(path: Path, head: bytes, part: str | None, keras: bool) -> SavedState:
    if head.startswith(HDF5):
        return read_keras(path)
    if head.startswith(ZIP):
        return _read_zip(path, part, keras)
    if head.startswith(RDS):
        raise UserError(
            f"'{path}' is an R object (RDS), as luz_save() and torch_save() with serialization "
            "version 2 write it",
            'save the weights alone, in R: torch_save(model$state_dict(), "weights.pt") or '
            'luz_save_model_weights(fitted, "weights.pt")',
        )
    if head.startswith(PICKLE):
        raise UserError(
            f"'{path}' is a pickle, as PyTorch wrote it before version 1.6; pyvae reads none",
            "save the state dict again with today's PyTorch: torch.save(model.state_dict(), FILE)",
        )
    if len(head) < 8:
        raise ValueError(f"it has {len(head)} bytes")
    state = read_safetensors(path, part)
    if not keras:
        return state
    arrays = {name: one.numpy() for name, one in state.tensors.items()}
    return from_keras_names(arrays, path)


def _read_zip(path: Path, part: str | None, keras: bool) -> SavedState:
    """Reads one of the three kinds of zip archive: Keras', NumPy's and PyTorch's."""
    with open_file(path) as file, zipfile.ZipFile(file) as archive:
        members = archive.namelist()
    if INSIDE in members:
        return read_keras(path)
    if not members or not all(name.endswith(".npy") for name in members):
        return read_pytorch(path, part)
    arrays = read_npz(path)
    if keras:
        return from_keras_names(arrays, path)
    for name, value in arrays.items():
        if value.dtype.kind not in "fiub":
            raise ValueError(f"'{name[:80]}' has values of type {value.dtype}")
    return SavedState("npz", {name: torch.from_numpy(value) for name, value in arrays.items()})
