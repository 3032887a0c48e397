"""Looks for R's torch: its version, and whether its LibTorch loads."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from pyvae.engines.errors import EngineError, EngineMissingError
from r_bridge import R_FILES
from r_bridge.installed.environment import r_environment
from r_bridge.rpy2_fit import find_r

__all__ = ["GET_R_TORCH", "RTorch", "check_r_torch", "find_r_torch"]

OLDEST = (0, 13)
TIMEOUT = 120  # seconds
GET_R_TORCH = 'in R: install.packages("torch"); torch::install_torch()'
REINSTALL = (  # whichever of the two is wrong
    "install the LibTorch that was made for this R torch, in R: "
    "torch::install_torch(reinstall = TRUE)"
)
LOOKED_AT = ("R_HOME", "R_LIBS", "R_LIBS_USER", "R_LIBS_SITE", "TORCH_HOME", "LD_LIBRARY_PATH")
ABOUT = R_FILES / "torch" / "about.R"
# on a line of its own, whatever a package writes when it is loaded and when R ends
JSON = '{"version": '
CODE = "source(commandArgs(TRUE)); cat('', torch_about_json(torch_about()), '', sep = '\\n')"


@dataclass(frozen=True)
class RTorch:
    """What is installed of R's torch.

    Attributes:
        version: Of the R package; empty if there is none.
        libtorch: LibTorch's version; empty if LibTorch is not there.
        folder: Where its libraries lie, or should.
        failure: What R said when they were loaded; empty if that went well.
    """

    version: str = ""
    libtorch: str = ""
    folder: str = ""
    failure: str = ""

    @property
    def usable(self) -> bool:
        return not self.problem()

    def problem(self) -> EngineError | None:
        """What is wrong and what to do; None if it can be used."""
        if not self.version:
            failed = f"R did not say whether it has the package torch (R: {self.failure})"
            said = failed if self.failure else "R has no package torch"
            return EngineMissingError(said, GET_R_TORCH)
        if _numbers(self.version) < OLDEST:
            return EngineError(
                f"R torch {self.version} is too old",
                'in R: install.packages("torch"); torch::install_torch(reinstall = TRUE)',
                expected=f"{'.'.join(map(str, OLDEST))} or newer",
            )
        if self.failure:
            where = f"and the LibTorch in {self.folder} do not work together"
            return EngineError(
                f"R torch {self.version} {where if self.folder else 'cannot be loaded'} "
                f"(R: {self.failure})",
                REINSTALL,
            )
        if not self.libtorch:
            return EngineError(
                f"R torch {self.version} has no LibTorch in {self.folder}",
                "in R: torch::install_torch()",
            )
        return None


def check_r_torch() -> RTorch:
    """Looks for R's torch and checks that it can be used.

    Raises:
        EngineMissingError: If R has no package torch.
        EngineError: If what it has cannot be used.
    """
    found = find_r_torch()
    problem = found.problem()
    if problem is not None:
        raise problem
    return found


def find_r_torch() -> RTorch:
    """Looks for R's torch, in an R of its own."""
    program = find_r()
    if program is None:
        return RTorch(failure="R was not found")
    return _ask(program, tuple(os.environ.get(name) for name in LOOKED_AT))


@lru_cache
def _ask(program: Path, environment: tuple[str | None, ...]) -> RTorch:  # the key of the cache
    try:
        said = subprocess.run(
            [program, "--no-echo", "--no-save", "--no-restore", "--no-init-file",
             "--no-site-file", "-e", CODE, "--args", str(ABOUT)],
            env=r_environment(program, 1),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=TIMEOUT,
            check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return RTorch(failure=f"no answer in {TIMEOUT} s")
    except OSError as error:
        return RTorch(failure=" ".join(str(error).split()))
    lines = said.stdout.strip().splitlines()
    try:
        found = RTorch(**json.loads(next(line for line in lines if line.startswith(JSON))))
    except (StopIteration, ValueError, TypeError):
        # R itself ended: two LibTorch that do not go together can take the process with them
        words = " ".join(said.stderr.split())[-300:] or f"exit code {said.returncode}"
        return RTorch(_version(lines), failure=words)
    return found


def _version(lines: list[str]) -> str:
    """What was printed before R ended."""
    return next((line.removeprefix("torch ") for line in lines if line.startswith("torch ")), "")


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.replace("-", ".").split(".") if part.isdigit())
