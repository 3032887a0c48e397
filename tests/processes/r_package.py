"""The R package of this repository, installed for the tests that use it."""

from __future__ import annotations

import os
import subprocess
import sys
from functools import cache
from pathlib import Path

from r_bridge.installed.environment import QUIET_TORCH
from r_bridge.rpy2_fit import find_r

__all__ = ["PACKAGE", "absent_packages", "r_with_the_package"]

PACKAGE = Path(__file__).parents[2] / "r_bridge" / "rpackage"


def absent_packages(*packages: str) -> list[str]:
    """Which of these packages this R lacks."""
    program = find_r()
    assert program is not None
    done = subprocess.run(
        [program, "--no-echo", "-e",
         "for (one in commandArgs(TRUE)) if (!nzchar(system.file(package = one))) cat(one, '')",
         "--args", *packages],
        capture_output=True, text=True, timeout=300, check=True,
    )  # fmt: skip
    return done.stdout.split()


@cache
def r_with_the_package(
    library: Path, docs: bool = False, python: str = sys.executable
) -> dict[str, str]:
    """Installs the R package: not compiled, which takes longer than what a test calls of it.

    Arguments:
        library: An empty folder.
        docs: Whether its manual and vignettes are installed, too.
        python: The Python that it uses.

    Returns:
        The environment in which `Rscript` finds it and that Python, on one thread.
    """
    program = find_r()
    assert program is not None
    libraries = [str(library), *filter(None, [os.environ.get("R_LIBS")])]
    environment = os.environ | QUIET_TORCH | {
        "PATH": f"{program.parent}{os.pathsep}{os.environ.get('PATH', '')}",
        "R_LIBS": os.pathsep.join(libraries),
        "RETICULATE_PYTHON": python,
        "OMP_NUM_THREADS": "1",
    }  # fmt: skip
    without = [] if docs else ["--no-docs"]
    done = subprocess.run(
        [program, "CMD", "INSTALL", *without, "--no-byte-compile", "--no-test-load",
         f"--library={library}", PACKAGE],
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return environment
