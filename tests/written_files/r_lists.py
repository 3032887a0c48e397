"""R's serialisation, written: lists of tensors as R torch's `torch_save()` keeps them in a file."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import safetensors.torch
import torch
from torch import Tensor

__all__ = ["HEAD", "r_list", "r_texts", "save_r_list"]

HEAD = b"X\n" + struct.pack(">iii", 3, 0x040202, 0x030500) + struct.pack(">i", 5) + b"UTF-8"
HAS_ATTRIBUTES, HAS_TAG, IS_OBJECT = 512, 1024, 256


def r_texts(texts: list[str], flags: int = 0) -> bytes:
    """A character vector, without its attributes."""
    parts = [struct.pack(">ii", 16 | flags, len(texts))]
    for text in texts:
        content = text.encode()
        parts.append(struct.pack(">ii", 9 | 1 << 15, len(content)) + content)
    return b"".join(parts)


def attribute(name: str, values: list[str]) -> bytes:
    symbol = struct.pack(">iii", 1, 9 | 1 << 18, len(name)) + name.encode()
    return struct.pack(">i", 2 | HAS_TAG) + symbol + r_texts(values) + struct.pack(">i", 254)


def r_list(values: dict[str, object]) -> bytes:
    """A list with names: tensors become addresses, dicts lists, texts and numbers vectors."""
    parts = [struct.pack(">ii", 19 | HAS_ATTRIBUTES, len(values))]
    for value in values.values():
        if isinstance(value, Tensor):
            parts.append(r_texts([hex(id(value))], HAS_ATTRIBUTES | IS_OBJECT))
            parts.append(attribute("class", ["torch_tensor_address"]))
        elif isinstance(value, dict):
            parts.append(r_list(value))
        elif isinstance(value, bytes):  # as it stands
            parts.append(value)
        elif isinstance(value, float):
            parts.append(struct.pack(">iid", 14, 1, value))
        else:
            parts.append(r_texts([str(value)]))
    return b"".join([*parts, attribute("names", list(values))])


def tensors_of(values: dict[str, object]) -> dict[str, Tensor]:
    found: dict[str, Tensor] = {}
    for value in values.values():
        if isinstance(value, Tensor):
            found[hex(id(value))] = value
        elif isinstance(value, dict):
            found |= tensors_of(value)
    return found


def save_r_list(path: Path, values: dict[str, object], content: bytes | None = None) -> Path:
    """Writes what `torch_save(list(...))` writes; `content` in place of the serialised list."""
    content = HEAD + r_list(values) if content is None else content
    raw = torch.frombuffer(bytearray(content or b"\0"), dtype=torch.uint8)
    about = {"type": "list", "version": 3, "requires_grad": [], "special_dtype": []}
    tensors = {name: one.clone() for name, one in tensors_of(values).items()}
    path.write_bytes(
        safetensors.torch.save(tensors | {"__robj__": raw}, {"__r__": json.dumps(about)})
    )
    return path
