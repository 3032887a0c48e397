"""Any path will do: for images, for what is written, for where pyvae itself lies; through Python,
the shell and R."""

from __future__ import annotations

import io
import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure

from pyvae.cli.main import main
from pyvae.figures.style import save_figure
from pyvae.trace.trace import Trace

ODD = "a 'b' \"c\" $HOME `id` \\n \\ ü 日本 %d #&;|<>*?[x]{y} !z ~ \u202e"
IMAGES = "im 'a' \"b\" $c \\ ü.npz"
OUT = "-o 'a' \"b\" $c \\ ü\nsecond line"  # as an option's value it may begin with a dash
SHORT = ("--steps", "2", "--batch-size", "6", "--latent-dim", "3")
ROOT = Path(__file__).parent.parent


@pytest.fixture
def odd(tmp_path, monkeypatch):
    """A folder with an odd name, with images in it, where one is."""
    folder = tmp_path / ODD
    folder.mkdir()
    for place in (
        "pyvae.figures.style",
        "comparisons.report.write",
    ):  # drawing takes most of the time
        monkeypatch.setattr(
            f"{place}.save_figure", lambda figure, path: path.write_bytes(b""), raising=False
        )
    images = np.random.default_rng(1).integers(0, 256, (12, 784), dtype=np.uint8)
    np.savez(folder / IMAGES, images=images)
    monkeypatch.chdir(folder)
    return folder


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


@pytest.mark.slow
def test_images_and_results_may_have_any_name(odd, capsys, undrawn):
    run = f"--out={OUT}"
    assert main(["train", "beta", "--data", IMAGES, *SHORT, run]) == 0
    assert names(odd) == {IMAGES, OUT}
    assert Trace.load(odd / OUT / "beta").data["name"] == IMAGES
    assert main(["figures", "--", OUT]) == 0
    picture = odd / ODD / f"{OUT}.png"
    assert main(["sample", "--out", str(picture), "-n", "2", "--", OUT]) == 0
    assert picture.is_file()
    for name in ("A", "B"):
        out = str(odd / f"{name} {OUT}")
        assert (
            main(["trace", "--recipe", "beta", "--data", str(odd / IMAGES), *SHORT, "--out", out])
            == 0
        )
    pair = [str(odd / f"{name} {OUT}") for name in ("A", "B")]
    assert main(["compare", *pair, "--out", f"{ODD}/{OUT}"]) == 0
    assert (odd / ODD / OUT / "comparison.json").is_file()
    out, err = capsys.readouterr()
    assert err == ""
    assert all(line.isprintable() for line in out.splitlines())
    assert names(odd) == {IMAGES, OUT, ODD, f"A {OUT}", f"B {OUT}"}


def test_a_figure_may_have_any_name(tmp_path):
    path = tmp_path / ODD / f"{OUT}.png"
    path.parent.mkdir()
    save_figure(Figure(figsize=(1, 1)), path)
    assert path.read_bytes().startswith(b"\x89PNG")
    assert names(path.parent) == {path.name}


def test_a_command_that_is_told_can_be_copied_into_a_shell(odd, capsys):
    (odd / "empty 'a' $b").mkdir()
    assert main(["figures", "empty 'a' $b"]) == 2
    told = capsys.readouterr().err.split("Run: ")[1]
    assert shlex.split(told) == ["pyvae", "train", "conv", "--out", "empty 'a' $b"]


def test_a_name_that_is_no_text_in_utf_8_ends_no_run(odd, monkeypatch, undrawn):
    """Bytes that no program can print; standard output is one that refuses them, as most do."""
    name = os.fsdecode(b"out-\xff\xfe")
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, "utf-8", errors="strict"))
    assert main(["train", "beta", "--data", IMAGES, *SHORT, "--out", name]) == 0
    sys.stdout.flush()
    assert rb"written: out-\udcff\udcfe" in written.getvalue()
    assert (Path(name) / "beta" / "trace.json").is_file()


@pytest.mark.r
def test_r_runs_wherever_pyvae_and_the_user_are(odd):
    """Through a shell, as a user types it, with pyvae below a folder with an odd name, and in a
    locale in which R opens no such file."""
    for package in ("pyvae", "r_bridge", "comparisons"):
        (odd / package).symlink_to(ROOT / package)
    words = [
        sys.executable, "-m", "pyvae", "trace", "--recipe", "beta", "--engine", "base-r", "--data",
        IMAGES, *SHORT, "--probe", "none", f"--out={OUT}",
    ]  # fmt: skip
    done = subprocess.run(
        ["sh", "-c", shlex.join(words)],
        env=os.environ | {"PYTHONPATH": str(odd), "LC_ALL": "C"},
        capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    about = json.loads((odd / OUT / "trace.json").read_text())
    assert (about["engine"], about["steps"], about["data"]["name"]) == ("base-r", 2, IMAGES)
