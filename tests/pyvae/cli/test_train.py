"""`pyvae train`, mostly in this process."""

from __future__ import annotations

import json
import os
import re

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from PIL import Image
from processes.undrawn import save_a_pixel

from pyvae.engines.pytorch import PyTorchEngine
from pyvae.model.objectives import OBJECTIVES
from pyvae.recipes import RECIPES
from pyvae.trace.trace import Trace

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("narrow_recipes")]
undrawn = pytest.mark.usefixtures("undrawn")

SMALL = ("--data", "digits", "--batch-size", "8", "--latent-dim", "3", "--steps", "2")
TRACE = {"trace.json", "history.csv", "parameters.safetensors", "latents.safetensors"}
FIGURES = {"loss_history.png", "latent_means.png"}
OF_EACH = ("samples", "reconstructions", "latents")


@pytest.mark.parametrize("objective", ["emae", "both"])
def test_train_leaves_a_trace_and_figures_of_each_objective(command, tmp_path, objective):
    code, out, err = command("train", "conv", *SMALL, "--objective", objective, "--out", "out")
    assert (code, err) == (0, "")
    names = ("vae", "emae") if objective == "both" else (objective,)
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "run.json",
        *names,
        *FIGURES,
        *(f"{figure}_{name}.png" for figure in OF_EACH for name in names),
    }
    last = {f"checkpoint-00000002.{ending}" for ending in ("json", "safetensors")}  # to go on from
    for name in names:
        assert f"{name.upper()}: {OBJECTIVES[name].formula}" in out
        assert {path.name for path in (tmp_path / "out" / name).iterdir()} == TRACE | last
        trace = Trace.load(tmp_path / "out" / name)
        settings = trace.settings
        assert (settings.objective, settings.batch_size, settings.latent_dim) == (name, 8, 3)
        assert (settings.dtype, trace.steps, trace.complete) == ("float32", 2, True)
        assert trace.data["name"] == "digits"
        total = trace.losses[:, 0].sum()
        assert f"epoch 1: {total:,.2f} nats, summed over its 2 batches" in out
        assert f"{total / 16:.3f} nats per image" in out
    for path in (tmp_path / "out").glob("*.png"):
        with Image.open(path) as image:
            assert np.ptp(np.asarray(image.convert("L"))) > 0, path.name


@undrawn
def test_quiet_leaves_the_results_and_is_no_part_of_the_run(command, tmp_path):
    code, quiet, err = command("train", "beta", *SMALL, "--out", "out", "-q")
    assert (code, err) == (0, "")
    loud = command("train", "beta", *SMALL, "--out", "loud")[1].replace("loud", "out")
    gone = [line for line in loud.splitlines() if line not in quiet.splitlines()]
    assert [re.sub(r"\d.*", "", line) for line in gone] == [
        "beta-VAE on digits, cpu ...", "  epoch ", "beta-VAE on digits, cpu: ",
    ]  # fmt: skip
    assert set(quiet.splitlines()) < set(loud.splitlines())
    assert "quiet" not in (tmp_path / "out" / "run.json").read_text()
    # beside --resume it is the one option that says nothing of the run
    _, out, err = command("train", "--resume", "out", "--steps", "4", "--quiet")
    assert (out.splitlines()[-1], err) == ("written: out", "")
    assert "images/s" not in out
    assert Trace.load(tmp_path / "out" / "beta").steps == 4


@undrawn
def test_both_scales_are_printed_for_each_epoch(command, tmp_path):
    images = np.random.default_rng(1).integers(0, 256, (9, 28, 28), dtype=np.uint8)
    np.savez(tmp_path / "mine.npz", images=images)
    arguments = ("--data", "mine.npz", "--batch-size", 4, "--latent-dim", 2, "--epochs", 3)
    code, out, _ = command("train", "conv", *arguments, "--out", "out")
    assert code == 0
    table = Trace.load(tmp_path / "out" / "vae").epoch_table()
    assert table["steps"].tolist() == [2, 2, 2]
    lines = [line for line in out.splitlines() if line.startswith("  epoch ")]
    for line, row in zip(lines, table.itertuples(), strict=True):
        assert f"epoch {row.epoch}: {row.total:,.2f} nats" in line
        assert f"{row.total / 8:.3f} nats per image" in line


@undrawn
def test_all_options_reach_the_run(command, tmp_path):
    options = ("--dtype", "float64", "--seed", "7", "--learning-rate", "0.002", "--epochs", "1")
    code, *_ = command("train", "conv", *SMALL, *options, "--device", "cpu", "--out", "a/b")
    assert code == 0
    settings = json.loads((tmp_path / "a" / "b" / "vae" / "trace.json").read_text())["settings"]
    assert settings == {
        "objective": "vae",
        "epochs": 1,
        "steps": 2,
        "batch_size": 8,
        "latent_dim": 3,
        "learning_rate": 0.002,
        "dtype": "float64",
        "seed": 7,
        "rng": "injected",
        "hyper": {},
    }


@undrawn
def test_native_is_the_generator_of_pytorch(command, tmp_path):
    run = ("train", "beta", *SMALL)
    assert command(*run, "--rng", "native", "--out", "native")[0] == 0
    assert command(*run, "--rng", "torch", "--out", "torch")[0] == 0
    native, torchs = (Trace.load(tmp_path / name / "beta") for name in ("native", "torch"))
    assert native.settings == torchs.settings
    assert np.array_equal(native.losses, torchs.losses)


