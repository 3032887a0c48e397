"""Engines: who computes. The training loop is the same for all of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import torch
from numpy.typing import NDArray
from torch import Tensor

from pyvae.errors import UserError, choose
from pyvae.objectives import OBJECTIVES
from pyvae.recipes.recipe import Recipe
from pyvae.settings import Settings

__all__ = ["Engine", "PyTorchEngine", "choose_device"]


class Engine(Protocol):
    """What the training loop asks of an engine.

    Batches x are (B, 784) tensors with pixels in [0, 1]; draws are arrays as
    `pyvae.draws.Draws.step` returns them.
    """

    name: str

    def start(self, recipe: Recipe, settings: Settings, parameters: Mapping[str, Tensor]) -> None:
        """Begins a run from the given parameters, with a fresh optimiser."""

    def step(self, x: Tensor, draws: Mapping[str, NDArray]) -> Tensor:
        """One training step; (3,): total, reconstruction and regulariser before the step."""

    def latent_means(self, x: Tensor, draws: Mapping[str, NDArray] | None) -> NDArray:
        """Posterior means (B, L): in training mode with draws, in evaluation mode without."""

    def decode(self, z: NDArray) -> NDArray:
        """Pixels (B, 784) in [0, 1] of latents (B, L)."""

    def parameters(self) -> dict[str, NDArray]:
        """The parameters as they stand, by name."""

    def environment(self) -> dict[str, str]:
        """Versions and threads that the numbers depend on."""


class PyTorchEngine:
    """PyTorch, with `torch.optim.Adam`.

    Arguments:
        device: `auto` (CUDA where it is), `cpu` or `cuda`.

    Raises:
        UserError: If CUDA is asked for and absent.
    """

    name = "pytorch"

    def __init__(self, device: str = "auto") -> None:
        self.device = choose_device(device)

    def start(self, recipe: Recipe, settings: Settings, parameters: Mapping[str, Tensor]) -> None:
        self.dtype = settings.torch_dtype
        self.objective = OBJECTIVES[settings.objective]
        self.network = recipe.network(settings.latent_dim).to(self.device, self.dtype)
        self.network.load_state_dict(parameters)
        self.optimizer = torch.optim.Adam(self.network.parameters(), lr=settings.learning_rate)

    def step(self, x: Tensor, draws: Mapping[str, NDArray]) -> Tensor:
        x = x.to(self.device)
        self.network.train()
        self.optimizer.zero_grad()
        try:
            losses = self.objective(x, *self.network(x, self._tensors(draws)))
        except RuntimeError as error:
            if "between 0 and 1" not in str(error):
                raise
            # binary_cross_entropy refuses probabilities that are not a number.
            raise UserError(
                "training diverged: the decoder's pixels are not numbers any more",
                "probabilities in [0, 1]",
                "try a smaller --learning-rate",
            ) from error
        losses.total.backward()
        self.optimizer.step()
        return torch.stack(losses).detach()

    @torch.no_grad()
    def latent_means(self, x: Tensor, draws: Mapping[str, NDArray] | None) -> NDArray:
        self.network.train(draws is not None)
        mu, _ = self.network.encoder(x.to(self.device), self._tensors(draws or {}))
        return mu.cpu().numpy()

    @torch.no_grad()
    def decode(self, z: NDArray) -> NDArray:
        self.network.eval()
        return self.network.decoder(self._tensors({"z": z})["z"]).cpu().numpy()

    def parameters(self) -> dict[str, NDArray]:
        return {
            name: value.cpu().numpy().copy() for name, value in self.network.state_dict().items()
        }

    def environment(self) -> dict[str, str]:
        return {
            "torch": torch.__version__,
            "device": self.device.type,
            "threads": str(torch.get_num_threads()),
        }

    def _tensors(self, draws: Mapping[str, NDArray]) -> dict[str, Tensor]:
        return {name: torch.from_numpy(draw).to(self.device) for name, draw in draws.items()}


def choose_device(name: str) -> torch.device:
    """The device of that name; `auto` is CUDA where it is, else the CPU.

    Raises:
        UserError: If the name is unknown, or CUDA is asked for and absent.
    """
    choose("device", name, ("auto", "cpu", "cuda"))
    if name == "cuda" and not torch.cuda.is_available():
        raise UserError(
            "--device cuda, but PyTorch finds no CUDA device",
            "an NVIDIA GPU with a driver that fits this PyTorch",
            "use --device cpu or --device auto",
        )
    return torch.device("cuda" if name != "cpu" and torch.cuda.is_available() else "cpu")
