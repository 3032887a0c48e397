"""Looks for R, and for an rpy2 that fits it."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

from pyvae.engines.errors import EngineMissingError
from r_bridge.errors import RProcessError
from r_bridge.rpy2_fit import dotted, find_r, installed_rpy2, misfit, r_version, requirements

__all__ = ["check_r"]

HOW_TO_GET_R = "install it (Debian, Ubuntu: apt-get install r-base-dev libopenblas0-pthread)"


def check_r() -> Path:
    """Finds the R program and checks that rpy2 fits it.

    Raises:
        EngineMissingError: If there is no R.
        RProcessError: If there is no rpy2, or the two do not fit.
    """
    program = find_r()
    if program is None:
        raise EngineMissingError("R was not found on the PATH or in R_HOME", HOW_TO_GET_R)
    version = r_version(program)
    if version is None:
        raise RProcessError(
            f"'{program} --version' names no version of R", "install R 4.0 or newer"
        )
    wrong = misfit(version, installed_rpy2())
    if wrong:
        raise RProcessError(
            f"R {dotted(version)} was found, but {wrong}",
            f"run: {shlex.quote(sys.executable)} -m pip install {' '.join(requirements(version))}",
        )
    return program
