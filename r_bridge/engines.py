"""R engines: the same run as `pyvae.engine.PyTorchEngine`, computed in R."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pyvae.errors import UserError, choose
from pyvae.recipes.recipe import Recipe
from pyvae.settings import Settings
from pyvae.stages import LOSS_STAGES, Probe
from r_bridge.wire import Kept
from r_bridge.worker import RProcess, check_r

__all__ = ["ENGINE_NAMES", "BaseREngine", "check_r_engine", "make_r_engine"]

ENGINE_NAMES = ("auto", "base-r", "r-torch")
CHUNK = 25  # images that R works on at a time: memory stays small, at the same speed
R_FILES = Path(__file__).parent / "R"
BASE_R = (
    "conv2d",
    "max_pool2d",
    "linear",
    "activations",
    "reparameterise",
    "objectives",
    "adam",
    "conv_vae",
    "conv_vae_probe",
    "session",
)


def check_r_engine(name: str) -> None:
    """Asks, without starting anything, whether there is an R engine of that name.

    Raises:
        UserError: If there is no such engine, or R cannot be used.
    """
    choose("engine", name, ENGINE_NAMES)
    if name == "r-torch":
        raise UserError(
            "engine 'r-torch' is not part of this version of pyvae",
            "base-r or auto",
            "use --engine base-r",
        )
    check_r()


def make_r_engine(name: str) -> BaseREngine:
    """The R engine of that name; `auto` is the best one that is there.

    Raises:
        UserError: If there is no such engine, or R cannot be used.
    """
    check_r_engine(name)
    return BaseREngine()


class BaseREngine:
    """Layers, gradients and Adam in base R, in double precision.

    Numbers are double whatever the settings' dtype is; draws, images and initial parameters
    are the values that the other engine sees, float32 ones included.

    Arguments:
        threads: Threads of R's BLAS; by default as many as PyTorch uses.
        patch: R code evaluated after the sources, to try a change without editing them.

    Raises:
        RProcessError: If R cannot be used.
    """

    name = "base-r"

    def __init__(self, threads: int | None = None, patch: str | None = None) -> None:
        self.threads = torch.get_num_threads() if threads is None else threads
        self.process = RProcess(tuple(R_FILES / f"{name}.R" for name in BASE_R), self.threads)
        if patch is not None:
            self.process.evaluate(f"{patch}\nNULL")

    def start(self, recipe: Recipe, settings: Settings, parameters: Mapping[str, Tensor]) -> None:
        if recipe.name != "conv":
            raise UserError(f"engine base-r has no recipe '{recipe.name}'", "conv")
        self.session: Kept = self.process.call(
            "session_start",
            keep="session",
            parameters={name: value.double().numpy() for name, value in parameters.items()},
            objective=settings.objective,
            learning_rate=settings.learning_rate,
            chunk=CHUNK,
        )

    def step(self, x: Tensor, draws: Mapping[str, NDArray], probe: Probe | None = None) -> Tensor:
        images, flat = x.double().numpy(), _flat(draws)
        if probe is None:
            return torch.from_numpy(
                self.process.call("session_step", session=self.session, x=images, draws=flat)
            )
        probe.update({f"start/{name}": value for name, value in self.parameters().items()})
        for first in range(0, len(images), CHUNK):
            rows = slice(first, first + CHUNK)
            part = self.process.call(
                "session_probe_part",
                session=self.session,
                x=images[rows],
                draws={name: draw[rows] for name, draw in flat.items()},
                first=first == 0,
            )
            for kind, stages in part.items():
                for name, value in stages.items():
                    # R has the image last and the column first: torch's order in memory
                    whole = probe.setdefault(
                        f"{kind}/{name}", np.empty((len(images), *value.T.shape[1:]))
                    )
                    whole[rows] = value.T
        end = self.process.call("session_probe_end", session=self.session)
        total, reconstruction, regulariser = end["losses"]
        for name, value in zip(LOSS_STAGES, (reconstruction, regulariser, total), strict=True):
            probe[f"forward/{name}"] = np.array(value)
        probe.update({f"gradient/{name}": value for name, value in end["gradients"].items()})
        probe.update({key: value for key, value in self.state().items() if key != "step"})
        return torch.from_numpy(end["losses"])

    def state(self) -> Probe:
        told = self.process.call("session_state", session=self.session)
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
        self.process.call(
            "session_restore", session=self.session, step=float(state["step"]), **kinds
        )

    def latent_means(self, x: Tensor, draws: Mapping[str, NDArray] | None) -> NDArray:
        return self.process.call(
            "session_latent_means",
            session=self.session,
            x=x.double().numpy(),
            draws=_flat(draws or {}),
        )

    def decode(self, z: NDArray) -> NDArray:
        return self.process.call("session_decode", session=self.session, z=z.astype(np.float64))

    def parameters(self) -> dict[str, NDArray]:
        return self.process.call("session_parameters", session=self.session)

    def environment(self) -> dict[str, str]:
        about = self.process.call("bridge_about")
        versions = {name: value[0] for name, value in about.items()}
        return versions | {"threads": str(self.threads)}

    def close(self) -> None:
        self.process.close()

    def __enter__(self) -> BaseREngine:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def _flat(draws: Mapping[str, NDArray]) -> dict[str, NDArray]:
    """Draws with one row per image, as the R side takes them: (B, C, H, W) to (B, C H W)."""
    return {name: draw.reshape(len(draw), -1) for name, draw in draws.items()}
