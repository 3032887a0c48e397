"""What `pyvae doctor` checks of R."""

from __future__ import annotations

from pyvae.checks import Check
from pyvae.engines.errors import EngineError
from pyvae.errors import UserError
from r_bridge.installed.r_torch import find_r_torch
from r_bridge.installed.rpy2 import HOW_TO_GET_R, check_r
from r_bridge.process.client import RProcess
from r_bridge.rpy2_fit import dotted, find_r, installed_rpy2, r_version

__all__ = ["checks"]

REFERENCE_BLAS = "apt-get install libopenblas0-pthread makes R several times faster"


def checks() -> list[Check]:
    """Checks R, its BLAS, an rpy2 that fits this R, and R's torch."""
    program = find_r()
    version = r_version(program) if program else None
    if program is None or version is None:
        return [Check("R", "not found", HOW_TO_GET_R, needed=True)]
    found = [Check("R", f"{dotted(version)}, {program}")]
    try:
        check_r()
        with RProcess(timeout=60) as process:
            blas = process.call("bridge_about")["blas"][0]
    except UserError as error:
        return [*found, Check("rpy2", "does not work with this R", str(error), needed=True)]
    fast = any(name in blas.lower() for name in ("openblas", "mkl", "accelerate", "atlas", "blis"))
    found.append(Check("R's BLAS", blas or "R's own", "" if fast else REFERENCE_BLAS))
    found.append(Check("rpy2", f"rpy2-rinterface {installed_rpy2()}, fits this R"))
    return [*found, _r_torch()]


def _r_torch() -> Check:
    """Checks R's torch and its LibTorch."""
    torch = find_r_torch()
    problem = torch.problem()
    if problem is None:
        return Check("R torch", f"{torch.version} on LibTorch {torch.libtorch}, {torch.folder}")
    what = str(EngineError(problem.problem, expected=problem.expected))
    return Check("R torch", f"{what} (only engine r-torch needs it)", problem.remedy)
