"""What a planted mistake is, and the engines that have one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from stand_ins.narrow import NARROW
from stand_ins.patched_r import PatchedBaseR
from torch import nn

from pyvae.data.images import ImageData, load_toy
from pyvae.engines.engine import Engine
from pyvae.engines.pytorch import PyTorchEngine
from pyvae.model.settings import Settings
from pyvae.recipes import Recipe
from r_bridge.engines.base_r import BaseREngine

__all__ = [
    "BATCH",
    "Mistake",
    "adam",
    "altered",
    "changed",
    "not_zeroed",
    "planted",
    "recipe_of",
    "replaced",
    "settings_of",
    "small_data",
]

BATCH = 4
FEW = 2 * BATCH + BATCH // 2


@dataclass(frozen=True)
class Mistake:
    """One planted mistake and where it has to be found.

    Attributes:
        found: Step, pass and stage that have to be named.
        words: What has to be recognised.
        objective: Of the run; the recipe's first, if it has no other.
        recipe: What is run.
        hyper: Hyperparameters that are not the published ones.
        batch: Images in a batch.
        steps: Of the run; with one, what is named is not confirmed by a second.
        patch: R code, if the mistake is R's.
        given: Changes what R's step is given: (x, draws, data, memory) -> (x, draws).
        built: Changes what PyTorch's engine has built.
        images: `digits`, `blank` (all pixels zero: every window ties), or `few`, of which two and
            a half batches can be made.
        saturated: Start from parameters that give pixels of exactly 0 and 1.
    """

    found: tuple[int, str, str]
    words: str
    objective: str | None = None
    recipe: str = "conv"
    hyper: Mapping[str, float] = field(default_factory=dict)
    batch: int = BATCH
    steps: int = 3
    patch: str = ""
    given: Callable | None = None
    built: Callable[[PyTorchEngine], object] | None = None
    images: str = "digits"
    saturated: bool = False


def replaced(path: str, module: nn.Module) -> Callable[[PyTorchEngine], object]:
    def built(engine: PyTorchEngine) -> None:
        parent, _, name = path.rpartition(".")
        setattr(engine.network.get_submodule(parent), name, module)

    return built


def altered(path: str, **attributes: object) -> Callable[[PyTorchEngine], object]:
    def built(engine: PyTorchEngine) -> None:
        for name, value in attributes.items():
            setattr(engine.network.get_submodule(path), name, value)

    return built


def changed(path: str, forward: Callable) -> Callable[[PyTorchEngine], object]:
    """Another forward pass of one module: forward(module, *inputs)."""

    def built(engine: PyTorchEngine) -> None:
        module = engine.network.get_submodule(path)
        module.forward = lambda *inputs: forward(module, *inputs)  # type: ignore[method-assign]

    return built


def adam(**changes: object) -> Callable[[PyTorchEngine], object]:
    return lambda engine: engine.optimizer.param_groups[0].update(changes)


def not_zeroed(engine: PyTorchEngine) -> None:
    engine.optimizer.zero_grad = lambda: None  # type: ignore[method-assign]


def planted(mistake: Mistake, data: ImageData) -> tuple[Engine, AbstractContextManager]:
    """The engine under test, and the reference as a context manager; one of them with the mistake.
    R computes where the mistake is R's own code; else PyTorch in its place, which is faster."""
    if mistake.patch:
        return PyTorchEngine("cpu"), PatchedBaseR(mistake.patch)
    if mistake.given is not None:
        return PyTorchEngine("cpu"), nullcontext(_Given(mistake.given, data))
    if mistake.built is not None:
        return _Built(mistake.built), nullcontext(_InPlaceOfR("cpu"))
    raise ValueError("no mistake")


class _Built(PyTorchEngine):
    def __init__(self, change: Callable[[PyTorchEngine], object]) -> None:
        super().__init__("cpu")
        self.change = change

    def start(self, *arguments) -> None:
        super().start(*arguments)
        self.change(self)


class _InPlaceOfR(PyTorchEngine):
    name = BaseREngine.name


class _Given(_InPlaceOfR):
    def __init__(self, change: Callable, data: ImageData) -> None:
        super().__init__("cpu")
        self.change, self.data = change, data

    def start(self, *arguments) -> None:
        super().start(*arguments)
        self.memory: dict = {}

    def step(self, x, draws, probe=None):
        return super().step(*self.change(x, dict(draws), self.data, self.memory), probe)


class _Saturated(Recipe):
    """Starts from parameters that give probabilities of exactly 0 and 1."""

    def initial_parameters(self, seed: int, latent_dim: int) -> dict[str, torch.Tensor]:
        parameters = super().initial_parameters(seed, latent_dim)
        bias = parameters["decoder.conv2.bias"]
        bias[::2], bias[1::2] = 50, -800
        return parameters


def recipe_of(mistake: Mistake) -> Recipe:
    recipe = NARROW[mistake.recipe]
    return _Saturated(**vars(recipe)) if mistake.saturated else recipe


def settings_of(mistake: Mistake) -> Settings:
    """A run of a few small steps."""
    return NARROW[mistake.recipe].settings(
        objective=mistake.objective,
        batch_size=mistake.batch,
        latent_dim=5,
        steps=mistake.steps,
        dtype="float64",
        hyper=mistake.hyper,
    )


def small_data(mistake: Mistake, digits: ImageData) -> ImageData:
    if NARROW[mistake.recipe].features == 2:
        return load_toy()
    if mistake.images == "blank":
        return replace(digits, name="blank", pixels=torch.zeros(FEW, 784, dtype=torch.uint8))
    if mistake.images == "few":
        chosen = torch.from_numpy(np.arange(FEW))
        return replace(digits, name="few", pixels=digits.pixels[chosen])
    return digits
