"""The `pyvae` command: mostly in this process, a few times as a user types it."""

from __future__ import annotations

import itertools
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from pyvae.cli.main import main
from pyvae.cli.options import STEPS
from pyvae.engines.pytorch import PyTorchEngine
from pyvae.model.objectives import OBJECTIVES
from pyvae.model.stages import quantities
from pyvae.recipes import RECIPES
from pyvae.trace.trace import Trace

SMALL = ("--data", "digits", "--batch-size", "8", "--latent-dim", "3", "--steps", "2")
PYVAE = Path(sys.executable).with_name("pyvae")
TRACE = {"trace.json", "history.csv", "parameters.safetensors", "latents.safetensors"}
FIGURES = {"loss_history.png", "latent_means.png"}
TINY = ("--data", "digits", "--batch-size", "3", "--latent-dim", "2", "--dtype", "float32")


@pytest.fixture
def run(command, tmp_path, trained):
    """A finished run of both objectives in the folder `run`."""
    for name, trace in trained.items():
        (tmp_path / "run" / name).mkdir(parents=True)
        trace.save(tmp_path / "run" / name)
    return command


def everything_below(folder):
    return sorted(
        (str(path.relative_to(folder)), path.stat().st_mtime_ns) for path in folder.rglob("*")
    )


def assert_refused(result, said):
    code, _, err = result
    assert code == 2
    (line,) = err.splitlines()
    assert line.startswith("pyvae: ")
    assert said in line
    assert "Traceback" not in line


@pytest.mark.parametrize("objective", ["vae", "emae", "both"])
def test_train_leaves_a_trace_and_figures_of_each_objective(command, tmp_path, objective):
    code, out, err = command("train", "conv", *SMALL, "--objective", objective, "--out", "out")
    assert (code, err) == (0, "")
    names = ("vae", "emae") if objective == "both" else (objective,)
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "run.json",
        *names,
        *FIGURES,
        *(f"samples_{name}.png" for name in names),
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


def test_without_out_a_run_goes_where_the_help_says(command, tmp_path):
    assert command("train", "conv", *SMALL)[0] == 0
    assert (tmp_path / "runs" / "conv" / "vae" / "trace.json").is_file()


