"""The R package: built and checked as CRAN does it, its tests run against this Python."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from importlib.util import find_spec
from pathlib import Path

import pytest
from processes.r_package import absent_packages
from processes.undrawn import UNDRAWN

from r_bridge.installed.environment import MEMORY, r_environment
from r_bridge.rpy2_fit import find_r

PACKAGE = Path(__file__).parents[2] / "r_bridge" / "rpackage"
RECORDED = {"torch", "luz", "keras3"}  # whose programs the package records, where they are
NAMED = re.findall(
    r"^    (\w+)(?: \(.*\))?,?$",
    (PACKAGE / "DESCRIPTION").read_text().partition("Imports:")[2].partition("VignetteBuilder")[0],
    re.MULTILINE,
)
NEEDED = [name for name in NAMED if name not in RECORDED]
SUFFIXES = ("R", "Rd", "Rmd", "html", "png")

pytestmark = [pytest.mark.r, pytest.mark.slow]


def r(
    *arguments: str | Path, folder: Path, **changes: str | None
) -> subprocess.CompletedProcess[str]:
    program = find_r()
    assert program is not None
    environment = r_environment(program, 1) | {
        **dict.fromkeys(MEMORY),  # R's memory as its users have it
        # OpenMP's is for all, and the tests' own: warm processes serve both
        **dict.fromkeys(("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")),
        "RETICULATE_PYTHON": sys.executable,
        "OMP_NUM_THREADS": "1",
        **UNDRAWN,  # nobody looks at pyvae's own figures
        "_R_CHECK_SYSTEM_CLOCK_": "0",  # asks a server for the time
        "_R_CHECK_FORCE_SUGGESTS_": "false",  # these need not be there
        **changes,
    }
    return subprocess.run(
        [program, *arguments],
        cwd=folder,
        env={name: value for name, value in environment.items() if value is not None},
        capture_output=True,
        text=True,
        timeout=3600,
        check=False,
    )


def skips_without(packages: list[str]) -> int:
    """How many tests of the package skip without R's torch, luz or Keras."""
    texts = [file.read_text() for file in (PACKAGE / "tests" / "testthat").glob("test-*.R")]
    keras = "keras3" in packages or find_spec("keras") is None
    skipped = sum(text.count("skip_without_keras()") for text in texts) if keras else 0
    if "torch" not in packages:
        texts = [text for text in texts if "luz" in packages and "luz::" in text]
    return skipped + sum(text.count("test_that(") for text in texts if "with_torch(" in text)


def skip_without(packages: list[str]) -> None:
    absent = absent_packages(*packages)
    if absent:
        pytest.skip(f"needs R's packages {', '.join(absent)} (make setup-r)")


@pytest.fixture
def python(request):
    """One that runs `-m pyvae` warm, which the tests of the package do often; None where there is
    none."""
    return request.getfixturevalue("warm_python") if sys.platform == "linux" else None


def test_the_package_passes_its_check(tmp_path, python):
    """Built and checked once, for it takes minutes. The vignettes have been computed before: the
    build makes pages of them, and there is nothing to run. The tests start pyvae often: warm. They
    run the examples, too: a session for these would load PyTorch once more. Nothing is compiled,
    which takes longer than what is called here and changes no result."""
    skip_without(NEEDED)
    if shutil.which("pandoc") is None:
        pytest.skip("needs pandoc (make setup-r)")
    uncompiled = {"R_COMPILE_PKGS": "0", "R_ENABLE_JIT": "0"}
    built = r("CMD", "build", PACKAGE, folder=tmp_path, **uncompiled)
    assert built.returncode == 0, built.stdout + built.stderr
    (archive,) = tmp_path.glob("pyvae_*.tar.gz")
    program = str(python.program) if python else sys.executable
    done = r(
        "CMD", "check", "--no-manual", "--no-vignettes", "--no-examples", archive, folder=tmp_path,
        RETICULATE_PYTHON=program, PYVAE_TEST_EXAMPLES="1", **uncompiled,
    )  # fmt: skip
    folder, said = tmp_path / "pyvae.Rcheck", done.stdout + done.stderr

    tests = [file.read_text() for file in (folder / "tests").glob("testthat.Rout*")]
    (status,) = re.findall(r"^Status: (.*)$", (folder / "00check.log").read_text(), re.MULTILINE)
    absent = absent_packages(*sorted(RECORDED))
    notes = ("OK", "1 NOTE", "2 NOTEs") if absent else ("OK", "1 NOTE")  # one says what is absent
    assert status in notes, said + "".join(tests)

    counts = re.findall(r"\[ FAIL (\d+) \| WARN (\d+) \| SKIP (\d+) \| PASS (\d+) \]", tests[0])
    failed, warned, skipped, passed = map(int, counts[-1])
    assert (failed, warned) == (0, 0), tests[0]  # they ran, against this Python
    assert skipped == skips_without(absent), tests[0]
    assert passed > 500
    if python:
        commands = {words[2] for words in python.done if words[:2] == ["-m", "pyvae"]}
        assert commands >= {"compare", "trace", "train"}

    for page in ("pyvae.html", "check-your-code.html"):
        kept = (PACKAGE / "inst" / "doc" / page).read_text()
        made = (folder / "pyvae" / "doc" / page).read_text()
        assert made.count("<img") == kept.count("<img")
        assert made.count("verdict: agree") == kept.count("verdict: agree") > 0
    assert not list((folder / "pyvae" / "doc").glob("*.orig"))


