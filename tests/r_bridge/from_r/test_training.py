"""What the R package calls, called as reticulate calls it: bytes, lists and dicts."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import safetensors.numpy
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from pyvae.engines.pytorch import PyTorchEngine
from pyvae.errors import UserError
from pyvae.model.run import Run
from pyvae.recipes import get_recipe
from pyvae.training.loop import train
from r_bridge import from_r
from r_bridge.from_r import Training, describe, generate, pack, predict, save_images, unpack

pytestmark = pytest.mark.slow


@pytest.fixture
def images():
    """40 images of noise, as R sends them."""
    x = np.random.default_rng(1).integers(0, 256, (40, 784), dtype=np.uint8)
    return pack(x) | {"name": "R"}


def small(**changes):
    return {
        "recipe": "conv", "device": "cpu", "objective": "vae", "epochs": 2, "batch_size": 20,
        "latent_dim": 3, "seed": 4, "dtype": "float64", "hyper": {},
    } | changes  # fmt: skip


def run(x, labels=None, **changes):
    training = Training(x, labels, small(**changes))
    about = training.start()["value"]
    while not training.advance(5.0)["value"]["done"]:
        pass
    return about, training.finish()["value"]


@given(
    hnp.arrays(
        st.sampled_from([np.uint8, np.int32, np.float64]),
        hnp.array_shapes(max_dims=4),
    )
)
def test_arrays_are_column_major_and_come_back_with_every_bit(x):
    packed = pack(x)
    assert bytes(packed["bytes"]) == x.T.tobytes()
    assert isinstance(packed["bytes"], bytearray)  # what reticulate makes a raw vector of
    back = unpack(packed)
    assert back.dtype == x.dtype
    assert back.shape == x.shape
    assert back.tobytes() == x.tobytes()


def test_other_numbers_become_doubles():
    assert pack(np.arange(3))["type"] == "float64"
    assert pack(np.float32([0.5]))["type"] == "float64"


@pytest.mark.parametrize(
    ("said", "in_r"),
    [
        ("choose --batch-size 40 or less", "choose batch_size 40 or less"),
        ("--set temperature=0", "hyper = list(temperature = 0)"),
        ("points (--data toy)", 'points (x = "toy")'),
        ("another with --out, or no --data", "another with folder, or no x"),
        ("a -- b", "a -- b"),
    ],
)
def test_options_are_called_as_r_calls_its_arguments(said, in_r):
    assert from_r._in_r(said) == in_r


def test_a_run_is_the_run_of_the_training_loop(images):
    about, found = run(images)
    recipe = get_recipe("conv")
    given = {k: v for k, v in small().items() if k not in ("recipe", "device")}
    data = from_r._images(images)
    trace = train(Run(recipe, recipe.settings(**given), data), PyTorchEngine("cpu"))
    assert (about["steps"], about["images"], about["title"]) == (4, 40, "VAE")
    assert np.array_equal(unpack(found["losses"]), trace.losses)
    assert unpack(found["epochs"]).tolist() == [1, 1, 2, 2]
    parameters = safetensors.numpy.load(bytes(found["parameters"]))
    for name, value in trace.parameters.items():
        assert np.array_equal(parameters[name], value)
    for mode, mu in trace.latent_means.items():
        assert np.array_equal(unpack(found["latent_means"][mode]), mu)
    assert found["interrupted"] is False


def test_what_goes_to_r_is_plain():
    """torch.__version__ and such are subclasses, which reticulate leaves in Python."""
    plain = (str, int, float, bool, bytearray)

    def check(value):
        if isinstance(value, dict):
            assert all(type(name) is str for name in value)
            value = list(value.values())
        if isinstance(value, list):
            for one in value:
                check(one)
        else:
            assert type(value) in plain, type(value)

    x = pack(np.zeros((20, 784))) | {"name": "R"}
    about, found = run(x, epochs=1)
    check(about)
    check(found)
    check(describe("clustering"))


def test_it_can_be_stopped_and_is_whole_up_to_there(images):
    training = Training(images, None, small(epochs=10_000))
    training.start()
    while training.advance(0.1)["value"]["step"] < 2:
        pass
    found = training.finish()["value"]
    steps = found["losses"]["dim"][0]
    assert 2 <= steps < 20_000
    assert found["interrupted"] is True
    _, whole = run(images, epochs=10_000, steps=steps)
    for name in ("losses", "latent_means", "samples", "parameters"):
        assert found[name] == whole[name], name


def test_stop_before_the_start_waits_for_nothing():
    Training({"data": "digits"}, None, small()).stop()


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"recipe": "convv"}, "unknown recipe 'convv'"),
        ({"objective": "elbo"}, "recipe conv has no objective elbo"),
        ({"batch_size": 41}, "40 images are fewer than one batch of 41"),
        ({"learning_rate": 1e30, "dtype": "float32"}, "training diverged"),
        ({"recipe": "clustering-toy", "objective": "clustering-points"}, "recipe clustering-toy"),
    ],
)
def test_the_users_mistakes_are_answers(images, changes, problem):
    training = Training(images, None, small(**changes))
    answer = training.start()
    if "value" in answer:  # it shows on the way
        while "value" in answer and not answer["value"].get("done"):
            answer = training.advance(5.0)
        assert "error" in training.finish()
    assert answer["error"]["problem"].startswith(problem)
    assert set(answer["error"]) == {"problem", "expected", "remedy"}


def model_of(found):
    settings = found["settings"]
    names = ("objective", "latent_dim", "dtype", "hyper")
    return {
        "parameters": bytes(found["parameters"]),
        "recipe": found["recipe"],
        **{name: settings[name] for name in names},
    }


def test_predictions_are_the_networks_in_evaluation_mode(images):
    _, found = run(images, batch_size=40, epochs=1)  # one batch: all images, in another order
    model = model_of(found)
    mu = unpack(predict(model, "latent", images)["value"])
    batch = unpack(found["latent_means"]["evaluation"])
    assert np.allclose(mu[np.argsort(mu[:, 0])], batch[np.argsort(batch[:, 0])], atol=1e-12)
    again = unpack(predict(model, "reconstruction", images)["value"])
    decoded = unpack(generate(model, pack(mu))["value"])
    assert again.shape == (40, 784)
    assert np.allclose(again, decoded, atol=1e-12)
    assert "recipe conv" in predict(model, "cluster", images)["error"]["problem"]
    assert "does not exist" in predict(model, "latent", {"data": "no.npz"})["error"]["problem"]
    damaged = model | {"parameters": model["parameters"][:99]}
    assert "cannot be read" in predict(damaged, "latent", images)["error"]["problem"]


def test_images_for_a_comparison_are_what_it_reads(images, tmp_path):
    from pyvae.data.images import load_data

    labels = np.arange(40, dtype=np.int32)
    path = str(tmp_path / "x.npz")
    assert save_images(path, images, pack(labels)) == {"value": path}
    data = load_data(path)
    assert torch.equal(data.pixels, torch.from_numpy(unpack(images).copy()))
    assert data.labels is not None
    assert data.labels.tolist() == labels.tolist()
    _, found = run(images, steps=1)
    of_file, of_array = (
        predict(model_of(found), "latent", x)["value"] for x in ({"data": path}, images)
    )
    assert of_file == of_array


@pytest.mark.slow
def test_pytorch_comes_with_its_own_symbols(warm, tmp_path):
    code = (
        "import os, sys; from r_bridge.torch_in_r import import_torch\n"
        "flags = sys.getdlopenflags()\n"
        "assert 'torch' not in sys.modules\n"
        "assert import_torch() and import_torch()\n"
        "assert sys.getdlopenflags() == flags\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    late = "import torch; from r_bridge.torch_in_r import import_torch; assert not import_torch()"
    assert warm.run("-c", late, folder=tmp_path).returncode == 0


def test_an_error_has_its_parts_in_r_words():
    @from_r._answers
    def fail():
        raise UserError("--batch-size 0", "use --set beta=2", expected="1 or more")

    assert fail() == {
        "error": {
            "problem": "batch_size 0",
            "expected": "1 or more",
            "remedy": "use hyper = list(beta = 2)",
        }
    }
