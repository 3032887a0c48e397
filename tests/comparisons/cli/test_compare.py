"""`pyvae compare` as a user types it."""

from __future__ import annotations

import json
import os
import re
import signal
from contextlib import suppress
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
import pytest
from stand_ins.patched_r import replace_engine

from comparisons.agreement import tolerances
from pyvae.cli.main import main
from pyvae.data.images import data_root
from pyvae.data.mnist import is_present
from r_bridge.engines.r_torch import RTorchEngine
from r_bridge.process.client import RProcess

BETA = ("--recipe", "beta", "--data", "digits", "--batch-size", "12", "--engine", "base-r")
SMALL = ("--data", "digits", "--batch-size", "12", "--latent-dim", "4", "--engine", "base-r")
RESULTS = {
    "comparison.json", "history.csv", "latent_means.csv", "loss_history.png", "latent_means.png",
    "run.json", "samples.png", "stages.csv", "traces",
}  # fmt: skip

r_test = pytest.mark.r
undrawn = pytest.mark.usefixtures("undrawn")
narrow = pytest.mark.usefixtures("narrow_recipes")  # not with R's torch, which has its own `conv`


@narrow
@r_test
def test_compare_agrees_and_leaves_pictures_and_tables(tmp_path, capsys):
    one = ("--objective", "vae", "--steps", "3", "--out", str(tmp_path))
    assert main(["compare", *SMALL, *one]) == 0
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
    assert history.groupby(["engine", "objective"]).size().tolist() == [3] * 2


@narrow
@undrawn
@pytest.mark.slow
@r_test
def test_disagreement_is_exit_code_1_and_names_the_worst_element(monkeypatch, tmp_path, capsys):
    patch = "adam_settings$epsilon <- 1e-7"
    replace_engine(monkeypatch, patch)
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


@undrawn
@r_test
def test_resynchronised_every_step_is_compared_by_stage_and_a_report_is_written(tmp_path, capsys):
    """And a second run into the same folder replaces the first."""
    out = tmp_path / "a folder's name, ü"
    arguments = ["--mode", "resync", "--steps", "2", "--report", "--out", str(out)]
    assert main(["compare", *BETA, *arguments]) == 0
    stages = pd.read_csv(out / "stages.csv")
    (each,) = set(stages.groupby("step").size())
    assert set(stages["step"]) == {1, 2}
    assert f"stages of steps 1 to 2: {2 * each} of {2 * each} agree" in capsys.readouterr().out
    assert stages["needed"].max() <= 1e-13
    assert {path.name for path in out.iterdir()} == RESULTS | {"report.html"}
    assert {path.name for path in (out / "traces").iterdir()} == {"beta-pytorch", "beta-base-r"}

    again = ["--steps", "1", "--probe", "none", "--out", str(out)]
    assert main(["compare", *BETA, *again]) == 0
    assert {path.name for path in out.iterdir()} == RESULTS - {"stages.csv"}
    assert json.loads((out / "comparison.json").read_text())["steps"] == 1


@narrow
@undrawn
@r_test
def test_an_error_in_r_is_told_with_the_place_where_the_two_part(monkeypatch, tmp_path, capsys):
    patch = """session_part <- function(...) stop("a port's own error")"""
    replace_engine(monkeypatch, patch)
    out = tmp_path / "out"
    assert main(["compare", *SMALL, "--steps", "2", "--out", str(out)]) == 1
    said = capsys.readouterr().out
    failed = "base-r fails in step 1: R error: a port's own error; in session_part("
    assert failed in said
    assert "first part at step 1, " in said
    assert said.splitlines()[-1] == "verdict: disagree"
    about = json.loads((out / "comparison.json").read_text())
    assert about["objectives"]["vae"]["failure"].startswith(failed)


