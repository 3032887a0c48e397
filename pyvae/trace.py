"""Traces: what happened in a run, saved so that two of them can be compared later.

A saved trace is a folder with `trace.json` (settings, data, versions), `history.csv` (losses
per step), `parameters.safetensors` and `latents.safetensors` (latent means, samples).
"""

from __future__ import annotations

import json
import platform
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import safetensors.numpy
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError

from pyvae.errors import UserError
from pyvae.files import write_file
from pyvae.settings import Settings

if TYPE_CHECKING:
    from pyvae.data import ImageData
    from pyvae.engine import Engine
    from pyvae.recipes.recipe import Recipe

__all__ = ["LOSSES", "Trace"]

FORMAT = 1
FILES = ("trace.json", "history.csv", "parameters.safetensors", "latents.safetensors")
LOSSES = ("total", "reconstruction", "regulariser")


@dataclass
class Trace:
    """What happened in a run.

    Attributes:
        engine: Who computed: `pytorch`, `base-r`, ...
        recipe: The recipe's name.
        settings: Its settings.
        data: The images' name, number and source.
        environment: Versions and threads that the numbers depend on.
        losses: (steps, 3), float64: total, reconstruction and regulariser of each step, sums
            over the batch in nats.
        epochs: (steps,), the epoch of each step, from 1.
        latent_means: Posterior means (B, L) of the last batch, under `training` (dropout on,
            as the R article draws them) and `evaluation`.
        samples: Decoded draws from N(0, I), (16, 784), pixels in [0, 1].
        parameters: The final parameters, by name.
    """

    engine: str
    recipe: str
    settings: Settings
    data: dict[str, Any]
    environment: dict[str, str]
    losses: NDArray[np.float64] = field(default_factory=lambda: np.empty((0, 3)))
    epochs: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    latent_means: dict[str, NDArray] = field(default_factory=dict)
    samples: NDArray | None = None
    parameters: dict[str, NDArray] = field(default_factory=dict)

    @classmethod
    def of_run(cls, engine: Engine, recipe: Recipe, settings: Settings, data: ImageData) -> Trace:
        """An empty trace for a run that is about to start."""
        environment = {"python": platform.python_version(), **engine.environment()}
        return cls(engine.name, recipe.name, settings, data.describe(), environment)

    def extend(self, epoch: int, losses: Sequence[torch.Tensor]) -> None:
        """Adds steps of an epoch (counted from 0), each (3,)."""
        values = torch.stack(list(losses)).cpu().double().numpy()
        self.losses = np.concatenate([self.losses, values])
        self.epochs = np.concatenate([self.epochs, np.full(len(values), epoch + 1)])

    @property
    def steps(self) -> int:
        return len(self.losses)

    @property
    def complete(self) -> bool:
        """Whether the run came to its end."""
        return bool(self.parameters)

    def history(self) -> pd.DataFrame:
        """One row per step: engine, objective, epoch, step (from 1), total, reconstruction,
        regulariser (sums over the batch in nats), nats_per_image (total / batch size)."""
        table = pd.DataFrame(self.losses, columns=list(LOSSES))
        table.insert(0, "engine", self.engine)
        table.insert(1, "objective", self.settings.objective)
        table.insert(2, "epoch", self.epochs)
        table.insert(3, "step", np.arange(1, self.steps + 1))
        table["nats_per_image"] = table["total"] / self.settings.batch_size
        return table

    def epoch_table(self) -> pd.DataFrame:
        """One row per epoch: steps, total, reconstruction, regulariser (sums over the epoch's
        batches in nats, as the R article prints the total), nats_per_image."""
        history = self.history()
        groups = history.groupby("epoch", sort=True)
        table = groups[list(LOSSES)].sum()
        table.insert(0, "steps", groups.size())
        table["nats_per_image"] = table["total"] / (table["steps"] * self.settings.batch_size)
        return table.reset_index()

    def save(self, folder: Path) -> None:
        """Writes the trace into an existing folder; what is not there yet is left out."""
        about = {
            "format": FORMAT,
            "engine": self.engine,
            "recipe": self.recipe,
            "settings": self.settings.as_dict(),
            "data": self.data,
            "environment": self.environment,
            "steps": self.steps,
            "complete": self.complete,
        }
        write_file(folder / "history.csv", csv_text(self.history()))
        if self.complete:
            _write_arrays(folder / "parameters.safetensors", self.parameters)
            latents = dict(self.latent_means)
            if self.samples is not None:
                latents["samples"] = self.samples
            _write_arrays(folder / "latents.safetensors", latents)
        write_file(folder / "trace.json", json.dumps(about, indent=2) + "\n")

    @staticmethod
    def remove(folder: Path) -> None:
        """Removes a saved trace, and the folder if nothing else is in it."""
        for name in FILES:
            (folder / name).unlink(missing_ok=True)
        if not any(folder.iterdir()):
            folder.rmdir()

    @classmethod
    def load(cls, folder: Path) -> Trace:
        """Reads a saved trace.

        Raises:
            UserError: If the folder holds none, or one that cannot be read.
        """
        if not (folder / "trace.json").is_file():
            raise UserError(
                f"'{folder}' holds no trace", "a folder with trace.json", "see pyvae train --help"
            )
        try:
            about = json.loads((folder / "trace.json").read_text())
            # as text, and by NumPy to floats: exact in every version of pandas
            history = pd.read_csv(folder / "history.csv", dtype=str, keep_default_na=False)
            trace = cls(
                about["engine"],
                about["recipe"],
                Settings(**about["settings"]),
                about["data"],
                about["environment"],
                history[list(LOSSES)].to_numpy(dtype=str).astype(np.float64),
                history["epoch"].to_numpy(dtype=str).astype(np.int64),
            )
            if trace.steps != about["steps"]:
                raise ValueError(f"history.csv has {trace.steps} of {about['steps']} steps")
            if about["complete"]:
                trace.parameters = safetensors.numpy.load_file(folder / "parameters.safetensors")
                latents = safetensors.numpy.load_file(folder / "latents.safetensors")
                trace.samples = latents.pop("samples", None)
                trace.latent_means = latents
        except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
            raise UserError(f"trace '{folder}' cannot be read ({error})") from error
        return trace


def csv_text(table: pd.DataFrame) -> str:
    """A table as CSV; floats are written so that reading them gives the same bits."""
    return table.to_csv(index=False, lineterminator="\n", na_rep="nan")


def _write_arrays(path: Path, arrays: dict[str, NDArray]) -> None:
    contiguous = {name: np.ascontiguousarray(value) for name, value in arrays.items()}
    write_file(path, safetensors.numpy.save(contiguous))
