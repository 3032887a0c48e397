"""Several networks of a program as one model."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from torch import nn

from pyvae.recording.keras.kernels import Kernel
from pyvae.recording.keras.network import KerasNetwork

__all__ = ["Networks", "Several", "kernels_in"]

Named = Iterator[tuple[str, Any]]


class _Together(nn.Module):
    """Networks whose names are those that each has by itself, after its own."""

    def each(self) -> Iterable[tuple[str, nn.Module]]:
        """The networks, by name."""
        return ()

    def named_modules(
        self, memo: set[nn.Module] | None = None, prefix: str = "", remove_duplicate: bool = True
    ) -> Named:
        memo = set() if memo is None else memo
        for name, one in self.each():
            path = f"{prefix}.{name}" if prefix and name else prefix or name
            yield from one.named_modules(memo, path, remove_duplicate)

    def named_parameters(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Named:
        yield from self._members("named_parameters", prefix, recurse, remove_duplicate)

    def named_buffers(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Named:
        yield from self._members("named_buffers", prefix, recurse, remove_duplicate)

    def _members(self, kind: str, prefix: str, recurse: bool, once: bool) -> Named:
        seen: set[int] = set()
        for name, one in self.each():
            path = f"{prefix}.{name}" if prefix and name else prefix or name
            for key, tensor in getattr(one, kind)(path, recurse, once):
                if not once or id(tensor) not in seen:
                    seen.add(id(tensor))
                    yield key, tensor


def kernels_in(model: nn.Module) -> dict[str, Kernel]:
    """The parameters of a model that a trace has in another order, by name: those of Keras."""
    if isinstance(model, KerasNetwork):
        return model.kernels()
    return {
        f"{name}.{key}" if name else key: kernel
        for name, one in (model.each() if isinstance(model, _Together) else ())
        for key, kernel in kernels_in(one).items()
    }


class Several(_Together, nn.ModuleDict):
    """Several networks that the user names."""

    def each(self) -> Iterable[tuple[str, nn.Module]]:
        return self.items()


class Networks(_Together):
    """The networks that a program uses, as one model: the first has the names that it has by
    itself, the modules of each other one begin with its name.

    Arguments:
        first: The first; more come as they are called.
    """

    def __init__(self, first: nn.Module | None = None) -> None:
        super().__init__()
        # no children: this is no part of the program
        object.__setattr__(self, "held", {} if first is None else {"": first})

    held: dict[str, nn.Module]

    def each(self) -> Iterable[tuple[str, nn.Module]]:
        return self.held.items()

    def add(self, module: nn.Module, name: str) -> str:
        """Adds a network. Returns the name that it has got: the first has none."""
        taken = {path.partition(".")[0] for path, _ in self.named_modules()} | {*self.held}
        given, count = name if self.held else "", 1
        while self.held and given in taken:
            count += 1
            given = f"{name}{count}"
        self.held[given] = module
        return given
