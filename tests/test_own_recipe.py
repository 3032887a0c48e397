"""docs/how-to/write-a-recipe.md and its two files, on the command line."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from safetensors.numpy import load_file
from torch import nn

DOCS = Path(__file__).parent.parent / "docs" / "how-to"
EXAMPLES, RGB = "pytorch_examples_vae.py:RECIPE", "rgb_vae.py:RECIPE"
PLAIN = """
from dataclasses import replace
import rgb_vae
OWN = replace(rgb_vae.ANNEALED, name="plain", schedule=None)
RECIPE = replace(
    rgb_vae.RECIPE, name="rgb-plain", objectives=("plain",), own_objectives=(OWN,),
    optimizer=None, clip=None,
)
SGD = replace(
    RECIPE, name="rgb-sgd",
    optimizer=lambda parameters, rate: rgb_vae.torch.optim.SGD(parameters, rate, momentum=0.9),
)
"""

pytestmark = pytest.mark.slow


@pytest.fixture
def files(tmp_path):
    """The two files, and 40 colour images, in the folder that the commands run in."""
    for path in (DOCS / "recipes").glob("*.py"):
        shutil.copy(path, tmp_path)
    (tmp_path / "plain.py").write_text(PLAIN)
    numbers = np.random.default_rng(1).integers(0, 256, (40, 32, 32, 3), dtype=np.uint8)
    np.savez(tmp_path / "rgb.npz", images=numbers)
    return tmp_path


@pytest.fixture
def typed(pyvae):
    """Types a command; returns its exit code and what it wrote."""

    def run(*words, drawn=False):
        done = pyvae(*map(str, words), drawn=drawn)
        return done.returncode, done.stdout, done.stderr

    return run


def losses(trace):
    """Total, reconstruction and regulariser of every step: the trace's recipe is not known here."""
    table = pd.read_csv(trace / "history.csv")
    return table[["total", "reconstruction", "regulariser"]].to_numpy()


def first_step(trace):
    """What a trace recorded of its first step."""
    return load_file(next((trace / "probes").glob("step-*1.safetensors")))


SMALL = ("--data", "rgb.npz", "--batch-size", "8", "--set", "warm_up=3")


def test_the_page_names_its_files_and_both_say_how_to_use_them():
    page = (DOCS / "write-a-recipe.md").read_text()
    named = set(re.findall(r"\]\(recipes/(\w+\.py)\)", page))
    assert named == {path.name for path in (DOCS / "recipes").glob("*.py")}
    for name in named:
        assert f"pyvae train {name}:RECIPE" in (DOCS / "recipes" / name).read_text()


def test_the_network_of_pytorch_examples_starts_from_the_original_s_parameters(files, typed):
    code, _, err = typed(
        "trace", "--recipe", EXAMPLES, "--data", "digits", "--steps", 1, "--seed", 5, "--out", "t"
    )
    assert (code, err) == (0, "")
    torch.manual_seed(5)
    sizes = {
        "fc1": (784, 400), "fc21": (400, 20), "fc22": (400, 20), "fc3": (20, 400), "fc4": (400, 784)
    }  # fmt: skip
    start = first_step(files / "t")
    for name, size in sizes.items():
        layer = nn.Linear(*size)
        for kind in ("weight", "bias"):
            expected = getattr(layer, kind).detach().double().numpy()
            assert np.array_equal(start[f"start/{name}.{kind}"], expected)


@pytest.mark.r
@pytest.mark.parametrize(
    ("recipe", "more"),
    [
        (EXAMPLES, ("--data", "digits")),
        ("plain.py:RECIPE", ("--data", "rgb.npz", "--batch-size=8")),
    ],
)
def test_base_r_computes_a_recipe_from_a_file(files, typed, recipe, more):
    words = ("compare", "--recipe", recipe, *more, "--engine", "base-r", "--steps", "3")
    code, out, err = typed(*words, "--out", "c", "--report")
    assert (code, err) == (0, "")
    assert "verdict: agree" in out
    under_test, reference = map(losses, (files / "c" / "traces").iterdir())
    assert np.abs(under_test / reference - 1).max() <= 1e-13
    assert (files / "c" / "samples.png").is_file()


