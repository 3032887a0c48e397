from __future__ import annotations

import json
import os
import shutil
from dataclasses import replace

import pytest

from pyvae.engines.pytorch import PyTorchEngine
from pyvae.errors import UserError
from pyvae.model.run import Run
from pyvae.recipes import get_recipe
from pyvae.runs.run_folder import RunFolder


@pytest.fixture
def runs(small, data_of):
    toy = get_recipe("clustering-toy")
    run = Run(toy, small(toy), data_of(toy))
    return [run, replace(run, settings=replace(run.settings, seed=9))]


def test_one_process_at_a_time_writes_into_it(tmp_path):
    with RunFolder(tmp_path / "out") as folder:
        said = f"'{tmp_path / 'out'}' is being written by another run (process {os.getpid()}). Wait"
        with pytest.raises(UserError) as raised, RunFolder(tmp_path / "out"):
            pass
        assert str(raised.value).startswith(said)
        assert not folder.make_again()
    assert list((tmp_path / "out").iterdir()) == []


def test_it_says_what_is_run_where_a_command_writes_into_it(tmp_path, runs):
    engine = PyTorchEngine("cpu")
    with RunFolder(tmp_path) as folder:
        folder.write_about(runs, [engine])
        assert [path.name for path in tmp_path.iterdir()] == [".lock"]
    with RunFolder(tmp_path, ["train", "clustering-toy"]) as folder:
        folder.write_about(runs, [engine])
    about = json.loads((tmp_path / "run.json").read_text())
    assert about["arguments"] == ["train", "clustering-toy"]
    assert about["recipe"] == "clustering-toy"
    assert [settings["seed"] for settings in about["runs"]] == [3, 9]
    assert about["data"]["sha256"] == runs[0].data.describe()["sha256"]
    told = engine.environment()
    assert told.pop("kernels") == "fast"  # these runs are in double precision
    assert about["engines"] == {"pytorch": told}


def test_it_says_which_kernels_compute(tmp_path, runs):
    single = [replace(run, settings=replace(run.settings, dtype="float32")) for run in runs]
    with RunFolder(tmp_path, ["train", "clustering-toy"]) as folder:
        folder.write_about(single, [PyTorchEngine("cpu")])
    engines = json.loads((tmp_path / "run.json").read_text())["engines"]
    assert engines["pytorch"]["kernels"] == "fast"


def test_a_folder_that_was_removed_is_made_again(tmp_path, runs):
    said = []
    with RunFolder(tmp_path / "out", ["train"], said.append) as folder:
        folder.write_about(runs, [PyTorchEngine("cpu")])
        about = (tmp_path / "out" / "run.json").read_text()
        shutil.rmtree(tmp_path / "out")
        assert folder.make_again()
        assert not folder.make_again()
        again = json.loads((tmp_path / "out" / "run.json").read_text())
        assert again | {"started": ""} == json.loads(about) | {"started": ""}
    assert said == [f"'{tmp_path / 'out'}' was removed: writing it again"]


def test_a_folder_that_another_run_has_taken_meanwhile_is_left_to_it(tmp_path):
    with RunFolder(tmp_path / "out") as first:
        (tmp_path / "out" / ".lock").unlink()
        with RunFolder(tmp_path / "out"), pytest.raises(UserError, match="another run"):
            first.make_again()