def test_no_name_is_defined_twice():
    """The file that is read last would win, whatever the other one's callers expect."""
    names = Counter(
        name
        for file in (PACKAGE / "R").glob("*.R")
        for name in re.findall(r"^([\w.]+) <- ", file.read_text(), re.MULTILINE)
    )
    assert len(names) > 300
    assert [name for name, count in names.items() if count > 1] == []


@pytest.mark.r_torch
def test_programs_of_r_torch_are_recorded(tmp_path):
    """The tests that the check skips where there is no torch."""
    skip_without([*NEEDED, "torch"])
    installed = r(
        "CMD", "INSTALL", "--no-docs", "--no-byte-compile", "--no-test-load",
        f"--library={tmp_path}", PACKAGE, folder=tmp_path,
    )  # fmt: skip
    assert installed.returncode == 0, installed.stderr
    code = (
        "testthat::test_dir('.', filter = '^record', package = 'pyvae', reporter = 'check', "
        "load_package = 'installed')"
    )
    libraries = os.pathsep.join(filter(None, [str(tmp_path), os.environ.get("R_LIBS")]))
    done = r(
        "--no-echo", "-e", code, folder=PACKAGE / "tests" / "testthat", R_LIBS=libraries
    )  # fmt: skip
    counts = re.findall(  # twice where one fails
        r"\[ FAIL (\d+) \| WARN (\d+) \| SKIP (\d+) \| PASS (\d+) \]", done.stdout
    )
    assert counts, done.stdout + done.stderr
    failed, warned, skipped, passed = map(int, counts[-1])
    without_luz = skips_without(absent_packages(*sorted(RECORDED)))
    assert (failed, warned, skipped) == (0, 0, without_luz), done.stdout + done.stderr
    assert passed > 100


def test_the_help_pages_are_those_of_the_sources(tmp_path):
    """NAMESPACE and man/ as roxygen2 writes them, where it is."""
    copy = tmp_path / "rpackage"
    shutil.copytree(PACKAGE, copy)
    written = r(
        "--no-echo", "-e", "if (requireNamespace('roxygen2', quietly = TRUE)) "
        "{ roxygen2::roxygenise('.'); cat('written') }", folder=copy,
    )  # fmt: skip
    if "written" not in written.stdout:
        pytest.skip("needs R's package roxygen2")
    for file in (Path("NAMESPACE"), *(f.relative_to(PACKAGE) for f in PACKAGE.glob("man/*.Rd"))):
        assert (copy / file).read_text() == (PACKAGE / file).read_text(), file
    assert {f.name for f in copy.glob("man/*")} == {f.name for f in PACKAGE.glob("man/*")}


def test_what_pip_installs_has_the_package():
    """Every file of the package matches a pattern of package-data in pyproject.toml."""
    import tomllib

    about = tomllib.loads((PACKAGE.parents[1] / "pyproject.toml").read_text())
    patterns = about["tool"]["setuptools"]["package-data"]["r_bridge"]
    found = {path for pattern in patterns for path in PACKAGE.parent.glob(pattern)}
    files = {path for suffix in SUFFIXES for path in PACKAGE.rglob(f"*.{suffix}")}
    files |= set(PACKAGE.glob("*.md")) | {PACKAGE / "inst" / "CITATION"}
    files |= {PACKAGE / name for name in ("DESCRIPTION", "NAMESPACE", "LICENSE")}
    assert files <= found, sorted(files - found)