def test_colour_images_are_trained_drawn_and_gone_on_with_to_the_bit(files, typed):
    for words in (
        ("--steps", "6", "--out", "whole"),
        ("--steps", "4", "--out", "parts"),
        ("--steps", "6", "--resume", "parts"),
    ):
        what = () if "--resume" in words else SMALL
        code, out, err = typed("train", RGB, *what, *words, drawn="whole" in words)
        assert (code, err) == (0, "")
    assert "going on after step 4" in out
    whole, parts = (files / run / "annealed" for run in ("whole", "parts"))
    for name in ("history.csv", "parameters.safetensors", "latents.safetensors"):
        assert (whole / name).read_bytes() == (parts / name).read_bytes()
    total, reconstruction, regulariser = losses(whole).T  # beta is 0, 1/3, 2/3, 1, 1, 1
    weights = np.minimum(1, np.arange(6) / 3)
    assert np.allclose(total, reconstruction + weights * regulariser, rtol=1e-6)
    with Image.open(files / "whole" / "samples_annealed.png") as picture:
        red, green, blue, *_ = np.moveaxis(np.asarray(picture, int), -1, 0)
        assert np.abs(red - green).max() > 20 or np.abs(red - blue).max() > 20  # in colour
    for name in ("loss_history", "latent_means"):
        assert (files / "whole" / f"{name}.png").is_file()


def test_the_optimiser_and_the_clipping_are_those_of_the_recipe(files, typed):
    """The first step of AdamW from clipped gradients, and of SGD, computed here."""
    for recipe, objective in ((RGB, "annealed"), ("plain.py:SGD", "plain")):
        words = (*SMALL, "--steps", "1", "--out", objective)
        assert typed("trace", "--recipe", recipe, *words)[0] == 0
        step = first_step(files / objective)
        for key in [key for key in step if key.startswith("start/")]:
            name = key.removeprefix("start/")
            before, g = step[key], step[f"gradient/{name}"]
            after = before - 2e-3 * g
            if objective == "annealed":
                after = before * (1 - 2e-3 * 0.01) - 2e-3 * g / (np.abs(g) + 1e-8)
                m = step[f"optimizer.exp_avg/{name}"]
                assert np.allclose(m, 0.1 * g, rtol=1e-6, atol=1e-12)
            assert np.allclose(step[f"parameter/{name}"], after, rtol=1e-9, atol=1e-12), name
        parameters = [key.removeprefix("start/") for key in step if key.startswith("start/")]
        norm = sum(float((step[f"gradient/{name}"] ** 2).sum()) for name in parameters) ** 0.5
        assert (norm <= 20 * (1 + 1e-6)) == (objective == "annealed")


def test_a_recorded_run_of_it_is_compared_and_verified(files, typed):
    for out in ("a", "b"):
        words = (*SMALL, "--steps", "3", "--probe", "all", "--out", out)
        assert typed("trace", "--recipe", RGB, *words)[0] == 0
    code, out, err = typed("compare", "a", "b", "--recipe", RGB, "--out", "c")
    assert (code, err) == (0, "")
    assert "verdict: agree" in out
    code, out, _ = typed("verify", "a", "--recipe", RGB)
    assert (code, "verdict: the same bits" in out) == (0, True)
    code, _, err = typed("compare", "a", "b", "--out", "d")
    assert code == 2
    assert "is of the recipe 'rgb' of your own. Add --recipe FILE.py:NAME" in err


def test_only_a_file_that_the_user_names_is_run(files, typed):
    assert typed("train", RGB, *SMALL, "--steps", "1", "--out", "run")[0] == 0
    about = json.loads((files / "run" / "run.json").read_text())
    path = (files / "rgb_vae.py").resolve()
    assert about["recipe_file"]["path"] == str(path)
    with (files / "rgb_vae.py").open("a") as file:
        file.write("\nopen('was run', 'w')\n")
    refused = {
        ("train", "--resume", "run"): f"name it beside --resume: {path}:RECIPE",
        ("sample", "run", "--out", "s.png"): "is of the recipe 'rgb' of your own. Add --recipe",
        ("figures", "run"): "is of the recipe 'rgb' of your own. Add --recipe",
        ("verify", "run"): "is of the recipe 'rgb' of your own. Add --recipe",
        ("train", "plain.py:RECIPE", "--resume", "run"): f"is of recipe '{path}:RECIPE', not of '",
        ("train", "conv", "--resume", "run"): "RECIPE cannot be used with --resume",
    }
    for words, said in refused.items():
        code, _, err = typed(*words)
        assert (code, said in err, err.count("\n")) == (2, True, 1), err
    assert not (files / "was run").exists()
    code, _, err = typed("train", RGB, "--resume", "run")
    assert (code, "the recipe's file has changed since" in err) == (2, True)
    assert (files / "was run").exists()
    code, _, err = typed("sample", "run", "--recipe", RGB, "--out", "s.png", "-n", "4")
    assert (code, err) == (0, "")


