"""R engines: the same run as `pyvae.engines.pytorch.PyTorchEngine`, computed in R."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pyvae.engines.pytorch import DivergedError, check_recipe
from pyvae.errors import UserError, choose
from pyvae.model.recipe import Recipe
from pyvae.model.settings import Settings
from pyvae.model.stages import LOSS_STAGES, Probe
from r_bridge import R_FILES
from r_bridge.engines import stage_network as r_network
from r_bridge.engines.stage_network import RNetwork, finite
from r_bridge.installed.r_torch import check_r_torch, find_r_torch
from r_bridge.process.client import RError, RProcess, check_r
from r_bridge.process.wire import Kept

__all__ = [
    "ENGINE_NAMES",
    "BaseREngine",
    "REngine",
    "RTorchEngine",
    "check_r_engine",
    "make_r_engine",
]

ENGINE_NAMES = ("auto", "base-r", "r-torch")
CHUNK = 25  # images that base R works on at a time: memory stays small, at the same speed


def check_r_engine(name: str) -> str:
    """Asks, without starting a session, whether there is an R engine of that name.

    Returns:
        The engine's name; for `auto` the best one that is there.

    Raises:
        UserError: If there is no such engine, or R cannot be used.
    """
    choose("engine", name, ENGINE_NAMES)
    check_r()
    if name == "auto":
        return "r-torch" if find_r_torch().usable else "base-r"
    if name == "r-torch":
        check_r_torch()
    return name


def make_r_engine(name: str, threads: int | None = None) -> REngine:
    """The R engine of that name; `auto` is the best one that is there.

    Raises:
        UserError: If there is no such engine, or R cannot be used.
    """
    engine = {"base-r": BaseREngine, "r-torch": RTorchEngine}[check_r_engine(name)]
    return engine(threads)


class REngine(ABC):
    """What the engines in R have in common: a process and a session in it.

    Draws, images and initial parameters are the values that the other engine sees, float32 ones
    included; between the processes they travel in double precision.

    Arguments:
        threads: Threads of R's BLAS, or of LibTorch; by default as many as PyTorch uses.
        patch: R code evaluated after the sources, to try a change without editing them.

    Raises:
        RProcessError: If R cannot be used.
    """

    name: str
    sources: tuple[str, ...]
    rng: str  # its own generator, as `Settings.rng` calls it
    largest_seed: int

    def __init__(self, threads: int | None = None, patch: str | None = None) -> None:
        self.threads = torch.get_num_threads() if threads is None else threads
        self.process = RProcess(tuple(R_FILES / f"{name}.R" for name in self.sources), self.threads)
        if patch is not None:
            self.process.evaluate(f"{patch}\nNULL")

    def start(
        self, recipe: Recipe, settings: Settings, parameters: Mapping[str, Tensor] | None
    ) -> None:
        check_recipe(self, self.name, recipe.name)
        if parameters is None:
            self._check_own(settings)
        self.own = parameters is None
        given = parameters or {}
        self.session: Kept = self.process.call(
            "session_start",
            keep="session",
            parameters={k: v.double().numpy() for k, v in given.items()} or None,
            objective=settings.objective,
            learning_rate=settings.learning_rate,
            latent_dim=settings.latent_dim,
            dtype=settings.dtype,
            seed=None if given else float(settings.seed),
        )

    def _check_own(self, settings: Settings) -> None:
        if settings.rng != self.rng:
            raise UserError(
                f"engine {self.name} with rng '{settings.rng}'", f"injected or {self.rng}"
            )
        if settings.seed > self.largest_seed:
            raise UserError(
                f"--seed {settings.seed} of {self.name}'s own generator",
                f"0 to {self.largest_seed}",
            )

    def batch_order(self, images: int) -> NDArray[np.int64]:
        order = self._ask("session_order", images=images)
        return order.astype(np.int64) - 1  # R counts from 1

    def step(
        self, x: Tensor, draws: Mapping[str, NDArray] | None, probe: Probe | None = None
    ) -> Tensor:
        images, flat = x.double().numpy(), None if draws is None else _flat(draws)
        if probe is None:
            return finite(self._ask("session_step", x=images, draws=flat))
        losses = self._probe(images, flat, probe)
        total, reconstruction, regulariser = losses
        for name, value in zip(LOSS_STAGES, (reconstruction, regulariser, total), strict=True):
            probe[f"forward/{name}"] = np.array(value)
        taken = finite(losses)
        probe.update({key: value for key, value in self.state().items() if key != "step"})
        return taken

    @abstractmethod
    def _probe(self, images: NDArray, draws: dict[str, NDArray] | None, probe: Probe) -> NDArray:
        """Takes a step and puts into the probe what only R has seen: `start/`, `forward/`,
        `gradient/`; returns the losses, also of a step that R did not take as they are not
        finite."""

    def state(self) -> Probe:
        told = self._ask("session_state")
        state = {"step": told["step"].astype(np.int64).reshape(())}
        for kind in ("parameter", "moment1", "moment2"):
            state |= {f"{kind}/{name}": value for name, value in told[kind].items()}
        return state

    def restore(self, state: Mapping[str, NDArray]) -> None:
        kinds: dict[str, Any] = {"parameter": {}, "moment1": {}, "moment2": {}}
        for key, value in state.items():
            kind, _, name = key.partition("/")
            if name:
                kinds[kind][name] = value.astype(np.float64)
        self._ask("session_restore", step=float(state["step"]), **kinds)

    def generator_state(self) -> NDArray | None:
        return self._ask("session_generator") if self.own else None

    def restore_generator(self, state: NDArray) -> None:
        self._ask("session_restore_generator", state=state.astype(np.int32))

    def latent_means(
        self, x: Tensor, draws: Mapping[str, NDArray] | None, training: bool
    ) -> NDArray:
        return self._ask(
            "session_latent_means",
            x=x.double().numpy(),
            draws=None if draws is None else _flat(draws),
            training=training,
        )

    def latents(self, images: int) -> NDArray:
        return self._ask("session_latents", images=images)

    def decode(self, z: NDArray) -> NDArray:
        return self._ask("session_decode", z=z.astype(np.float64))

    def parameters(self) -> dict[str, NDArray]:
        return self._ask("session_parameters")

    def environment(self) -> dict[str, str]:
        about = self.process.call("bridge_about")
        versions = {name: value[0] for name, value in about.items()}
        return versions | {"threads": str(self.threads)}

    def _ask(self, function: str, **arguments: Any) -> Any:
        return self.process.call(function, session=self.session, **arguments)

    def close(self) -> None:
        self.process.close()

    def __enter__(self) -> REngine:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


class BaseREngine(REngine):
    """Layers, gradients and Adam in base R, in double precision whatever the settings' dtype is.
    Its own generator is R's (`set.seed`), for recipe `conv`, which has a network of its own
    (R/conv_vae.R); all others are run from their stages (`r_bridge.engines.stage_network`)."""

    name = "base-r"
    sources = (
        "base_r/random",
        "layers/conv2d",
        "layers/max_pool2d",
        "layers/linear",
        "layers/activations",
        "layers/reparameterise",
        "base_r/objectives",
        "base_r/adam",
        "base_r/conv_vae",
        "base_r/conv_vae_probe",
        "base_r/session",
        *r_network.SOURCES,
    )
    rng = "r"
    largest_seed = 2**31 - 1
    network: RNetwork | None = None

    def start(
        self, recipe: Recipe, settings: Settings, parameters: Mapping[str, Tensor] | None
    ) -> None:
        self.network = None
        if recipe.name == "conv":
            super().start(recipe, settings, parameters)
            return
        if parameters is None:
            raise UserError(
                f"engine {self.name} with rng '{settings.rng}' and recipe {recipe.name}",
                "rng injected",
                "only recipe conv is drawn with R's own generator",
            )
        self.own = False
        self.network = RNetwork(self.process, recipe, settings, parameters)

    def step(
        self, x: Tensor, draws: Mapping[str, NDArray] | None, probe: Probe | None = None
    ) -> Tensor:
        if self.network is None:
            return super().step(x, draws, probe)
        return self.network.step(x, draws or {}, probe)

    def state(self) -> Probe:
        return super().state() if self.network is None else self.network.state()

    def restore(self, state: Mapping[str, NDArray]) -> None:
        if self.network is None:
            super().restore(state)
        else:
            self.network.restore(state)

    def latent_means(
        self, x: Tensor, draws: Mapping[str, NDArray] | None, training: bool
    ) -> NDArray:
        if self.network is None:
            return super().latent_means(x, draws, training)
        return self.network.latent_means(x, draws, training)

    def decode(self, z: NDArray) -> NDArray:
        return super().decode(z) if self.network is None else self.network.decode(z)

    def parameters(self) -> dict[str, NDArray]:
        return super().parameters() if self.network is None else self.network.parameters()

    def _probe(self, images: NDArray, draws: dict[str, NDArray] | None, probe: Probe) -> NDArray:
        if draws is None:
            draws = self._ask("session_draw", images=len(images))
        probe.update({f"start/{name}": value for name, value in self.parameters().items()})
        seen: set[str] = set()
        for first in range(0, len(images), CHUNK):
            rows = slice(first, first + CHUNK)
            try:
                part = self._ask(
                    "session_probe_part",
                    x=images[rows],
                    draws={name: draw[rows] for name, draw in draws.items()},
                    first=first == 0,
                )
            except RError:
                for key in seen:  # of the images until then
                    probe[key] = probe[key][:first]
                raise
            for kind, stages in part.items():
                for name, value in stages.items():
                    key = f"{kind}/{name}"
                    if key not in seen:
                        probe[key] = np.empty((len(images), *value.T.shape[1:]))
                        seen.add(key)
                    # R has the image last and the column first: torch's order in memory
                    probe[key][rows] = value.T
        end = self._ask("session_probe_end")
        probe.update({f"gradient/{name}": value for name, value in end["gradients"].items()})
        return end["losses"]


class RTorchEngine(REngine):
    """R's torch: its own modules, losses and `optim_adam`, in the settings' dtype. Its own
    generator is LibTorch's (`torch_manual_seed`).

    Raises:
        UserError: If R's torch cannot be used.
    """

    name = "r-torch"
    recipes = ("conv",)
    sources = ("torch/about", "torch/conv_vae", "torch/session")
    rng = "torch"
    largest_seed = 2**53  # R has no larger whole numbers

    def __init__(self, threads: int | None = None, patch: str | None = None) -> None:
        check_r_torch()
        super().__init__(threads, patch)
        self.process.evaluate(f"torch_set_num_threads({self.threads}L)\nNULL")

    def step(
        self, x: Tensor, draws: Mapping[str, NDArray] | None, probe: Probe | None = None
    ) -> Tensor:
        try:
            return super().step(x, draws, probe)
        except RError as error:
            if "between 0 and 1" not in str(error):
                raise
            raise DivergedError from error  # as PyTorch's engine: its loss refuses NaN

    def _probe(self, images: NDArray, draws: dict[str, NDArray] | None, probe: Probe) -> NDArray:
        try:
            seen = self._ask("session_probe", x=images, draws=draws)
        except RError:
            with suppress(RError):
                _fill(probe, self._ask("session_seen"))
            raise
        _fill(probe, seen)
        _fill(probe, {"gradient": seen["gradients"]})
        return seen["losses"]

    def environment(self) -> dict[str, str]:
        about = self.process.call("torch_about")
        return super().environment() | {
            "R torch": about["version"][0],
            "LibTorch": about["libtorch"][0],
        }


def _fill(probe: Probe, seen: Mapping[str, Any]) -> None:
    for kind in ("start", "forward", "gradient"):
        if seen.get(kind):  # R has no empty named list
            probe.update({f"{kind}/{name}": value for name, value in seen[kind].items()})


def _flat(draws: Mapping[str, NDArray]) -> dict[str, NDArray]:
    """Draws with one row per image, as the R side takes them: (B, C, H, W) to (B, C H W)."""
    return {name: draw.reshape(len(draw), -1) for name, draw in draws.items()}
