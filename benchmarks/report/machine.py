"""On what was measured: the machine and the versions of everything that computes."""

from __future__ import annotations

import os
import platform
import re
from datetime import datetime
from pathlib import Path
from typing import Any

import torch

from pyvae.errors import UserError
from r_bridge.installed.r_torch import find_r_torch
from r_bridge.process.client import RProcess

__all__ = ["about", "cores"]


def about(threads: int, data: str) -> dict[str, Any]:
    """Date, machine, threads, data and versions; what is not there is None."""
    r, blas = _r()
    torch_of_r = find_r_torch()
    return {
        "date": datetime.now().astimezone().isoformat(timespec="seconds"),
        "machine": {"cpu": _cpu(), "cores": cores(), "memory_gb": _memory_gb()},
        "system": platform.platform(terse=True),
        "threads": threads,
        "data": data,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "torch_blas": _torch_blas(),
        "r": r,
        "r_blas": blas,
        "r_torch": torch_of_r.version if torch_of_r.usable else None,
        "libtorch_of_r": torch_of_r.libtorch if torch_of_r.usable else None,
    }


def cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _r() -> tuple[str | None, str | None]:
    """R's version and its BLAS."""
    try:
        with RProcess() as process:
            said = process.call("bridge_about")
    except UserError:
        return None, None
    library = Path(said["blas"][0])  # its folder says whose it is, its name does not
    return said["R"][0], "/".join(library.parts[-2:]) or "R's own"


def _cpu() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return platform.processor() or platform.machine()
    found = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    return found[1] if found else platform.machine()


def _memory_gb() -> float | None:
    """Of the machine, in 10^9 bytes."""
    try:
        return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1)
    except (AttributeError, ValueError, OSError):
        return None


def _torch_blas() -> str:
    found = re.search(r"BLAS_INFO=(\w+)", torch.__config__.show())
    return found[1] if found else "unknown"