@undrawn
@pytest.mark.slow
@pytest.mark.r_torch
@pytest.mark.parametrize("adam", ["r-torch", "torch"])
def test_from_one_seed_r_torch_has_every_bit_or_adams_order_is_named(tmp_path, capsys, adam):
    """R torch is what `auto` takes where it is; its order of operations in Adam is the default."""
    run = ["compare", "--data", "digits", "--batch-size", "12", "--latent-dim", "4", "--steps", "3"]
    chosen = ["--rng", "seeded", "--threads", "1", "--objective", "vae", "--out", str(tmp_path)]
    exact = adam == "r-torch"
    own = [] if exact else ["--adam", adam]
    assert main([*run, *chosen, *own]) == (0 if exact else 1)
    said = capsys.readouterr().out
    assert "PyTorch against r-torch, both from seed 2, every bit has to be equal" in said
    assert ("(--adam r-torch has R torch's)" in said) != exact
    stages = pd.read_csv(tmp_path / "stages.csv")
    apart = stages[stages["verdict"] != "agree"]["quantity"].str.split("/").str[0]
    assert set(apart) <= (set() if exact else {"moment1", "moment2", "parameter"})
    assert (stages["max_abs"].max() == 0) == exact


@narrow
@undrawn
@r_test
@pytest.mark.slow
@pytest.mark.parametrize(("dtype", "warned"), [("float32", True), ("float64", False)])
def test_long_float32_runs_come_with_a_warning(monkeypatch, tmp_path, capsys, dtype, warned):
    drift = {"float32": 1}
    monkeypatch.setattr(tolerances, "steps_until_drift", lambda recipe, dtype, _: drift.get(dtype))
    arguments = ["--objective", "vae", "--steps", "2", "--dtype", dtype, "--out", str(tmp_path)]
    assert main(["compare", *SMALL, *arguments]) == 0
    assert ("rounding alone drives two runs apart" in capsys.readouterr().out) == warned


@r_test
@pytest.mark.slow
@pytest.mark.parametrize("batch_size", [10, pytest.param(250, marks=pytest.mark.long)])
def test_mnist_agrees_at_the_articles_settings(pyvae, tmp_path, batch_size):
    """In a process of its own, which gives its gigabytes back; `make long` has the article's
    batches, too."""
    if not is_present("MNIST", data_root()):
        pytest.skip("needs MNIST: set PYVAE_DATA to a folder with MNIST/raw")
    arguments = ("--data", "mnist", "--engine", "base-r", "--objective", "vae", "--steps", "1")
    arguments += ("--batch-size", str(batch_size))
    arguments += ("--probe", "none")  # stages of small batches are compared above
    arguments += ("--start", "initial") if batch_size == 10 else ()  # both: test_starts.py
    done = pyvae("compare", *arguments, "--out", "out", PYVAE_DATA=str(data_root().resolve()))
    assert done.returncode == 0, done.stderr
    about = json.loads((tmp_path / "out" / "comparison.json").read_text())
    assert (about["data"], about["batch_size"]) == ("mnist", batch_size)
    for objective in about["objectives"].values():
        assert objective["loss"]["max_rel"] <= 1e-13
        assert objective["parameter"]["max_abs"] <= 1e-10
        assert objective["latent_mean"]["max_abs"] <= 1e-11


def npz(folder: Path, name: str, images) -> str:
    np.savez(folder / name, images=images)
    return name


