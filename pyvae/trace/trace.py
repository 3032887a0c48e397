"""The trace of a run, in memory and on disk.

A saved trace is a folder with `trace.json` (settings, data, versions), `history.csv` (losses
per step), `parameters.safetensors`, `latents.safetensors` (latent means, samples) and, for each
probed step, `probes/step-000001.safetensors`. docs/reference/trace-format.md describes the
format for engines in other languages.
"""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from pyvae.data.pixels import DIGITS
from pyvae.errors import UserError
from pyvae.files.arrays import array_bytes, parse_arrays, read_arrays, write_arrays
from pyvae.files.csv import csv_text
from pyvae.files.html import notebook_html
from pyvae.files.reading import UNREADABLE, parse_numbers, read_bytes
from pyvae.files.writing import output_folder, remove_file, write_file
from pyvae.model.objectives import OBJECTIVES
from pyvae.model.run import Run
from pyvae.model.settings import Settings
from pyvae.model.stages import Probe
from pyvae.trace.header import FORMAT, RECIPE_FILE, read_about
from pyvae.trace.trace_folder import header_of

if TYPE_CHECKING:
    from pyvae.engines.engine import Engine

__all__ = ["Trace"]

FILES = ("trace.json", "history.csv", "parameters.safetensors", "latents.safetensors")
PARTS = "probes", "draws"


