"""A run that is not the one that was kept starts again, and it is said what differs."""

from __future__ import annotations

import pytest
import torch
from alike.runs import assert_same_run
from stand_ins.kept_runs import AGAIN, LITTLE, Runs, assert_starts_again

from pyvae.data.images import ImageData
from pyvae.engines.pytorch import PyTorchEngine
from pyvae.model.run import Run
from pyvae.recipes import get_recipe
from pyvae.runs.callbacks.keep import Keep
from pyvae.runs.kept_run import KeptRun
from pyvae.trace.trace import Trace
from pyvae.training.checkpoint import Checkpoint
from pyvae.training.loop import train


def test_a_run_with_other_hyperparameters_is_another(tmp_path, data_of):
    recipe = get_recipe("clustering-toy")
    runs = Runs(tmp_path / "kept", recipe, data_of(recipe))
    settings = runs.settings(epochs=1, batch_size=15)
    runs.killed(settings, 2)
    _, kept = runs.kept(runs.settings(epochs=1, batch_size=15, hyper={"temperature": 0.7}))
    assert kept.taken
    assert "temperature" in kept.found


@pytest.mark.slow
@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"seed": 3}, "seed 2, now 3"),
        ({"rng": "torch"}, "rng injected, now torch"),
        ({"objective": "emae"}, "objective vae, now emae"),
        ({"epochs": 4}, "epochs 3, now 4"),
        ({"steps": 11}, "steps None, now 11"),
        ({"batch_size": 4}, "batch_size 5, now 4"),
        ({"latent_dim": 2}, "latent_dim 3, now 2"),
        ({"learning_rate": 0.02}, "learning_rate 0.01, now 0.02"),
        ({"dtype": "float64"}, "dtype float32, now float64"),
    ],
)
def test_a_run_with_other_settings_is_another(runs, changes, said):
    runs.killed(runs.settings(), 6)
    assert_starts_again(
        runs, runs.settings(**changes), f"this folder holds another run ({said}): starting again"
    )


@pytest.mark.parametrize("complete", [False, True])
def test_a_run_with_another_adam_or_other_versions_is_another(runs, complete):
    settings = runs.settings()
    if complete:
        runs.killed(settings, 6)
        runs.go(settings)
    else:
        runs.killed(settings, 6)
    version = torch.__version__
    _, kept = runs.kept(settings, torch="1.0")
    assert kept.found == f"this folder holds another run (torch {version}, now 1.0): " + AGAIN
    _, kept = runs.kept(settings, threads="64")
    assert f"(threads {torch.get_num_threads()}, now 64)" in kept.found
    _, kept = runs.kept(settings, more="1")
    assert "(more None, now 1)" in kept.found
    _, kept = runs.kept(settings, precision="bf16")
    assert "(precision full, now bf16)" in kept.found
    assert_starts_again(
        runs,
        settings,
        "this folder holds another run (adam torch, now r-torch): starting again",
        adam="r-torch",
    )


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"name": "others"}, "name few, now others"),
        ({"images": 22}, "images 23, now 22"),
    ],
)
def test_a_run_on_other_data_is_another(runs, few, change, said):
    runs.killed(runs.settings(), 6)
    fields = {"name": few.name, "source": few.source} | change
    runs.data = ImageData(
        fields["name"], few.pixels[: fields.get("images", 23)], None, fields["source"]
    )
    assert_starts_again(
        runs, runs.settings(), f"this folder holds another run ({said}): starting again"
    )


@pytest.mark.parametrize(
    ("attribute", "value"), [("engine", "base-r"), ("recipe", "mlp"), ("mode", "resync")]
)
def test_a_run_of_another_engine_recipe_or_mode_is_another(runs, few, attribute, value):
    settings = runs.settings()
    runs.killed(settings, 6)
    trace = Trace.of_run(Run(LITTLE, settings, few), PyTorchEngine("cpu"))
    old = getattr(trace, attribute)
    setattr(trace, attribute, value)
    kept = KeptRun(runs.folder, trace, every=0)
    assert kept.found == (
        f"this folder holds another run ({attribute} {old}, now {value}): starting again"
    )
    assert (kept.checkpoint, kept.complete) == (None, False)


def test_a_run_without_a_checkpoint_starts_again(runs):
    settings = runs.settings()
    runs.killed(settings, 6)
    Checkpoint.remove(runs.folder)
    assert_starts_again(runs, settings, "")


def test_afresh_what_is_there_stays_until_there_is_something_new(runs, few):
    settings = runs.settings()
    done = runs.go(settings).trace
    engine = PyTorchEngine("cpu")
    kept = KeptRun(runs.folder, Trace.of_run(Run(LITTLE, settings, few), engine), 0, afresh=True)
    assert (kept.found, kept.complete, kept.trace.steps) == ("", False, 0)
    assert_same_run(Trace.load(runs.folder), done)
    train(Run(LITTLE, settings, few), engine, [Keep(kept)], trace=kept.trace)
    assert_same_run(Trace.load(runs.folder), done)
    assert Checkpoint.find(runs.folder).checkpoint is None