def test_auto_says_in_one_line_that_it_fell_back(command, tmp_path):
    code, out, err = command("train", "conv", *SMALL[2:], "--out", "out")
    assert (code, err) == (0, "")
    assert sum("handwritten digits" in line for line in out.splitlines()) == 1
    assert Trace.load(tmp_path / "out" / "vae").data["name"] == "digits"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("train", "covn"), "unknown recipe 'covn'; expected one of conv, mlp, mlp-wide,"),
        (("train", "covn"), "did you mean 'conv'?"),
        (("train", "conv", "--variant", "wide"), "--variant wide: recipe conv has no variants"),
        (("train", "mlp", "--variant", "wild"), "did you mean 'wide'?"),
        (("train", "mlp", "--objective", "both"), "unknown objective 'both'; expected one of elbo"),
        (("train", "mlp", "--objective", "vae"), "unknown objective 'vae'; expected one of elbo"),
        (
            ("train", "conv", "--set", "beta=1"),
            "recipe conv has no hyperparameters. Leave out --set",
        ),
        (("train", "beta", "--set", "beta"), "--set 'beta'; expected NAME=NUMBER"),
        (("train", "beta", "--set", "beta=-1"), "--set beta=-1; expected weight of the KL"),
        (("train", "clustering", "--set", "clusters=1"), "--set clusters=1; expected number of"),
        (("train", "clustering", "--set", "clusters=2.5"), "a whole number of 2 or more"),
        (("train", "clustering", "--set", "temperature=0"), "a number above 0"),
        (("train", "clustering", "--set", "temprature=1"), "did you mean 'temperature'?"),
        (("train", "mlp", "--data", "toy"), "recipe mlp with toy, 2 numbers each"),
        (("train", "clustering-toy", "--data", "digits"), "with digits, 784 numbers each"),
        (("train",), "RECIPE"),
        (("train", "conv", "--objective", "emea"), "did you mean 'emae'?"),
        (("train", "conv", "--objective", "bth"), "did you mean 'both'?"),
        (("train", "conv", "--data", "mnits"), "did you mean 'mnist'?"),
        (("train", "conv", "--data", "mnist"), "PYVAE_DATA"),
        (("train", "conv", "--data", "absent.npz"), "'absent.npz' does not exist"),
        (("train", "conv", "--dtype", "float23"), "did you mean 'float32'?"),
        (("train", "conv", "--device", "cdua"), "did you mean 'cuda'?"),
        (("train", "conv", "--latent-dim", "0"), "--latent-dim 0; expected 1 or more"),
        (("train", "conv", "--steps", "0"), "--steps 0; expected 1 or more"),
        (("train", "conv", "--epochs", "-1"), "--epochs -1; expected 1 or more"),
        (("train", "conv", "--batch-size", "0"), "--batch-size 0; expected 1 or more"),
        (
            ("train", "conv", "--data", "digits", "--batch-size", "1798"),
            "1797 images are fewer than one batch of 1798",
        ),
        (("train", "conv", "--learning-rate", "nan"), "--learning-rate nan"),
        (("train", "conv", "--learning-rate", "0"), "--learning-rate 0.0"),
        (("train", "conv", "--seed", "-1"), "--seed -1"),
        (("train", "conv", "--steps", "two"), "--steps"),
        (("train", "conv", "--steps", "2.5"), "--steps"),
        (("train", "conv", "--learning-rate", "fast"), "--learning-rate"),
        (("train", "conv", "--steps"), "--steps"),
        (("train", "conv", "--stepz", "1"), "--stepz"),
        (("train", "conv", "extra"), "extra"),
        (("trian", "conv"), "trian"),
        (("train", "conv", *SMALL, "--out", "file"), "output folder 'file' cannot be written"),
        (("train", "conv", *SMALL, "--out", "file/below"), "cannot be written"),
        (("train", "conv", *SMALL, "--out", "a" * 300), "cannot be written"),
        (("sample", "absent", "--out", "x.png"), "'absent' holds no finished run"),
        (
            ("sample", "file", "--out", "x.png"),
            "'file' is a file; give the folder that pyvae train",
        ),
        (("sample", "run/vae", "--out", "x.xyz"), "'x.xyz' is no picture's name"),
        (("sample", "run/vae", "--out", "new/x"), "'new/x' is no picture's name"),
        (("sample", "run/vae", "--out", "x.png", "-n", "0"), "-n 0; expected 1 to 10000 images"),
        (("sample", "run/vae", "--out", "x.png", "-n", "many"), "-n"),
        (("sample", "run/vae", "--out", "file/x.png"), "cannot be written"),
        (("sample", "run", "--out", "x.png"), "run/vae or run/emae"),
        (("sample", "run/vae"), "--out"),
        (("figures", "absent"), "'absent' holds no finished run"),
        (("figures",), "RUN"),
        (("recipes", "--loud"), "--loud"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2_and_writes_nothing(run, tmp_path, arguments, said):
    (tmp_path / "file").write_text("mine")
    before = everything_below(tmp_path)
    assert_refused(run(*arguments), said)
    assert everything_below(tmp_path) == before


@pytest.mark.parametrize(
    "arguments",
    [
        ("train", "conv", "--objective", "VAE"),
    ],
)
def test_capitals_are_told_the_nearest_name(run, arguments):
    assert_refused(run(*arguments), "did you mean 'vae'?")


@pytest.mark.parametrize(
    "arguments",
    [
        ("train", "conv", "--data", "a" * 300 + ".npz"),
        ("sample", "a" * 300, "--out", "x.png"),
        ("sample", "run/vae", "--out", "a" * 300 + ".png"),
        ("sample", "run/vae", "--out", "folder.png"),
        ("sample", "run/vae", "--out", "x.pgf"),
        ("sample", "run/vae", "--out", "x.png", "--seed", "-1"),
        ("sample", "run/vae", "--out", "x.png", "-n", str(10**14)),
        ("train", "conv", *SMALL, "--latent-dim", str(10**14)),
        ("train", "conv", *SMALL, "--latent-dim", str(10**30)),
    ],
)
def test_odd_input_is_one_line_and_exit_code_2_and_writes_nothing(run, tmp_path, arguments):
    (tmp_path / "folder.png").mkdir()
    before = everything_below(tmp_path)
    assert_refused(run(*arguments), "")
    assert everything_below(tmp_path) == before


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


def test_absent_cuda_is_the_users_error(command, tmp_path):
    if torch.cuda.is_available():
        pytest.skip("needs a machine without CUDA")
    result = command("train", "conv", *SMALL, "--device", "cuda", "--out", "out")
    assert_refused(result, "finds no CUDA device")
    assert not (tmp_path / "out").exists()


def test_divergence_is_one_line_and_keeps_the_steps_before(command, tmp_path):
    arguments = ("--learning-rate", "1e30", "--steps", "5", "--out", "out")
    assert_refused(command("train", "conv", *SMALL, *arguments), "try a smaller --learning-rate")
    trace = Trace.load(tmp_path / "out" / "vae")
    assert not trace.complete
    assert 1 <= trace.steps < 5


def test_an_interrupted_run_keeps_its_steps(command, tmp_path, monkeypatch):
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


def test_samples_go_into_the_file_asked_for(run, tmp_path):
    for name, seed in (("new/a.png", 1), ("b.png", 1), ("c.png", 2)):
        code, out, err = run("sample", "run/vae", "-n", "5", "--seed", seed, "--out", name)
        assert (code, out, err) == (0, f"written: {name}\n", "")
    pictures = [
        np.asarray(Image.open(tmp_path / name)).tobytes()
        for name in ("new/a.png", "b.png", "c.png")
    ]
    assert pictures[0] == pictures[1]
    assert pictures[0] != pictures[2]


def test_figures_are_drawn_again(run, tmp_path):
    assert run("figures", "run") == (0, "written: run\n", "")
    expected = FIGURES | {"samples_vae.png", "samples_emae.png"}
    assert {path.name for path in (tmp_path / "run").glob("*.png")} == expected


def test_figures_of_one_trace_go_into_its_folder(run, tmp_path):
    assert run("figures", "run/emae")[0] == 0
    found = {path.name for path in (tmp_path / "run" / "emae").iterdir()}
    assert found == TRACE | FIGURES | {"samples_emae.png"}


def test_recipes_are_listed_with_their_settings(command, conv):
    code, out, _ = command("recipes")
    assert code == 0
    assert conv.source in out
    assert "50 epochs, batch 250, 30 latent dimensions, Adam 0.001" in out


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=list(RECIPES))
def test_every_recipe_is_listed_with_its_own_settings(command, recipe):
    code, out, _ = command("recipes")
    assert code == 0
    assert f"{recipe.name}: {recipe.title}" in out
    assert recipe.source in out
    for one in recipe.hyper:
        assert f"--set {one.name}={one.value:g}: {one.what}" in out


