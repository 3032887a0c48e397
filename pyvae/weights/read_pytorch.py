"""Reads state dicts of PyTorch: `torch.load(weights_only=True)`, after a look at what it loads.

A `.pt` file is a zip archive of numbers beside a pickle, a small program that names classes.
"""

from __future__ import annotations

import pickletools
import zipfile
from pathlib import Path, PurePosixPath
from typing import BinaryIO

import torch
from torch import Tensor

from pyvae.errors import UserError
from pyvae.files.reading import MEMORY_BASE, MEMORY_TIMES, open_file
from pyvae.weights.tree import SavedState, choose_state

__all__ = ["read_pytorch"]

PYTORCH = "torch.save() of PyTorch"
STATE_ONLY = "save its state dict instead: torch.save(model.state_dict(), FILE)"
HARMLESS = ("torch", "collections")  # where what a state dict needs comes from
TEXTS = ("SHORT_BINUNICODE", "BINUNICODE", "UNICODE", "BINUNICODE8")


def read_pytorch(path: Path, part: str | None = None) -> SavedState:
    """Reads a state dict that `torch.save` wrote.

    Arguments:
        path: The file, a zip archive.
        part: Of a checkpoint with several state dicts, which.

    Raises:
        UserError: If it holds a model, or no state dict.
        UNREADABLE: If it is damaged.
    """
    with open_file(path) as file:
        size = file.seek(0, 2)
        _check_archive(file, size, path)
        file.seek(0)
        try:
            tree = torch.load(file, map_location="cpu", weights_only=True)
        except Exception as error:  # of a dozen kinds, pickle.UnpicklingError and RuntimeError
            said = str(error).strip().partition("\n")[0]
            raise ValueError(said or type(error).__name__) from error
    state = choose_state(PYTORCH, tree, part, str(path))
    _check_size(state.tensors, size)
    return state


def _check_archive(file: BinaryIO, size: int, path: Path) -> None:
    """Raises UserError or ValueError for an archive that is more than names and numbers."""
    with zipfile.ZipFile(file) as archive:
        members = archive.infolist()
        names = [PurePosixPath(one.filename) for one in members]
        if any(one.name == "constants.pkl" for one in names):
            raise UserError(f"'{path}' is a TorchScript archive, which holds code", STATE_ONLY)
        if any(
            one.compress_type != zipfile.ZIP_STORED or one.compress_size != one.file_size
            for one in members
        ):
            raise ValueError("it is compressed, which torch.save never does")
        if sum(one.file_size for one in members) > size:
            raise ValueError("its table of contents promises more than there is")
        pickles = [one for one, name in zip(members, names, strict=True) if name.suffix == ".pkl"]
        if len(pickles) != 1 or PurePosixPath(pickles[0].filename).name != "data.pkl":
            raise ValueError("it is a zip archive, but not one of torch.save")
        foreign = _foreign_classes(archive.read(pickles[0]))
    if foreign:
        raise UserError(
            f"'{path}' holds objects ({', '.join(foreign[:3])}), not only numbers and names; "
            "reading them would run code from the file",
            STATE_ONLY,
        )


def _foreign_classes(content: bytes) -> list[str]:
    """Lists what a pickle names beside tensors and dicts; it is looked at, not run."""
    found: dict[str, None] = {}
    texts: list[str] = []
    for code, argument, _ in pickletools.genops(content):
        if code.name in TEXTS:
            texts = [*texts[-1:], str(argument)]
        if code.name == "GLOBAL":
            module, _, name = str(argument).partition(" ")
        elif code.name in ("STACK_GLOBAL", "INST"):
            module, _, name = (" ".join(texts) if argument is None else str(argument)).partition(
                " "
            )
        else:
            continue
        if module.partition(".")[0] not in HARMLESS or module.startswith("torch.nn.modules"):
            found[f"{module}.{name}"] = None
    return list(found)


def _check_size(tensors: dict[str, Tensor], size: int) -> None:
    """A view of a few numbers can claim any shape; it is counted before it is written out."""
    for name, one in tensors.items():
        if one.layout is not torch.strided or one.is_quantized or one.is_meta:
            raise ValueError(f"'{name[:80]}' is not a plain tensor")
    total = sum(one.numel() * one.element_size() for one in tensors.values())
    if total > MEMORY_TIMES["state dict"] * size + MEMORY_BASE:
        raise ValueError(f"its tensors claim {total} bytes of a file of {size}")
