from __future__ import annotations

import json

import numpy as np
import pytest
from stand_ins.narrow import NARROW_CONV

from pyvae.cli.main import main
from pyvae.engines.pytorch import PyTorchEngine
from pyvae.errors import UserError
from pyvae.model.run import Run
from pyvae.recipes import get_recipe
from pyvae.runs.repeat import read_repeat
from pyvae.trace.trace import Trace
from pyvae.training.loop import train

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("narrow_recipes")]


@pytest.fixture
def conv():
    return NARROW_CONV


@pytest.fixture
def run(conv, settings, digits, tmp_path):
    """Trains a short run and saves its trace."""

    def make(name="run", adam="torch", **changes):
        engine = PyTorchEngine("cpu", adam)
        trace = train(Run(conv, settings(**changes), digits), engine)
        folder = tmp_path / name
        folder.mkdir(parents=True)
        trace.save(folder)
        return folder, trace

    return make


def test_what_was_run_is_read_from_its_trace(run, conv):
    folder, trace = run(rng="torch", seed=7, dtype="float32", adam="r-torch")
    repeat = read_repeat(folder)
    assert repeat.recipe is conv
    assert repeat.runs == [trace.settings]
    assert (repeat.data, repeat.adam) == ("digits", "r-torch")
    assert repeat.threads == int(trace.environment["threads"])


def test_a_run_of_r_torch_is_repeated_with_its_adam_on_its_threads(run):
    folder, _ = run()
    about = json.loads((folder / "trace.json").read_text())
    about["engine"], about["environment"] = "r-torch", {"threads": "3", "R": "4.2.2"}
    (folder / "trace.json").write_text(json.dumps(about))
    repeat = read_repeat(folder)
    assert (repeat.adam, repeat.threads) == ("r-torch", 3)


def test_a_run_in_single_precision_is_repeated_with_its_kernels(tmp_path, digits):
    """To the bit, by the command: `pyvae trace` would else have PyTorch's own."""
    beta = get_recipe("beta")
    short = beta.settings(dtype="float32", steps=3, batch_size=20)
    trace = train(Run(beta, short, digits), PyTorchEngine("cpu"))
    assert trace.environment["kernels"] == "fast"
    trace.save(tmp_path)
    assert read_repeat(tmp_path).kernels == "fast"
    assert main(["trace", "--like", str(tmp_path), "--out", str(tmp_path / "again")]) == 0
    again = Trace.load(tmp_path / "again")
    assert again.losses.tobytes() == trace.losses.tobytes()
    assert all(np.array_equal(again.parameters[key], own) for key, own in trace.parameters.items())


@pytest.mark.parametrize("threads", ["", "0", "many"])
def test_threads_that_are_not_told_are_left_open(run, threads):
    folder, _ = run()
    about = json.loads((folder / "trace.json").read_text())
    about["environment"] = {"threads": threads}
    (folder / "trace.json").write_text(json.dumps(about))
    assert read_repeat(folder).threads is None
    assert read_repeat(folder).adam == "torch"


def test_both_objectives_are_repeated(run):
    run("both/vae", objective="vae")
    folder, _ = run("both/emae", objective="emae")
    assert [s.objective for s in read_repeat(folder.parent).runs] == ["vae", "emae"]


def test_traces_of_different_runs_are_the_users_error(run):
    run("both/vae", objective="vae")
    folder, _ = run("both/emae", objective="emae", seed=9)
    with pytest.raises(UserError, match=r"differ in more than their objective\. Name one of them"):
        read_repeat(folder.parent)


def test_a_users_own_file_has_to_be_named_again(run):
    folder, _ = run()
    about = json.loads((folder / "trace.json").read_text())
    about["data"]["name"] = "mine.npz"
    (folder / "trace.json").write_text(json.dumps(about))
    assert read_repeat(folder).data == ""


@pytest.mark.parametrize("rng", ["injected", "torch", "r"])
def test_trace_like_does_the_same_run_again(run, tmp_path, rng):
    folder, trace = run(rng=rng, seed=5, dtype="float32", adam="r-torch")
    out = tmp_path / "again"
    assert main(["trace", "--like", str(folder), "--probe", "none", "--out", str(out)]) == 0
    again = Trace.load(out)
    assert again.settings == trace.settings
    assert again.environment["adam"] == "r-torch"
    np.testing.assert_array_equal(again.losses, trace.losses)
    for name, value in trace.parameters.items():
        np.testing.assert_array_equal(again.parameters[name], value)


@pytest.mark.parametrize("option", ["--seed", "--steps", "--batch-size", "--data"])
def test_what_the_trace_decides_cannot_be_given_too(run, tmp_path, capsys, option):
    folder, _ = run()
    value = "digits" if option == "--data" else "4"
    out = tmp_path / "again"
    arguments = ["trace", "--like", str(folder), option, value, "--out", str(out)]
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert error == (f"pyvae: {option} cannot be used with --like. Leave out {option} or --like.\n")
    assert not out.exists()


def test_a_folder_without_a_trace_is_one_line(tmp_path, capsys):
    arguments = ["trace", "--like", str(tmp_path / "none"), "--out", str(tmp_path / "out")]
    assert main(arguments) == 2
    assert "holds no finished run" in capsys.readouterr().err