BAD = {
    "engine": (("--engine", "base_r"), "unknown engine 'base_r'.*Did you mean 'base-r'"),
    "rng": (("--rng", "seed"), "unknown rng 'seed': expected one of injected, seeded, native"),
    "under test": (("--under-test", "pytorhc"), "unknown engine under test 'pytorhc'.*'pytorch'"),
    "itself": (("--under-test", "base-r"), "base-r against itself. Choose another"),
    "adam": (("--adam", "adamw"), "unknown adam 'adamw': expected one of torch, r-torch"),
    "threads": (("--threads", "0"), "--threads 0: expected 1 to 1024"),
    "before data": (
        ("--threads", "-1", "--data", "absent.npz"),
        "--threads -1: expected 1 to 1024",
    ),
    "r's seed": (
        ("--rng", "seeded", "--seed", str(2**31)),
        "--seed 2147483648 with R's generator: expected 0 to 2147483647",
    ),
    "objective": (("--objective", "vea"), "unknown objective 'vea'.*Did you mean 'vae'"),
    "data": (("--data", "mnits"), "unknown data 'mnits'.*Did you mean 'mnist'"),
    "dtype": (("--dtype", "float46"), "unknown dtype 'float46'.*Did you mean 'float64'"),
    "latent": (("--latent-dim", "0"), "--latent-dim 0: expected 1 or more"),
    "steps": (("--steps", "0"), "--steps 0: expected 1 or more"),
    "epochs": (("--epochs", "-2"), "--epochs -2: expected 1 or more"),
    "rate": (("--learning-rate", "nan"), "--learning-rate nan"),
    "batch": (("--batch-size", "5000"), "1797 images are fewer than one batch of 5000"),
    "seed": (("--seed", "-1"), "--seed -1"),
    "mode": (("--mode", "fre"), "unknown mode 'fre': expected one of free, resync. Did you mean"),
    "probe": (("--probe", "3-1"), "--probe '3-1': expected steps such as 1 or 1,3-5"),
    "late probe": (("--probe", "1,9"), "--probe names step 9: expected steps from 1 to 2"),
    "out": (("--out", "file/out"), "'file' is a file. Choose a folder"),
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
    assert done.stderr.startswith("pyvae: R was not found on the PATH")
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
    assert "R 4.2.2 was found, but rpy2-rinterface 3.6.7 needs R 4.5" in done.stderr
    assert "pip install rpy2==3.6.6" in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "comparison").exists()


def in_step(number: int, action: str) -> str:
    """R code that does something in the middle of a step of base R."""
    return f"""right <- adam_step
    steps <- 0
    adam_step <- function(...) {{
      steps <<- steps + 1
      if (steps == {number}) {action}
      right(...)
    }}"""


@pytest.fixture
def started(monkeypatch):
    """The pids of the R processes of a test, which are its own and not reused."""
    pids = []

    class Started(RProcess):
        def __init__(self, *arguments):
            super().__init__(*arguments)
            pids.append(self.pid)

    monkeypatch.setattr("r_bridge.engines.base.RProcess", Started)
    return pids


def steps_kept(out: Path) -> dict:
    history = pd.read_csv(out / "interrupted" / "history.csv")
    return history.groupby("engine").size().to_dict()


@r_test
def test_r_killed_in_a_step_is_named_and_what_was_computed_is_kept(
    monkeypatch, tmp_path, capsys, started
):
    replace_engine(monkeypatch, in_step(3, "tools::pskill(Sys.getpid(), tools::SIGKILL)"))
    assert main(["compare", *BETA, "--steps", "6", "--out", str(tmp_path / "out")]) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert lines[0] == f"kept what was computed: {tmp_path / 'out' / 'interrupted'}"
    assert f"pyvae: the R process (pid {started[0]}) ended in the middle of its work" in lines[1]
    assert "signal 9, SIGKILL" in lines[1]
    assert len(lines) == 2
    assert steps_kept(tmp_path / "out") == {"pytorch": 6, "base-r": 2}
    assert not (tmp_path / "out" / "comparison.json").exists()