@pytest.mark.parametrize(
    ("arguments", "recipe"),
    [
        (("mlp", "--data", "digits"), "mlp"),
        pytest.param(
            ("mlp", "--variant", "wide", "--data", "digits"), "mlp-wide", marks=pytest.mark.slow
        ),
        (("beta", "--data", "digits", "--set", "beta=0.01"), "beta"),
        (("clustering-toy", "--set", "clusters=4", "--set", "temperature=0.7"), "clustering-toy"),
        pytest.param(
            ("clustering", "--variant", "toy", "--data", "toy"),
            "clustering-toy",
            marks=pytest.mark.slow,
        ),
    ],
)
def test_any_recipe_is_trained_drawn_and_sampled(command, tmp_path, arguments, recipe):
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
    assert len(list((tmp_path / "out").glob("*.png"))) == 3


@pytest.mark.parametrize(
    "name", ["train", "trace", "reproduce", "sample", "figures", "recipes", "doctor"]
)
@pytest.mark.parametrize("option", ["--help", "-h"])
def test_every_command_has_help(command, name, option):
    code, out, err = command(name, option)
    assert (code, err) == (0, "")
    assert f" {name} " in next(line for line in out.splitlines() if "Usage" in line)


def test_main_reads_the_process_arguments(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["pyvae", "recipes"])
    assert main() == 0
    assert "conv:" in capsys.readouterr().out


