"""What an engine returned follows, stage by stage, from its own values, whatever its rounding."""

from __future__ import annotations

import numpy as np
import pytest
from stand_ins.narrow import NARROW
from stand_ins.probes import Seen
from stand_ins.rounding import RoundedOtherwise

from comparisons.expected.layers import Layers
from comparisons.stages.own_chain import OwnChain
from pyvae.data.images import load_toy
from pyvae.engines.pytorch import PyTorchEngine
from pyvae.model.draws import Draws
from pyvae.recipes import RECIPES

BATCH, LATENT = 8, 3


def chain_of(name, engine, digits, dtype):
    """One step of a recipe, held against itself."""
    recipe = NARROW[name]
    hyper = {"labels": 10} if name.endswith("supervised") else {}
    data = load_toy() if recipe.features == 2 else digits
    settings = recipe.settings(batch_size=BATCH, latent_dim=LATENT, dtype=dtype, hyper=hyper)
    initial = recipe.initial_parameters(settings.seed, LATENT, **settings.hyper)
    kind = settings.torch_dtype
    floats = {k: v.to(kind) if v.is_floating_point() else v for k, v in initial.items()}
    engine.start(recipe, settings, floats)
    draws = Draws(settings.seed, dtype).step(0, BATCH, recipe.draws(LATENT, **settings.hyper))
    given = recipe.given(data, settings) if recipe.given is not None else {}
    seen = Seen()
    engine.step(data.batch(np.arange(BATCH), kind), draws | given, seen)
    return OwnChain(Layers(recipe, settings, 1), seen)


def names(chain):
    """Its stages but for what is given and the terms of the loss."""
    stages = chain.layers.stages.values()
    return [stage.name for stage in stages if stage.layer != "input" and not stage.is_term]


DTYPES = ("float32", "float64")


@pytest.mark.parametrize(
    ("name", "engine", "dtype"),
    [
        (name, engine, DTYPES[(of_name + of_engine) % 2])  # each two of the three together
        for of_name, name in enumerate(sorted(set(RECIPES) - {"mlp-wide"}))
        for of_engine, engine in enumerate((PyTorchEngine, RoundedOtherwise))
    ],
)
def test_all_of_a_step_follows(digits, name, engine, dtype):
    chain = chain_of(name, engine("cpu"), digits, dtype)
    assert [one for one in names(chain) if not chain.result_follows(one)] == []
    assert [one for one in names(chain) if not chain.gradient_follows(one)] == []


@pytest.mark.parametrize("kind", ["forward", "gradient"])
@pytest.mark.parametrize("name", ["pz_y.lrelu1", "qy_x.pool1", "px_z.bn2", "qz_xy.concat"])
def test_a_value_that_is_off_does_not_nor_what_is_computed_from_it(digits, name, kind):
    chain = chain_of("clustering", PyTorchEngine("cpu"), digits, "float32")
    value = chain.probe[f"{kind}/{name}"].copy()
    value.flat[value.size // 2] += 3e-5 * np.abs(value).max()
    chain.probe[f"{kind}/{name}"] = value
    if kind == "forward":
        assert not chain.result_follows(name)
        (taker, *_) = chain.layers.takers(name)
        assert not chain.result_follows(taker.name)
    assert not chain.gradient_follows(chain.layers.stages[name].inputs[0])


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["forward", "gradient"])
def test_what_is_not_known_does_not_follow(digits, kind):
    chain = chain_of("clustering", PyTorchEngine("cpu"), digits, "float32")
    del chain.probe[f"{kind}/pz_y.bn1"]
    assert not chain.gradient_follows("pz_y.fc1")
    assert chain.result_follows("pz_y.fc2") == (kind == "gradient")
