"""What `pyvae doctor` says about R. What it says about R's torch is tested in test_r_torch.py."""

from __future__ import annotations

from unittest.mock import MagicMock

import pytest

from r_bridge import doctor
from r_bridge.doctor import checks
from r_bridge.errors import RError
from r_bridge.installed import rpy2
from r_bridge.installed.r_torch import RTorch
from r_bridge.rpy2_fit import find_r


@pytest.fixture
def no_r_torch(monkeypatch):
    monkeypatch.setattr(doctor, "find_r_torch", lambda: RTorch())


@pytest.fixture
def r_says(monkeypatch, no_r_torch):
    """The checks where R answers so; no process is started."""

    def checked(answer):
        process = MagicMock()
        process.return_value.__enter__.return_value.call = answer
        monkeypatch.setattr(doctor, "RProcess", process)
        return {check.name: check for check in checks()}

    return checked


@pytest.mark.r
def test_an_r_that_works_needs_nothing(no_r_torch):
    by_name = {check.name: check for check in checks()}
    assert list(by_name) == ["R", "R's BLAS", "rpy2", "R torch"]
    assert str(find_r()) in by_name["R"].found
    assert "fits this R" in by_name["rpy2"].found
    assert by_name["R's BLAS"].found
    assert not by_name["R"].remedy
    assert not by_name["rpy2"].remedy
    assert not any(check.needed for check in by_name.values())


@pytest.mark.r
@pytest.mark.parametrize(
    ("library", "fast"),
    [
        ("/usr/lib/R/lib/libRblas.so", False),
        ("/usr/lib/libblas.so.3.11.0", False),
        ("", False),
        ("/usr/lib/x86_64-linux-gnu/openblas-pthread/libblas.so.3", True),
        ("/System/Library/Frameworks/Accelerate.framework/libBLAS.dylib", True),
    ],
)
def test_a_slow_blas_comes_with_a_faster_one(r_says, library, fast):
    check = r_says(lambda function: {"blas": [library]})["R's BLAS"]
    assert check.found == (library or "R's own")
    assert ("libopenblas" in check.remedy) is not fast
    assert not check.needed


def test_without_r_there_is_one_check_and_how_to_get_it(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("R_HOME", raising=False)
    (check,) = checks()
    assert (check.name, check.found, check.needed) == ("R", "not found", True)
    assert "apt-get install r-base-dev" in check.remedy


@pytest.mark.r
def test_an_rpy2_that_does_not_fit_is_the_last_check(monkeypatch):
    monkeypatch.setattr(rpy2, "installed_rpy2", lambda: None)
    r, last = checks()
    assert r.name == "R"
    assert (last.name, last.needed) == ("rpy2", True)
    assert "pip install rpy2" in last.remedy


@pytest.mark.r
def test_an_r_process_that_fails_is_told_with_its_words(r_says):
    def fail(function):
        raise RError("R error: out of paper")

    by_name = r_says(fail)
    assert list(by_name) == ["R", "rpy2"]
    assert (by_name["rpy2"].needed, by_name["rpy2"].remedy) == (True, "R error: out of paper")
