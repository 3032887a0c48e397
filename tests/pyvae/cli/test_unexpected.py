"""Errors that nobody foresaw, as a user meets them."""

from __future__ import annotations

import stat
import sys
import tempfile
from pathlib import Path

import pytest

from pyvae.cli import main as cli
from pyvae.cli.main import main
from pyvae.version import __version__


@pytest.fixture
def raising(monkeypatch, capsys, tmp_path):
    """Runs `pyvae recipes`, which raises the error; returns exit code and standard error."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(sys, "argv", ["pyvae", "recipes", "a b"])

    def run(error):
        def recipes_command():
            raise error

        monkeypatch.setattr(cli, "recipes_command", recipes_command)
        return main(["recipes"]), capsys.readouterr().err

    return run


@pytest.mark.parametrize(
    "error",
    [KeyError("x\ny"), RuntimeError("size mismatch"), MemoryError(), RecursionError("deep")],
)
def test_an_unexpected_error_is_a_line_and_a_file_to_report(raising, tmp_path, error):
    code, err = raising(error)
    assert code == 70
    (file,) = tmp_path.iterdir()
    assert err.startswith(f"pyvae: unexpected error: {type(error).__name__}")
    assert err.endswith(f". Please report it with the file '{file}'.\n")
    assert err.count("\n") == 1
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    text = file.read_text()
    assert "command: pyvae recipes 'a b'\n" in text
    assert f"\nport-parity {__version__}\ntorch " in text
    assert "Traceback (most recent call last):" in text
    assert "in recipes_command\n" in text
    raising(error)
    assert len(list(tmp_path.iterdir())) == 2  # each has a name of its own


def test_where_no_file_can_be_written_the_traceback_is_shown(raising, monkeypatch, tmp_path):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "none"))
    code, err = raising(KeyError("x"))
    assert code == 70
    assert "Traceback" in err
    assert err.endswith(". Please report it with the text above.\n")
    assert Path(tmp_path / "none").exists() is False


@pytest.mark.parametrize(
    "said",
    [
        "[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory: "
        "you tried to allocate 1024 bytes. Error code 12 (Cannot allocate memory)\nframe #0: c10",
        "CUDA out of memory. Tried to allocate 2.00 GiB",
    ],
)
def test_too_little_memory_is_no_mistake_of_pyvae(raising, tmp_path, said):
    code, err = raising(RuntimeError(said))
    assert code == 2
    first = said.partition("\n")[0]
    assert err == f"pyvae: out of memory ({first}). Try a smaller --batch-size.\n"
    assert list(tmp_path.iterdir()) == []


def test_ctrl_c_outside_of_a_command_is_an_interruption(monkeypatch, capsys):
    def interrupted():
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "build_app", interrupted)
    assert main(["recipes"]) == 130
    assert capsys.readouterr().err == "pyvae: interrupted\n"
