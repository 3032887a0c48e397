"""What it costs to write down all that a run is given, for an engine in another language
(`pyvae trace --draws`)."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.measured.startup import pyvae_command, seconds_of
from benchmarks.sides.arithmetic import rounded
from benchmarks.sides.child import side_environment
from pyvae.data.images import load_data
from pyvae.model.run import Run
from pyvae.recipes import get_recipe
from pyvae.runs.record import write_draws

__all__ = ["measure_draws"]


def measure_draws(
    folder: Path,
    name: str,
    threads: int,
    steps: int,
    runs: int,
    say: Callable[[str], object] = lambda line: None,
) -> dict[str, Any]:
    """Milliseconds and megabytes a step, recipe conv at its published settings in float32.

    Arguments:
        folder: Of the images, in torchvision's layout.
        name: Of the images.
        threads: Of the commands.
        steps: How many are written.
        runs: How often the whole commands, `pyvae trace` with and without `--draws`, are run, in
            turn; 0: not at all, which leaves None.
        say: Told what is done.

    Raises:
        UserError: If a command fails.
    """
    with tempfile.TemporaryDirectory(prefix="pyvae-benchmark-") as temporary:
        out = Path(temporary)
        writing, size = _writing(name, steps, out / "draws")
        environment = side_environment(folder, threads)
        took: dict[bool, list[float]] = {False: [], True: []}
        for run in range(runs):
            for recorded in took:
                command = pyvae_command(
                    "trace", "--data", "mnist", "--dtype", "float32", "--probe", "none",
                    "--steps", str(steps), "--out", str(out / "trace"),
                    *(["--draws"] if recorded else []),
                )  # fmt: skip
                took[recorded].append(seconds_of(command, environment))
            say(f"draws {run + 1} of {runs}")
    without, recorded_s = (median(each) if each else None for each in took.values())
    more = None if without is None or recorded_s is None else (recorded_s - without) / steps * 1000
    return {
        "steps": steps,
        "writing_ms": rounded(writing * 1000 / steps),
        "mb_per_step": rounded(size / steps / 1e6),
        "trace_s": rounded(without),
        "trace_with_draws_s": rounded(recorded_s),
        "more_ms_per_step": rounded(more),
    }


def _writing(name: str, steps: int, folder: Path) -> tuple[float, int]:
    """Seconds, and bytes of the steps' files, of writing alone, in this process."""
    recipe = get_recipe("conv")
    settings = recipe.settings(steps=steps)
    data = load_data(name)
    began = time.perf_counter()
    write_draws(Run(recipe, settings, data), folder)
    took = time.perf_counter() - began
    return took, sum(file.stat().st_size for file in folder.glob("step-*"))
