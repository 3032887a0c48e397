"""Reads safetensors files, those of R's torch and luz among them.

R's `torch_save()` writes safetensors too. With a module it adds the whole R object as bytes, which
are left where they are; with a list the tensors' names are memory addresses, and the list that says
what these are stands beside them, in R's serialisation.
"""

from __future__ import annotations

import json
from pathlib import Path

from safetensors import safe_open
from torch import Tensor

from pyvae.errors import UserError
from pyvae.files.reading import open_file
from pyvae.weights.r_serialised import Address, RefusedError, unserialise
from pyvae.weights.tree import SavedState, choose_state

__all__ = ["read_safetensors"]

R_OBJECT = "__robj__"
PLAIN, R_TORCH = "safetensors", "torch_save() of R"
MODULES = ("module", "state_dict")


def read_safetensors(path: Path, part: str | None = None) -> SavedState:
    """Reads a safetensors file, whoever wrote it.

    Arguments:
        path: The file.
        part: Of a list with several state dicts, which.

    Raises:
        UserError: If it holds no state dict, or several.
        UNREADABLE: If it is damaged.
    """
    open_file(path).close()  # safetensors would wait at a pipe
    with safe_open(path, "pt") as opened:
        about = _about(opened.metadata())
        tensors = {name: opened.get_tensor(name) for name in opened.offset_keys()}
    if about is None:
        return choose_state(PLAIN, tensors, part, str(path))
    if about.get("special_dtype"):
        raise UserError(f"'{path}' holds complex numbers, which pyvae does not convert")
    content = tensors.pop(R_OBJECT, None)
    if about["type"] == "tensor":
        raise UserError(
            f"'{path}' holds a single tensor without a name",
            "save it in a list, in R: torch_save(list(weight = tensor), FILE)",
        )
    if about["type"] in MODULES:
        return choose_state(R_TORCH, tensors, part, str(path))
    if about["type"] != "list" or content is None:
        raise ValueError("it is no list and no module of R's torch")
    left = dict(tensors)
    try:
        found = unserialise(content.numpy().tobytes())
    except RefusedError as error:
        raise UserError(
            f"'{path}' holds {error} beside its tensors, which pyvae does not read",
            "save the weights alone, in R: torch_save(model$state_dict(), FILE)",
        ) from None
    tree = _filled(found, tensors, left)
    if left:
        raise ValueError(f"{len(left)} of its tensors are in no list")
    return choose_state(R_TORCH, tree, part, str(path))


def _about(metadata: dict[str, str] | None) -> dict | None:
    """Returns what R's torch says about the file; None if it did not write it."""
    text = (metadata or {}).get("__r__")
    if text is None:
        return None
    about = json.loads(text)
    if not isinstance(about, dict) or not isinstance(about.get("type"), str):
        raise ValueError("its note of R's torch is damaged")
    return about


def _filled(value: object, tensors: dict[str, Tensor], left: dict[str, Tensor]) -> object:
    """Puts the tensors where R's list has their addresses."""
    if isinstance(value, Address):
        if value.key not in tensors:
            raise ValueError("a tensor of its list is missing")
        left.pop(value.key, None)
        return tensors[value.key]
    if isinstance(value, list):  # R counts from 1
        value = {str(place): one for place, one in enumerate(value, 1)}
    if isinstance(value, dict):
        return {name: _filled(one, tensors, left) for name, one in value.items()}
    return value
