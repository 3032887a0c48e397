"""Reads R's serialisation (`serialize()`, XDR), as far as a list of names, numbers and texts goes.

It stands in files of R torch's `torch_save(list)`. Functions, environments and whatever else might
be run are refused. PyPI's `rdata` reads more than that, which is too much for files of others: it
expands compact sequences to any length that a file names.

Source: R Internals, section 1.8, https://cran.r-project.org/doc/manuals/r-release/R-ints.html
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

import numpy as np

__all__ = ["Address", "RefusedError", "unserialise"]

HEAD = b"X\n"
DEEPEST = 200  # lists within lists
HAS_ATTRIBUTES, HAS_TAG, IS_LATIN1 = 512, 1024, 1 << (12 + 2)
SYMBOL, PAIRS, STRING, ALTERNATIVE, NAMESPACE, REFERENCE, NULL = 1, 2, 9, 238, 249, 255, 254
LIST = (19, 20)
TEXTS = 16
NUMBERS = {10: ">i4", 13: ">i4", 14: ">f8", 15: ">c16", 24: "u1"}
VALUELESS = (NULL, 253, 242, 241, 251)  # the global, the empty and the base environment; no value
REFUSED = {
    3: "a function", 4: "an environment", 5: "a promise", 6: "code", 7: "a function",
    8: "a function", 21: "compiled code", 22: "a pointer", 23: "a weak reference",
    25: "an S4 object", 247: "a package's environment", 248: "a package's environment",
    243: "compiled code", 244: "compiled code",
}  # fmt: skip


class RefusedError(ValueError):
    """An R object that could be run, or holds what could; the message says what it is."""


@dataclass(frozen=True)
class Address:
    """Stands for a tensor: the name under which its numbers are in the same file."""

    key: str


@dataclass
class _Reader:
    content: bytes
    at: int = len(HEAD)
    symbols: list[str] = field(default_factory=list)
    depth: int = 0

    def number(self) -> int:
        return int(struct.unpack(">i", self.take(4))[0])

    def length(self) -> int:
        found = self.number()
        if found < 0:  # R's -1: more than 2^31 - 1 elements follow
            raise ValueError(f"a vector of length {found}")
        return found

    def take(self, size: int) -> bytes:
        if size < 0 or size > len(self.content) - self.at:
            raise ValueError(f"it ends within an object, at byte {self.at}")
        self.at += size
        return self.content[self.at - size : self.at]

    def string(self) -> str:
        flags, size = self.number(), self.number()
        if flags & 255 != STRING:
            raise ValueError(f"an object of type {flags & 255} where a text should be")
        if size == -1:
            return "NA"
        return self.take(size).decode("latin-1" if flags & IS_LATIN1 else "utf-8")

    def item(self) -> object:
        """Reads the next object.

        Returns:
            A dict for a list with names, a list or an array for vectors, an `Address`, or None.
        """
        self.depth += 1
        if self.depth > DEEPEST:
            raise ValueError(f"lists are nested deeper than {DEEPEST}")
        value = self.of_kind(self.number())
        self.depth -= 1
        return value

    def of_kind(self, flags: int) -> object:
        kind = flags & 255
        if kind in VALUELESS:
            return None
        if kind == REFERENCE:
            return self.referenced((flags >> 8) or self.number())
        if kind == SYMBOL:
            self.symbols.append(self.string())
            return self.symbols[-1]
        if kind == NAMESPACE:
            self.namespace()
            return None
        if kind == PAIRS:
            return self.pairs(flags)
        if kind == ALTERNATIVE:
            return self.alternative()
        return with_attributes(self.vector(kind), self.item() if flags & HAS_ATTRIBUTES else None)

    def referenced(self, place: int) -> str:
        if not 1 <= place <= len(self.symbols):
            raise ValueError(f"it refers to name {place} of {len(self.symbols)}")
        return self.symbols[place - 1]

    def namespace(self) -> None:
        self.take(4)
        for _ in range(self.length()):
            self.string()
        self.symbols.append("")

    def pairs(self, flags: int) -> dict[str, object]:
        found: dict[str, object] = {}
        while flags & 255 == PAIRS:
            if flags & HAS_ATTRIBUTES:
                self.item()
            tag = self.item() if flags & HAS_TAG else len(found)
            found[str(tag)] = self.item()
            flags = self.number()
        if flags & 255 != NULL:  # a pair of two values, as R keeps a wrapped vector
            found[str(len(found))] = self.of_kind(flags)
        return found

    def alternative(self) -> object:
        """Reads a vector that R keeps in another way: wrapped, or as a rule, which is left out."""
        about, state, attributes = self.item(), self.item(), self.item()
        name = next(iter(about.values()), "") if isinstance(about, dict) else ""
        if not str(name).startswith("wrap_"):
            return None
        inside = list(state.values()) if isinstance(state, dict) else state
        if not isinstance(inside, list) or not inside:
            raise ValueError("a wrapped vector without the vector")
        return with_attributes(inside[0], attributes)

    def vector(self, kind: int) -> object:
        if kind in REFUSED:
            raise RefusedError(REFUSED[kind])
        if kind in NUMBERS:
            dtype = np.dtype(NUMBERS[kind])
            return np.frombuffer(self.take(self.length() * dtype.itemsize), dtype)
        if kind == TEXTS:
            return [self.string() for _ in range(self.length())]
        if kind in LIST:
            return [self.item() for _ in range(self.length())]
        raise ValueError(f"it holds an object of R's type {kind}")


def with_attributes(value: object, attributes: object) -> object:
    """Returns a value as its attributes say: an address by its class, a dict by its names."""
    if not isinstance(attributes, dict) or not isinstance(value, list):
        return value
    if attributes.get("class") == ["torch_tensor_address"]:
        if len(value) != 1 or not isinstance(value[0], str):
            raise ValueError("an address of a tensor that is none")
        return Address(value[0])
    names = attributes.get("names")
    if names is None or not any(isinstance(one, Address | dict | list) for one in value):
        return value  # names of texts are not needed
    if not isinstance(names, list) or len(names) != len(value):
        raise ValueError("a list with more or fewer names than values")
    named = dict(zip(map(str, names), value, strict=True))
    if len(named) < len(value):
        raise ValueError("a list with two values of one name")
    return named


def unserialise(content: bytes) -> object:
    """Reads the object that R's `serialize()` wrote.

    Returns:
        Dicts (lists with names), lists, arrays, texts, `Address` for tensors; None for NULL and for
        sequences, which stand in the file as a rule.

    Raises:
        RefusedError: If it holds anything that could be run.
        ValueError: If it is damaged.
    """
    if content[: len(HEAD)] != HEAD:
        raise ValueError("it is not in R's XDR format")
    reader = _Reader(content)
    version = reader.number()
    if version not in (2, 3):
        raise ValueError(f"it has version {version} of R's serialisation")
    reader.take(8)  # of R
    if version == 3:
        reader.take(reader.length())  # the encoding of texts that are marked in no way
    found = reader.item()
    if reader.at != len(content):
        raise ValueError(f"{len(content) - reader.at} bytes follow its end")
    return found
