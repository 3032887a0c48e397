"""What a comparison of two saved traces may write into, and what describes it there."""

from __future__ import annotations

import json

import pytest
from stand_ins.verdicts import named

from comparisons.runs.live import compare
from pyvae.cli.main import main
from pyvae.data.images import load_toy
from pyvae.model.run import Run
from pyvae.recipes import get_recipe
from pyvae.runs.folder_lock import FolderLock
from pyvae.runs.run_folder import RunFolder
from pyvae.training.loop import train

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("undrawn")]


@pytest.fixture(scope="module")
def small():
    """A run of two small steps."""
    toy = get_recipe("clustering-toy")
    return Run(toy, toy.settings(batch_size=12, steps=2, dtype="float64"), load_toy(24))


@pytest.fixture
def two(small, tmp_path, monkeypatch):
    """Two traces in the folders a and b."""
    for name in "ab":
        folder = tmp_path / name / "points"
        folder.mkdir(parents=True)
        train(small, named("pytorch")).save(folder)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def files(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("out", ["a", "./a/", "a/points", "b"])
def test_no_trace_is_written_over(two, out, capsys):
    before = files(two)
    assert main(["compare", "a", "b", "--out", out]) == 2
    said = capsys.readouterr().err
    assert "the results would be written among its files. Choose another folder" in said
    assert files(two) == before
    assert main(["compare", "a", "b"]) == 0  # both can still be read


def test_a_folder_describes_its_newest_comparison_alone(small, two, capsys):
    """The traces and run.json of an earlier one are kept apart."""
    engines = named("pytorch"), named("other")
    with RunFolder(two / "comparison", ["compare"]) as folder:
        folder.write_about([small], engines)
        compare(small, *engines, folder)
    before = files(two / "comparison" / "traces")
    run = (two / "comparison" / "run.json").read_bytes()
    capsys.readouterr()
    assert main(["compare", "a", "b"]) == 0
    said = capsys.readouterr().out
    assert "the traces of an earlier comparison are now in comparison/earlier" in said
    kept = two / "comparison" / "earlier"
    assert sorted(files(kept / "traces").values()) == sorted(before.values())
    assert (kept / "run.json").read_bytes() == run
    about = json.loads((two / "comparison" / "run.json").read_text())
    assert about["arguments"][0] == "compare"
    assert about["arguments"][-2:] == [str(two / "a"), str(two / "b")]
    assert not (two / "comparison" / "traces").exists()
    earlier = "comparison/earlier/traces/clustering-points-pytorch"
    assert main(["compare", earlier, "a", "--out", "c"]) == 0


def test_an_interrupted_comparison_is_not_written_over(two, capsys):
    (two / "comparison" / "interrupted").mkdir(parents=True)
    assert main(["compare", "a", "b"]) == 2
    said = capsys.readouterr().err
    assert "Finish it with pyvae compare --resume=comparison" in said


def test_one_that_is_being_made_is_not_called_interrupted(two, capsys):
    (two / "comparison" / "interrupted").mkdir(parents=True)
    with FolderLock(two / "comparison"):
        assert main(["compare", "a", "b"]) == 2
    assert "is being written by another run" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["comparison.json", "names.csv", "differences.csv"])
@pytest.mark.parametrize("command", [["a", "b"], ["--recipe", "clustering-toy", "--steps", "1"]])
def test_no_file_of_others_is_written_over(two, name, command, capsys):
    (two / "comparison").mkdir()
    (two / "comparison" / name).write_text('{"mine": 1}')
    before = files(two)
    assert main(["compare", *command]) == 2
    said = f"'comparison' has a file {name} that no comparison has written. Choose another folder"
    assert said in capsys.readouterr().err
    assert files(two) == before
