"""Fixtures for the tests of `pyvae`: no network, small runs, IDX files."""

from __future__ import annotations

import struct
import urllib.error
import urllib.request

import numpy as np
import pytest
from stand_ins.narrow import NARROW

from pyvae.cli.main import main
from pyvae.data.images import data_root, load_toy
from pyvae.data.mnist import is_present
from pyvae.engines.pytorch import PyTorchEngine
from pyvae.model.run import Run
from pyvae.recipes import get_recipe
from pyvae.training.loop import train


@pytest.fixture(autouse=True)
def offline(monkeypatch):
    """No test reaches the network; one that needs an answer replaces `urlopen` again."""

    def refuse(*arguments, **options):
        raise urllib.error.URLError("tests have no network")

    monkeypatch.setattr(urllib.request, "urlopen", refuse)


@pytest.fixture
def empty_root(monkeypatch, tmp_path):
    """A data folder without data, where PYVAE_DATA points."""
    root = tmp_path / "data"
    root.mkdir()
    monkeypatch.setenv("PYVAE_DATA", str(root))
    return root


@pytest.fixture
def real_mnist():
    """The folder of the real MNIST, or a skip."""
    root = data_root()
    if not is_present("MNIST", root):
        pytest.skip("needs MNIST: PYVAE_DATA must name a folder with MNIST/raw")
    return root


@pytest.fixture
def write_idx():
    """Writes an array of bytes as an IDX file (LeCun): magic number, lengths, values."""

    def write(path, values):
        path.parent.mkdir(parents=True, exist_ok=True)
        head = bytes([0, 0, 8, values.ndim]) + struct.pack(f">{values.ndim}I", *values.shape)
        path.write_bytes(head + values.astype(np.uint8).tobytes())

    return write


@pytest.fixture
def write_family(write_idx):
    """Writes the four files of a data set below a root; returns its training set."""

    def write(root, dataset, images=30, size=(28, 28)):
        rng = np.random.default_rng(images)
        raw = root / dataset / "raw"
        for part, count in (("t10k", 7), ("train", images)):
            pixels = rng.integers(0, 256, (count, *size))
            labels = rng.integers(0, 10, count)
            write_idx(raw / f"{part}-images-idx3-ubyte", pixels)
            write_idx(raw / f"{part}-labels-idx1-ubyte", labels)
        return pixels, labels

    return write


@pytest.fixture
def command(monkeypatch, tmp_path, capsys, empty_root):
    """Runs the command line in this process; returns exit code, stdout and stderr."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        capsys.readouterr()
        code = main([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        return code, out, err

    return run


@pytest.fixture(scope="session")
def trained(digits):
    """A short run of each objective of `conv`, by name. Read only."""
    conv = get_recipe("conv")
    small = {"batch_size": 12, "latent_dim": 5, "steps": 3, "dtype": "float64", "seed": 3}
    return {
        name: train(
            Run(conv, conv.settings(objective=name, **small), digits),
            PyTorchEngine("cpu"),
        )
        for name in conv.objectives
    }


@pytest.fixture(scope="session")
def small():
    """Makes settings for a short run of any recipe: small batches, few labels."""

    def make(recipe, **changes):
        short = {"batch_size": 6, "latent_dim": 3, "steps": 3, "dtype": "float64", "seed": 3}
        few = {"labels": 12} if recipe.given else {}
        hyper = few | changes.pop("hyper", {})
        return recipe.settings(**short | changes, hyper=hyper)

    return make


@pytest.fixture(scope="session")
def data_of(digits):
    """What a recipe is trained on in tests: digits, or points."""
    toy = load_toy(60)
    return lambda recipe: toy if recipe.features == 2 else digits


LARGE = ("clustering", "clustering-semi-supervised")  # seconds for what takes the others one


@pytest.fixture(
    scope="session",
    params=[
        pytest.param(recipe, id=name, marks=pytest.mark.slow if name in LARGE else ())
        for name, recipe in NARROW.items()
    ],
)
def any_trained(request, small, data_of):
    """Each recipe, and a short run of it with its first objective. Read only."""
    recipe = request.param
    return recipe, train(Run(recipe, small(recipe), data_of(recipe)), PyTorchEngine("cpu"))