@pytest.mark.slow
def test_as_a_user_types_it(pyvae, tmp_path):
    done = pyvae("train", "conv", *SMALL, "--objective", "both", "--out", "out")
    assert (done.returncode, done.stderr) == (0, "")
    assert "nats per image" in done.stdout
    assert (tmp_path / "out" / "emae" / "trace.json").is_file()
    done = pyvae("train", "conv", *SMALL, "--dtype", "half", "--out", "no")
    assert_refused((done.returncode, done.stdout, done.stderr), "unknown dtype 'half'")
    assert not (tmp_path / "no").exists()


def test_help_as_a_user_types_it(pyvae):
    done = pyvae("--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert all(name in done.stdout for name in ("train", "trace", "sample", "figures", "doctor"))


@pytest.mark.skipif(os.name != "posix", reason="folder permissions are POSIX's")
def test_a_folder_without_write_permission_is_the_users_error(command, tmp_path):
    (tmp_path / "locked").mkdir(mode=0o555)
    if os.access(tmp_path / "locked", os.W_OK):
        pytest.skip("needs a user whom folder permissions bind (not root)")
    result = command("train", "conv", *SMALL, "--out", "locked/out")
    assert_refused(result, "cannot be written")


@pytest.fixture
def tracing(command, tmp_path):
    """Runs `pyvae trace` in this process; the probes (30 MB each) go when the test is over."""

    def trace(*arguments):
        return command("trace", *TINY, *arguments)

    yield trace
    for path in tmp_path.rglob("step-*.safetensors"):
        path.unlink()


@pytest.mark.parametrize(
    ("options", "probed"), [((), [1]), (("--probe", "2,4"), [2, 4]), (("--probe", "none"), [])]
)
def test_trace_writes_a_trace_and_the_probes_asked_for(tracing, conv, tmp_path, options, probed):
    code, out, err = tracing("--steps", 4, *options, "--out", "new/out")
    assert (code, err) == (0, "")
    assert "written: new/out" in out
    folder = tmp_path / "new" / "out"
    there = {path.name for path in folder.iterdir()}
    assert there == TRACE | {"run.json"} | ({"probes"} if probed else set())
    trace = Trace.load(folder)
    assert (trace.engine, trace.mode, trace.steps, trace.complete) == ("pytorch", "free", 4, True)
    assert trace.settings.objective == "vae"
    assert trace.probed == probed
    names = {f"step-{step:06d}.safetensors" for step in probed}
    assert {path.name for path in folder.glob("probes/*")} == names
    promised = {q.key for q in quantities(conv.stages, conv.parameter_names(2))}
    for step in probed:
        probe = trace.probe(step)
        assert probe.keys() == promised
        assert probe["forward/total"] == trace.losses[step - 1, 0]


def test_trace_writes_what_train_would(tracing, command, tmp_path):
    for name in ("traced", "trained"):
        arguments = ("--steps", "2", "--seed", "5", "--objective", "emae", "--out", name)
        done = (
            tracing(*arguments) if name == "traced" else command("train", "conv", *TINY, *arguments)
        )
        assert done[0] == 0
    traced, trained = Trace.load(tmp_path / "traced"), Trace.load(tmp_path / "trained" / "emae")
    assert np.array_equal(traced.losses, trained.losses)
    assert traced.settings == trained.settings
    assert all(np.array_equal(traced.parameters[k], v) for k, v in trained.parameters.items())


def test_trace_writes_both_objectives_into_two_folders(tracing, tmp_path):
    code, *_ = tracing("--steps", 2, "--objective", "both", "--probe", "2", "--out", "out")
    assert code == 0
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"run.json", "vae", "emae"}
    for name in ("vae", "emae"):
        trace = Trace.load(tmp_path / "out" / name)
        assert (trace.settings.objective, trace.probed) == (name, [2])
        assert trace.probe(2)["forward/total"] == trace.losses[1, 0]


def test_without_a_length_a_trace_has_as_many_steps_as_a_comparison(tracing, tmp_path, monkeypatch):
    monkeypatch.setattr(PyTorchEngine, "step", lambda self, x, draws: torch.ones(3))
    assert tracing("--probe", "none", "--out", "out")[0] == 0
    assert Trace.load(tmp_path / "out").steps == STEPS
    assert tracing("--probe", "none", "--epochs", 1, "--batch-size", 20, "--out", "epoch")[0] == 0
    assert Trace.load(tmp_path / "epoch").steps == 1797 // 20


