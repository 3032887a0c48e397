"""`pyvae compare` as a user types it."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
import pytest

from comparisons.agreement import arrays as agreement
from comparisons.runs import sides
from pyvae.cli.main import main
from pyvae.data.images import data_root
from pyvae.data.mnist import is_present
from r_bridge.engines.base_r import BaseREngine

SMALL = ("--data", "digits", "--batch-size", "12", "--latent-dim", "4", "--engine", "base-r")
RESULTS = {
    "comparison.json", "history.csv", "latent_means.csv", "loss_history.png", "latent_means.png",
    "run.json", "samples.png", "stages.csv", "traces",
}  # fmt: skip

r_test = pytest.mark.r


@r_test
def test_compare_agrees_and_leaves_pictures_and_tables(tmp_path, capsys):
    assert main(["compare", *SMALL, "--steps", "3", "--out", str(tmp_path)]) == 0
    said = capsys.readouterr().out
    assert "verdict: agree" in said
    assert "VAE: BCE + KL, summed over pixels and images, weights 1 and 1" in said
    assert "nats per image" in said
    assert {path.name for path in tmp_path.iterdir()} == RESULTS
    about = json.loads((tmp_path / "comparison.json").read_text())
    assert about["verdict"] == "agree"
    assert about["steps"] == 3
    assert about["batch_size"] == 12
    history = pd.read_csv(tmp_path / "history.csv")
    assert history.groupby(["engine", "objective"]).size().tolist() == [3] * 4


@pytest.mark.slow
@r_test
def test_disagreement_is_exit_code_1_and_names_the_worst_element(monkeypatch, tmp_path, capsys):
    patch = "adam_settings$epsilon <- 1e-7"
    monkeypatch.setattr(sides, "make_r_engine", lambda *_: BaseREngine(1, patch))
    out = tmp_path / "out"
    arguments = ["compare", *SMALL, "--objective", "vae", "--steps", "3", "--out", str(out)]
    assert main(arguments) == 1
    said = capsys.readouterr().out
    assert "verdict: disagree" in said
    assert "parameter: worst at " in said
    assert "first part at step 1, adam.update (parameter of encoder.conv1.weight)" in said
    assert "looks like: base-r: epsilon = 1e-07 where it is 1e-08" in said
    assert " in Python, [" in said
    about = json.loads((out / "comparison.json").read_text())
    assert about["verdict"] == "disagree"
    found = about["objectives"]["vae"]["first_divergence"]
    assert (found["step"], found["stage"], found["wrong"]) == (1, "adam.update", "base-r")
    assert found["index_r"] == [i + 1 for i in found["index_python"]]
    stages = pd.read_csv(out / "stages.csv")
    first = stages[stages["verdict"] == "disagree"].iloc[0]
    assert first["quantity"] == found["quantity"] == "parameter/encoder.conv1.weight"


@r_test
@pytest.mark.slow
def test_resynchronised_every_step_is_looked_into_and_a_report_is_written(tmp_path, capsys):
    """And a second run into the same folder replaces the first."""
    out = tmp_path / "a folder's name, ü"
    arguments = ["--mode", "resync", "--steps", "2", "--report", "--out", str(out)]
    assert main(["compare", *SMALL, *arguments]) == 0
    said = capsys.readouterr().out
    assert said.count("stages of steps 1 to 2: 274 of 274 agree") == 2
    stages = pd.read_csv(out / "stages.csv")
    assert stages.groupby(["objective", "step"]).size().tolist() == [137] * 4
    assert stages["needed"].max() <= 1e-13
    assert {path.name for path in out.iterdir()} == RESULTS | {"report.html"}
    assert {path.name for path in (out / "traces").iterdir()} == {
        f"{objective}-{engine}" for objective in ("vae", "emae") for engine in ("pytorch", "base-r")
    }

    again = ["--objective", "emae", "--steps", "1", "--probe", "none", "--out", str(out)]
    assert main(["compare", *SMALL, *again]) == 0
    assert {path.name for path in out.iterdir()} == RESULTS - {"stages.csv"}
    assert json.loads((out / "comparison.json").read_text())["steps"] == 1
    assert {path.name for path in (out / "traces").iterdir()} == {"emae-pytorch", "emae-base-r"}


@r_test
def test_an_error_in_r_is_told_with_the_place_where_the_two_part(monkeypatch, tmp_path, capsys):
    patch = """session_part <- function(...) stop("a port's own error")"""
    monkeypatch.setattr(sides, "make_r_engine", lambda *_: BaseREngine(1, patch))
    out = tmp_path / "out"
    assert main(["compare", *SMALL, "--steps", "2", "--out", str(out)]) == 1
    said = capsys.readouterr().out
    failed = "base-r fails in step 1: R error: a port's own error; in session_part("
    assert failed in said
    assert "first part at step 1, " in said
    assert said.splitlines()[-1] == "verdict: disagree"
    about = json.loads((out / "comparison.json").read_text())
    assert about["objectives"]["vae"]["failure"].startswith(failed)


@r_test
@pytest.mark.slow
@pytest.mark.parametrize(("dtype", "warned"), [("float32", True), ("float64", False)])
def test_long_float32_runs_come_with_a_warning(monkeypatch, tmp_path, capsys, dtype, warned):
    drift = {"float32": 1}
    monkeypatch.setattr(agreement, "steps_until_drift", lambda recipe, dtype, _: drift.get(dtype))
    arguments = ["--objective", "vae", "--steps", "2", "--dtype", dtype, "--out", str(tmp_path)]
    assert main(["compare", *SMALL, *arguments]) == 0
    assert ("rounding alone drives two runs apart" in capsys.readouterr().out) == warned


@r_test
@pytest.mark.slow
def test_mnist_agrees_at_the_articles_settings(pyvae, tmp_path):
    """In a process of its own, which gives its gigabytes back."""
    if not is_present("MNIST", data_root()):
        pytest.skip("needs MNIST: set PYVAE_DATA to a folder with MNIST/raw")
    arguments = ("--data", "mnist", "--engine", "base-r", "--objective", "vae", "--steps", "2")
    done = pyvae("compare", *arguments, "--out", "out", PYVAE_DATA=str(data_root().resolve()))
    assert done.returncode == 0, done.stderr
    about = json.loads((tmp_path / "out" / "comparison.json").read_text())
    assert (about["data"], about["batch_size"]) == ("mnist", 250)
    for objective in about["objectives"].values():
        assert objective["loss"]["max_rel"] <= 1e-13
        assert objective["parameter"]["max_abs"] <= 1e-10
        assert objective["latent_mean"]["max_abs"] <= 1e-11


def npz(folder: Path, name: str, images) -> str:
    np.savez(folder / name, images=images)
    return name


BAD = {
    "engine": (("--engine", "base_r"), "unknown engine 'base_r'.*did you mean 'base-r'"),
    "rng": (("--rng", "seed"), "unknown rng 'seed'; expected one of injected, seeded, native"),
    "under test": (("--under-test", "pytorhc"), "unknown engine under test 'pytorhc'.*'pytorch'"),
    "itself": (("--under-test", "base-r"), "base-r against itself; expected two engines"),
    "adam": (("--adam", "adamw"), "unknown adam 'adamw'; expected one of torch, r-torch"),
    "threads": (("--threads", "0"), "--threads 0; expected 1 to 1024"),
    "r's seed": (
        ("--rng", "seeded", "--seed", str(2**31)),
        "seed 2147483648 .*; expected a whole number from 0 to 2147483647",
    ),
    "objective": (("--objective", "vea"), "unknown objective 'vea'.*did you mean 'vae'"),
    "data": (("--data", "mnits"), "unknown data 'mnits'.*did you mean 'mnist'"),
    "dtype": (("--dtype", "float46"), "unknown dtype 'float46'.*did you mean 'float64'"),
    "latent": (("--latent-dim", "0"), "--latent-dim 0; expected 1 or more"),
    "steps": (("--steps", "0"), "--steps 0; expected 1 or more"),
    "epochs": (("--epochs", "-2"), "--epochs -2; expected 1 or more"),
    "rate": (("--learning-rate", "nan"), "--learning-rate nan"),
    "batch": (("--batch-size", "5000"), "1797 images are fewer than one batch of 5000"),
    "seed": (("--seed", "-1"), "--seed -1"),
    "mode": (("--mode", "fre"), "unknown mode 'fre'; expected one of free, resync; did you mean"),
    "probe": (("--probe", "3-1"), "--probe '3-1'; expected steps such as 1 or 1,3-5"),
    "late probe": (("--probe", "1,9"), "--probe names step 9; expected steps from 1 to 2"),
    "out": (("--out", "file/out"), "output folder 'file/out' cannot be written"),
    "nan": (("--data", "nan.npz"), r"1 NaN among the pixels, the first at \(2, 3, 4\)"),
    "range": (("--data", "range.npz"), "pixels from 0 to 255"),
    "shape": (("--data", "shape.npz"), r"images of shape \(20, 27, 28\)"),
    "cut": (("--data", "cut.npz"), "'cut.npz' cannot be read"),
    "absent": (("--data", "absent.npz"), "'absent.npz' does not exist"),
    "few": (("--data", "few.npz"), "5 images are fewer than one batch of 12"),
}


@r_test
@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_one_line_and_exit_code_2(name, tmp_path, monkeypatch, capsys):
    arguments, words = BAD[name]
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("not a folder")
    images = np.zeros((20, 28, 28))
    images[2, 3, 4] = np.nan
    npz(tmp_path, "nan.npz", images)
    npz(tmp_path, "range.npz", np.full((20, 784), 255.0) * (np.arange(20) % 2)[:, None])
    npz(tmp_path, "shape.npz", np.zeros((20, 27, 28), np.uint8))
    npz(tmp_path, "few.npz", np.zeros((5, 784), np.uint8))
    whole = (tmp_path / npz(tmp_path, "cut.npz", np.zeros((20, 784), np.uint8))).read_bytes()
    (tmp_path / "cut.npz").write_bytes(whole[: len(whole) // 2])
    before = sorted(tmp_path.rglob("*"))
    assert main(["compare", *SMALL, "--steps", "2", *arguments]) == 2
    error = capsys.readouterr().err
    assert pd.Series(error).str.contains(words).item(), error
    assert error.count("\n") == 1
    assert "Traceback" not in error
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.slow
def test_no_r_is_one_line_and_exit_code_2(pyvae, tmp_path):
    (tmp_path / "bin").mkdir()
    done = pyvae("compare", *SMALL, PATH=str(tmp_path / "bin"), R_HOME="")
    assert done.returncode == 2
    assert done.stderr.startswith("pyvae: R was not found; expected R on the PATH")
    assert done.stderr.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["bin"]


@pytest.mark.slow
def test_an_r_that_rpy2_does_not_fit_is_one_line_and_exit_code_2(pyvae, tmp_path):
    program = tmp_path / "bin" / "R"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\necho 'R version 4.2.2'\n")
    program.chmod(0o755)
    # a newer rpy2-rinterface comes first on the path
    about = tmp_path / "site" / "rpy2_rinterface-3.6.7.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: rpy2-rinterface\nVersion: 3.6.7\n"
    )
    path = f"{program.parent}:{os.environ['PATH']}"
    done = pyvae("compare", *SMALL, PATH=path, R_HOME="", PYTHONPATH=str(tmp_path / "site"))
    assert done.returncode == 2
    assert "R 4.2.2 is there, but rpy2-rinterface 3.6.7 needs R 4.5" in done.stderr
    assert "pip install rpy2==3.6.6" in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "comparison").exists()


def r_child(pid: int) -> int:
    """The R process of a running `pyvae compare`."""
    (child,) = [
        child.pid
        for child in psutil.Process(pid).children(recursive=True)
        if "r_bridge.process.server" in child.cmdline()
    ]
    return child


@pytest.fixture
def running(tmp_path):
    """A comparison in the middle of its R run, and the R process's pid."""
    process = subprocess.Popen(
        [Path(sys.executable).with_name("pyvae"), "compare", *SMALL, "--objective", "vae",
         "--steps", "60", "--out", "out"],
        cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
    )  # fmt: skip
    for line in process.stdout:
        if line.startswith("VAE in base-r"):
            break
    time.sleep(1.5)
    pid = r_child(process.pid)
    yield process, pid
    process.kill()
    process.wait()


