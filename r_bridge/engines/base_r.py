"""Base R: layers, gradients and Adam without a package."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from pyvae.engines.abilities import Abilities
from pyvae.errors import UserError
from pyvae.model.recipe import Recipe
from pyvae.model.settings import Settings
from pyvae.model.stages import Probe
from r_bridge.engines import stage_network as r_network
from r_bridge.engines.base import REngine
from r_bridge.engines.stage_network import RNetwork
from r_bridge.errors import RError

__all__ = ["BaseREngine"]

CHUNK = 25  # images that base R works on at a time: memory stays small, at the same speed


class BaseREngine(REngine):
    """Layers, gradients and Adam in base R, in double precision whatever the settings' dtype is.
    Its own generator is R's (`set.seed`), for recipe `conv`, which has a network of its own
    (R/conv_vae.R); all others are run from their stages (`r_bridge.engines.stage_network`)."""

    name = "base-r"
    abilities: ClassVar[Abilities] = Abilities(
        language="R",
        rng="r",
        largest_seed=2**31 - 1,
        dtypes=("float64",),
        options=("threads",),
        rank=1,
    )
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
                "only recipe conv is drawn with R's own generator",
                expected="rng injected",
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
