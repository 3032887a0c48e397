"""Fixtures for the tests of the command line."""

from __future__ import annotations

import pytest


@pytest.fixture
def run(command, tmp_path, trained):
    """A finished run of both objectives in the folder `run`."""
    for name, trace in trained.items():
        (tmp_path / "run" / name).mkdir(parents=True)
        trace.save(tmp_path / "run" / name)
    return command


@pytest.fixture
def assert_refused():
    """Asserts that a command ended in exit code 2 and one line that says something."""

    def check(result, said):
        code, _, err = result
        assert code == 2
        (line,) = err.splitlines()
        assert line.startswith("pyvae: ")
        assert said in line
        assert "Traceback" not in line

    return check


@pytest.fixture
def everything_below():
    """Lists all files below a folder, with the times of their last change."""

    def listed(folder):
        return sorted(
            (str(path.relative_to(folder)), path.stat().st_mtime_ns) for path in folder.rglob("*")
        )

    return listed
