"""R's torch: what is wrong with it is told in a line, and what to do. No R torch is needed for
that: a package of that name, made of a few lines, stands in for it."""

from __future__ import annotations

import shutil
import subprocess
from unittest.mock import MagicMock

import pytest

from pyvae.cli.main import main
from pyvae.engines.errors import EngineError, EngineMissingError
from pyvae.engines.registry import best_reference, check_engine
from r_bridge import doctor
from r_bridge.installed import r_torch
from r_bridge.installed.r_torch import (
    GET_R_TORCH,
    OLDEST,
    REINSTALL,
    RTorch,
    check_r_torch,
    find_r_torch,
)

r_test = pytest.mark.r

NEW, OLD = "0.13.0", "0.12.0"
CODE = """
.onLoad <- function(libname, pkgname) {
  sys.source(file.path(libname, pkgname, "behaviour.R"), envir = topenv())
}
torch_is_installed <- function() TRUE
torch_install_path <- function() "/no/such/libtorch"
torch_tensor <- function(x) list(sum = function() sum(x))
"""
NOISE = """
cat("loading torch")
message("Welcome to torch!")
packageStartupMessage("torch is good for you")
warning("it was built under another R")
reg.finalizer(globalenv(), function(e) cat("{goodbye"), onexit = TRUE)
"""
CONFLICT = """
torch_tensor <- function(x) {
  stop("unable to load '/x/liblantern.so':\n  undefined symbol: _ZN2at5\\\\tensor \\"2\\"")
}
"""
WRONG = {  # version of the package, its behaviour, what is said, the remedy
    "absent": ("", "", "R has no package torch", GET_R_TORCH),
    "too old": (
        OLD,
        "quit(status = 9)",  # it is not even loaded
        "R torch 0.12.0 is too old: expected 0.13 or newer",
        'in R: install.packages("torch"); torch::install_torch(reinstall = TRUE)',
    ),
    "no LibTorch": (
        NEW,
        "torch_is_installed <- function() FALSE",
        "R torch 0.13.0 has no LibTorch in /no/such/libtorch",
        "in R: torch::install_torch()",
    ),
    "two versions": (
        NEW,
        CONFLICT,
        "R torch 0.13.0 and the LibTorch in /no/such/libtorch do not work together "
        "(R: unable to load '/x/liblantern.so': undefined symbol: _ZN2at5\\tensor \"2\").",
        REINSTALL,
    ),
    "two versions, said in a warning": (
        NEW,
        """warning("undefined symbol: _ZN2at")
        torch_tensor <- function(x) stop("lantern is not loaded")""",
        "(R: undefined symbol: _ZN2at lantern is not loaded)",
        REINSTALL,
    ),
    "noise before the error": (NEW, NOISE + CONFLICT, "undefined symbol: _ZN2at5", REINSTALL),
    "wrong sums": (
        NEW,
        "torch_tensor <- function(x) list(sum = function() 2)",
        "do not work together (R: as.numeric(torch::torch_tensor(1)$sum()) == 1 is not TRUE)",
        REINSTALL,
    ),
    "fails to load": (
        NEW,
        "stop('no place like home')",
        "R torch 0.13.0 cannot be loaded (R: .onLoad failed in loadNamespace() for 'torch', "
        "details: call: eval(exprs[i], envir) error: no place like home)",
        REINSTALL,
    ),
    "ends R": (NEW, "quit(status = 3)", "cannot be loaded (R: exit code 3)", REINSTALL),
    "ends R with a word": (
        NEW,
        "cat('free(): invalid pointer\n', file = stderr()); quit(status = 3)",
        "R torch 0.13.0 cannot be loaded (R: free(): invalid pointer)",
        REINSTALL,
    ),
    "kills R": (NEW, "tools::pskill(Sys.getpid(), 9)", "(R: exit code -9)", REINSTALL),
}


@pytest.fixture(scope="session")
def installed(tmp_path_factory):
    """R libraries with a package torch of an old version and of a new one."""
    libraries = {}
    for version in (OLD, NEW):
        root = tmp_path_factory.mktemp("torch")
        package, libraries[version] = root / "torch", root / "library"
        (package / "R").mkdir(parents=True)
        libraries[version].mkdir()
        (package / "DESCRIPTION").write_text(
            f"Package: torch\nVersion: {version}\nTitle: No Torch\nDescription: None.\n"
            "Author: pyvae\nMaintainer: pyvae <nobody@example.org>\nLicense: MIT\n"
        )
        names = "torch_is_installed, torch_install_path, torch_tensor"
        (package / "NAMESPACE").write_text(f"export({names})\n")
        (package / "R" / "torch.R").write_text(CODE)
        subprocess.run(
            ["R", "CMD", "INSTALL", "--no-docs", "--no-byte-compile", "--no-test-load",
             f"--library={libraries[version]}", package],
            check=True, capture_output=True,
        )  # fmt: skip
    return libraries


@pytest.fixture
def stand_in(installed, monkeypatch, tmp_path):
    """Puts a package torch of that version where R looks, with R code that runs when it is
    loaded; without a version there is none."""

    def put(version, code):
        library = tmp_path / "library ü"
        library.mkdir()
        if version:
            shutil.copytree(installed[version] / "torch", library / "torch")
            (library / "torch" / "behaviour.R").write_text(code)
        for name in ("R_LIBS", "R_LIBS_USER", "R_LIBS_SITE"):
            monkeypatch.setenv(name, str(library))
        monkeypatch.delenv("TORCH_HOME", raising=False)
        return library

    return put