@r_test
def test_ctrl_c_while_r_computes_a_step_ends_both(
    monkeypatch, tmp_path, capsys, started, is_running
):
    """R itself sends the signal, so that it comes while Python waits for R."""
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        interrupt = f"tools::pskill({os.getpid()}L, tools::SIGINT)"
        replace_engine(monkeypatch, in_step(3, interrupt))
        assert main(["compare", *BETA, "--steps", "60", "--out", str(tmp_path / "out")]) == 130
    finally:
        signal.signal(signal.SIGINT, handler)
    assert capsys.readouterr().err.splitlines()[-3:] == [
        f"kept what was computed: {tmp_path / 'out' / 'interrupted'}",
        f"pyvae compare --resume={tmp_path / 'out'} goes on from there",
        "pyvae: interrupted",
    ]
    kept = steps_kept(tmp_path / "out")
    assert kept["pytorch"] == 60
    assert 3 <= kept["base-r"] < 60
    assert started
    assert not any(map(is_running, started))


KILLED = """
import os, signal, sys
from pyvae.cli.main import main
from r_bridge.engines.base_r import BaseREngine

step, taken = BaseREngine.step, []

def stepping(self, *arguments, **options):
    taken.append(self.process.pid)
    if len(taken) == 2:
        print(taken[0], flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
    return step(self, *arguments, **options)

BaseREngine.step = stepping
main(sys.argv[1:])
"""


@undrawn
@r_test
def test_killed_twice_the_same_command_gives_the_same_bytes(
    monkeypatch, tmp_path, capsys, started, warm
):
    """R's process first, then Python's, with kill -9, each in the middle of R's run."""
    monkeypatch.setenv("PYVAE_CHECKPOINT_SECONDS", "0")
    run = ["--rng", "seeded", "--steps", "6", "--probe", "none", "--threads", "1", "--out"]
    arguments = ["compare", *BETA, *run]
    out = tmp_path / "out"
    with monkeypatch.context() as patch:
        replace_engine(patch, in_step(3, "tools::pskill(Sys.getpid(), tools::SIGKILL)"))
        assert main([*arguments, str(out)]) == 2
    assert "SIGKILL" in capsys.readouterr().err
    killed = warm.run("-c", KILLED, *arguments, out, folder=tmp_path)
    assert killed.returncode == -signal.SIGKILL
    with suppress(psutil.NoSuchProcess):  # R ends by itself
        psutil.Process(int(killed.stdout.splitlines()[-1])).wait()
    assert not (out / "comparison.json").exists()
    assert main([*arguments, str(out)]) == 0
    for said, step in ((killed.stderr, 2), (capsys.readouterr().err, 3)):
        assert "in pytorch: all 6 steps were done before" in said
        assert re.search(rf"in base-r: going on after step {step}, where it was interrupted", said)

    assert main([*arguments, str(tmp_path / "whole")]) == 0
    for name in ("history.csv", "latent_means.csv", "comparison.json"):
        one, other = (tmp_path / folder / name for folder in ("out", "whole"))
        assert one.read_bytes() == other.read_bytes(), name
    left, whole_left = (
        {path.name for path in (tmp_path / folder).iterdir()} for folder in ("out", "whole")
    )
    assert left == whole_left == RESULTS - {"stages.csv"}


@narrow
@undrawn
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
            ("--data", "digits", "--objective", "em", "--engine", "base-r", "--latent-dim", "4"),
            marks=pytest.mark.slow,
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
        (("--recipe", "beta", "--set", "gamma=1"), "unknown hyperparameter of recipe beta 'gamma'"),
        (("--recipe", "beta", "--set", "beta"), "--set 'beta'"),
        (("--recipe", "beta", "--objective", "vae"), "unknown objective 'vae'"),
        (("--recipe", "beta", "--data", "toy"), "and toy holds points in the plane"),
        (("--under-test", "base-r", "--engine", "r-torch", "--adam", "torch"), "--adam torch with"),
    ],
)
@r_test
def test_what_a_recipe_cannot_do_is_one_line(capsys, monkeypatch, tmp_path, arguments, words):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(RTorchEngine, "check_available", lambda: None)
    assert main(["compare", *arguments]) == 2
    assert words in capsys.readouterr().err
    assert not any(tmp_path.iterdir())
