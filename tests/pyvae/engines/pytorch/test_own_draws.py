"""An engine that draws for itself, with PyTorch's generator or R's."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from alike.arrays import assert_close, part, same

from pyvae.engines.adam import ADAMS
from pyvae.engines.generators import make_generator
from pyvae.engines.pytorch import PyTorchEngine
from pyvae.model.stages import quantities

every_dtype = pytest.mark.parametrize("dtype", ["float32", "float64"])
B = 6  # images of `x`
every_generator = pytest.mark.parametrize("rng", ["torch", "r"])


@pytest.fixture
def own(conv):
    """An engine that draws with its own generator."""

    def make(settings, adam="torch"):
        engine = PyTorchEngine("cpu", adam)
        engine.start(conv, settings, None)
        return engine

    return make


@every_generator
@every_dtype
def test_own_draws_are_those_of_the_generator_in_their_order(own, conv, settings, x, rng, dtype):
    wanted = settings(rng=rng, dtype=dtype)
    engine, generator = own(wanted), make_generator(rng, wanted.seed)
    initial = generator.initial_parameters(conv, wanted.latent_dim)
    told = PyTorchEngine("cpu")
    told.start(conv, wanted, initial)
    assert same(engine.parameters(), told.parameters())
    assert {str(value.dtype) for value in engine.parameters().values()} == {dtype}
    assert np.array_equal(engine.batch_order(30), generator.batch_order(30))
    spec, x = conv.draws(wanted.latent_dim), x.to(wanted.torch_dtype)
    for _ in range(2):
        assert torch.equal(engine.step(x, None), told.step(x, generator.step(B, spec, dtype)))
    masks = {name: kind for name, kind in spec.items() if name != "noise"}
    means = told.latent_means(x, generator.step(B, masks, dtype), training=True)
    assert np.array_equal(engine.latent_means(x, None, training=True), means)
    assert np.array_equal(
        engine.latent_means(x, None, training=False), told.latent_means(x, None, training=False)
    )
    latents = engine.latents(16)
    assert latents.shape == (16, wanted.latent_dim)
    assert str(latents.dtype) == dtype
    assert np.array_equal(latents, generator.normal((16, wanted.latent_dim), dtype))
    assert np.array_equal(engine.generator_state(), generator.state())


@every_generator
def test_own_draws_are_in_the_probe(own, conv, settings, x, rng):
    wanted = settings(rng=rng)
    plain, probed = own(wanted), own(wanted)
    probe = {}
    assert torch.equal(probed.step(x, None, probe), plain.step(x, None))
    draws = part(probe, "draw")
    spec = conv.draws(wanted.latent_dim)
    assert draws.keys() == spec.keys()
    for name, kind in spec.items():
        assert draws[name].shape == (B, *kind.shape)
        assert draws[name].dtype == (np.bool_ if name != "noise" else np.float64)
    kept = probe["forward/encoder.dropout1"] != 0
    assert not (kept & ~draws["dropout1"]).any()
    mu, log_var = probe["forward/encoder.fc2"], probe["forward/encoder.fc3"]
    z = mu + np.exp(log_var / 2) * draws["noise"]
    assert_close(probe["forward/reparameterise"], z, "z")
    promised = quantities(conv.stages, conv.parameter_names(wanted.latent_dim))
    assert probe.keys() == {quantity.key for quantity in promised} | {
        f"draw/{name}" for name in spec
    }


def test_an_engine_with_injected_draws_has_no_generator(start, settings, x):
    engine, _ = start(settings())
    assert engine.generator_state() is None
    for draws in (
        lambda: engine.step(x, None),
        lambda: engine.batch_order(9),
        lambda: engine.latents(2),
        lambda: engine.latent_means(x, None, training=True),
        lambda: engine.restore_generator(np.zeros(3, np.uint8)),
    ):
        with pytest.raises(ValueError, match="draws are injected"):
            draws()


def test_a_start_with_injected_draws_forgets_the_generator(own, conv, settings):
    engine = own(settings(rng="torch"))
    assert engine.generator_state() is not None
    wanted = settings()
    engine.start(conv, wanted, conv.initial_parameters(1, wanted.latent_dim))
    assert engine.generator_state() is None


@every_generator
@pytest.mark.parametrize("adam", ADAMS)
def test_a_run_with_own_draws_goes_on_from_a_state_to_the_bit(own, settings, x, rng, adam):
    whole = own(settings(rng=rng), adam)
    whole.batch_order(9)
    whole.step(x, None)
    state, generator = whole.state(), whole.generator_state()
    kept = generator.copy()
    fresh = own(settings(rng=rng, seed=77), adam)
    fresh.restore(state)
    fresh.restore_generator(generator)
    for engine in (whole, fresh):
        engine.order = engine.batch_order(9)
        engine.losses = engine.step(x, None)
    assert np.array_equal(whole.order, fresh.order)
    assert torch.equal(whole.losses, fresh.losses)
    assert same(whole.state(), fresh.state())
    assert np.array_equal(generator, kept)


def test_running_leaves_the_global_generator_alone(own, start, settings, x):
    before = torch.get_rng_state()
    engine, draw = start(settings())
    engine.step(x, draw(0))
    engine = own(settings(rng="torch"))
    engine.step(x, None)
    engine.latent_means(x, None, training=True)
    engine.latents(3)
    assert torch.equal(torch.get_rng_state(), before)
