"""Base R: layers, gradients and Adam without a package."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from pyvae.engines.abilities import Abilities
from pyvae.model.recipe import Recipe
from pyvae.model.settings import Settings
from pyvae.model.stages import Probe
from r_bridge.engines.base import REngine, in_torchs_shape
from r_bridge.engines.stage_network import LAYERS, SOURCES, network_arguments, own_draws
from r_bridge.errors import RError
from r_bridge.process.wire import Kept

__all__ = ["BaseREngine"]


class BaseREngine(REngine):
    """Any recipe whose layers are in R/layers, run from its stages, in double precision whatever
    the settings' dtype is. Its own generator is R's (`set.seed`)."""

    name = "base-r"
    abilities: ClassVar[Abilities] = Abilities(
        language="R",
        layers=LAYERS,
        rng="r",
        largest_seed=2**31 - 1,
        options=("threads",),
        rank=1,
    )
    sources = SOURCES

    def _session(
        self, recipe: Recipe, settings: Settings, parameters: Mapping[str, Tensor] | None
    ) -> Kept:
        given = {k: v.double().numpy() for k, v in (parameters or {}).items()}
        own = {} if given else own_draws(recipe, settings) | {"seed": float(settings.seed)}
        arguments = network_arguments(recipe, settings)
        self._chunk = int(arguments["chunk"])
        self._given = [s["name"] for s in arguments["stages"] if s["layer"] == "input"][1:]
        return self.process.call(
            "session_start",
            keep="session",
            parameters=given or None,
            learning_rate=settings.learning_rate,
            **arguments,
            **own,
        )

    def _probe(self, images: NDArray, draws: dict[str, NDArray] | None, probe: Probe) -> NDArray:
        if draws is None:
            draws = self._ask("session_draw", images=len(images))
        probe.update({f"start/{name}": value for name, value in self.parameters().items()})
        whole = self._chunk >= len(images)
        for first in range(0, len(images), self._chunk):
            rows = slice(first, first + self._chunk)
            try:
                part = self._ask(
                    "session_probe_part",
                    x=images[rows],
                    draws=draws if whole else {name: draw[rows] for name, draw in draws.items()},
                    first=first == 0,
                    images=float(len(images)),
                )
            except RError:
                if first == 0:  # what was computed until then
                    with suppress(RError):
                        _fill(probe, "forward", self._ask("session_seen"))
                for key in [key for key in probe if key.startswith(("forward/", "gradient/"))]:
                    probe[key] = probe[key][: first or None]  # of the images until then
                raise
            for kind in ("forward", "gradient"):
                _fill(probe, kind, part[kind], None if whole else rows, len(images))
        end = self._ask("session_probe_end")
        buffers = in_torchs_shape(end["buffers"])
        probe.update({f"buffer/{name}": value for name, value in buffers.items()})
        if np.isfinite(end["losses"][0]):
            probe.update({f"gradient/{name}": v for name, v in end["gradients"].items()})
        else:  # parts may lack them
            for key in [key for key in probe if key.startswith("gradient/")]:
                del probe[key]
        for name in self._given:  # not differentiated
            probe.pop(f"gradient/{name}", None)
        return end["losses"]


def _fill(
    probe: Probe, kind: str, values: object, rows: slice | None = None, images: int = 0
) -> None:
    """Puts what some of the images left in the stages into a probe. R has the image last and the
    column first: torch's order in memory."""
    named: Mapping[str, NDArray] = values or {}  # type: ignore[assignment]  # R: no empty named list
    for name, value in named.items():
        key = f"{kind}/{name}"
        if rows is None:
            probe[key] = value.T
            continue
        if key not in probe:
            probe[key] = np.empty((images, *value.T.shape[1:]))
        probe[key][rows] = value.T
