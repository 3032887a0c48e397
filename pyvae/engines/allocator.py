"""Faster large allocations: what glibc does with the freed memory of a training step."""

from __future__ import annotations

import ctypes
import os
import sys
from functools import cache

__all__ = ["give_freed_memory_back", "keep_freed_memory"]

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_MMAP_MAX, M_ARENA_MAX = -1, -3, -4, -8  # <malloc.h>
MOST = 2**31 - 1  # mallopt takes an int
SET_BY_USER = (
    "MALLOC_MMAP_THRESHOLD_",
    "MALLOC_MMAP_MAX_",
    "MALLOC_TRIM_THRESHOLD_",
    "GLIBC_TUNABLES",
)


@cache
def keep_freed_memory() -> bool:
    """Makes glibc keep freed memory for the next allocation instead of returning it at once.

    The command line calls this when it starts; a program of your own that trains large networks on
    a CPU may call it, too, before its first step.

    By default glibc maps every block above 32 MB (128 kB at first) anew and unmaps it when it is
    freed, so that each step pays again for the page faults of its activations and gradients:
    70,000 faults a step of the R article's network, a third of its time. With `mallopt(3)` the
    heap serves blocks of any size and keeps up to 2 GB of what is freed. Other threads use the
    same heap: theirs would be too small for such blocks.

    It changes the whole process for as long as it lives; call `give_freed_memory_back` at the end
    of a run. Nothing is done if one of the environment variables in `SET_BY_USER`, which glibc
    reads, is set, or if there is no glibc.

    Returns:
        Whether it was done.
    """
    if sys.platform != "linux" or any(name in os.environ for name in SET_BY_USER):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:  # another C library
        return False
    # before version 2.35 no threshold above 32 MB is taken: never mapping is as good
    large = mallopt(M_MMAP_THRESHOLD, MOST) or mallopt(M_MMAP_MAX, 0)
    return bool(large and mallopt(M_TRIM_THRESHOLD, MOST) and mallopt(M_ARENA_MAX, 1))


def give_freed_memory_back() -> None:
    """Returns free memory to the system, if `keep_freed_memory` kept it: between two runs, or in a
    session of R, others may need it."""
    if keep_freed_memory.cache_info().currsize and keep_freed_memory():
        ctypes.CDLL(None).malloc_trim(0)
