from __future__ import annotations

import platform

import pytest
import torch
from written_files.mnist_layouts import Layout

from pyvae.checks import Check
from pyvae.cli import doctor
from pyvae.cli.doctor import core_checks, examine
from pyvae.version import DISTRIBUTION


@pytest.fixture
def checked(monkeypatch):
    """The screen for these checks alone."""

    def run(*checks):
        monkeypatch.setattr(doctor, "core_checks", lambda: list(checks))
        monkeypatch.setattr(doctor.metadata, "entry_points", lambda group: [])
        return examine()

    return run


def by_name():
    return {check.name: check for check in core_checks()}


def test_mnist_that_is_there_needs_no_remedy(empty_root, write_family):
    write_family(empty_root, "MNIST")
    check = by_name()["MNIST"]
    assert str(empty_root) in check.found
    assert check.remedy == ""


def test_mnist_is_found_where_training_finds_it(empty_root):
    Layout("flat", ending=".idx.gz").write(empty_root)
    assert "not in" in by_name()["MNIST"].found
    Layout(".", ending=".idx.gz").write(empty_root)
    assert by_name()["MNIST"].found == f"in {empty_root}"


@pytest.mark.parametrize("other", [None, "FashionMNIST"])
def test_absent_mnist_has_a_remedy_and_is_not_needed(empty_root, write_family, other):
    if other:
        write_family(empty_root, other)
    check = by_name()["MNIST"]
    assert str(empty_root) in check.found
    assert "PYVAE_DATA" in check.remedy
    assert not check.needed


def test_versions_and_threads_are_those_of_this_process(empty_root):
    checks = by_name()
    assert checks["Python"].found == platform.python_version()
    assert torch.__version__ in checks["torch"].found
    assert checks["threads"].found == str(torch.get_num_threads())
    assert ("CUDA:" in checks["device"].found) is torch.cuda.is_available()


@pytest.mark.parametrize(
    ("check", "code", "mark"),
    [
        (Check("R", "4.2.2"), 0, "ok"),
        (Check("R", "not found", "apt-get install r-base"), 0, "--"),
        (Check("R", "not found", "apt-get install r-base", needed=True), 2, "no"),
        (Check("R", "4.2.2", needed=True), 0, "ok"),
    ],
)
def test_only_what_is_needed_and_missing_is_an_error(checked, capsys, check, code, mark):
    assert checked(check) == code
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == [mark, "R", *check.found.split()]
    assert [line.strip() for line in lines[1:]] == ([check.remedy] if check.remedy else [])


def test_dask_that_is_not_there_has_a_remedy_and_is_not_needed(monkeypatch):
    assert by_name()["Dask"].found == f"distributed {doctor.metadata.version('distributed')}"

    def absent(name):
        raise doctor.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(doctor.metadata, "version", absent)
    check = doctor._dask()
    assert check.remedy == "pip install distributed"
    assert not check.needed


def test_another_package_of_the_name_pyvae_is_seen(monkeypatch):
    there = {DISTRIBUTION: "0.2.0"}

    def version(name):
        if name not in there:
            raise doctor.metadata.PackageNotFoundError(name)
        return there[name]

    monkeypatch.setattr(doctor.metadata, "version", version)
    assert doctor._pyvae() == Check("pyvae", f"0.2.0 ({DISTRIBUTION})")
    there["pyvae"] = "1.1.0"
    check = doctor._pyvae()
    assert "beside it the package pyvae 1.1.0" in check.found
    assert check.remedy.startswith("pip uninstall pyvae")


def test_paths_are_shown_as_they_are(checked, capsys):
    checked(Check("MNIST", "in /data/[red]/[/b]", "move [it]"))
    shown = capsys.readouterr().out
    assert "in /data/[red]/[/b]" in shown
    assert "move [it]" in shown


def test_checks_of_other_packages_come_after(monkeypatch, capsys):
    class Entry:
        name = "more"

        def load(self):
            return lambda: [Check("more", "found")]

    monkeypatch.setattr(doctor, "core_checks", lambda: [Check("core", "found")])
    monkeypatch.setattr(doctor.metadata, "entry_points", lambda group: [Entry()])
    assert examine() == 0
    assert [line.split()[1] for line in capsys.readouterr().out.splitlines()] == ["core", "more"]
