"""The wheel: all that the packages need is in it, and it works where there is nothing else of ours.

It is built from a copy of the sources, and installed into an empty virtual environment, which sees
the packages that pyvae depends on, and no sources.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import venv
import zipfile
from importlib import metadata
from pathlib import Path

import pytest
from processes.warm import Warm

ROOT = Path(__file__).parent.parent
PACKAGES = ("pyvae", "r_bridge", "comparisons")
PORT = ROOT / "docs" / "tutorials" / "port"

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel, built from a copy: building leaves files among the sources."""
    sources = tmp_path_factory.mktemp("sources")
    for name in PACKAGES:
        shutil.copytree(ROOT / name, sources / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, sources)
    words = (sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", "out")
    subprocess.run(words, cwd=sources, check=True, capture_output=True)
    (found,) = (sources / "out").glob("*.whl")
    return found


@pytest.fixture(scope="module")
def installed(warm, wheel, tmp_path_factory):
    """Runs programs of an environment that has the wheel, in a folder outside of the sources, where
    there is no R; in processes of that environment's Python (tests/processes/warm.py)."""
    place = tmp_path_factory.mktemp("elsewhere")
    venv.create(place / "env", with_pip=False)
    programs = place / "env" / "bin"
    (site,) = (place / "env" / "lib").glob("python*/site-packages")
    # a path that a .pth file names is searched for modules, not for .pth files: nothing leads to
    # the sources
    others = [path for path in sys.path if Path(path).name in ("site-packages", "dist-packages")]
    (site / "others.pth").write_text("\n".join(others) + "\n")
    words = (sys.executable, "-m", "pip", f"--python={programs / 'python'}", "install")
    options = ("--quiet", "--no-deps", "--no-index", "--no-compile", str(wheel))
    subprocess.run((*words, *options), check=True, capture_output=True)
    kept = ("HOME", "LANG", "OMP_NUM_THREADS", "TMPDIR")
    environment = {name: os.environ[name] for name in kept if name in os.environ}
    environment |= {"PATH": str(programs), "PYVAE_DATA": str(place / "none")}

    its = Warm(programs / "python")

    def run(program, *arguments):
        words = [program] if program == "-c" else [programs / program]
        return its.run(*words, *arguments, folder=place, environment=environment)

    yield run
    its.close()


def test_every_file_of_the_packages_is_in_the_wheel(wheel):
    files = {
        str(path.relative_to(ROOT))
        for name in PACKAGES
        for path in (ROOT / name).rglob("*")
        if path.is_file()
        and "__pycache__" not in path.parts
        and path.suffix != ".orig"  # of vignettes: only a checkout makes them again
    }
    with zipfile.ZipFile(wheel) as archive:
        packed = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert packed == files
    assert {f"{name}/py.typed" for name in PACKAGES} < files


def test_what_is_imported_is_the_wheel(installed):
    names = ", ".join(PACKAGES)
    done = installed(
        "-c",
        f"import {names}\nfor one in ({names}): print(one.__file__, one.__version__)",
    )  # fmt: skip
    assert done.stderr == ""
    for line in done.stdout.splitlines():
        file, version = line.split()
        assert "elsewhere" in file
        assert version == metadata.version("port-parity")
    assert installed("pyvae", "--version").stdout == f"pyvae {metadata.version('port-parity')}\n"


def test_train_record_and_compare_run_from_it(installed):
    small = ("--data", "digits", "--steps", "2", "--batch-size", "8")
    trained = installed("pyvae", "train", "beta", *small, "--out", "run")
    assert (trained.returncode, trained.stderr) == (0, "")
    assert trained.stdout.endswith("written: run\n")
    for name in ("original", "train"):
        recorded = installed("pyvae", "record", "--out", name, str(PORT / f"{name}.py"))
        assert recorded.returncode == 0
        assert recorded.stderr.startswith(f"pyvae: recording 3 steps of 901 parameters to '{name}'")
    compared = installed("pyvae", "compare", "original", "train", "--report")
    assert (compared.returncode, compared.stderr) == (1, "")
    assert "verdict: part at step 1, norm (batch_norm1d), forward" in compared.stdout


def test_without_r_it_is_said_what_is_needed(installed):
    done = installed("pyvae", "compare", "--steps", "1", "--data", "digits")
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith("pyvae: ")
    assert "R was not found on the PATH or in R_HOME" in line
    assert "apt-get install r-base-dev" in line
