"""The environment variables that an R of ours is started with."""

from __future__ import annotations

import os
from pathlib import Path

from r_bridge.installed.blas import openblas_kernel

__all__ = ["QUIET_TORCH", "r_environment"]

MEMORY = {
    # With the usual thresholds glibc hands large blocks back to the system after every use, and
    # each use pays for the page faults again. Other systems ignore these.
    "MALLOC_MMAP_THRESHOLD_": "4000000000",
    "MALLOC_TRIM_THRESHOLD_": "400000000",
    # R collects garbage beyond 200 MB of vectors and lets its heap grow by no more than it
    # needs: a fifth less memory at batch 250, at the same speed.
    "R_VSIZE": "200M",
    "R_GC_MEM_GROW": "0",
}
QUIET_TORCH = {
    "TORCH_INSTALL": "0",  # R's torch offers to download LibTorch when it is loaded
    "TORCH_VERIFY_LOAD": "FALSE",  # and starts a second R to see whether it can
}


def r_environment(program: Path, threads: int) -> dict[str, str]:
    """The environment in which R is started."""
    environment = dict(os.environ)
    environment["PATH"] = f"{program.parent}{os.pathsep}{environment.get('PATH', '')}"
    # What an R that started this Python left behind is not for the new one.
    for name in ("R_SESSION_TMPDIR", "R_ARCH"):
        environment.pop(name, None)
    # Without R's own packages rpy2 and the sources here find none of their functions.
    for name in ("R_DEFAULT_PACKAGES", "R_SCRIPT_DEFAULT_PACKAGES"):
        environment.pop(name, None)
    # rpy2 would believe an R_HOME that holds no R.
    if program != Path(environment.get("R_HOME", "")) / "bin" / "R":
        environment.pop("R_HOME", None)
    # A user's profile could change the numbers. --no-init-file alone is not enough: rpy2 also
    # asks Rscript where R's libraries are.
    for name in ("R_PROFILE", "R_PROFILE_USER"):
        environment[name] = os.devnull
    # In the locale C R opens no file whose path has any character but ASCII. In this one it sorts
    # and speaks as there.
    if environment.get("LC_ALL") in ("C", "POSIX"):
        environment["LC_ALL"] = "C.UTF-8"
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        environment[name] = str(threads)
    kernel = openblas_kernel()
    if kernel:
        environment.setdefault("OPENBLAS_CORETYPE", kernel)
    return environment | MEMORY | QUIET_TORCH
