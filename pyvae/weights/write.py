"""Writes weights: as safetensors, or as PyTorch's state dict."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import safetensors.torch
import torch
from torch import Tensor

from pyvae.errors import UserError
from pyvae.files.writing import replacing

__all__ = ["check_target", "how_to_load", "write_weights"]

SAFETENSORS, PYTORCH = ".safetensors", (".pt", ".pth")


def check_target(path: Path, overwrite: bool) -> None:
    """Raises UserError if weights cannot be written to a file of this name."""
    if path.suffix not in (SAFETENSORS, *PYTORCH):
        raise UserError(f"--to {path}", expected="a file that ends in .safetensors, .pt or .pth")
    if path.is_dir():
        raise UserError(f"--to {path} is a folder", "give the name of a file")
    if path.exists() and not overwrite:
        raise UserError(
            f"'{path}' exists already", "choose another name, or replace it with --overwrite"
        )


def write_weights(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Writes weights, each with memory of its own, bit for bit.

    Raises:
        UserError: If the file cannot be written; an earlier one is kept.
    """
    own = {name: one.detach().clone(memory_format=torch.contiguous_format)
           for name, one in tensors.items()}  # fmt: skip
    if not path.parent.is_dir():
        raise UserError(f"folder '{path.parent}' does not exist", "make it first")
    with replacing(path) as temporary:
        if path.suffix == SAFETENSORS:
            safetensors.torch.save_file(own, temporary, {"format": "pt"})
        else:
            with temporary.open("wb") as file:
                torch.save(own, file)


def how_to_load(path: Path, language: str) -> str:
    """Returns the line that loads a file into a model."""
    name = path.name
    if language == "r":
        read = (
            f'safetensors::safe_load_file("{name}", framework = "torch")'
            if path.suffix == SAFETENSORS
            else f'load_state_dict("{name}")'
        )
        return f"model$load_state_dict({read})"
    if path.suffix == SAFETENSORS:
        return f'model.load_state_dict(safetensors.torch.load_file("{name}"))'
    return f'model.load_state_dict(torch.load("{name}", weights_only=True))'
