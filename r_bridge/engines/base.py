"""What the engines in R have in common: a process, and a session in it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pyvae.engines.abilities import Abilities
from pyvae.engines.engine import DivergedError
from pyvae.errors import UserError
from pyvae.model.objectives import OBJECTIVES
from pyvae.model.recipe import Recipe
from pyvae.model.settings import Settings
from pyvae.model.stages import Probe
from r_bridge import R_FILES
from r_bridge.installed.rpy2 import check_r
from r_bridge.process.client import RProcess
from r_bridge.process.wire import Kept

__all__ = ["REngine", "in_torchs_shape"]

COUNT = ".num_batches_tracked"  # of torch.nn's batch norm: one number, of shape ()


class REngine(ABC):
    """An engine that computes in R, in a process of its own.

    Draws, images and initial parameters are the values that the other engine sees, float32 ones
    included; between the processes they travel in double precision.

    Arguments:
        threads: Threads of R's BLAS, or of LibTorch; by default as many as PyTorch uses.

    Raises:
        RProcessError: If R cannot be used.
    """

    name: str
    abilities: ClassVar[Abilities]
    sources: ClassVar[tuple[str, ...]]  # below R/, without .R, in order

    def __init__(self, threads: int | None = None) -> None:
        self.threads = torch.get_num_threads() if threads is None else threads
        self.process = RProcess(tuple(R_FILES / f"{name}.R" for name in self.sources), self.threads)

    @classmethod
    def check_available(cls) -> None:
        """Checks that there is an R, and an rpy2 that fits it.

        Raises:
            EngineMissingError: If there is none.
            RProcessError: If the two do not fit.
        """
        check_r()

    def start(
        self, recipe: Recipe, settings: Settings, parameters: Mapping[str, Tensor] | None
    ) -> None:
        self.abilities.check_recipe(self.name, recipe.name)
        if parameters is None:
            self._check_own(settings)
        self.own = parameters is None
        self.terms = OBJECTIVES[settings.objective].terms
        self.session = self._session(recipe, settings, parameters)

    @abstractmethod
    def _session(
        self, recipe: Recipe, settings: Settings, parameters: Mapping[str, Tensor] | None
    ) -> Kept:
        """Starts a session in R, from parameters or from R's own generator."""

    def _check_own(self, settings: Settings) -> None:
        own, largest = self.abilities.rng, self.abilities.largest_seed
        if settings.rng != own:
            raise UserError(
                f"engine {self.name} cannot draw with the generator '{settings.rng}'",
                "use --rng injected or native",
            )
        if settings.seed > largest:
            raise UserError(
                f"--seed {settings.seed} with the generator of engine {self.name}",
                expected=f"0 to {largest}",
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
        for name, value in zip(self.terms, losses, strict=True):
            probe[f"forward/{name}"] = np.array(value)
        taken = finite(losses)
        probe.update({key: value for key, value in self.state().items() if key != "step"})
        return taken

    @abstractmethod
    def _probe(self, images: NDArray, draws: dict[str, NDArray] | None, probe: Probe) -> NDArray:
        """Takes a step and puts into the probe what only R has seen: `start/`, `forward/`,
        `gradient/`. Returns the losses, those of a step that R refused as not finite, too."""

    def state(self) -> Probe:
        told = self._ask("session_state")
        state = {"step": np.asarray(told["step"]).astype(np.int64).reshape(())}
        for kind in ("parameter", "moment1", "moment2", "buffer"):
            values = in_torchs_shape(told.get(kind))
            state |= {f"{kind}/{name}": value for name, value in values.items()}
        return state

    def restore(self, state: Mapping[str, NDArray]) -> None:
        kinds: dict[str, Any] = {"parameter": {}, "moment1": {}, "moment2": {}}
        for key, value in state.items():
            kind, _, name = key.partition("/")
            if name:
                kinds.setdefault(kind, {})[name] = value.astype(np.float64)
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
        return in_torchs_shape(self._ask("session_parameters"))

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


def in_torchs_shape(values: Mapping[str, NDArray] | None) -> dict[str, NDArray]:
    """Parameters and buffers as R tells them: R has no empty named list, and no array without
    axes."""
    return {
        name: value.reshape(()) if name.endswith(COUNT) else value
        for name, value in (values or {}).items()
    }


def finite(losses: NDArray) -> Tensor:
    """The terms of a step that R has taken, the total first.

    Raises:
        DivergedError: If the total is NaN or infinite; then R has not taken the step.
    """
    if not np.isfinite(losses[0]):
        raise DivergedError
    return torch.from_numpy(losses)


def _flat(draws: Mapping[str, NDArray]) -> dict[str, NDArray]:
    """Draws with one row per image, as the R side takes them: (B, C, H, W) to (B, C H W)."""
    return {name: draw.reshape(len(draw), -1) for name, draw in draws.items()}
