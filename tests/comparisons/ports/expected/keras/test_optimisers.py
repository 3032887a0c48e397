import pytest

from comparisons.ports.expected.keras.optimisers import (
    as_of_torch,
    eps_words,
    of_its_own,
    said_alike,
)
from comparisons.ports.expected.optimisers import OPTIMISERS, standing_in
from pyvae.trace.program import Optimiser, OptimiserGroup


def optimiser(kind, **settings):
    return Optimiser("optimizer", kind, (OptimiserGroup(("w",), settings),))


def settings(one):
    return one.groups[0].settings


def test_adam_adds_eps_before_the_correction():
    keras = optimiser("keras_adam", lr=0.01, eps=1e-7, betas=[0.9, 0.999], iterations=3)
    found = as_of_torch(keras, OPTIMISERS)
    assert found.kind == "adam"
    assert settings(found)["eps"] == pytest.approx(1e-7 / (1 - 0.999**4) ** 0.5, rel=1e-12)
    assert settings(found)["weight_decay"] == 0
    assert "iterations" not in settings(found)
    assert standing_in(keras, optimiser("sgd", lr=0.1)).kind == "adam"  # whatever the other is
    assert standing_in(keras, keras) is keras


def test_weight_decay_is_decoupled():
    keras = optimiser("keras_adam", lr=0.01, eps=1e-7, betas=[0.9, 0.999], weight_decay=0.1)
    assert as_of_torch(keras, OPTIMISERS).kind == "adamw"
    sgd = as_of_torch(optimiser("keras_sgd", lr=0.01), OPTIMISERS)
    assert settings(sgd) == {
        "lr": 0.01, "dampening": 0, "maximize": False, "momentum": 0, "nesterov": False,
        "weight_decay": 0,
    }  # fmt: skip


def test_rmsprop_adds_eps_inside_the_root():
    keras = optimiser("keras_rmsprop", lr=0.01, alpha=0.9, eps=1e-7, momentum=0.0, iterations=0)
    assert settings(as_of_torch(keras, OPTIMISERS))["eps_inside"] is True
    keras = optimiser("keras_rmsprop", lr=0.01, alpha=0.9, eps=1e-7, momentum=0.9, iterations=0)
    assert "eps_inside" not in settings(as_of_torch(keras, OPTIMISERS))


def test_what_pytorch_has_not_is_told():
    keras = optimiser("keras_sgd", lr=0.1, use_ema=True, iterations=0)
    assert of_its_own(keras, OPTIMISERS) == {"use_ema": True}
    lion = optimiser("keras_lion", lr=0.1)
    assert as_of_torch(lion, OPTIMISERS) is lion
    assert of_its_own(lion, OPTIMISERS) == {}


def test_float32_is_no_other_rate():
    assert said_alike("lr", 0.09755283, 0.0975528258147577)
    assert not said_alike("lr", 0.1, 0.10001)
    assert not said_alike("momentum", 0.9, 0.90000001)
    assert said_alike("eps", 1e-7, 1.0000005e-7)


def test_the_place_of_eps_in_words():
    keras = {"eps": 1e-7}
    assert eps_words(keras, {"eps": 1e-8}, True) == "eps = 1e-08 where it is 1e-07"
    assert eps_words(keras, {"eps": 1e-8}, False) == "eps = 1e-07 where it is 1e-08"
    assert eps_words(keras, {"eps": 1e-7}, True).startswith("eps added after the bias correction")
    assert eps_words(keras, {"eps": 1e-7}, False).startswith("eps added before the bias")
