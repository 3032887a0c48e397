"""A recipe's network in base R, run from its stages by R/network.R: any recipe whose layers are
in R/layers.R."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pyvae.engines.engine import DivergedError
from pyvae.model.objectives import OBJECTIVES
from pyvae.model.recipe import Recipe
from pyvae.model.settings import Settings
from pyvae.model.stages import Probe, Stage
from r_bridge.errors import RError
from r_bridge.process.client import RProcess
from r_bridge.process.wire import Kept

__all__ = ["SOURCES", "RNetwork", "finite"]

SOURCES = (
    "layers/strided_conv2d",
    "layers/batch_norm",
    "layers/softmax",
    "layers/likelihoods",
    "layers/divergences",
    "layers/layers",
    "base_r/network",
    "base_r/network_session",
)
LIKELIHOODS = ("bce", "mse", "gaussian")


class RNetwork:
    """One run of a recipe in an R process.

    Arguments:
        process: With `SOURCES`, and what they stand on, sourced.
        recipe, settings: What is run.
        parameters: To start from.
    """

    def __init__(
        self,
        process: RProcess,
        recipe: Recipe,
        settings: Settings,
        parameters: Mapping[str, Tensor],
    ) -> None:
        self.process = process
        self.terms = OBJECTIVES[settings.objective].terms
        stages = recipe.stages_for(settings)
        self.sample = next(s for s in stages if s.layer == "reparameterise")
        self.pixels = next(s for s in stages if s.layer in LIKELIHOODS).inputs[0]
        self.given = {s.name: s.draw for s in stages if s.layer == "input" and s.draw}
        self.session: Kept = process.call(
            "network_session_start",
            keep="session",
            stages=[_as_data(stage) for stage in stages],
            parameters={name: value.double().numpy() for name, value in parameters.items()},
            learning_rate=settings.learning_rate,
            terms=list(self.terms),
        )

    def step(self, x: Tensor, draws: Mapping[str, NDArray], probe: Probe | None) -> Tensor:
        """As `Engine.step`."""
        given = {"x": x.double().numpy(), "draws": _doubles(draws)}
        if probe is None:
            return finite(self._ask("step", **given))
        probe.update({f"start/{name}": value for name, value in self.parameters().items()})
        try:
            seen = self._ask("probe", **given)
        except RError:
            with suppress(RError):  # what was computed until then
                probe.update({f"forward/{k}": v.T for k, v in self._ask("seen").items()})
            raise
        # R has the image last and the column first: torch's order in memory
        probe.update({f"forward/{name}": value.T for name, value in seen["forward"].items()})
        values = zip(self.terms, seen["losses"], strict=True)
        probe.update({f"forward/{name}": np.array(value) for name, value in values})
        probe.update({f"buffer/{k}": v for k, v in dict(seen["buffers"] or {}).items()})
        losses = finite(seen["losses"])
        probe.update({f"gradient/{name}": value.T for name, value in seen["gradient"].items()})
        for name in self.given:  # values that are given are not differentiated
            probe.pop(f"gradient/{name}", None)
        gradients = seen["parameter_gradients"]
        probe.update({f"gradient/{name}": value for name, value in gradients.items()})
        probe.update({key: value for key, value in self.state().items() if key != "step"})
        return losses

    def state(self) -> Probe:
        """As `Engine.state`."""
        told = self._ask("state")
        state = {"step": np.asarray(told["step"]).astype(np.int64).reshape(())}
        for kind in ("parameter", "moment1", "moment2", "buffer"):
            state |= {f"{kind}/{name}": value for name, value in told[kind].items()}
        return state

    def restore(self, state: Mapping[str, NDArray]) -> None:
        """As `Engine.restore`."""
        kinds: dict[str, Any] = {"parameter": {}, "moment1": {}, "moment2": {}, "buffer": {}}
        for key, value in state.items():
            kind, _, name = key.partition("/")
            if name:
                kinds[kind][name] = value.astype(np.float64)
        self._ask("restore", step=float(state["step"]), **kinds)

    def latent_means(
        self, x: Tensor, draws: Mapping[str, NDArray] | None, training: bool
    ) -> NDArray:
        """As `Engine.latent_means`."""
        return self._ask(
            "latent_means",
            x=x.double().numpy(),
            draws=None if draws is None else _doubles(draws),
            training=training,
            stage=self.sample.inputs[0],
        )

    def decode(self, z: NDArray) -> NDArray:
        """As `Engine.decode`."""
        ends = {"from": self.sample.name, "to": self.pixels}
        return self._ask("decode", z=z.astype(np.float64), **ends)

    def parameters(self) -> dict[str, NDArray]:
        """As `Engine.parameters`."""
        return self._ask("parameters")

    def _ask(self, function: str, **arguments: Any) -> Any:
        return self.process.call(f"network_session_{function}", session=self.session, **arguments)


def finite(losses: NDArray) -> Tensor:
    """The terms of a step that R has taken, the total first.

    Raises:
        DivergedError: If the total is NaN or infinite; then R has not taken the step.
    """
    if not np.isfinite(losses[0]):
        raise DivergedError
    return torch.from_numpy(losses)


def _as_data(stage: Stage) -> dict[str, Any]:
    """A stage as R takes it."""
    options = {
        name: [float(one) for one in value] if isinstance(value, tuple) else value
        for name, value in stage.options.items()
    }
    return {
        "name": stage.name,
        "layer": stage.layer,
        "inputs": list(stage.inputs),
        "draw": stage.draw or "",
        "options": options,
        "module": stage.path,
    }


def _doubles(draws: Mapping[str, NDArray]) -> dict[str, NDArray]:
    return {
        name: draw if draw.dtype == np.bool_ else draw.astype(np.float64)
        for name, draw in draws.items()
    }
