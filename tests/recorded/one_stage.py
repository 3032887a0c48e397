"""One call of a layer or a function, as a recorder writes it down, with PyTorch's own results."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from comparisons.ports.expected.recompute import Recomputed, recompute
from pyvae.trace.program import ProgramStage

BOUNDS = {torch.float64: 1e-12, torch.float32: 1e-4}


def randn(*shape: int, dtype: torch.dtype = torch.float64, seed: int = 1) -> Tensor:
    return torch.randn(shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


@dataclass(frozen=True)
class Recorded:
    """A stage, what went in and came out of it, and the gradients that PyTorch made of it."""

    stage: ProgramStage
    arrays: dict[str, NDArray]
    gradients: dict[str, Tensor]
    buffers: dict[str, Tensor]

    def recomputed(self, index_base: int = 0) -> Recomputed:
        found = recompute(self.stage, self.arrays, index_base)
        assert found is not None
        return found

    def output(self, index_base: int = 0) -> NDArray:
        """The first output, recomputed."""
        return self.recomputed(index_base).outputs[self.stage.outputs[0]].numpy()

    def residual(self, index_base: int = 0) -> float:
        """The largest difference between what was recorded and what is recomputed, relative to the
        tensor's largest; everything that was recorded must be there."""
        found = self.recomputed(index_base)
        recorded = {name: self.arrays[f"forward/{name}"] for name in self.stage.outputs}
        pairs = [(recorded, found.outputs), (self.gradients, found.gradients)]
        pairs.append((self.buffers, found.buffers))
        worst = 0.0
        for ours, theirs in pairs:
            assert ours.keys() <= theirs.keys()
            for name, value in ours.items():
                worst = max(worst, _difference(value, theirs[name]))
        return worst


def _difference(ours: Tensor | NDArray, theirs: Tensor) -> float:
    a, b = np.asarray(ours, np.float64), np.asarray(theirs, np.float64)
    assert a.shape == b.shape
    if not a.size:
        return 0.0
    same = (a == b) | (np.isnan(a) & np.isnan(b))
    if np.all(same):
        return 0.0
    return float(
        np.max(np.abs(np.where(same, 0, a - b))) / max(np.abs(a[np.isfinite(a)]).max(), 1e-300)
    )


def options_of_module(module: nn.Module) -> dict[str, Any]:
    """A constructor's arguments that are attributes of the instance, as recorders take them."""
    options = {}
    kind = nn.RNNBase if isinstance(module, nn.RNNBase) else type(module)
    for name in inspect.signature(kind.__init__).parameters:
        if name in ("self", "inplace", "device", "dtype") or not hasattr(module, name):
            continue
        value = getattr(module, name)
        if name == "bias":
            value = value is not None and value is not False
        if isinstance(value, bool | int | float | str | tuple | list | None):
            options[name] = list(value) if isinstance(value, tuple) else value
    return options


def record_module(
    module: nn.Module, layer: str, *inputs: Tensor, options: Mapping[str, Any] | None = None,
    **named: Any,
) -> Recorded:  # fmt: skip
    """Calls a module and writes down what a recorder would."""
    roles = {name: f"m.{name}" for name, _ in [*module.named_parameters(), *module.named_buffers()]}
    start = {roles[name]: value.detach().clone() for name, value in module.state_dict().items()}
    trained = {roles[name]: value for name, value in module.named_parameters()}
    given = {**options_of_module(module), **(options or {})}
    recorded = _record(lambda *x: module(*_nested(layer, x), **named), inputs, trained)
    after = {roles[name]: value.clone() for name, value in module.named_buffers()}
    stage = ProgramStage(
        "m", layer, tuple(f"x{i}" for i in range(len(inputs))), given, roles,
        recorded.stage.outputs, module.training,
    )  # fmt: skip
    arrays = {**recorded.arrays, **{f"start/{name}": one.numpy() for name, one in start.items()}}
    changed = {name: one for name, one in after.items() if not torch.equal(one, start[name])}
    return Recorded(stage, arrays, recorded.gradients, changed)


def record_function(
    function: Callable[..., Any], layer: str, *inputs: Tensor, **options: Any
) -> Recorded:
    """Calls a function of tensors and writes down what a recorder would."""
    recorded = _record(function, inputs, {})
    names = tuple(f"x{i}" for i in range(len(inputs)))
    stage = ProgramStage("m", layer, names, options, {}, recorded.stage.outputs)
    return Recorded(stage, recorded.arrays, recorded.gradients, {})


def _nested(layer: str, inputs: Sequence[Tensor]) -> tuple[Any, ...]:
    """An LSTM takes its states as a pair."""
    if layer in ("lstm", "lstm_cell") and len(inputs) == 3:
        return inputs[0], (inputs[1], inputs[2])
    return tuple(inputs)


def _record(
    function: Callable[..., Any], inputs: Sequence[Tensor], trained: Mapping[str, Tensor]
) -> Recorded:
    own = [x.detach().clone().requires_grad_(x.is_floating_point()) for x in inputs]
    results = list(_named(function(*own), "m"))
    generator = torch.Generator().manual_seed(5)
    arrays = {f"forward/x{i}": x.detach().numpy() for i, x in enumerate(own)}
    sent = []
    for name, value in results:
        arrays[f"forward/{name}"] = value.detach().clone().numpy()
        if value.requires_grad:
            gradient = torch.randn(value.shape, generator=generator, dtype=value.dtype)
            arrays[f"gradient/{name}"] = gradient.numpy()
            sent.append((value, gradient))
    leaves = {f"x{i}": x for i, x in enumerate(own) if x.requires_grad} | dict(trained)
    found: Sequence[Tensor | None] = [None] * len(leaves)
    if sent and leaves:
        outputs, gradients = zip(*sent, strict=True)
        found = torch.autograd.grad(outputs, list(leaves.values()), gradients, allow_unused=True)
    known = {name: one for name, one in zip(leaves, found, strict=True) if one is not None}
    stage = ProgramStage("m", "", outputs=tuple(name for name, _ in results))
    return Recorded(stage, arrays, known, {})


def _named(value: Any, name: str) -> Iterator[tuple[str, Tensor]]:
    """Tensors in what a layer returned, with the names that a trace gives them."""
    if isinstance(value, Tensor):
        yield name, value
    elif value is not None:
        for i, one in enumerate(value):
            yield from _named(one, f"{name}.{i}")