def test_a_run_of_a_file_with_pyvae_s_loss_asks_for_the_file_too(files, typed):
    words = ("--data", "digits", "--steps", "1", "--batch-size", "8", "--out", "run")
    code, out, _ = typed("train", EXAMPLES, *words)
    assert (code, "summed over its 1 batch; " in out) == (0, True)  # and not of an article
    for command in (
        ("sample", "run", "--out", "s.png"),
        ("encode", "run", "--out", "e.csv"),
        ("verify", "run"),
        ("trace", "--like", "run", "--out", "again"),
        ("compare", "again", "again", "--out", "compared"),
    ):
        code, _, err = typed(*command)
        assert (code, err.count("\n")) == (2, 1), err
        assert "is of the recipe 'pytorch-examples' of your own. Add --recipe FILE.py:NAME" in err
        done = typed(*command, "--recipe", EXAMPLES)
        assert done[0] == 0, done
    code, _, err = typed("compare", "--start", "run", "--data", "digits", "--steps", "1")
    assert (code, "Use --recipe FILE.py:NAME, the file that defines it, or" in err) == (2, True)
    code, _, err = typed("trace", "--like", "run", "--recipe", RGB, "--out", "other")
    assert (code, err) == (2, "pyvae: 'run/vae' is of the recipe 'pytorch-examples' of your own. "
                              "Add --recipe FILE.py:NAME, the file that defines it.\n")  # fmt: skip
    code, _, err = typed(
        "trace", "--like", "again", "--recipe", EXAMPLES, "--seed", "3", "--out", "b"
    )
    assert (code, "--seed cannot be used with --like" in err) == (2, True)
    words = json.loads((files / "again" / "run.json").read_text())["command"]
    assert f"{files.resolve() / 'pytorch_examples_vae.py'}:RECIPE" in words


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("8 * 8, latent", "8 * 9, latent"), r"line 3\d: RuntimeError: .*mat1 and mat2 shapes"),
        (("min(1,", "undefined(1,"), r"line 6\d: NameError: name 'undefined' is not defined"),
    ],
)
def test_an_error_in_a_step_is_one_line_with_the_file_s_line(files, typed, change, said):
    text = (files / "rgb_vae.py").read_text()
    (files / "rgb_vae.py").write_text(text.replace(*change))
    code, _, err = typed("train", RGB, *SMALL, "--steps", "1", "--out", "run")
    assert (code, err.count("\n")) == (2, 1), err
    assert re.search(r"recipe file '.*rgb_vae.py', " + said, err)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("train", RGB, "--data", "digits"), "takes images of shape (3, 32, 32)"),
        (("train", EXAMPLES, "--data", "rgb.npz"), "images of shape (40, 32, 32, 3): expected"),
        (("train", "rgb_vae.py"), "names no object in the file"),
    ],
)
def test_what_does_not_fit_is_one_line(files, typed, words, said):
    code, _, err = typed(*words, "--out", "run")
    assert (code, said in err, err.count("\n")) == (2, True, 1), err
    assert not (files / "run").exists()


@pytest.mark.r
def test_an_engine_says_what_it_cannot_run(files, typed):
    words = ("--data", "rgb.npz", "--batch-size", "8", "--engine", "base-r", "--out", "c")
    for recipe, said in ((RGB, "has an optimiser of its own"), ("plain.py:SGD", "optimiser of")):
        code, _, err = typed("compare", "--recipe", recipe, *words)
        assert (code, said in err, err.count("\n")) == (2, True, 1), err


def test_checkpoints_hold_the_optimiser_s_state(files, typed):
    words = (*SMALL, "--steps", "2", "--out", "run")
    assert typed("train", "plain.py:SGD", *words)[0] == 0
    (path,) = (files / "run" / "plain").glob("checkpoint-*.safetensors")
    keys = {key.split("/")[1] for key in load_file(path) if key.startswith("state/")}
    assert keys == {"step", "parameter", "optimizer.momentum_buffer"}