def test_a_second_trace_replaces_the_first_with_its_probes(tracing, tmp_path):
    assert tracing("--steps", 2, "--probe", "all", "--out", "out")[0] == 0
    assert tracing("--steps", 1, "--probe", "1", "--out", "out")[0] == 0
    trace = Trace.load(tmp_path / "out")
    assert (trace.steps, trace.probed) == (1, [1])
    assert [path.name for path in (tmp_path / "out" / "probes").iterdir()] == [
        "step-000001.safetensors"
    ]


@pytest.mark.parametrize("name", ["here", "link", "."])
def test_a_trace_goes_into_a_folder_that_is_there(tracing, tmp_path, monkeypatch, name):
    (tmp_path / "here").mkdir()
    (tmp_path / "link").symlink_to("here")
    if name == ".":
        monkeypatch.chdir(tmp_path / "here")
    for _ in range(2):
        code, _, err = tracing("--steps", 1, "--probe", "none", "--out", name)
        assert (code, err) == (0, "")
    assert Trace.load(tmp_path / "here").steps == 1


def test_following_ones_own_trace_gives_the_same_losses(tracing, tmp_path):
    steps = ("--steps", 3)
    assert tracing(*steps, "--probe", "all", "--out", "leader")[0] == 0
    assert tracing(*steps, "--probe", "none", "--follow", "leader", "--out", "follower")[0] == 0
    leader, follower = Trace.load(tmp_path / "leader"), Trace.load(tmp_path / "follower")
    assert (leader.mode, follower.mode) == ("free", "resync")
    assert np.array_equal(leader.losses, follower.losses)
    assert all(np.array_equal(follower.parameters[k], v) for k, v in leader.parameters.items())


def test_a_trace_that_cannot_be_followed_is_one_line_and_exit_code_2(tracing, tmp_path):
    assert tracing("--steps", 3, "--probe", "1", "--out", "leader")[0] == 0
    assert tracing("--steps", 2, "--probe", "1", "--out", "short")[0] == 0
    before = everything_below(tmp_path)
    for arguments, said in (
        (("--steps", 3, "--follow", "leader"), "'leader' was not probed in step 2; expected a"),
        (("--steps", 4, "--follow", "short"), "was not probed in step 2"),
        (("--steps", 2, "--follow", "short", "--objective", "emae"), "expected emae"),
        (("--steps", 2, "--follow", "short", "--objective", "both"), "expected emae"),
        (("--steps", 2, "--follow", "short", "--latent-dim", 3), "has latent dim 2; expected 3"),
        (("--steps", 2, "--follow", "absent"), "'absent/vae' holds no trace"),
        (("--steps", 2, "--follow", "short", "--out", "short"), "is the trace to follow"),
    ):
        assert_refused(tracing("--out", "out", *arguments), said)
        assert everything_below(tmp_path) == before


def test_a_spoiled_probe_of_the_leader_is_one_line_and_keeps_the_steps_before(tracing, tmp_path):
    assert tracing("--steps", 3, "--probe", "all", "--out", "leader")[0] == 0
    probe = tmp_path / "leader" / "probes" / "step-000002.safetensors"
    probe.write_bytes(probe.read_bytes()[:100])
    result = tracing("--steps", 3, "--probe", "1", "--follow", "leader", "--out", "out")
    assert_refused(result, "step-000002.safetensors' cannot be read")
    trace = Trace.load(tmp_path / "out")
    assert (trace.steps, trace.complete, trace.mode, trace.probed) == (2, False, "resync", [1])


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--probe", "0"), "--probe '0'; expected steps such as 1 or 1,3-5, or all, or none"),
        (("--probe", "3-1"), "--probe '3-1'"),
        (("--probe", "x"), "--probe 'x'"),
        (("--probe", ""), "--probe ''"),
        (("--probe", "1,9"), "--probe names step 9; expected steps from 1 to 4"),
        (("--probe", "5"), "--probe names step 5"),
        (("--probe",), "--probe"),
        (("--engine", "pytroch"), "'pytroch'; expected one of pytorch, base-r, r-torch; did you"),
        (("--engine", "base_r"), "did you mean 'base-r'?"),
        (("--recipe", "covn"), "did you mean 'conv'?"),
        (("--objective", "emea"), "did you mean 'emae'?"),
        (("--data", "mnits"), "did you mean 'mnist'?"),
        (("--steps", "0"), "--steps 0; expected 1 or more"),
        (("--batch-size", "1798"), "1797 images are fewer than one batch of 1798"),
        (("extra",), "extra"),
        (("--out", "file"), "output folder 'file' cannot be written"),
        (("--out", "file/below"), "cannot be written"),
    ],
)
def test_bad_input_for_a_trace_is_one_line_and_writes_nothing(tracing, tmp_path, arguments, said):
    (tmp_path / "file").write_text("mine")
    before = everything_below(tmp_path)
    assert_refused(tracing("--steps", 4, "--out", "out", *arguments), said)
    assert everything_below(tmp_path) == before


