"""`pyvae compare` of two recorded programs, as a user types it."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
from recorded.ported import Classifier, Program, rewrite

from pyvae.cli.main import main

pytestmark = pytest.mark.slow


@pytest.fixture
def recorded(tmp_path, monkeypatch):
    """Two programs in the folders `python` and `r`, the second with a mistake."""
    monkeypatch.chdir(tmp_path)
    Program().record(Path("python"))
    Program(network=lambda: Classifier(eps=1e-3)).record(Path("r"))


def test_two_programs_part(recorded, capsys):
    assert main(["compare", "python", "r", "--report", "--out", "out"]) == 1
    said = capsys.readouterr().out.splitlines()
    at = said.index("first part at step 1, norm (batch_norm2d), forward")
    assert said[at + 1] == "  looks like: r: eps = 0.001 where it is 1e-05"
    assert said[-1] == "verdict: part at step 1, norm (batch_norm2d), forward"
    about = json.loads(Path("out/comparison.json").read_text())
    assert about["verdict"] == "part"
    assert about["first_part"]["looks_like"] == ["r: eps = 0.001 where it is 1e-05"]
    assert about["first_part"]["quantity"] == {"python": "forward/norm", "r": "forward/norm"}
    table = pd.read_csv("out/differences.csv", keep_default_na=False)
    assert len(table) == sum(about["quantities"].values())
    first = table[table["verdict"] == "parted"].iloc[0]
    assert (first["step"], first["a"]) == (1, "forward/norm")
    page = Path("out/report.html").read_text()
    assert "eps = 0.001 where it is 1e-05" in page
    assert page.count("data:image/png;base64,") >= 2
    assert {path.name for path in Path("out").iterdir()} == {
        "comparison.json", "differences.csv", "names.csv", "report.html",
    }  # fmt: skip


def test_two_programs_agree(recorded, capsys):
    assert main(["compare", "python", "python", "--out", "out", "--exact"]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[-1].startswith("verdict: equal: every bit of ")
    assert not Path("out/report.html").exists()


def test_the_map_is_shown_and_can_be_given(recorded, capsys):
    rewrite(Path("r"), lambda name: name.replace("hidden", "dense"))
    assert main(["compare", "python", "r", "--out", "out"]) == 1
    said = capsys.readouterr().out
    assert "matched under other names (python = r):" in said
    assert "  hidden.weight = dense.weight" in said
    map_ = Path("out/names.csv")
    lines = map_.read_text().splitlines()
    map_.write_text("\n".join([lines[0], *reversed(lines[1:])]) + "\n")  # as a user edits it
    mine = map_.read_bytes()
    assert main(["compare", "python", "r", "--out", "out", "--map", str(map_)]) == 1
    assert map_.read_bytes() == mine


BAD = {
    "one": (("python",), "1 trace: expected two traces"),
    "no folder": (("python", "nothing"), "there is no folder 'nothing'. Check the path"),
    "no folders": (("nothing", "python"), "there is no folder 'nothing'"),
    "a file": (("python", "notes.txt"), "'notes.txt' is a file. Give the folder of a trace"),
    "not a trace": (("python", "empty"), "'empty' holds no trace: there is no trace.json in it"),
    "seed": (("python", "r", "--seed", "3"), "--seed cannot be used with two recorded programs"),
    "no map": (("python", "r", "--map", "x.csv"), "there is no map 'x.csv'. Give a CSV file"),
    "no row": (
        ("python", "r", "--map", "heads.csv"),
        "map 'heads.csv' has no row. Give a CSV file",
    ),
    "no column": (("python", "r", "--map", "notes.txt"), "map 'notes.txt' has no column a and no"),
    "not text": (
        ("python", "r", "--map", "picture"),
        "map 'picture' cannot be read: it is not text",
    ),
    "accept": (("python", "r", "--accept", "eps"), "'eps' is no difference of two libraries"),
    "over a trace": (("python", "r", "--out", "r"), "'r' holds the trace 'r'"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_one_line(recorded, capsys, name):
    arguments, words = BAD[name]
    Path("empty").mkdir()
    Path("notes.txt").write_text("c,d\n1,2\n")
    Path("heads.csv").write_text("a,b\n")
    Path("picture").write_bytes(b"\x89PNG")
    capsys.readouterr()
    assert main(["compare", *arguments]) == 2
    error = capsys.readouterr().err
    assert words in error
    assert error.count("\n") == 1


def test_a_program_and_a_recipe_are_not_compared(recorded, undrawn, capsys):
    small = ["--recipe", "mlp", "--data", "digits", "--batch-size", "12", "--steps", "1"]
    assert main(["trace", *small, "--out", "traced"]) == 0
    capsys.readouterr()
    (folder,) = {path.parent for path in Path("traced").rglob("trace.json")}
    for pair in (("python", str(folder)), (str(folder), "python")):
        assert main(["compare", *pair]) == 2
        assert "is the trace of a recipe, the other one that of a recorded program" in (
            capsys.readouterr().err
        )


def test_a_map_is_for_recorded_programs_alone(capsys):
    assert main(["compare", "--map", "names.csv", "--recipe", "beta"]) == 2
    assert "--map" in capsys.readouterr().err