@r_test
@pytest.mark.slow
def test_r_killed_in_the_middle_is_named_and_what_was_computed_is_kept(running, tmp_path):
    process, pid = running
    os.kill(pid, signal.SIGKILL)
    _, error = process.communicate(timeout=30)
    assert process.returncode == 2
    lines = error.strip().splitlines()
    assert lines[0] == "kept what was computed: out/interrupted"
    assert f"pyvae: the R process (pid {pid}) ended in the middle of its work" in lines[1]
    assert "signal 9, SIGKILL" in lines[1]
    assert len(lines) == 2
    history = pd.read_csv(tmp_path / "out" / "interrupted" / "history.csv")
    steps = history.groupby("engine").size()
    assert steps["pytorch"] == 60
    assert 1 <= steps["base-r"] < 60
    assert not (tmp_path / "out" / "comparison.json").exists()


@r_test
@pytest.mark.slow
def test_killed_twice_the_same_command_gives_the_same_bytes(pyvae, tmp_path, is_running):
    """R's process first, then Python's, with kill -9, each in the middle of R's run."""
    run = ["--objective", "vae", "--rng", "seeded", "--steps", "6", "--probe", "none"]
    arguments = [*SMALL, *run, "--threads", "1", "--out"]
    environment = {"PYVAE_CHECKPOINT_SECONDS": "0"}
    folder = tmp_path / "out" / "interrupted" / "vae-base-r"

    def newest():
        return max((path.name for path in folder.glob("checkpoint-*.json")), default="")

    told = []
    for victim in ("R", "Python"):
        process = subprocess.Popen(
            [Path(sys.executable).with_name("pyvae"), "compare", *arguments, "out"],
            cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
            env=os.environ | environment,
        )  # fmt: skip
        before = newest()
        while newest() <= before:
            assert process.poll() is None
            time.sleep(0.02)
        r = r_child(process.pid)
        os.kill(r if victim == "R" else process.pid, signal.SIGKILL)
        told.append(process.communicate(timeout=30)[1])
        assert process.returncode == (2 if victim == "R" else -signal.SIGKILL)
        deadline = time.monotonic() + 10
        while is_running(r) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert not is_running(r)
        assert not (tmp_path / "out" / "comparison.json").exists()
    assert "SIGKILL" in told[0]
    done = pyvae("compare", *arguments, "out", **environment)
    assert done.returncode == 0, done.stderr
    for said in (told[1], done.stderr):
        assert "VAE in pytorch: all 6 steps were done before" in said
        assert re.search(r"VAE in base-r: going on after step \d+, where it was interrupted", said)

    assert main(["compare", *arguments, str(tmp_path / "whole")]) == 0
    for name in ("history.csv", "latent_means.csv", "comparison.json"):
        one, other = (tmp_path / folder / name for folder in ("out", "whole"))
        assert one.read_bytes() == other.read_bytes(), name
    left, whole_left = (
        {path.name for path in (tmp_path / folder).iterdir()} for folder in ("out", "whole")
    )
    assert left == whole_left == RESULTS - {"stages.csv"}


