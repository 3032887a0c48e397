"""The parameters and buffers of a recorded model, by name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.optim import Optimizer

from pyvae.recording.keras.kernels import Kernel
from pyvae.recording.networks import kernels_in
from pyvae.trace.program import ProgramParameter

__all__ = ["Parameters"]


class Parameters:
    """Names of parameters and buffers, as `state_dict` has them.

    Parameters of an optimiser that are not the model's come after them, as `parameter`,
    `parameter#2`, ...

    Arguments:
        model: The recorded model.
        optimisers: Its optimisers.
        before: The same at an earlier moment. `torch.func.functional_call` puts other tensors in
            the place of parameters while it runs: the parameters are still those of before.

    Attributes:
        kernels: Those that a trace has in another order than the program.
    """

    def __init__(
        self,
        model: nn.Module,
        optimisers: Sequence[Optimizer],
        before: Parameters | None = None,
    ) -> None:
        self._own: list[ProgramParameter] = []
        self._names: dict[int, str] = {}
        self._tensors: dict[str, Tensor] = {}
        earlier = {} if before is None else before._tensors
        for name, one in model.named_parameters(remove_duplicate=False):
            own = one if isinstance(one, nn.Parameter) else earlier.get(name, one)
            self._add(name, own, "parameter")
        for name, buffer in model.named_buffers(remove_duplicate=False):
            self._add(name, buffer, "buffer")
        self.kernels: Mapping[str, Kernel] = kernels_in(model)
        others = 0
        for one in (p for o in optimisers for group in o.param_groups for p in group["params"]):
            if id(one) not in self._names:
                others += 1
                self._add("parameter" if others == 1 else f"parameter#{others}", one, "parameter")

    def _add(self, name: str, tensor: Tensor, kind: str) -> None:
        if is_lazy(tensor):  # has no shape before the first batch
            return
        self._own.append(
            ProgramParameter(
                name, tuple(tensor.shape), kind, tensor.requires_grad,
                self._names.get(id(tensor), ""),
            )
        )  # fmt: skip
        self._names.setdefault(id(tensor), name)
        self._tensors[name] = tensor

    @property
    def listed(self) -> list[ProgramParameter]:
        """As a trace lists them."""
        found: list[ProgramParameter] = []
        for one in self._own:
            kernel = self.kernels.get(one.name)
            if kernel is None:
                found.append(one)
                continue
            others = kernel.names(one.same_as) if one.same_as else None
            for at, (name, shape) in enumerate(kernel.shapes(one.name).items()):
                same = "" if others is None else others[at]
                found.append(replace(one, name=name, shape=shape, same_as=same))
        return found

    def listed_names(self, tensor: Tensor) -> tuple[str, ...]:
        """What a trace calls a parameter, which may be several there; empty if it is unknown."""
        name = self._names.get(id(tensor), "")
        return self.kernels[name].names(name) if name in self.kernels else (name,)

    def name_of(self, tensor: Tensor) -> str | None:
        """The first name of a parameter or buffer; None if the tensor is neither."""
        return self._names.get(id(tensor))

    def tensors(self, kind: str = "") -> Iterator[tuple[str, Tensor]]:
        """Yields names and tensors, each tensor once; of one kind, or all."""
        for one in self._own:
            if not one.same_as and kind in ("", one.kind):
                yield one.name, self._tensors[one.name]

    def names(self) -> Iterator[str]:
        yield from self._tensors

    def count(self) -> int:
        """How many numbers the parameters have together."""
        with torch.no_grad():
            return sum(tensor.numel() for _, tensor in self.tensors("parameter"))
