"""Traces: what happened in a run, saved so that two of them can be compared later.

A saved trace is a folder with `trace.json` (settings, data, versions), `history.csv` (losses
per step), `parameters.safetensors`, `latents.safetensors` (latent means, samples) and, for steps
that were probed, `probes/step-000001.safetensors`. docs/trace-format.md describes it for engines
in other languages.
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

from pyvae.errors import UserError, choose
from pyvae.files import remove_file, write_file
from pyvae.objectives import LOSSES, OBJECTIVES
from pyvae.settings import Settings
from pyvae.stages import Probe

if TYPE_CHECKING:
    from pyvae.data import ImageData
    from pyvae.engine import Engine
    from pyvae.recipes.recipe import Recipe

__all__ = ["LOSSES", "UNREADABLE", "Trace", "write_arrays"]

FORMAT = 4  # 1 had neither `mode` nor `probes`, 2 no `rng`, 3 no `hyper` among the settings
FILES = ("trace.json", "history.csv", "parameters.safetensors", "latents.safetensors")
UNREADABLE = (  # what files that are no trace's make of reading them
    OSError,
    ValueError,
    KeyError,
    TypeError,
    AttributeError,
    OverflowError,
    RecursionError,
    SafetensorError,
)


@dataclass
class Trace:
    """What happened in a run.

    Attributes:
        engine: Who computed: `pytorch`, `base-r`, ...
        recipe: The recipe's name.
        settings: Its settings.
        data: The images' name, number and source.
        environment: Versions and threads that the numbers depend on.
        losses: (steps, terms), float64: total, reconstruction, regulariser and what further
            terms the objective has, of each step; sums over the batch in nats, or on what scale
            the objective says.
        epochs: (steps,), the epoch of each step, from 1.
        latent_means: Posterior means (B, L) of the last batch, under `training` (dropout on,
            as the R article draws them) and `evaluation`.
        samples: Decoded draws from N(0, I), (16, 784), pixels in [0, 1].
        parameters: The final parameters, by name.
        mode: `free`, or `resync` if every step started from another trace's state.
        probed: The steps (from 1) whose probes are in `folder`.
        folder: Where the trace was loaded from.
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
    mode: str = "free"
    probed: list[int] = field(default_factory=list)
    folder: Path | None = None

    @classmethod
    def of_run(cls, engine: Engine, recipe: Recipe, settings: Settings, data: ImageData) -> Trace:
        """An empty trace for a run that is about to start."""
        environment = {"python": platform.python_version(), **engine.environment()}
        trace = cls(engine.name, recipe.name, settings, data.describe(), environment)
        trace.losses = np.empty((0, len(trace.terms)))
        return trace

    @property
    def terms(self) -> tuple[str, ...]:
        """The names of the losses' columns."""
        return OBJECTIVES[self.settings.objective].terms

    def extend(self, epoch: int, losses: Sequence[torch.Tensor]) -> None:
        """Adds steps of an epoch (counted from 0), each (terms,)."""
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
        regulariser, further terms (sums over the batch in nats, or on the objective's scale), and
        the loss of one image, `nats_per_image` (`loss` where it is not in nats per image)."""
        table = pd.DataFrame(self.losses, columns=list(self.terms))
        table.insert(0, "engine", self.engine)
        table.insert(1, "objective", self.settings.objective)
        table.insert(2, "epoch", self.epochs)
        table.insert(3, "step", np.arange(1, self.steps + 1))
        objective = OBJECTIVES[self.settings.objective]
        table[objective.column] = objective.per_image(table["total"], self.settings.batch_size)
        return table

    def epoch_table(self) -> pd.DataFrame:
        """One row per epoch: steps, all terms (sums over the epoch's batches, as the R article
        prints the total; means where the objective is a mean), and the loss of one image."""
        history = self.history()
        objective = OBJECTIVES[self.settings.objective]
        groups = history.groupby("epoch", sort=True)
        terms = groups[list(self.terms)]
        table = terms.mean() if objective.mean else terms.sum()
        table.insert(0, "steps", groups.size())
        images = table["steps"] * self.settings.batch_size
        table[objective.column] = objective.per_image(table["total"], images)
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
            "mode": self.mode,
            "probes": self.probed,
            "steps": self.steps,
            "complete": self.complete,
        }
        write_file(folder / "history.csv", csv_text(self.history()))
        if self.complete:
            write_arrays(folder / "parameters.safetensors", self.parameters)
            latents = dict(self.latent_means)
            if self.samples is not None:
                latents["samples"] = self.samples
            write_arrays(folder / "latents.safetensors", latents)
        write_file(folder / "trace.json", json.dumps(about, indent=2) + "\n")

    def save_probe(self, folder: Path, step: int, probe: Probe) -> Path:
        """Writes what was seen in one step (from 1) into the trace's folder, at once: a probe of
        a batch of 250 in float64 is 0.6 GB."""
        path = _probe_path(folder, step)
        path.parent.mkdir(exist_ok=True)
        write_arrays(path, probe)
        self.probed.append(step)
        return path

    def probe(self, step: int) -> Probe:
        """What was seen in one step (from 1) of a trace on disk.

        Raises:
            UserError: If it was not probed, or the file cannot be read.
        """
        if self.folder is None or step not in self.probed:
            raise UserError(
                f"step {step} of the trace was not probed", "", "see pyvae trace --help"
            )
        path = _probe_path(self.folder, step)
        try:
            return safetensors.numpy.load_file(path)
        except UNREADABLE as error:
            raise _unreadable(path, error) from error

    def state_after(self, step: int) -> Probe:
        """What the step after this one starts from, as `Engine.restore` takes it.

        Raises:
            UserError: If the step was not probed, or the file cannot be read.
        """
        kinds = ("parameter/", "moment1/", "moment2/", "buffer/")
        state = {key: v for key, v in self.probe(step).items() if key.startswith(kinds)}
        return state | {"step": np.array(step)}

    @staticmethod
    def remove(folder: Path, keep_folder: bool = False) -> None:
        """Removes a saved trace, and the folder if nothing else is in it and it is not to be
        kept."""
        for name in FILES:
            remove_file(folder / name)
        parts = [folder / "probes", folder / "draws"]
        for path in (path for part in parts for path in part.glob("*.safetensors")):
            if path.stem == "initial" or path.stem.startswith("step-"):
                path.unlink()
        for emptied in parts if keep_folder else (*parts, folder):
            if emptied.is_dir() and not any(emptied.iterdir()):
                emptied.rmdir()

    @classmethod
    def load(cls, folder: Path) -> Trace:
        """Reads a saved trace; its probes stay on disk until they are asked for.

        Raises:
            UserError: If the folder holds none, or one that cannot be read.
        """
        if not (folder / "trace.json").is_file():
            raise UserError(
                f"'{folder}' holds no trace", "a folder with trace.json", "see pyvae trace --help"
            )
        try:
            about = json.loads((folder / "trace.json").read_text())
            version = about["format"]
            if not isinstance(version, int) or version < 1:
                raise ValueError(f"format is {version!r}")
            if version > FORMAT:
                raise UserError(
                    f"trace '{folder}' has format {version!r}",
                    f"format 1 to {FORMAT}",
                    "it was written by a newer pyvae: update this one",
                )
            # as text, and by NumPy to floats: exact in every version of pandas
            history = pd.read_csv(folder / "history.csv", dtype=str, keep_default_na=False)
            settings = Settings(**about["settings"])
            terms = list(OBJECTIVES[settings.objective].terms)
            trace = cls(
                _text(about, "engine"),
                _text(about, "recipe"),
                settings,
                about["data"],
                about["environment"],
                history[terms].to_numpy(dtype=str).astype(np.float64),
                history["epoch"].to_numpy(dtype=str).astype(np.int64),
                mode=choose("mode", about.get("mode", "free"), ("free", "resync")),
                probed=[int(step) for step in about.get("probes", [])],
                folder=folder,
            )
            _text(trace.data, "name")
            ahead = 0 if about["complete"] else trace.steps  # killed while it was being kept
            if not about["steps"] <= trace.steps <= max(about["steps"], ahead):
                raise ValueError(f"history.csv has {trace.steps} of {about['steps']} steps")
            if about["complete"]:
                trace.parameters = safetensors.numpy.load_file(folder / "parameters.safetensors")
                latents = safetensors.numpy.load_file(folder / "latents.safetensors")
                trace.samples = latents.pop("samples", None)
                modes = sorted(latents, key=lambda mode: (mode != "training", mode))
                trace.latent_means = {mode: latents[mode] for mode in modes}
        except UNREADABLE as error:
            raise _unreadable(folder, error) from error
        return trace


def _text(about: dict[str, Any], name: str) -> str:
    if not isinstance(about[name], str):
        raise TypeError(f"{name} is no text")
    return about[name]


def _unreadable(path: Path, error: Exception) -> UserError:
    what = f"no {error}" if isinstance(error, KeyError) else str(error)
    return UserError(
        f"trace '{path}' cannot be read ({what})",
        "a whole trace as docs/trace-format.md has it",
        "write it again",
    )


def _probe_path(folder: Path, step: int) -> Path:
    return folder / "probes" / f"step-{step:06d}.safetensors"


def csv_text(table: pd.DataFrame) -> str:
    """A table as CSV; floats are written so that reading them gives the same bits."""
    return table.to_csv(index=False, lineterminator="\n", na_rep="nan")


def write_arrays(
    path: Path, arrays: dict[str, NDArray], metadata: dict[str, str] | None = None
) -> None:
    """Writes arrays by name as safetensors. R's arrays are in column-major order, which
    safetensors does not look at: they are brought into row-major order first."""
    # not np.ascontiguousarray: that makes (1,) of a scalar's shape ()
    contiguous = {name: np.asarray(value, order="C") for name, value in arrays.items()}
    write_file(path, safetensors.numpy.save(contiguous, metadata))