@dataclass
class Trace:
    """What happened in a run.

    Attributes:
        engine: The engine's name: `pytorch`, `base-r`, ...
        recipe: The recipe's name.
        settings: Its settings.
        data: The images' name, number and source.
        environment: Versions and the number of threads, on which the numbers depend.
        losses: (steps, terms), float64: total, reconstruction, regulariser and the objective's
            further terms for each step; sums over the batch in nats, unless the objective has
            another scale.
        epochs: (steps,), the epoch of each step, from 1.
        latent_means: Posterior means (B, L) of the last batch, under `training` (dropout on,
            as the R article draws them) and `evaluation`.
        samples: Decoded draws from N(0, I), (16, 784), pixels in [0, 1].
        parameters: The final parameters, by name.
        mode: `free`, or `resync` if every step started from another trace's state.
        probed: The steps (from 1) that have a probe in `folder`.
        folder: Where the trace was loaded from.
        start: What the run started from (`Start.describe`); empty: initial parameters.
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
    start: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of_run(cls, run: Run, engine: Engine) -> Trace:
        """Makes an empty trace for a run that is about to start."""
        environment = {"python": platform.python_version(), **engine.environment()}
        if run.recipe.optimizer is not None:
            environment.pop("adam", None)
        if run.is_exact:
            environment.pop("kernels", None)
        if run.recipe.file is not None:
            environment[RECIPE_FILE] = run.recipe.file.sha256
        data = run.data.describe()
        trace = cls(engine.name, run.recipe.name, run.settings, data, environment)
        trace.losses = np.empty((0, len(trace.terms)))
        trace.start = {} if run.start is None else run.start.describe()
        return trace

    @property
    def terms(self) -> tuple[str, ...]:
        """The names of the losses' columns."""
        return OBJECTIVES[self.settings.objective].terms

    @property
    def image_shape(self) -> tuple[int, ...]:
        """The shape of an image: (channels, height, width)."""
        return tuple(self.data.get("shape", DIGITS))

    def extend(self, epoch: int, losses: Sequence[torch.Tensor]) -> None:
        """Adds the losses of steps of an epoch (counted from 0), each (terms,)."""
        values = torch.stack(list(losses)).cpu().double().numpy()
        self.losses = np.concatenate([self.losses, values])
        self.epochs = np.concatenate([self.epochs, np.full(len(values), epoch + 1)])

    @property
    def steps(self) -> int:
        return len(self.losses)

    @property
    def complete(self) -> bool:
        """Whether the run was finished."""
        return bool(self.parameters)

    def history(self) -> pd.DataFrame:
        """Returns a table with a row for each step.

        Columns: engine, objective, epoch, step (from 1), total, reconstruction, regulariser,
        further terms (sums over the batch in nats, or on the objective's scale), and the loss of
        one image, `nats_per_image` (`loss` if it is not in nats per image).
        """
        table = pd.DataFrame(self.losses, columns=list(self.terms))
        table.insert(0, "engine", self.engine)
        table.insert(1, "objective", self.settings.objective)
        table.insert(2, "epoch", self.epochs)
        table.insert(3, "step", np.arange(1, self.steps + 1))
        objective = OBJECTIVES[self.settings.objective]
        table[objective.column] = objective.per_image(table["total"], self.settings.batch_size)
        return table

    def epoch_table(self) -> pd.DataFrame:
        """Returns a table with a row for each epoch.

        Columns: epoch, steps, all terms (sums over the epoch's batches, as the R article prints the
        total; means if the objective is a mean), and the loss of one image.
        """
        history = self.history()
        objective = OBJECTIVES[self.settings.objective]
        groups = history.groupby("epoch", sort=True)
        terms = groups[list(self.terms)]
        table = terms.mean() if objective.mean else terms.sum()
        table.insert(0, "steps", groups.size())
        images = table["steps"] * self.settings.batch_size
        table[objective.column] = objective.per_image(table["total"], images)
        return table.reset_index()

    def to_pandas(self) -> pd.DataFrame:
        """Returns one tidy table: a row for each step and term of the loss.

        Columns:
            engine, recipe, objective, seed: What was run.
            epoch, step: From 1.
            term: `total`, `reconstruction`, `regulariser`, and the objective's further terms.
            value: Summed over the batch, in nats, or on the scale that the objective states.
            per_image: The same for one image.

        Example:
            >>> trace.to_pandas().groupby(["term", "epoch"])["per_image"].mean()  # doctest: +SKIP
        """
        table = self.history()
        keys = ["engine", "objective", "epoch", "step"]
        long = table.melt(keys, list(self.terms), var_name="term", value_name="value")
        long.insert(1, "recipe", self.recipe)
        long.insert(3, "seed", self.settings.seed)
        objective = OBJECTIVES[self.settings.objective]
        long["per_image"] = objective.per_image(long["value"], self.settings.batch_size)
        return long.sort_values("step", kind="stable", ignore_index=True)

    def __repr__(self) -> str:
        return f"<Trace of {self._in_words()}>"

    def _in_words(self) -> str:
        """What was run, and how far it came."""
        title = OBJECTIVES[self.settings.objective].title
        count = f"{self.steps:,} step{'' if self.steps == 1 else 's'}"
        words = f"{title}, recipe {self.recipe}, {self.engine}: {count}"
        return words if self.complete else f"{words}, not finished"

    def _repr_html_(self) -> str:
        settings, objective = self.settings, OBJECTIVES[self.settings.objective]
        about = (
            f"{self.data.get('name', '')}, batch {settings.batch_size}, {settings.latent_dim} "
            f"latent dimensions, {settings.dtype}, seed {settings.seed}"
        )
        loss = f"loss: {objective.formula}" + (f", in {objective.unit}" if objective.unit else "")
        table = self.to_pandas().groupby(["epoch", "term"], sort=False)["per_image"].mean()
        wide = table.unstack("term")[list(self.terms)] if len(table) else pd.DataFrame()
        where = f"saved in {self.folder}" if self.folder else ""
        lines = (about, loss, where, "per image, mean of each epoch:" if len(wide) else "")
        return notebook_html(f"Trace of {self._in_words()}", lines, wide.reset_index())

    def save(self, folder: Path | str) -> None:
        """Writes the trace into a folder; an unfinished run has no arrays yet.

        Raises:
            UserError: If it cannot be written there.
        """
        folder = output_folder(Path(folder))
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
            **({"start": self.start} if self.start else {}),
        }
        files = {"history.csv": csv_text(self.history()).encode()}
        if self.complete:
            files["parameters.safetensors"] = array_bytes(self.parameters)
            latents = dict(self.latent_means)
            if self.samples is not None:
                latents["samples"] = self.samples
            files["latents.safetensors"] = array_bytes(latents)
            about["sha256"] = {name: _sha256(content) for name, content in files.items()}
        for name, content in files.items():
            write_file(folder / name, content)
        write_file(folder / "trace.json", json.dumps(about, indent=2) + "\n")

    def save_probe(self, folder: Path, step: int, probe: Probe) -> Path:
        """Writes the probe of one step (from 1) into the trace's folder.

        Probes do not stay in memory: that of a batch of 250 in float64 is 0.6 GB.
        """
        path = _probe_path(folder, step)
        output_folder(path.parent)
        write_arrays(path, probe)
        self.probed.append(step)
        return path

    def probe(self, step: int) -> Probe:
        """Reads the probe of one step (from 1) of a saved trace.

        Raises:
            UserError: If it was not probed, or the file cannot be read.
        """
        if self.folder is None or step not in self.probed:
            raise UserError(
                f"step {step} of the trace was not probed",
                "record it again with pyvae trace --probe",
            )
        path = _probe_path(self.folder, step)
        try:
            return read_arrays(path)
        except UNREADABLE as error:
            raise _unreadable(path, error) from error

    def state_after(self, step: int) -> Probe:
        """Reads the state that the next step starts from, as `Engine.restore` takes it.

        Raises:
            UserError: If the step was not probed, or the file cannot be read.
        """
        kinds = ("parameter/", "moment1/", "moment2/", "optimizer.", "buffer/")
        state = {key: v for key, v in self.probe(step).items() if key.startswith(kinds)}
        return state | {"step": np.array(step)}

    @staticmethod
    def remove(folder: Path, keep_folder: bool = False) -> None:
        """Removes a saved trace, and its folder if it is empty then and is not to be kept."""
        for path in _files_in(folder):
            remove_file(path)
        parts = [folder / name for name in PARTS]
        for emptied in parts if keep_folder else (*parts, folder):
            if emptied.is_dir() and not any(emptied.iterdir()):
                emptied.rmdir()

    @staticmethod
    def left_in(folder: Path) -> bool:
        """Whether a folder holds any file of a saved trace, be it one whose removal was cut off."""
        return any(path.exists() for path in _files_in(folder))

    @classmethod
    def load(cls, folder: Path | str) -> Trace:
        """Reads a saved trace; its probes stay on disk until they are needed.

        Raises:
            UserError: If the folder is not a trace, or a file cannot be read or is damaged.
        """
        folder = Path(folder)
        header = header_of(
            folder,
            "record one with pyvae trace, or from your own program "
            "(docs/reference/trace-format.md)",
        )
        try:
            about = read_about(header)
            names = FILES[1:] if about["complete"] else ("history.csv",)
            files = {name: read_bytes(folder / name) for name in names}
            _check_sums(files, about["sha256"])
            settings = about["settings"]
            terms = OBJECTIVES[settings.objective].terms
            history = parse_numbers(files["history.csv"], "history.csv", ("epoch", *terms))
            trace = cls(
                about["engine"],
                about["recipe"],
                settings,
                about["data"],
                about["environment"],
                np.stack([history[term] for term in terms], axis=1),
                _epochs(history["epoch"]),
                mode=about["mode"],
                probed=about["probes"],
                folder=folder,
                start=about["start"],
            )
            # a run may have been killed between writing history.csv and trace.json
            ahead = 0 if about["complete"] else trace.steps
            if not about["steps"] <= trace.steps <= max(about["steps"], ahead):
                raise ValueError(f"history.csv has {trace.steps} of {about['steps']} steps")
            if about["complete"]:
                trace._parse_arrays(files)
        except UNREADABLE as error:
            raise _unreadable(folder, error) from error
        return trace

    def _parse_arrays(self, files: Mapping[str, bytes]) -> None:
        """Reads the arrays of a finished run; raises ValueError if they are not a trace's."""
        self.parameters = parse_arrays(files["parameters.safetensors"])
        if not self.parameters:
            raise ValueError("parameters.safetensors is empty")
        latents = parse_arrays(files["latents.safetensors"])
        for name, value in latents.items():
            if value.ndim != 2 or value.dtype.kind != "f" or not value.size:
                raise ValueError(f"'{name[:40]}' in latents.safetensors has shape {value.shape}")
        self.samples = latents.pop("samples", None)
        modes = sorted(latents, key=lambda mode: (mode != "training", mode))
        self.latent_means = {mode: latents[mode] for mode in modes}


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _check_sums(files: Mapping[str, bytes], expected: Mapping[str, str]) -> None:
    """Raises ValueError if a file of a trace is not the one that was written."""
    for name, checksum in expected.items():
        if name not in FILES:
            raise ValueError(f"sha256 lists '{name[:40]}', which is not a file of a trace")
        if name in files and _sha256(files[name]) != checksum:
            raise ValueError(f"{name} is damaged: its SHA-256 is not the one in trace.json")


def _files_in(folder: Path) -> list[Path]:
    """What a saved trace in a folder may consist of, in the order in which it is removed."""
    parts = (path for name in PARTS for path in sorted((folder / name).glob("*.safetensors")))
    mine = (path for path in parts if path.stem == "initial" or path.stem.startswith("step-"))
    return [*(folder / name for name in FILES), *mine]


def _epochs(values: NDArray[np.float64]) -> NDArray[np.int64]:
    if not ((values >= 1) & (values < 2**53) & (values % 1 == 0)).all():
        raise ValueError("history.csv has an epoch that is not a whole number from 1")
    return values.astype(np.int64)


def _unreadable(path: Path, error: Exception) -> UserError:
    what = f"{error.args[0]} is missing" if isinstance(error, KeyError) else str(error)
    if isinstance(error, FileNotFoundError) and error.filename:
        what = f"{Path(error.filename).name} is missing"
    return UserError(
        f"trace '{path}' cannot be read ({what})",
        "record it again, or compare its files with docs/reference/trace-format.md",
    )


def _probe_path(folder: Path, step: int) -> Path:
    return folder / "probes" / f"step-{step:06d}.safetensors"
