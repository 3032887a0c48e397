"""Runs that wait until they are let through: what happens meanwhile does not depend on how fast
the machine is."""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from typing import Any

from comparisons.seeds import run_seeds
from comparisons.seeds.saved_outcome import SeedRun
from pyvae.engines.pytorch import PyTorchEngine

__all__ = ["GATE", "WAITS", "Gated", "install", "run_seed"]

WAITS = 3  # the seed whose run waits
GATE = "open"  # the file, in the working folder, that lets it through


class Gated(PyTorchEngine):
    """PyTorch under another name; the run of one seed waits."""

    name = "gated"

    def __init__(self, device: str = "cpu", *arguments: Any, **options: Any) -> None:
        super().__init__(device, *arguments, **options)

    def step(self, *arguments: Any, **options: Any) -> Any:
        _wait(self.settings.seed)
        return super().step(*arguments, **options)


def run_seed(run: SeedRun, *arguments: Any) -> None:
    """In a worker: `comparisons.seeds.run_seeds._run_seed`, of which one seed waits."""
    _wait(run.settings.seed)
    run_seeds._run_seed(run, *arguments)


def _wait(seed: int) -> None:
    while seed == WAITS and not Path(GATE).exists():
        time.sleep(0.02)


def install(folder: Path) -> None:
    """Makes a folder which, on PYTHONPATH, gives `pyvae` the engine `gated`."""
    about = folder / "gated-1.0.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: gated\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text("[pyvae.engines]\ngated = gated:Gated\n")
    shutil.copy(__file__, folder / "gated.py")
