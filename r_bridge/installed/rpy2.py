"""Whether there is an R, and an rpy2 that fits it."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

from r_bridge.errors import RProcessError
from r_bridge.rpy2_fit import dotted, find_r, installed_rpy2, misfit, r_version, requirements

__all__ = ["check_r"]

HOW_TO_GET_R = "install it (Debian, Ubuntu: apt-get install r-base-dev libopenblas0-pthread)"


def check_r() -> Path:
    """The R program, after checking that rpy2 fits it.

    Raises:
        RProcessError: If there is no R, no rpy2, or the two do not fit.
    """
    program = find_r()
    if program is None:
        raise RProcessError(
            "R was not found", HOW_TO_GET_R, expected="R on the PATH, or R_HOME set"
        )
    version = r_version(program)
    if version is None:
        raise RProcessError(f"'{program} --version' names no R version", expected="R 4.0 or newer")
    wrong = misfit(version, installed_rpy2())
    if wrong:
        raise RProcessError(
            f"R {dotted(version)} is there, but {wrong}",
            f"run: {shlex.quote(sys.executable)} -m pip install {' '.join(requirements(version))}",
            expected="an rpy2 that fits this R",
        )
    return program