def test_a_trace_needs_a_folder(tracing):
    assert_refused(tracing("--steps", 1), "--out")


def test_an_interrupted_trace_keeps_its_steps_and_probes(tracing, tmp_path, monkeypatch):
    step = PyTorchEngine.step
    done = []

    def interrupted(self, x, draws, probe=None):
        if len(done) == 2:
            raise KeyboardInterrupt
        done.append(step(self, x, draws, probe))
        return done[-1]

    monkeypatch.setattr(PyTorchEngine, "step", interrupted)
    code, _, err = tracing("--steps", 9, "--probe", "2-9", "--out", "out")
    assert (code, err) == (130, "pyvae: interrupted\n")
    trace = Trace.load(tmp_path / "out")
    assert not trace.complete
    assert np.array_equal(trace.losses, torch.stack(done).double().numpy())
    assert trace.probed == [2]
    assert trace.probe(2)["forward/total"] == trace.losses[1, 0]


def test_a_diverging_trace_is_one_line_and_keeps_the_steps_before(tracing, tmp_path):
    arguments = ("--learning-rate", "1e30", "--steps", "5", "--probe", "1", "--out", "out")
    assert_refused(tracing(*arguments), "try a smaller --learning-rate")
    trace = Trace.load(tmp_path / "out")
    assert not trace.complete
    assert 1 <= trace.steps < 5
    assert trace.probed == [1]


@pytest.mark.slow
@pytest.mark.r
def test_a_trace_of_r_follows_one_of_pytorch(tracing, tmp_path):
    both = ("--dtype", "float64", "--steps", 3)
    assert tracing(*both, "--probe", "1-2", "--out", "python")[0] == 0
    code, out, err = tracing(
        *both, "--engine", "base-r", "--probe", "none", "--follow", "python", "--out", "r"
    )
    assert (code, err) == (0, "")
    assert "VAE in base-r: 3 steps" in out
    python, r = Trace.load(tmp_path / "python"), Trace.load(tmp_path / "r")
    assert (r.engine, r.mode) == ("base-r", "resync")
    np.testing.assert_allclose(r.losses, python.losses, rtol=1e-13)
    assert r.parameters.keys() == python.parameters.keys()


def test_draws_are_written_for_who_asks(tracing, tmp_path):
    steps = ("--steps", 2, "--probe", "none", "--out", "out")
    assert tracing(*steps)[0] == 0
    assert not (tmp_path / "out" / "draws").exists()
    assert tracing(*steps, "--draws")[0] == 0
    names = {"initial.safetensors", "step-000001.safetensors", "step-000002.safetensors"}
    assert {path.name for path in (tmp_path / "out" / "draws").iterdir()} == names


@pytest.fixture
def threads():
    """Puts back PyTorch's number of threads."""
    before = torch.get_num_threads()
    yield before
    torch.set_num_threads(before)


