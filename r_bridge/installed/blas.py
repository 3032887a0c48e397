"""Which matrix products R's OpenBLAS should use on this machine."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

__all__ = ["CPUINFO", "openblas_kernel"]

CPUINFO = Path("/proc/cpuinfo")
NEEDED = {"avx512f", "avx512cd", "avx512bw", "avx512dq", "avx512vl"}


def openblas_kernel(cpuinfo: Path = CPUINFO) -> str:
    """Returns the value of OPENBLAS_CORETYPE for an R that is about to be started.

    OpenBLAS chooses its kernels by the processor's model, and takes those of 2004 (Prescott, SSE3)
    for a model that is newer than itself: its 0.3.21 does so on a Xeon of 2023, and multiplies
    1500 x 1500 matrices at 14 GFLOP/s in place of 57. The instructions tell what would do.

    Arguments:
        cpuinfo: What Linux says about the processor; other systems have no such file.

    Returns:
        `SkylakeX` for Intel processors with the AVX-512 instructions that its kernels use, else an
        empty string: OpenBLAS chooses.
    """
    fields: dict[str, str] = {}
    with suppress(OSError):
        for line in cpuinfo.read_text(errors="replace").splitlines():
            name, _, value = line.partition(":")
            fields.setdefault(name.strip(), value.strip())
    intel = fields.get("vendor_id") == "GenuineIntel"
    return "SkylakeX" if intel and set(fields.get("flags", "").split()) >= NEEDED else ""
