"""Which rpy2 fits which R. Standard library only: set-up asks before anything is installed.

python r_bridge/rpy2_fit.py        prints the requirements for the R on the PATH
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from functools import cache
from importlib import metadata
from pathlib import Path

__all__ = ["find_r", "installed_rpy2", "misfit", "r_version", "requirements"]

# rpy2-rinterface 3.6.6 began to call R_getVar, which R has since 4.5.
NEW_R = (4, 5)
FIRST_FOR_NEW_R = (3, 6, 6)
FOR_NEW_R = ("rpy2==3.6.9", "rpy2-rinterface==3.6.7", "rpy2-robjects==3.6.6")
FOR_OLDER_R = ("rpy2==3.6.6", "rpy2-rinterface==3.6.5", "rpy2-robjects==3.6.6")


def find_r() -> Path | None:
    """The R program: $R_HOME/bin/R where R_HOME is set, else R on the PATH."""
    home = os.environ.get("R_HOME")
    if home and (Path(home) / "bin" / "R").is_file():
        return Path(home) / "bin" / "R"
    found = shutil.which("R")
    return Path(found) if found else None


def r_version(program: Path) -> tuple[int, ...] | None:
    """R's version, or None if the program does not say one. It is asked once, until it changes."""
    try:
        return _said_version(program, program.stat().st_mtime_ns)
    except (LookupError, OSError, subprocess.TimeoutExpired):
        return None


@cache
def _said_version(program: Path, changed: int) -> tuple[int, ...]:
    said = subprocess.run(
        [program, "--version"], capture_output=True, text=True, timeout=30, check=False
    )
    match = re.search(r"R version (\d+)\.(\d+)\.(\d+)", said.stdout + said.stderr)
    if match is None:
        raise LookupError
    return tuple(int(part) for part in match.groups())


def requirements(r: tuple[int, ...]) -> tuple[str, ...]:
    """What pip is to install for this R."""
    return FOR_NEW_R if r >= NEW_R else FOR_OLDER_R


def installed_rpy2() -> str | None:
    """The version of rpy2-rinterface (the part that is bound to R), or None."""
    try:
        return metadata.version("rpy2-rinterface")
    except metadata.PackageNotFoundError:
        return None


def misfit(r: tuple[int, ...], rinterface: str | None) -> str | None:
    """What is wrong between this R and this rpy2-rinterface, in words; None if they fit."""
    if rinterface is None:
        return "rpy2 is not installed"
    version = tuple(int(part) for part in re.findall(r"\d+", rinterface)[:3])
    if r < NEW_R and version >= FIRST_FOR_NEW_R:
        return f"rpy2-rinterface {rinterface} needs R 4.5 or newer"
    return None


def dotted(version: tuple[int, ...]) -> str:
    return ".".join(map(str, version))


def main() -> int:
    program = find_r()
    version = r_version(program) if program else None
    if version is None:
        print("R was not found on the PATH", file=sys.stderr)
        return 2
    print(" ".join(requirements(version)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
