"""R's OpenBLAS is told its kernels where it would not know the processor."""

from __future__ import annotations

from pathlib import Path

import pytest

from r_bridge.installed.blas import openblas_kernel
from r_bridge.installed.environment import r_environment

AVX512 = "fpu sse2 avx2 avx512f avx512cd avx512bw avx512dq avx512vl avx512_fp16"
CASES = {
    "a Xeon": ("GenuineIntel", AVX512, "SkylakeX"),
    "one without them all": ("GenuineIntel", "fpu sse2 avx2 avx512f", ""),
    "names that only begin alike": ("GenuineIntel", AVX512.replace("avx512f ", "avx512fx "), ""),
    "another maker's": ("AuthenticAMD", AVX512, ""),
}


@pytest.fixture
def cpuinfo(tmp_path):
    def write(vendor: str, flags: str) -> Path:
        path = tmp_path / "cpuinfo"
        core = f"vendor_id\t: {vendor}\nmodel name\t: a: b\nflags\t\t: {flags}\n\n"
        path.write_text(f"processor\t: 0\n{core}processor\t: 1\n{core}")
        return path

    return write


@pytest.mark.parametrize(("vendor", "flags", "kernel"), CASES.values(), ids=CASES)
def test_kernels_follow_from_the_processors_instructions(cpuinfo, vendor, flags, kernel):
    assert openblas_kernel(cpuinfo(vendor, flags)) == kernel


def test_where_nothing_is_known_openblas_chooses(tmp_path):
    assert openblas_kernel(tmp_path / "none") == ""


@pytest.mark.parametrize("kernel", ["SkylakeX", ""])
def test_r_is_started_with_them(monkeypatch, kernel):
    monkeypatch.delenv("OPENBLAS_CORETYPE", raising=False)
    monkeypatch.setattr("r_bridge.installed.environment.openblas_kernel", lambda: kernel)
    assert r_environment(Path("/usr/bin/R"), 1).get("OPENBLAS_CORETYPE", "") == kernel


def test_the_users_own_choice_stays(monkeypatch):
    monkeypatch.setenv("OPENBLAS_CORETYPE", "Haswell")
    monkeypatch.setattr("r_bridge.installed.environment.openblas_kernel", lambda: "SkylakeX")
    assert r_environment(Path("/usr/bin/R"), 1)["OPENBLAS_CORETYPE"] == "Haswell"