@pytest.mark.slow
@pytest.mark.parametrize("rng", ["torch", "r"])
@pytest.mark.parametrize("adam", [None, "torch", "r-torch"])
def test_a_trace_with_a_generator_of_its_own(tracing, threads, conv, tmp_path, rng, adam):
    asked = () if adam is None else ("--adam", adam)
    arguments = ("--steps", 3, "--rng", rng, *asked, "--threads", 1, "--seed", 5, "--probe", "2")
    for name in ("once", "again"):
        torch.manual_seed(len(name))
        code, _, err = tracing(*arguments, "--out", name)
        assert (code, err) == (0, "")
    once, again = (Trace.load(tmp_path / name) for name in ("once", "again"))
    assert once.settings.rng == rng
    assert (once.environment["adam"], once.environment["threads"]) == (adam or "torch", "1")
    assert np.array_equal(once.losses, again.losses)
    assert all(np.array_equal(again.parameters[k], v) for k, v in once.parameters.items())
    drawn = {f"draw/{name}" for name in conv.draws(2)}
    promised = {q.key for q in quantities(conv.stages, conv.parameter_names(2))}
    assert once.probe(2).keys() == promised | drawn


def test_generators_and_orders_of_adam_give_different_runs(tracing, tmp_path):
    runs = {"a": (), "b": ("--rng", "torch"), "c": ("--rng", "r"), "d": ("--adam", "r-torch")}
    for name, options in runs.items():
        assert tracing("--steps", 2, *options, "--probe", "none", "--out", name)[0] == 0
    a, b, c, d = (Trace.load(tmp_path / name) for name in runs)
    first = [trace.losses[0, 0] for trace in (a, b, c)]
    assert len(set(first)) == 3
    assert np.array_equal(a.losses, d.losses)  # the second step's parameters come after its loss
    name = "encoder.fc1.weight"
    assert not np.array_equal(a.parameters[name], d.parameters[name])
    np.testing.assert_allclose(a.parameters[name], d.parameters[name], rtol=0, atol=1e-7)


def test_threads_are_those_asked_for(tracing, threads, tmp_path):
    assert tracing("--steps", 1, "--probe", "none", "--threads", 2, "--out", "out")[0] == 0
    assert Trace.load(tmp_path / "out").environment["threads"] == "2"
    torch.set_num_threads(threads)
    assert tracing("--steps", 1, "--probe", "none", "--out", "out")[0] == 0
    assert Trace.load(tmp_path / "out").environment["threads"] == str(threads)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--rng", "toch"), "unknown rng 'toch'; expected one of injected, torch, r; did you mean"),
        (("--rng", ""), "unknown rng ''"),
        (("--adam", "rtorch"), "expected one of torch, r-torch; did you mean 'r-torch'?"),
        (("--adam", "r-torch", "--engine", "base-r"), "--adam r-torch with --engine base-r"),
        (("--threads", "0"), "--threads 0; expected 1 to 1024"),
        (("--threads", "-2"), "--threads -2; expected"),
        (("--threads", "9999"), "--threads 9999; expected"),
        (("--threads", "two"), "--threads"),
        (("--rng", "r", "--seed", 2**31), f"--seed {2**31} with R's generator: expected"),
        (("--rng", "torch", "--draws"), "--draws with --rng torch; expected --rng injected"),
    ],
)
def test_bad_input_for_a_generator_is_one_line_and_writes_nothing(
    tracing, threads, tmp_path, arguments, said
):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "trace.json").write_text("of an earlier trace")
    before = everything_below(tmp_path)
    assert_refused(tracing("--steps", 1, "--out", "out", *arguments), said)
    assert everything_below(tmp_path) == before


@pytest.mark.r
def test_an_engine_in_r_with_a_generator_that_it_does_not_have(tracing, tmp_path):
    before = everything_below(tmp_path)
    arguments = ("--engine", "base-r", "--rng", "torch", "--steps", 1, "--out", "out")
    assert_refused(tracing(*arguments), "engine base-r with rng 'torch'; expected injected or r")
    assert everything_below(tmp_path) == before