def doctors_line(monkeypatch):
    """What `pyvae doctor` says of R's torch; the R process that it starts is not needed here."""

    process = MagicMock()
    process.return_value.__enter__.return_value.call = lambda function: {"blas": ["libopenblas"]}
    monkeypatch.setattr(doctor, "RProcess", process)
    (check,) = [check for check in doctor.checks() if check.name == "R torch"]
    return check


def some(values, quick):
    """Parameters, all but the quick ones marked as slow: each starts an R of its own."""
    return [pytest.param(v, marks=[] if v in quick else pytest.mark.slow) for v in values]


@r_test
@pytest.mark.parametrize(
    "name", some(WRONG, ("absent", "too old", "no LibTorch", "two versions", "kills R"))
)
def test_what_is_wrong_is_one_line_with_a_remedy(name, stand_in, tmp_path, monkeypatch, capsys):
    version, code, words, remedy = WRONG[name]
    library = stand_in(version, code)
    monkeypatch.chdir(tmp_path)
    found = find_r_torch()
    assert not found.usable
    assert found.version == version
    problem = found.problem()
    assert words in str(problem)
    assert problem.remedy == remedy
    with pytest.raises(EngineError) as caught:
        check_r_torch()
    assert isinstance(caught.value, EngineMissingError) == (not version)

    assert main(["compare", "--data", "digits", "--engine", "r-torch", "--out", "out"]) == 2
    out, error = capsys.readouterr()
    assert error == f"pyvae: {problem}\n"
    assert out == ""
    assert list(tmp_path.iterdir()) == [library]

    # auto takes base-r, and says why where there is an R torch that was meant to be used
    assert best_reference("conv").name == "base-r"
    assert main(["compare", "--data", "digits", "--mode", "odd", "--out", "out"]) == 2
    out, error = capsys.readouterr()
    assert "unknown mode 'odd'" in error
    assert out == (f"using base-r: {problem}\n" if version else "")

    check = doctors_line(monkeypatch)
    assert words.removesuffix(".") in check.found
    assert check.found.endswith(" (only engine r-torch needs it)")
    assert check.remedy == remedy
    assert not check.needed


@r_test
@pytest.mark.parametrize(
    ("noise", "code"),
    [
        (NOISE, "a folder"),
        pytest.param("", "", marks=pytest.mark.slow),
        pytest.param("", "torch_version <- '2.5.1'", marks=pytest.mark.slow),
    ],
)
def test_one_that_works_is_found(noise, code, stand_in, tmp_path, monkeypatch):
    """Whatever it prints when it is loaded. LibTorch's version is what its folder says, or what R
    torch was made for."""
    folder = "/no/such/libtorch"
    libtorch = "2.5.1" if code else "unknown"
    if code == "a folder":
        folder, libtorch = str(tmp_path), "2.6.0+cpu"
        (tmp_path / "build-version").write_text(f"{libtorch}\n")
        code = f"torch_version <- '2.5.1'; torch_install_path <- function() '{folder}'"
    stand_in(NEW, f"{noise}\n{code}")
    assert find_r_torch() == RTorch(NEW, libtorch, folder, "")
    assert check_r_torch().usable
    check_engine("r-torch", "conv")
    assert best_reference("conv") == ("r-torch", [])
    check = doctors_line(monkeypatch)
    assert (check.found, check.remedy) == (f"{NEW} on LibTorch {libtorch}, {folder}", "")


@r_test
def test_an_r_that_does_not_answer_is_no_package_that_is_absent(stand_in, monkeypatch):
    stand_in(NEW, "Sys.sleep(600)")
    monkeypatch.setattr(r_torch, "TIMEOUT", 1)
    assert find_r_torch().problem().problem.endswith("the package torch (R: no answer in 1 s)")


@r_test
def test_it_is_looked_for_once_and_again_where_r_looks_elsewhere(stand_in, monkeypatch, tmp_path):
    stand_in(NEW, "")
    found = find_r_torch()
    asked = []
    monkeypatch.setattr(r_torch.subprocess, "run", lambda *_, **__: asked.append(1) or 1 / 0)
    assert find_r_torch() is found
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with pytest.raises(ZeroDivisionError):
        find_r_torch()
    assert asked == [1]


@pytest.mark.parametrize(
    ("version", "usable"),
    [
        ("0.12.9", False), ("0.9", False), ("0.2.13", False), ("0.13.0", True), ("0.13", True),
        ("0.13.0.9000", True), ("0.100.0", True), ("1.0-2", True),
    ],
)  # fmt: skip
def test_versions_are_compared_as_numbers(version, usable):
    assert RTorch(version, "2.0", "/x").usable is usable


def test_without_r_nothing_is_found(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("R_HOME", raising=False)
    assert "R was not found" in str(find_r_torch().problem())


@pytest.mark.r_torch
def test_the_real_one_is_found():
    found = check_r_torch()
    assert tuple(int(part) for part in found.version.split(".")[:2]) >= OLDEST
    assert found.libtorch.split(".")[0].isdecimal()
    assert best_reference("conv") == ("r-torch", [])
