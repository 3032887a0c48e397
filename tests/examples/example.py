"""A small network around one layer, recorded with the layer as it is, or with a mistake in it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from copy import copy
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from comparisons.ports.expected.call import bind
from comparisons.ports.expected.recompute import REFUSED
from comparisons.ports.expected.table import LAYERS
from comparisons.ports.mistakes.fit import alike
from comparisons.ports.mistakes.mistake import Call, Mistake, mistakes_of
from examples.function import Function, stand_in
from examples.masks import mask_for
from pyvae.recording.record import record
from pyvae.recording.seen.layers import layer_name, module_options
from pyvae.trace.program import ProgramStage


def positive(*shape: int) -> Tensor:
    """Numbers that no mistake takes for zero, and that are not symmetric."""
    return torch.rand(*shape, dtype=torch.float64) + 0.1 * torch.randn(*shape, dtype=torch.float64)


@dataclass(frozen=True)
class Example:
    """A layer of torch.nn, and what goes into it.

    Attributes:
        make: Makes the layer.
        inputs: Make what goes in; called for every step anew.
        fitted: For mistakes with a constant that is fitted, by the names of their functions: makes
            what the layer returns with a constant, given the call.
        targets: How many of the last inputs are what the layer, a loss, is to come to.
        paired: Whether all inputs but the first go in as one tuple.
        named: Inputs that go in by name.
    """

    make: Callable[[], nn.Module]
    inputs: tuple[Callable[[], Tensor], ...]
    fitted: dict[str, Callable[[Call], Any]] = field(default_factory=dict)
    targets: int = 0
    paired: bool = False
    named: dict[str, Callable[[], Tensor]] = field(default_factory=dict)

    @property
    def layer(self) -> str:
        layer = self.make()
        return layer.layer if isinstance(layer, Function) else layer_name(layer)

    @property
    def keeps_buffers(self) -> bool:
        return any(True for _ in self.make().buffers())

    @property
    def place(self) -> str:
        """Where it stands in the recorded network."""
        return "layer." + self.layer if isinstance(self.make(), Function) else "layer"

    @cached_property
    def planted(self) -> list[Planted]:
        return list(_planted_in(self))

    def network(self) -> Network:
        """The network, always with the same numbers."""
        torch.manual_seed(1)
        network = Network(self.make(), len(self.inputs) - self.targets, self.paired).double()
        with torch.no_grad():
            for one in network.layer.parameters():  # none is 0 or 1 throughout
                one.add_(0.3 * torch.randn_like(one))
        return network

    def batch(self) -> tuple[list[Tensor], dict[str, Tensor]]:
        """What goes into the layer in one step."""
        return [make() for make in self.inputs], {k: make() for k, make in self.named.items()}

    def record(self, folder: Path, planted: Planted | None = None, steps: int = 2) -> None:
        """Records it as it is trained.

        Arguments:
            folder: For the trace.
            planted: The mistake that the layer makes.
            steps: How many.
        """
        network = self.network()
        if planted is not None:
            planted.plant(network.layer)
        optimiser = torch.optim.SGD(network.parameters(), 0.01)
        torch.manual_seed(2)
        batches = [self.batch() for _ in range(steps)]
        with record(network, optimiser, folder, steps=steps, overwrite=True):
            for batch, named in batches:
                optimiser.zero_grad()
                network(*batch, **named).backward()
                optimiser.step()


class Network(nn.Module):
    """What goes into the layer is trained, and what comes out goes into the loss."""

    def __init__(self, layer: nn.Module, trained: int, paired: bool) -> None:
        super().__init__()
        self.layer, self.trained, self.paired = layer, trained, paired
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, *inputs: Tensor, **named: Tensor) -> Tensor:
        given = [*map(self.scaled, inputs[: self.trained]), *inputs[self.trained :]]
        found = self.layer(*((given[0], tuple(given[1:])) if self.paired else given), **named)
        while not isinstance(found, Tensor):
            found = found[0]
        if not found.is_floating_point():
            found = found * self.scale
        if not found.dim():  # a loss
            return found
        return found.flatten().cumsum(0).sin().mean()  # each element has a gradient of its own

    def scaled(self, x: Tensor) -> Tensor:
        return x * self.scale if x.is_floating_point() else x


def weights_for(x: Tensor) -> Tensor:
    """What a loss weighs its elements with: each has another."""
    return torch.linspace(-1, 2, x.numel(), dtype=torch.float64).reshape(x.shape)


@dataclass(frozen=True)
class Planted:
    """One mistake, in one layer.

    Attributes:
        mistake: Its declaration.
        example: Where it is planted.
        words: Those that the declaration has for it.
    """

    mistake: Mistake
    example: Example
    words: str

    @property
    def label(self) -> str:
        return f"{self.example.layer}: {self.words}"

    def plant(self, layer: nn.Module) -> None:
        """Has a layer make the mistake."""
        if not isinstance(layer, Function):
            layer.forward = lambda *given, **named: self.run(layer, tuple(tensors(given)), named)
            return
        right, forward = copy(layer), layer.forward

        def planted(*given: Tensor) -> Any:
            layer.function = stand_in(right.function, lambda: self.run(right, given))
            return forward(*given)

        layer.forward = planted

    def run(
        self, layer: nn.Module, inputs: tuple[Tensor, ...], given: dict[str, Tensor] | None = None
    ) -> Any:
        """What the layer returns with the mistake. Its buffers are moved as the mistake does."""
        call = called(layer, inputs, given)
        made = self.mistake.made(call, _recorded(self.mistake, self.example, call))
        for words, value in made:
            if alike(words, self.words):
                value = value() if callable(value) else value
                with torch.no_grad():
                    for role, buffer in call.updated.items():
                        getattr(layer, role).copy_(buffer)
                return _linked(value, inputs) if self.mistake.backward else value
        raise AssertionError(f"{self.label} cannot be made in the next step")


def _linked(value: Any, inputs: tuple[Tensor, ...]) -> Any:
    """The same, where an input that is cut off gets zeros for a gradient, not none."""
    if not isinstance(value, Tensor):
        first, *rest = value
        return type(value)([_linked(first, inputs), *rest])
    links = [x.sum() * 0 for x in inputs if x.requires_grad and x.isfinite().all()]
    return value + sum(links) if links else value


def _recorded(one: Mistake, example: Example, call: Call) -> Tensor | None:
    """What a constant is fitted to, of what is returned and of what is left in the buffers: the
    layer with the example's own constant."""
    if not one.fits:
        return None
    value = example.fitted[one.name](call)
    call.left = {role: buffer.detach() for role, buffer in call.updated.items()}
    return value.detach()


