"""Which rpy2 fits which R."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from r_bridge import rpy2_fit
from r_bridge.rpy2_fit import find_r, misfit, r_version, requirements


def fake_r(folder: Path, says: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    program = folder / "R"
    program.write_text(f"#!/bin/sh\ncat <<'END'\n{says}\nEND\n")
    program.chmod(0o755)
    return program


@pytest.mark.parametrize("r", [(4, 1, 2), (4, 2, 2), (4, 4, 3), (4, 5, 0), (4, 6, 1), (5, 0, 0)])
def test_what_is_required_fits(r):
    pins = dict(pin.split("==") for pin in requirements(r))
    assert set(pins) == {"rpy2", "rpy2-rinterface", "rpy2-robjects"}
    assert misfit(r, pins["rpy2-rinterface"]) is None


@pytest.mark.parametrize("rinterface", ["3.6.6", "3.6.7", "3.7.0", "4.0"])
def test_newer_rpy2_does_not_fit_older_r(rinterface):
    assert "needs R 4.5" in misfit((4, 4, 3), rinterface)
    assert misfit((4, 5, 0), rinterface) is None


def test_rpy2_that_is_absent_is_a_misfit():
    assert misfit((4, 2, 2), None) == "rpy2 is not installed"


@pytest.mark.parametrize(
    ("says", "version"),
    [
        ('R version 4.2.2 Patched (2022-11-10 r83330) -- "Innocent and Trusting"', (4, 2, 2)),
        ("R version 4.10.0 (2030-01-01)", (4, 10, 0)),
        ("R Under development (unstable)", None),
        ("", None),
    ],
)
def test_r_says_its_version(tmp_path, says, version):
    assert r_version(fake_r(tmp_path, says)) == version


def test_r_is_asked_once_until_it_changes(tmp_path):
    program = fake_r(tmp_path, "R version 4.1.0 $(echo asked >>$0.log)")
    asked = tmp_path / "R.log"
    program.write_text(program.read_text().replace("<<'END'", "<<END"))
    assert [r_version(program), r_version(program)] == 2 * [(4, 1, 0)]
    assert asked.read_text().count("asked") == 1
    os.utime(program, ns=(1, 1))
    assert r_version(program) == (4, 1, 0)
    assert asked.read_text().count("asked") == 2
    fake_r(tmp_path, "no R")
    assert r_version(program) is None
    program.unlink()
    assert r_version(program) is None


def test_r_home_comes_before_the_path(tmp_path, monkeypatch):
    chosen = fake_r(tmp_path / "home" / "bin", "R version 4.4.0")
    fake_r(tmp_path / "path", "R version 4.1.0")
    monkeypatch.setenv("PATH", str(tmp_path / "path"))
    monkeypatch.setenv("R_HOME", str(tmp_path / "home"))
    assert find_r() == chosen
    monkeypatch.setenv("R_HOME", str(tmp_path / "nowhere"))
    assert find_r() == tmp_path / "path" / "R"


@pytest.mark.parametrize(("says", "code"), [("R version 4.3.1", 0), ("nothing", 2)])
def test_the_script_needs_nothing_but_the_standard_library(tmp_path, says, code):
    fake_r(tmp_path, says)
    done = subprocess.run(
        [sys.executable, "-S", "-E", "-I", rpy2_fit.__file__],
        env={"PATH": f"{tmp_path}:/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == code
    assert bool(re.fullmatch(r"(rpy2\S*==\S+ ?)+\n", done.stdout)) == (code == 0)
