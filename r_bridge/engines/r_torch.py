"""The engine that computes in R's torch."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any, ClassVar

from numpy.typing import NDArray
from torch import Tensor

from pyvae.engines.abilities import Abilities
from pyvae.engines.engine import DivergedError
from pyvae.model.recipe import Recipe
from pyvae.model.settings import Settings
from pyvae.model.stages import Probe
from r_bridge.engines.base import REngine, in_torchs_shape
from r_bridge.engines.stage_network import LAYERS, TORCH_SOURCES, stage_arguments
from r_bridge.engines.torch_start import torch_start
from r_bridge.errors import RError
from r_bridge.installed.r_torch import check_r_torch
from r_bridge.process.wire import Kept

__all__ = ["RTorchEngine"]


class RTorchEngine(REngine):
    """R's torch: any recipe whose layers are in R/torch/layers.R, run from its stages with autograd
    and `optim_adam`, in the settings' dtype. Its own generator is LibTorch's
    (`torch_manual_seed`).

    Arguments:
        threads: Threads of LibTorch; by default as many as PyTorch uses.

    Raises:
        EngineError: If R's torch cannot be used.
    """

    name = "r-torch"
    abilities: ClassVar[Abilities] = Abilities(
        language="R torch",
        layers=LAYERS,
        rng="torch",
        largest_seed=2**53,  # R has no larger whole numbers
        arithmetic="LibTorch",
        adams=("r-torch",),
        options=("threads",),
        rank=2,
    )
    sources = TORCH_SOURCES

    @classmethod
    def check_available(cls) -> None:
        """Checks that there is an R that has the package torch, with a LibTorch that loads.

        Raises:
            EngineMissingError: If one of these is not there.
            EngineError: If they do not work together.
        """
        super().check_available()
        check_r_torch()

    def __init__(self, threads: int | None = None) -> None:
        check_r_torch()
        super().__init__(threads)
        self.process.evaluate(f"torch_set_num_threads({self.threads}L)\nNULL")

    def _session(
        self, recipe: Recipe, settings: Settings, parameters: Mapping[str, Tensor] | None
    ) -> Kept:
        given = {k: v.double().numpy() for k, v in (parameters or {}).items()}
        own = {} if given else torch_start(recipe, settings)
        return self.process.call(
            "session_start",
            keep="session",
            parameters=given or None,
            learning_rate=settings.learning_rate,
            dtype=settings.dtype,
            **stage_arguments(self.name, recipe, settings),
            **own,
        )

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
    for kind in ("start", "forward", "gradient", "buffer"):
        values = in_torchs_shape(seen.get(kind))
        probe.update({f"{kind}/{name}": value for name, value in values.items()})
