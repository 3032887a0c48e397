"""What an engine is asked for: steps, parameters, means and images, and where it fails."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pyvae.engines.pytorch import PyTorchEngine
from pyvae.errors import UserError
from pyvae.recipes.conv import CONV

every_dtype = pytest.mark.parametrize("dtype", ["float32", "float64"])
B = 6  # images of `x`


def test_a_start_forgets_the_run_before(start, conv, settings, x):
    engine, draw = start(settings())
    first = [engine.step(x, draw(step)) for step in range(2)]
    again = settings()
    engine.start(conv, again, conv.initial_parameters(again.seed, again.latent_dim))
    second = [engine.step(x, draw(step)) for step in range(2)]
    assert torch.equal(torch.stack(first), torch.stack(second))


def test_parameters_are_a_copy(start, settings, x):
    engine, draw = start(settings())
    before = engine.parameters()
    kept = {name: value.copy() for name, value in before.items()}
    engine.step(x, draw(0))
    assert all(np.array_equal(before[name], kept[name]) for name in kept)
    assert not any(np.array_equal(engine.parameters()[name], kept[name]) for name in kept)


@every_dtype
def test_all_numbers_have_the_precision_asked_for(start, settings, x, dtype):
    engine, draw = start(settings(dtype=dtype))
    x = x.to(settings(dtype=dtype).torch_dtype)
    assert {str(value.dtype) for value in engine.parameters().values()} == {dtype}
    assert str(engine.step(x, draw(0)).dtype) == f"torch.{dtype}"
    assert engine.latent_means(x, draw(0), training=True).dtype == dtype
    assert engine.decode(draw(0)["noise"]).dtype == dtype


def test_looking_changes_nothing(start, settings, x):
    engine, draw = start(settings())
    before = engine.parameters()
    state = torch.random.get_rng_state()
    looks = [
        (
            engine.latent_means(x, draw(1), training=True),
            engine.latent_means(x, None, training=False),
            engine.decode(noise),
        )
        for noise in [draw(0)["noise"]] * 2
    ]
    for one, again in zip(*looks, strict=True):
        assert np.array_equal(one, again)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert all(np.array_equal(engine.parameters()[name], before[name]) for name in before)


def test_means_and_images_have_the_promised_shapes(start, settings, x):
    engine, draw = start(settings())
    pixels = engine.decode(draw(0)["noise"])
    assert pixels.shape == (B, 784)
    assert pixels.min() >= 0
    assert pixels.max() <= 1
    assert engine.latent_means(x, None, training=False).shape == (B, settings().latent_dim)


@pytest.mark.parametrize("objective", CONV.objectives)
@every_dtype
def test_divergence_is_the_users_error(start, settings, x, objective, dtype):
    wanted = settings(objective=objective, dtype=dtype, learning_rate=1e30)
    engine, draw = start(wanted)

    def run():
        for step in range(5):
            engine.step(x.to(wanted.torch_dtype), draw(step))

    with pytest.raises(UserError, match=r"diverged.*--learning-rate"):
        run()


def test_other_failures_are_not_called_divergence(start, settings, x):
    engine, draw = start(settings())
    with pytest.raises(RuntimeError):
        engine.step(x[:, :100], draw(0))


def test_the_environment_names_what_numbers_depend_on(start, settings):
    engine, _ = start(settings())
    assert engine.environment() == {
        "torch": torch.__version__,
        "device": "cpu",
        "threads": str(torch.get_num_threads()),
        "adam": "torch",
        "kernels": "fast",
    }
    assert "kernels" not in PyTorchEngine("cpu", kernels="torch").environment()  # as before
    with pytest.raises(UserError, match="unknown kernels 'slow'"):
        PyTorchEngine("cpu", kernels="slow")


def test_an_engine_leaves_the_process_as_it_is(warm, tmp_path):
    """Neither its allocator nor its number of threads is its user's to lose."""
    code = """
import ctypes, torch
from pyvae.engines import allocator, pytorch
allocator.ctypes.CDLL = None  # mallopt would be looked up there
threads = torch.get_num_threads()
pytorch.PyTorchEngine("cpu")
assert torch.get_num_threads() == threads
assert not allocator.keep_freed_memory.cache_info().currsize
print("as it was")
"""
    done = warm.run("-c", code, folder=tmp_path)
    assert done.stdout == "as it was\n", done.stderr