@r_test
@pytest.mark.slow
def test_ctrl_c_during_the_r_run_ends_both_within_seconds(running, is_running):
    """Three on a machine that has nothing else to do."""
    process, pid = running
    started = time.monotonic()
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=30)
    assert time.monotonic() - started < 6
    assert process.returncode == 130
    assert not is_running(pid)


@r_test
@pytest.mark.parametrize(
    "arguments",
    [
        ("--recipe", "clustering-toy", "--set", "temperature=0.7", "--set", "beta=2"),
        pytest.param(("--recipe", "clustering", "--variant", "toy"), marks=pytest.mark.slow),
        pytest.param(
            ("--recipe", "beta", "--data", "digits", "--mode", "resync"), marks=pytest.mark.slow
        ),
        pytest.param(
            ("--recipe", "mlp", "--variant", "wide", "--data", "digits"), marks=pytest.mark.slow
        ),
        pytest.param(
            ("--recipe", "strided-conv", "--data", "digits", "--latent-dim", "4"),
            marks=pytest.mark.slow,
        ),
        pytest.param(
            ("--data", "digits", "--objective", "em", "--engine", "base-r"), marks=pytest.mark.slow
        ),
    ],
)
def test_every_kind_of_recipe_is_compared(tmp_path, capsys, arguments):
    small = ("--batch-size", "12", "--steps", "2", "--out", str(tmp_path))
    assert main(["compare", *arguments, *small]) == 0
    assert "verdict: agree" in capsys.readouterr().out
    about = json.loads((tmp_path / "comparison.json").read_text())
    hyper = about["settings"]["hyper"]
    if "--set" in arguments:
        assert (hyper["temperature"], hyper["beta"]) == (0.7, 2.0)
    assert about["data"] == ("toy" if about["recipe"] == "clustering-toy" else "digits")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--recipe", "convv"), "unknown recipe 'convv'"),
        (("--recipe", "beta", "--variant", "wide"), "recipe beta has no variants"),
        (("--recipe", "beta", "--set", "gamma=1"), "unknown setting of recipe beta 'gamma'"),
        (("--recipe", "beta", "--set", "beta"), "--set 'beta'"),
        (("--recipe", "beta", "--objective", "vae"), "unknown objective 'vae'"),
        (("--recipe", "beta", "--data", "toy"), "recipe beta with toy, 2 numbers each"),
        (("--under-test", "base-r", "--engine", "r-torch", "--adam", "torch"), "--adam torch with"),
    ],
)
@r_test
def test_what_a_recipe_cannot_do_is_one_line(capsys, monkeypatch, tmp_path, arguments, words):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sides, "check_r_engine", lambda name: name)
    assert main(["compare", *arguments]) == 2
    assert words in capsys.readouterr().err
    assert not any(tmp_path.iterdir())
