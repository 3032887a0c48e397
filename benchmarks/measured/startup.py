"""How long one waits for a command: whole processes, by the clock on the wall."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.sides.arithmetic import rounded
from benchmarks.sides.child import side_environment
from pyvae.errors import UserError

__all__ = ["measure_startup", "pyvae_command", "seconds_of"]


def measure_startup(
    folder: Path, threads: int, runs: int, say: Callable[[str], object] = lambda line: None
) -> dict[str, Any]:
    """`pyvae --help`, a training of one step, and, to see what of it is not pyvae's, a Python
    that imports torch and nothing else; in turn, medians of `runs`.

    Raises:
        UserError: If a command fails.
    """
    environment = side_environment(folder, threads)
    with tempfile.TemporaryDirectory(prefix="pyvae-benchmark-") as out:
        train = ["train", "conv", "--data", "mnist", "--steps", "1", "--out", out]
        commands = {
            "help_s": pyvae_command("--help"),
            "import_torch_s": [sys.executable, "-c", "import torch"],
            "first_step_s": pyvae_command(*train),
        }
        took: dict[str, list[float]] = {name: [] for name in commands}
        for run in range(runs):
            for name, command in commands.items():
                took[name].append(seconds_of(command, environment))
            say(f"start-up {run + 1} of {runs}")
    return {
        "runs": runs,
        **{name: rounded(median(each)) for name, each in took.items()},
        "range_s": {name: [rounded(min(each)), rounded(max(each))] for name, each in took.items()},
    }


def pyvae_command(*arguments: str) -> list[str]:
    """`pyvae` as a user types it: the program beside this Python."""
    return [str(Path(sys.executable).with_name("pyvae")), *arguments]


def seconds_of(command: Sequence[str], environment: dict[str, str]) -> float:
    """How long a command takes from its start to its end.

    Raises:
        UserError: If it fails.
    """
    began = time.perf_counter()
    done = subprocess.run(
        command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    took = time.perf_counter() - began
    if done.returncode:
        said = " | ".join(done.stderr.strip().splitlines()[-3:])
        raise UserError(f"'{' '.join(command)}' ended with exit code {done.returncode}: {said}")
    return took