def called(
    layer: nn.Module, inputs: tuple[Tensor, ...], given: dict[str, Tensor] | None = None
) -> Call:
    """The call of a module, or function, as the recorder would write it down."""
    if isinstance(layer, Function):
        kind, arguments = layer.layer, layer.arguments(inputs)
        named, options = {**arguments.roles}, arguments.options
        inputs = tuple(arguments.inputs)
    else:
        kind, options = layer_name(layer), module_options(layer)
        named = {path: layer.get_parameter(path) for path, _ in layer.named_parameters()}
        named |= {path: buffer.clone() for path, buffer in layer.named_buffers()}
        named |= given or {}
    names = tuple(f"input.{i}" for i in range(len(inputs)))
    roles = {path: path for path in named}
    stage = ProgramStage("layer", kind, names, options, roles, training=layer.training)
    values = dict(zip(names, inputs, strict=True)) | named
    bound = bind(
        LAYERS[kind], stage, values, index_base=0, updated={}, recorded=None,
        draw=mask_for(kind, options, layer.training, inputs),
        machine_eps=torch.finfo(torch.float64).eps,
    )  # fmt: skip
    return Call(kind, bound)


def planted_in(example: Example) -> list[Planted]:
    """All mistakes of an example's layer that change what it returns, its gradients or buffers."""
    return example.planted


def _planted_in(example: Example) -> Iterator[Planted]:
    network = example.network()
    torch.manual_seed(2)
    batch, given = example.batch()
    inputs = tuple(x.requires_grad_() if x.is_floating_point() else x for x in batch)
    for one in mistakes_of(example.layer):
        if one.fits and one.name not in example.fitted:
            continue
        torch.manual_seed(3)
        call = called(network.layer, inputs, given)
        found = _recorded(one, example, call)
        torch.manual_seed(3)
        right = called(network.layer, inputs, given)
        expected = right()
        made = one.made(call, found)
        while True:
            try:
                words, value = next(made)
                value = value() if callable(value) else value
            except StopIteration:
                break
            except REFUSED:
                continue
            if one.backward:
                acts = _differs_in_gradient(value, expected, network, inputs)
            else:
                acts = _differs(value, expected, call.updated, right.updated)
            if acts:
                yield Planted(one, example, words)


def _differs(value: Any, right: Any, updated: dict, expected: dict) -> bool:
    pairs = [*zip(tensors(value), tensors(right), strict=False)]
    pairs += [(updated[role], expected[role]) for role in updated if role in expected]
    return any(
        x.shape != y.shape or not torch.allclose(x.double(), y.double(), 1e-9, 1e-12)
        for x, y in pairs
    )


def tensors(value: Any) -> list[Tensor]:
    if isinstance(value, Tensor):
        return [value]
    return [tensor for one in value for tensor in tensors(one)]


def _differs_in_gradient(value: Any, right: Any, network: Network, inputs: Any) -> bool:
    leaves = [*(x for x in inputs if x.requires_grad), *network.layer.parameters()]
    found = []
    for one in (value, right):
        total = sum((x * weights_for(x)).sum() for x in tensors(one) if x.requires_grad)
        found.append(torch.autograd.grad(total, leaves, allow_unused=True, retain_graph=True))
    return any(
        (x is None) != (y is None) or (x is not None and not torch.allclose(x, y))
        for x, y in zip(*found, strict=True)
    )
