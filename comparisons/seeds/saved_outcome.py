"""What the run of one seed left, on disk: a run that is there is not run again."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors

from comparisons.seeds.measures import RunOutcome
from pyvae.files.arrays import checksum, write_arrays
from pyvae.files.reading import UNREADABLE
from pyvae.model.settings import Settings
from pyvae.trace.trace import Trace

__all__ = ["SeedRun", "load_outcome", "save_outcome"]


@dataclass(frozen=True)
class SeedRun:
    """One run to be done.

    Attributes:
        side: `under-test` or `reference`.
        engine: The engine's name.
        settings: With its seed.
        about: What else the numbers depend on: data, versions, threads, ...
    """

    side: str
    engine: str
    settings: Settings
    about: dict[str, Any]

    @property
    def file(self) -> str:
        s = self.settings
        return f"{s.objective}-{self.side}-{self.engine}-seed-{s.seed}.safetensors"

    def description(self) -> str:
        """All that the outcome depends on, as JSON."""
        about = {"engine": self.engine, "settings": self.settings.as_dict()}
        return json.dumps(about | self.about, sort_keys=True)


def save_outcome(run: SeedRun, trace: Trace, folder: Path) -> None:
    """Writes what is compared of a complete trace: losses and latent means."""
    arrays = {
        "losses": trace.losses,
        "epochs": trace.epochs,
        "latent_means": trace.latent_means["evaluation"],
    }
    # under one key: safetensors writes several in any order
    about = {"run": f"{run.description()}\n{checksum(arrays)}"}
    write_arrays(folder / run.file, arrays, about)


def load_outcome(run: SeedRun, folder: Path) -> RunOutcome | None:
    """Reads what an earlier run left.

    Returns:
        Its outcome; None if there is none, or it is of another run, or damaged.
    """
    path = folder / run.file
    if not path.is_file():
        return None
    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            about, _, expected = (file.metadata() or {}).get("run", "").rpartition("\n")
            if about != run.description():
                return None
            arrays = {name: file.get_tensor(name) for name in ("losses", "epochs", "latent_means")}
    except UNREADABLE:
        return None
    if expected != checksum(arrays):
        return None
    losses, epochs, mu = arrays.values()
    settings = run.settings
    return RunOutcome(
        run.engine, settings.objective, settings.seed, losses, epochs, settings.batch_size, mu
    )