@undrawn
def test_without_out_a_run_goes_where_the_help_says(command, tmp_path):
    assert command("train", "conv", *SMALL)[0] == 0
    assert (tmp_path / "runs" / "conv" / "vae" / "trace.json").is_file()


@undrawn
def test_auto_says_in_one_line_that_it_fell_back(command, tmp_path):
    code, out, err = command("train", "conv", *SMALL[2:], "--out", "out")
    assert (code, err) == (0, "")
    assert sum("handwritten digits" in line for line in out.splitlines()) == 1
    assert Trace.load(tmp_path / "out" / "vae").data["name"] == "digits"


@undrawn
@pytest.mark.parametrize(
    "name",
    [
        "a folder's name, ü",
        "a[red]b",
        "a[/b]",
    ],
)
def test_any_folders_name_will_do(command, tmp_path, name):
    code, out, _ = command("train", "conv", *SMALL, "--out", name)
    assert code == 0
    assert f"written: {name}" in out


def test_absent_cuda_is_the_users_error(command, tmp_path, assert_refused):
    if torch.cuda.is_available():
        pytest.skip("needs a machine without CUDA")
    result = command("train", "conv", *SMALL, "--device", "cuda", "--out", "out")
    assert_refused(result, "finds no NVIDIA GPU")
    assert not (tmp_path / "out").exists()


def test_divergence_is_one_line_and_keeps_the_steps_before(command, tmp_path, assert_refused):
    arguments = ("--learning-rate", "1e30", "--steps", "5", "--out", "out")
    assert_refused(command("train", "conv", *SMALL, *arguments), "smaller --learning-rate")
    trace = Trace.load(tmp_path / "out" / "vae")
    assert not trace.complete
    assert 1 <= trace.steps < 5


def test_an_interrupted_run_keeps_its_steps(command, tmp_path, monkeypatch, assert_refused):
    step = PyTorchEngine.step
    done = []

    def interrupted(self, x, draws):
        if len(done) == 2:
            raise KeyboardInterrupt
        done.append(step(self, x, draws))
        return done[-1]

    monkeypatch.setattr(PyTorchEngine, "step", interrupted)
    code, out, err = command("train", "conv", *SMALL, "--steps", "9", "--out", "out")
    assert code == 130
    assert "2 steps" in out
    assert "then interrupted" in out
    assert "Traceback" not in err
    trace = Trace.load(tmp_path / "out" / "vae")
    assert not trace.complete
    assert np.array_equal(trace.losses, torch.stack(done).double().numpy())
    assert_refused(command("figures", "out"), "holds no finished run")


def test_an_interruption_is_said_on_stderr(command, monkeypatch):
    def interrupted(self, x, draws):
        raise KeyboardInterrupt

    monkeypatch.setattr(PyTorchEngine, "step", interrupted)
    code, _, err = command("train", "conv", *SMALL, "--out", "out")
    assert (code, err) == (130, "pyvae: interrupted\n")


@pytest.mark.parametrize(
    ("arguments", "recipe"),
    [
        (("mlp", "--variant", "wide", "--data", "digits"), "mlp-wide"),
        (("beta", "--data", "digits", "--set", "beta=0.01"), "beta"),
        (
            ("clustering", "--variant", "toy", "--data", "toy", "--set", "clusters=4", "--set",
             "temperature=0.7"), "clustering-toy",
        ),
    ],
)  # fmt: skip
def test_any_recipe_is_trained_drawn_and_sampled(command, tmp_path, arguments, recipe, monkeypatch):
    with monkeypatch.context() as patch:  # they are drawn below
        patch.setattr(Figure, "savefig", save_a_pixel)
        code, out, err = command("train", *arguments, *SMALL[2:], "--out", "out")
    assert (code, err) == (0, "")
    (name,) = RECIPES[recipe].objectives
    objective = OBJECTIVES[name]
    assert f"{objective.title}: {objective.formula}" in out
    trace = Trace.load(tmp_path / "out" / name)
    assert (trace.recipe, trace.steps, trace.complete) == (recipe, 2, True)
    given = dict(text.split("=") for text in arguments if "=" in text)
    for key, one in ((one.name, one) for one in RECIPES[recipe].hyper):
        assert trace.settings.hyper[key] == float(given.get(key, one.value))
    assert command("sample", "out", "-n", 5, "--out", "x.png")[0] == 0
    assert command("figures", "out")[0] == 0
    for path in (*(tmp_path / "out").glob("*.png"), tmp_path / "x.png"):
        with Image.open(path) as image:
            assert np.ptp(np.asarray(image.convert("L"))) > 0, path.name
    assert len(list((tmp_path / "out").glob("*.png"))) == 5


@pytest.mark.skipif(os.name != "posix", reason="folder permissions are POSIX's")
def test_a_folder_without_write_permission_is_the_users_error(command, tmp_path, assert_refused):
    (tmp_path / "locked").mkdir(mode=0o555)
    if os.access(tmp_path / "locked", os.W_OK):
        pytest.skip("needs a user whom folder permissions bind (not root)")
    result = command("train", "conv", *SMALL, "--out", "locked/out")
    assert_refused(result, "cannot be written")
