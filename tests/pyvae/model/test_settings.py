from __future__ import annotations

import dataclasses
import json
import math

import hypothesis
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pyvae.engines.generators import generator_names
from pyvae.errors import UserError
from pyvae.model.settings import DTYPES, RNGS, Settings
from pyvae.recipes import RECIPES

modest = hypothesis.settings(max_examples=60)
GOOD = Settings("vae", epochs=2, batch_size=10, latent_dim=3, learning_rate=1e-3)
counts = st.integers(1, 50)


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("objective", "emea", "Did you mean 'emae'"),
        ("objective", "both", "unknown objective 'both'"),
        ("dtype", "float46", "Did you mean 'float64'"),
        (
            "rng",
            "toch",
            "unknown rng 'toch': expected one of injected, torch, r. Did you mean 'torch'",
        ),
        ("epochs", 0, "--epochs 0: expected 1 or more"),
        ("steps", 2.5, "--steps 2.5: expected a whole number"),
        ("batch_size", "10", "--batch-size 10: expected a whole number"),
        ("learning_rate", "fast", "--learning-rate fast: expected a number above 0"),
        ("seed", None, "--seed None: expected 0 to"),
        ("steps", 0, "--steps 0: expected 1 or more"),
        ("steps", 2**63, f"--steps {2**63}: expected 1 to "),
        ("epochs", 10**40, f"--epochs {10**40}: expected 1 to "),
        ("steps", -3, "--steps -3"),
        ("batch_size", 0, "--batch-size 0"),
        ("latent_dim", 0, "--latent-dim 0"),
        (
            "learning_rate",
            1e308,
            "--learning-rate 1e.308: expected a number above 0, at most 1e.300",
        ),
        ("learning_rate", 0.0, "--learning-rate 0.0: expected a number above 0"),
        ("learning_rate", -1e-3, "--learning-rate -0.001"),
        ("learning_rate", math.nan, "--learning-rate nan"),
        ("learning_rate", math.inf, "--learning-rate inf"),
        ("seed", -1, "--seed -1"),
        ("seed", 2**63, f"--seed {2**63}"),
    ],
)
def test_a_value_out_of_its_range_is_refused_by_its_options_name(name, value, said):
    with pytest.raises(UserError, match=said):
        dataclasses.replace(GOOD, **{name: value})


@pytest.mark.parametrize("seed", [0, 2**63 - 1])
def test_the_ends_of_the_range_of_seeds_are_seeds(seed):
    assert dataclasses.replace(GOOD, seed=seed).seed == seed
    torch.Generator().manual_seed(seed)


@modest
@given(counts, counts, st.integers(0, 49), st.none() | st.integers(1, 3000))
def test_a_run_has_all_whole_batches_of_all_epochs_or_as_many_steps_as_asked(
    epochs, batch_size, rest, steps
):
    wanted = dataclasses.replace(GOOD, epochs=epochs, batch_size=batch_size, steps=steps)
    images = 7 * batch_size + rest % batch_size
    assert wanted.steps_per_epoch(images) == 7
    assert wanted.total_steps(images) == min(7 * epochs, math.inf if steps is None else steps)


@pytest.mark.parametrize("images", [0, 9])
def test_fewer_images_than_a_batch_are_refused(images):
    with pytest.raises(UserError, match=f"{images} images are fewer than one batch of 10"):
        GOOD.total_steps(images)


def test_one_batch_of_images_is_enough():
    assert GOOD.steps_per_epoch(10) == 1


def test_published_settings_are_the_defaults(conv):
    settings = conv.settings(epochs=None, steps=4, seed=0)
    published = ("epochs", "batch_size", "latent_dim", "learning_rate")
    assert [getattr(settings, name) for name in published] == [
        getattr(conv, name) for name in published
    ]
    assert (settings.objective, settings.steps, settings.seed) == (conv.objectives[0], 4, 0)


@pytest.mark.parametrize(("name", "bits"), [("float32", 32), ("float64", 64)])
def test_a_dtype_has_the_bits_of_its_name(name, bits):
    assert torch.finfo(dataclasses.replace(GOOD, dtype=name).torch_dtype).bits == bits
    assert name in DTYPES


def test_draws_are_injected_by_default():
    assert GOOD.rng == "injected"
    for rng in RNGS:
        assert dataclasses.replace(GOOD, rng=rng).as_dict()["rng"] == rng


def test_every_generator_can_be_chosen():
    assert set(generator_names()) < set(RNGS)


def test_settings_survive_a_dictionary():
    assert Settings(**GOOD.as_dict()) == GOOD


@pytest.mark.parametrize(
    ("asked", "meant"),
    [
        ("both", ["vae", "emae"]),
        ("all", ["vae", "emae", "em"]),
        ("emae", ["emae"]),
        ("em", ["em"]),
        (None, ["vae"]),
    ],
)
def test_a_run_for_each_objective_meant(conv, asked, meant):
    runs = conv.runs(asked, steps=3)
    assert [run.objective for run in runs] == meant
    assert {run.steps for run in runs} == {3}


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=list(RECIPES))
def test_any_recipe_runs_with_its_own_objectives(recipe):
    (first,) = recipe.runs(None, seed=7)
    assert (first.objective, first.seed) == (recipe.objectives[0], 7)
    assert recipe.runs(recipe.objectives[0], seed=7) == [first]
    if recipe.name != "conv":  # there are no two
        for name in ("both", "all", "vae"):
            said = f"unknown objective '{name}': expected one of {recipe.objectives[0]}"
            with pytest.raises(UserError, match=said):
                recipe.runs(name)


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=list(RECIPES))
def test_settings_of_any_recipe_survive_a_dictionary_and_json(recipe):
    changes = {one.name: one.value + 1 for one in recipe.hyper[-1:]}
    settings = recipe.settings(steps=3, hyper=changes)
    assert Settings(**settings.as_dict()) == settings
    again = Settings(**json.loads(json.dumps(settings.as_dict())))
    assert again == settings
    assert {k: type(v) for k, v in again.hyper.items()} == {
        k: type(v) for k, v in settings.hyper.items()
    }
    assert settings.hyper.keys() == {one.name for one in recipe.hyper}
    if changes:
        assert settings != recipe.settings(steps=3)
    assert isinstance(hash(settings), int)


def test_an_objective_that_the_recipe_was_not_published_with_is_refused(conv):
    recipe = dataclasses.replace(conv, objectives=("vae",))
    with pytest.raises(UserError, match="unknown objective 'emae'"):
        recipe.runs("emae")
