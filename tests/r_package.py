"""The R package of this repository, installed for the tests that use it."""

from __future__ import annotations

import os
import subprocess
from functools import cache
from pathlib import Path

from r_bridge.installed.environment import QUIET_TORCH
from r_bridge.rpy2_fit import find_r

__all__ = ["r_with_the_package"]

PACKAGE = Path(__file__).parents[1] / "r_bridge" / "rpackage"


@cache
def r_with_the_package(library: Path) -> dict[str, str]:
    """Installs the R package.

    Arguments:
        library: An empty folder.

    Returns:
        The environment in which `Rscript` finds it, on one thread.
    """
    program = find_r()
    assert program is not None
    libraries = [str(library), *filter(None, [os.environ.get("R_LIBS")])]
    environment = os.environ | QUIET_TORCH | {
        "PATH": f"{program.parent}{os.pathsep}{os.environ.get('PATH', '')}",
        "R_LIBS": os.pathsep.join(libraries),
        "OMP_NUM_THREADS": "1",
    }  # fmt: skip
    done = subprocess.run(
        [program, "CMD", "INSTALL", "--no-docs", "--no-test-load", f"--library={library}", PACKAGE],
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return environment
