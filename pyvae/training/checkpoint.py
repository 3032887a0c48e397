"""Checkpoints: where a run stands, on disk, to go on from without a changed bit.

A checkpoint is two files: `checkpoint-00000040.safetensors` with the numbers, and
`checkpoint-00000040.json` with the step, the run (settings, data, versions) and the checksums of
both. The second is written when the first is safe on disk: without it, or where a checksum differs,
there is no checkpoint. The last two are kept: if one is damaged later, only the steps since the one
before are lost. Of a complete run of `pyvae train` the one after the last step is kept, from which
it can be made longer.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pyvae.files.arrays import read_arrays, write_arrays
from pyvae.files.reading import UNREADABLE, open_file, read_json
from pyvae.files.writing import remove_file, write_file
from pyvae.model.stages import Probe
from pyvae.trace.trace import Trace

__all__ = ["Checkpoint", "Found", "run_identity"]

FORMAT = 1
KEPT = 2  # checkpoints of a run
NAME = re.compile(r"checkpoint-(\d{8,})\.(json|safetensors)")


@dataclass(frozen=True)
class Checkpoint:
    """What a run needs, besides its data, to go on after a step.

    Attributes:
        step: Steps done.
        state: `Engine.state` after it: parameters, Adam's moments, running statistics.
        generator: `Engine.generator_state` after it; None if the draws are injected.
        order: The current epoch's order of the images; None if the draws are injected.
        losses: (step, terms), float64: the losses until then, as a trace has them.
        epochs: (step,), the epoch of each step, from 1.
        run: Which run it is of: `run_identity` of its trace.
    """

    step: int
    state: Probe
    generator: NDArray | None = None
    order: NDArray | None = None
    losses: NDArray[np.float64] = field(default_factory=lambda: np.empty((0, 3)))
    epochs: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    run: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_finite(self) -> bool:
        """Whether all floating-point numbers are finite: from others a run cannot go on."""
        arrays = (*self.state.values(), self.losses)
        return all(np.isfinite(a).all() for a in arrays if np.issubdtype(a.dtype, np.floating))

    def save(self, folder: Path) -> None:
        """Writes it into an existing folder, and removes all but the last two."""
        arrays = {"step": np.array(self.step), "losses": self.losses, "epochs": self.epochs}
        arrays |= {f"state/{name}": value for name, value in self.state.items()}
        if self.generator is not None:
            arrays["generator"] = self.generator
        if self.order is not None:
            arrays["order"] = self.order
        path = _path(folder, self.step, "safetensors")
        write_arrays(path, arrays)
        about = {
            "format": FORMAT,
            "step": self.step,
            "run": dict(self.run),
            "file": path.name,
            "bytes": path.stat().st_size,
            "sha256": _checksum_of(path),
        }
        whole = {"checkpoint": about, "sha256": _checksum(about)}
        write_file(_path(folder, self.step, "json"), json.dumps(whole, indent=2) + "\n")
        steps = sorted(_steps(folder), reverse=True)
        newer = [step for step in steps if step > self.step]  # damaged: this run began before them
        for step in (*newer, *steps[len(newer) + KEPT :]):
            _remove(folder, step)

    @staticmethod
    def find(folder: Path) -> Found:
        """The newest that is undamaged, and what is wrong with newer ones."""
        damages: list[str] = []
        for step in sorted(_steps(folder), reverse=True):
            if not _path(folder, step, "json").exists():  # killed in writing it: there is none
                continue
            try:
                return Found(_read(folder, step), damages)
            except _DamagedError as error:
                damages.append(f"the checkpoint of step {step} is damaged: {error}")
            except UNREADABLE as error:
                why = f"no {error}" if isinstance(error, KeyError) else str(error)
                damages.append(f"the checkpoint of step {step} is damaged: {' '.join(why.split())}")
        return Found(None, damages)

    @staticmethod
    def newest_step(folder: Path) -> int:
        """The step of the newest one, by its name alone; 0 if there is none."""
        return max((s for s in _steps(folder) if _path(folder, s, "json").exists()), default=0)

    @staticmethod
    def remove(folder: Path, but: int | None = None) -> None:
        """Removes all checkpoints of a folder, except that of one step."""
        for step in _steps(folder) - {but}:
            _remove(folder, step)


@dataclass(frozen=True)
class Found:
    """What `Checkpoint.find` found.

    Attributes:
        checkpoint: The one to go on from, if any.
        damages: In words, what is wrong with newer ones.
    """

    checkpoint: Checkpoint | None
    damages: list[str]


class _DamagedError(Exception):
    """A checksum or a size is not the one that was written."""


def run_identity(trace: Trace) -> dict[str, Any]:
    """What the bits of a run depend on, as JSON has it.

    These are engine, recipe, settings, data, mode, the environment with versions and threads, and
    what the run started from, if that is not the initial parameters.
    """
    about = {
        "engine": trace.engine,
        "recipe": trace.recipe,
        "settings": trace.settings.as_dict(),
        "data": trace.data,
        "mode": trace.mode,
        "environment": trace.environment,
        **({"start": trace.start} if trace.start else {}),
    }
    return json.loads(json.dumps(about))


def _read(folder: Path, step: int) -> Checkpoint:
    path = _path(folder, step, "json")
    whole = read_json(path)
    about = whole["checkpoint"]
    if whole["sha256"] != _checksum(about):
        raise _DamagedError(f"{path.name} does not have its checksum")
    if about["format"] != FORMAT:
        raise _DamagedError(f"format {about['format']}, not {FORMAT}")
    numbers = _path(folder, step, "safetensors")
    size = numbers.stat().st_size
    if size != about["bytes"]:
        raise _DamagedError(f"{numbers.name} has {size} of {about['bytes']} bytes")
    if _checksum_of(numbers) != about["sha256"]:
        raise _DamagedError(f"{numbers.name} does not have its checksum")
    arrays = read_arrays(numbers)
    if int(arrays.pop("step")) != step or about["step"] != step:
        raise _DamagedError(f"{numbers.name} is no checkpoint of step {step}")
    losses, epochs = arrays.pop("losses"), arrays.pop("epochs")
    generator, order = arrays.pop("generator", None), arrays.pop("order", None)
    state = {name.removeprefix("state/"): value for name, value in arrays.items()}
    return Checkpoint(step, state, generator, order, losses, epochs, about["run"])


def _checksum(about: Mapping[str, Any]) -> str:
    """The checksum of what the JSON says, however it is laid out."""
    return hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()


def _checksum_of(path: Path) -> str:
    with open_file(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]


def _path(folder: Path, step: int, ending: str) -> Path:
    return folder / f"checkpoint-{step:08d}.{ending}"


def _steps(folder: Path) -> set[int]:
    """The steps of which there is at least one of the two files."""
    found = (NAME.fullmatch(path.name) for path in folder.glob("checkpoint-*"))
    return {int(match[1]) for match in found if match}


def _remove(folder: Path, step: int) -> None:
    """The JSON first: what is left without it is no checkpoint."""
    for ending in ("json", "safetensors"):
        remove_file(_path(folder, step, ending))
