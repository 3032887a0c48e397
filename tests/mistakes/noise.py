"""Noise that no mistake makes, planted somewhere in a program: it must be given no name.

    PYTHONPATH=tests .venv/bin/python -m mistakes.noise

counts what is said of all of it.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from comparisons.ports import PortComparison, compare_programs
from mistakes.beforehand.layers import evaluation_mode, group_norm, transposed_convolution
from mistakes.beforehand.mistake import DTYPES, Script, recorded
from mistakes.beforehand.sequences import attention_scale, lstm
from mistakes.beforehand.updates import shared_noise
from mistakes.said import tells_nothing

__all__ = ["NETWORKS", "NOISES", "Noise", "compared_with_noise", "kind_of_words", "noises"]

NETWORKS = {
    "batch norm and dropout": evaluation_mode,
    "group norm": group_norm,
    "autoencoder": transposed_convolution,
    "lstm": lstm,
    "attention": attention_scale,
    "noise": shared_noise,
}
OF_WORDS = ("lstm", "attention")
NOISES = 200  # over all networks


def everywhere(x: Tensor, drawn: torch.Generator) -> Tensor:
    return torch.randn(x.shape, generator=drawn)


def relative(x: Tensor, drawn: torch.Generator) -> Tensor:
    return everywhere(x, drawn) * x / x.abs().max().clamp(min=1e-30)


def within(x: Tensor, drawn: torch.Generator, axis: int) -> Tensor:
    """In one place of an axis alone."""
    found = torch.zeros(x.shape)
    if x.dim() <= axis:
        return everywhere(x, drawn)
    at = int(torch.randint(0, x.shape[axis], (), generator=drawn))
    part = found.select(axis, at)
    part += torch.randn(part.shape, generator=drawn)
    return found


def row(x: Tensor, drawn: torch.Generator) -> Tensor:
    return within(x, drawn, 0)


def channel(x: Tensor, drawn: torch.Generator) -> Tensor:
    return within(x, drawn, 1)


def few(x: Tensor, drawn: torch.Generator) -> Tensor:
    """In three elements."""
    found = torch.zeros(x.numel())
    at = torch.randperm(x.numel(), generator=drawn)[:3]
    found[at] = torch.randn(len(at), generator=drawn)
    return found.reshape(x.shape)


def outer(x: Tensor, drawn: torch.Generator) -> Tensor:
    """A product of random vectors along the first and the last axis."""
    if x.dim() < 2:
        return everywhere(x, drawn)
    first = torch.randn(x.shape[0], *[1] * (x.dim() - 1), generator=drawn)
    return (first * torch.randn(x.shape[-1], generator=drawn)).expand(x.shape)


def ramp(x: Tensor, drawn: torch.Generator) -> Tensor:
    """From -1 to 1 along the last axis, at a random slope for each row."""
    if not x.dim():
        return everywhere(x, drawn)
    slopes = torch.randn(*x.shape[:-1], 1, generator=drawn)
    return slopes * torch.linspace(-1, 1, x.shape[-1]).square()


def blocks(x: Tensor, drawn: torch.Generator) -> Tensor:
    """One random number for each eighth of the elements in memory."""
    eighth = torch.arange(x.numel()) * 8 // max(x.numel(), 1)
    return torch.randn(8, generator=drawn)[eighth].reshape(x.shape)


SHAPES = (everywhere, relative, row, channel, few, outer, ramp, blocks)
PLACES = ("input", "output", "gradient", "parameter gradient", "given", "update", "loss")


@dataclass(frozen=True)
class Noise:
    """Noise in one place of a program.

    Attributes:
        place: One of `PLACES`.
        shape: One of `SHAPES`.
        size: Relative to the largest magnitude of what it is added to.
        which: Of the layers or parameters: as a share of their number.
        dtype: The program's type of numbers.
        seed: Of the noise.
    """

    place: str
    shape: Callable[[Tensor, torch.Generator], Tensor]
    size: float
    which: float
    dtype: str
    seed: int

    def adder(self) -> Callable[[Tensor], Tensor]:
        """Adds the noise to a tensor, another one each time that it is called."""
        drawn = torch.Generator().manual_seed(self.seed)

        def add(x: Tensor) -> Tensor:
            with torch._C.DisableTorchFunction(), torch.no_grad():
                added = self.size * float(x.abs().max()) * self.shape(x, drawn)
            with torch._C.DisableTorchFunction():
                return x + added

        return add


def noises(network: str) -> Iterator[Noise]:
    """The share of `NOISES` that a network gets, the same ones each time."""
    number = list(NETWORKS).index(network)
    for seed in range(number, NOISES, len(NETWORKS)):
        drawn = np.random.default_rng(seed)
        place = PLACES[seed // len(NETWORKS) % len(PLACES)]
        if place == "input" and network in OF_WORDS:  # which have no noise
            place = "output"
        yield Noise(
            place,
            SHAPES[int(drawn.integers(len(SHAPES)))],
            float(10 ** drawn.uniform(-9, -1)),
            float(drawn.random()),
            list(DTYPES)[int(drawn.integers(2))],
            seed,
        )


def planted(script: Script, noise: Noise) -> Script:
    """The program with the noise."""
    add = noise.adder()
    if noise.place == "loss":
        loss = script.loss
        return replace(script, loss=lambda *given: add(loss(*given)))
    if noise.place == "input":
        batch = script.batch

        def changed(drawn):
            given = list(batch(drawn))
            floats = [at for at, one in enumerate(given) if one.is_floating_point()]
            for at in floats[:1]:
                given[at] = add(given[at])
            return tuple(given)

        return replace(script, batch=changed)
    if noise.place in ("output", "gradient"):
        _at_a_layer(script.model, noise, add)
        return script
    parameters = list(script.model.parameters())
    parameter = parameters[int(noise.which * len(parameters))]
    if noise.place == "parameter gradient":
        parameter.register_hook(add)
        return script

    def in_place(x):
        with torch.no_grad():
            x.data.copy_(add(x.data))

    if noise.place == "given":
        return replace(script, between=lambda *given: in_place(parameter.grad))
    make = script.optimiser

    def optimiser(given):
        made = make(given)
        made.register_step_post_hook(lambda *about: in_place(parameter))
        return made

    return replace(script, optimiser=optimiser)


def _at_a_layer(model: nn.Module, noise: Noise, add: Callable[[Tensor], Tensor]) -> None:
    layers = [one for one in model.modules() if not list(one.children())]
    layer = layers[int(noise.which * len(layers))]
    forward = layer.forward

    def changed(*given):
        found = forward(*given)
        first = found[0] if isinstance(found, tuple) else found
        if noise.place == "output":
            first = add(first)
        elif first.requires_grad:
            first.register_hook(add)
        return (first, *found[1:]) if isinstance(found, tuple) else first

    layer.forward = changed


def compared_with_noise(network: str, noise: Noise, folder: Path) -> PortComparison:
    """A network's program without the noise, recorded once into a folder, and with it."""
    clean, noisy = folder / f"clean-{noise.dtype}", folder / "noisy"
    make = NETWORKS[network].script
    if not clean.exists():
        recorded(lambda: make(False), DTYPES[noise.dtype], clean)
    recorded(lambda: planted(make(False), noise), DTYPES[noise.dtype], noisy)
    return compare_programs(clean, noisy)


def kind_of_words(found: PortComparison) -> str:
    """`agree`; `no name`, where the two part; `named`."""
    if found.first is None:
        return "agree"
    return "no name" if all(map(tells_nothing, found.first.words)) else "named"


def main() -> None:
    counts: Counter[tuple[str, str]] = Counter()
    for network in NETWORKS:
        with tempfile.TemporaryDirectory() as folder:
            for noise in noises(network):
                found = compared_with_noise(network, noise, Path(folder))
                kind = kind_of_words(found)
                counts[noise.place, kind] += 1
                if kind == "named" and found.first is not None:
                    print(
                        f"{network}: {noise.place}, {noise.shape.__name__} of {noise.size:.1e}, "
                        f"{noise.dtype}, seed {noise.seed}: {found.first.place}: "
                        f"{'; '.join(found.first.words)}"
                    )
    for place in PLACES:
        kinds = {kind: counts[place, kind] for kind in ("agree", "no name", "named")}
        print(f"{place}: " + ", ".join(f"{count} {kind}" for kind, count in kinds.items()))
    print(
        f"{counts.total()} in all, {sum(n for (_, k), n in counts.items() if k == 'named')} named"
    )


if __name__ == "__main__":
    main()