@pytest.mark.parametrize("command", [["train", "clustering"], ["trace", "--recipe", "clustering"]])
def test_too_few_labels_leave_nothing_behind(command, tmp_path, capsys):
    arguments = ["--variant", "semi-supervised", "--set", "labels=5", "--data", "digits"]
    assert main([*command, *arguments, "--out", str(tmp_path / "out")]) == 2
    assert "--set labels=5 with 10 classes" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("program", "arguments", "unbuffered"),
    [
        ([PYVAE], ["recipes"], ""),
        ([sys.executable, "-m", "pyvae"], ["recipes"], "1"),
        ([PYVAE], ["--help"], ""),
        ([PYVAE], ["train", "conv", *SMALL, "--out", "o"], "1"),
    ],
)
def test_a_closed_pipe_is_silent(tmp_path, program, arguments, unbuffered):
    done = subprocess.run(
        [
            "bash",
            "-c",
            '"$@" | true; exit ${PIPESTATUS[0]}',
            "bash",
            *map(str, program),
            *arguments,
        ],
        cwd=tmp_path,
        env=os.environ | {"PYTHONUNBUFFERED": unbuffered},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert (done.returncode, done.stderr) == (141, "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_full_device_behind_standard_output_is_a_line(unbuffered):
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [PYVAE, "--version"],
            stdout=full,
            stderr=subprocess.PIPE,
            env=os.environ | {"PYTHONUNBUFFERED": unbuffered},
            text=True,
            check=False,
        )
    assert done.returncode == 2
    line = "pyvae: no space is left for standard output, or on the disk\n"
    assert done.stderr == line


def test_the_version(command):
    assert command("--version") == (0, "pyvae 0.1.0\n", "")


@pytest.mark.parametrize("name", ["train", "trace", "reproduce", "verify", "compare"])
def test_the_width_alone_breaks_the_lines_of_a_help_text(command, monkeypatch, name):
    monkeypatch.setenv("COLUMNS", "60")
    code, out, _ = command(name, "--help")
    assert code == 0
    text = out.partition("╭")[0]
    paragraphs = [part for part in re.split(r"\n\s*\n", text) if "Usage:" not in part]
    lines = [part.strip("\n").split("\n") for part in paragraphs if part.strip()]
    assert any(len(paragraph) > 2 for paragraph in lines)
    for paragraph in lines:
        for line, following in itertools.pairwise(paragraph):
            # what comes next found no room on the line
            assert len(line.rstrip()) + 1 + len(following.split()[0]) > 60 - 2, line


@pytest.mark.parametrize(
    "environment",
    [
        {"MPLBACKEND": "module://matplotlib_inline.backend_inline"},
        {"MPLBACKEND": "garbage"},
        {"MATPLOTLIBRC": "."},
    ],
    ids=str,
)
def test_settings_of_matplotlib_change_no_picture(pyvae, tmp_path, environment):
    assert pyvae("train", "beta", *SMALL, "--out", "plain").returncode == 0
    odd = tmp_path / "matplotlibrc"
    if "MATPLOTLIBRC" in environment:
        odd.write_text("text.usetex: true\nfigure.dpi: 7\nsavefig.bbox: tight\nno.such: 1\n")
    done = pyvae("train", "beta", *SMALL, "--out", "odd", **environment)
    assert (done.returncode, done.stderr) == (0, "")
    pictures = sorted(path.name for path in (tmp_path / "odd").glob("*.png"))
    assert pictures == ["latent_means.png", "loss_history.png", "samples_beta.png"]
    for name in pictures:
        assert (tmp_path / "odd" / name).read_bytes() == (tmp_path / "plain" / name).read_bytes()


def test_a_picture_that_cannot_be_drawn_is_a_line_beside_a_run(run, monkeypatch, tmp_path):
    def broken(figure, path):
        raise RuntimeError("no\nfont")

    monkeypatch.setattr("pyvae.figures.style.save_figure", broken)
    code, out, err = run("train", "conv", *SMALL, "--out", "out")
    assert code == 0
    assert out.endswith("written: out\n")
    assert err.splitlines() == [
        f"pyvae: figure 'out/{name}.png' cannot be drawn (RuntimeError: no font)"
        for name in ("loss_history", "latent_means", "samples_vae")
    ]
    # where it is what was asked for, it is an error
    line = "figure '{}' cannot be drawn (RuntimeError: no font)"
    assert_refused(run("figures", "run"), line.format("run/loss_history.png"))
    assert_refused(run("sample", "run/vae", "--out", "x.png"), line.format("x.png"))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_figures_of_a_folder_that_one_may_not_write(run, tmp_path):
    (tmp_path / "run").chmod(0o555)
    assert_refused(run("figures", "run"), "loss_history.png' cannot be written (Permission denied)")
