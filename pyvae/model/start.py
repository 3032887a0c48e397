"""What a run starts from in place of initial parameters."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from pyvae.errors import UserError
from pyvae.files.arrays import checksum
from pyvae.model.recipe import Recipe
from pyvae.model.settings import Settings
from pyvae.model.stages import Probe, is_buffer

__all__ = ["INITIAL", "Start", "start_name"]

INITIAL = "initial"  # what a run that has no `Start` starts from
MOMENTS = ("moment1", "moment2")


@dataclass(frozen=True, eq=False)
class Start:
    """The state of a trained network, from which a run starts.

    Attributes:
        name: A word for it, which names files: `trained` for what the package ships, `run` for what
            the user's own run has left.
        title: What it is, in words: "the parameters after 12,000 steps of MNIST".
        parameters: Parameters and running statistics, by name.
        moments: Adam's, as `Engine.state` has them (`moment1/NAME`); empty: they start from zero.
        taken: Steps that Adam had taken; 0 without moments.
        source: The run's folder, to find it again; empty if the package ships it.
    """

    name: str
    title: str
    parameters: Mapping[str, NDArray]
    moments: Mapping[str, NDArray] = field(default_factory=dict)
    taken: int = 0
    source: str = ""

    @cached_property
    def sha256(self) -> str:
        """The checksum of all its numbers."""
        return checksum({**self.parameters, **self.moments, "step": np.array(self.taken)})

    def describe(self) -> dict[str, Any]:
        """What a trace says of it."""
        about: dict[str, Any] = {"name": self.name, "title": self.title, "sha256": self.sha256}
        if self.taken:
            about["taken"] = self.taken
        return about | ({"source": self.source} if self.source else {})

    def state(self, dtype: str) -> Probe:
        """The state as `Engine.restore` takes it, in the precision of a run."""
        state: Probe = {"step": np.array(self.taken)}
        for name, value in self.parameters.items():
            number = np.array(value, dtype)
            if is_buffer(name):
                state[f"buffer/{name}"] = number
                continue
            state[f"parameter/{name}"] = number
            for moment in MOMENTS:
                key = f"{moment}/{name}"
                kept = self.moments.get(key)
                state[key] = np.zeros_like(number) if kept is None else np.array(kept, dtype)
        return state

    def check(self, recipe: Recipe, settings: Settings) -> None:
        """Raises UserError unless the parameters are those of the recipe's network."""
        with torch.device("meta"):  # takes no memory
            wanted = recipe.network(settings.latent_dim, **settings.hyper).state_dict()
        for name in {**wanted, **self.parameters}:
            if name not in self.parameters or name not in wanted:
                has, lacks = ("the recipe", "it") if name in wanted else ("it", "the recipe")
                why = f"{has} has {name}, {lacks} does not"
            elif self.parameters[name].shape != tuple(wanted[name].shape):
                shapes = self.parameters[name].shape, tuple(wanted[name].shape)
                why = f"{name} has shape {shapes[0]} where the recipe has {shapes[1]}"
            elif not np.isfinite(self.parameters[name]).all():
                why = f"{name} has numbers that are not finite"
            else:
                continue
            raise UserError(
                f"--start: {self.title}: not the parameters of recipe {recipe.name} ({why})",
                "start from a run of the same recipe and settings",
            )


def start_name(described: Mapping[str, Any]) -> str:
    """The name of a start as a trace describes it; `initial` if it says nothing."""
    return str(described.get("name", INITIAL))
