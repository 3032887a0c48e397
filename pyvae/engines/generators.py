"""Where a run's chance comes from, if it is not injected: a generator that is seeded once and
then drawn from in the order in which the run needs it, as a framework's own generator is.

Other packages add generators through the entry-point group `pyvae.generators`: each entry is a
class with the arguments and methods of `Generator`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pyvae.errors import choose
from pyvae.model.draws import Draw, Gumbel, Keep, gumbel_of_uniform
from pyvae.model.recipe import Recipe
from pyvae.plugins import names, open_plugin

__all__ = ["Generator", "TorchGenerator", "generator_names", "make_generator"]

GENERATORS = "pyvae.generators"


class Generator(Protocol):
    """What an engine asks of its own generator, in this order: `initial_parameters` once, then
    `batch_order` at the start of every epoch and `step` in every step."""

    name: str

    def initial_parameters(
        self, recipe: Recipe, latent_dim: int, **hyper: float
    ) -> Mapping[str, Tensor]:
        """The parameters before the first step, by name."""

    def batch_order(self, images: int) -> NDArray[np.int64]:
        """The order in which an epoch visits the images: a permutation of range(images)."""

    def step(
        self, batch_size: int, spec: Mapping[str, Draw], dtype: str
    ) -> dict[str, NDArray] | dict[str, Tensor]:
        """Dropout masks (bool) and noise of one step, in the order of the spec; tensors where they
        are drawn on a device."""

    def normal(self, shape: tuple[int, int], dtype: str) -> NDArray:
        """Standard normal noise."""

    def state(self) -> NDArray:
        """What `restore` takes to go on from here."""

    def restore(self, state: NDArray) -> None:
        """Goes on from a state."""


class TorchGenerator:
    """PyTorch's generator, seeded by `torch.manual_seed(seed)`.

    R's torch draws the same bits after `torch_manual_seed(seed)`: initial parameters, dropout
    masks, noise, and the order of the images, which R's `dataloader(shuffle = TRUE)` takes from
    one `torch_randperm(n)` of the global generator an epoch (`RandomSampler` in
    https://github.com/mlverse/torch, R/utils-data-sampler.R), while Python's DataLoader seeds a
    generator of its own.

    The process's global generator is left as it was: two runs may go side by side.

    Arguments:
        seed: 0 to 2^63 - 1.
        device: Where the draws are made; those of CUDA are not those of the CPU.

    Attributes:
        source: PyTorch's generator.
    """

    name = "torch"

    def __init__(self, seed: int, device: torch.device | None = None) -> None:
        self.device = device or torch.device("cpu")
        self.source = torch.Generator(self.device)
        self.source.manual_seed(seed)

    def initial_parameters(
        self, recipe: Recipe, latent_dim: int, **hyper: float
    ) -> dict[str, Tensor]:
        with self._global():
            network = recipe.network(latent_dim, **hyper)
        return {name: value.detach().clone() for name, value in network.state_dict().items()}

    def batch_order(self, images: int) -> NDArray[np.int64]:
        return torch.randperm(images, generator=self.source, device=self.device).cpu().numpy()

    def step(self, batch_size: int, spec: Mapping[str, Draw], dtype: str) -> dict[str, Tensor]:
        drawn: dict[str, Tensor] = {}
        for name, kind in spec.items():
            shape = (kind.rows or batch_size, *kind.shape)
            if isinstance(kind, Keep):
                # as torch's dropout draws its mask, in the run's precision
                keep = torch.empty(shape, dtype=getattr(torch, dtype), device=self.device)
                keep.bernoulli_(1 - kind.p, generator=self.source)
                drawn[name] = keep.bool()
            elif isinstance(kind, Gumbel):
                uniform = torch.rand(
                    shape, generator=self.source, dtype=getattr(torch, dtype),
                    device=self.device,
                )  # fmt: skip
                drawn[name] = gumbel_of_uniform(uniform, torch.log)
            else:
                drawn[name] = self._normal(shape, dtype)
        return drawn

    def normal(self, shape: tuple[int, ...], dtype: str) -> NDArray:
        return self._normal(shape, dtype).cpu().numpy()

    def _normal(self, shape: tuple[int, ...], dtype: str) -> Tensor:
        return torch.randn(
            shape, generator=self.source, dtype=getattr(torch, dtype), device=self.device
        )

    def state(self) -> NDArray:
        return self.source.get_state().numpy().copy()

    def restore(self, state: NDArray) -> None:
        self.source.set_state(torch.from_numpy(np.array(state, np.uint8)))

    @contextmanager
    def _global(self) -> Iterator[None]:
        """Draws what takes no generator from the global one, in this one's state.

        Networks are made on the CPU; a generator of another device gives its seed.
        """
        with torch.random.fork_rng(devices=[]):
            if self.device.type != "cpu":
                # not torch.manual_seed: that seeds the global generators of CUDA, too
                torch.default_generator.manual_seed(self.source.initial_seed())
                yield
                return
            torch.set_rng_state(self.source.get_state())
            yield
            self.source.set_state(torch.get_rng_state())


def generator_names() -> list[str]:
    """Names of all generators, those of other packages included."""
    return ["torch", *names(GENERATORS)]


def make_generator(name: str, seed: int, device: torch.device | None = None) -> Generator:
    """A generator by name, seeded.

    Raises:
        UserError: If there is none of that name, it is broken, or it cannot take the seed.
    """
    choose("rng", name, generator_names())
    if name == "torch":
        return TorchGenerator(seed, device)
    return open_plugin(GENERATORS, name, lambda made: made(seed, device))
