"""A run is made of a recipe, its settings and images, and says what to give in place of others."""

from __future__ import annotations

import pytest

from pyvae import PyTorchEngine, Run, UserError, get_recipe, load_data, train, train_into

DIGITS = load_data("digits")
MLP = get_recipe("mlp")
SETTINGS = MLP.settings(steps=2, batch_size=10)
NEW = "Use Run(recipe, recipe.settings(epochs=1), load_data('digits'))."


def trained(run=None, engine=None, callbacks=()):
    run = Run(MLP, SETTINGS, DIGITS) if run is None else run
    return train(run, PyTorchEngine() if engine is None else engine, callbacks)


@pytest.mark.parametrize(
    ("made", "words"),
    [
        (
            lambda: Run("conv", SETTINGS, DIGITS),
            "Run was given the text 'conv' for its recipe: expected a recipe. Use "
            "get_recipe('conv').",
        ),
        (
            lambda: Run(MLP, {"epochs": 1}, DIGITS),
            "Run was given a dict for its settings: expected the recipe's settings. Use "
            "recipe.settings(epochs=1).",
        ),
        (
            lambda: Run(MLP, SETTINGS, "mnist"),
            "Run was given the text 'mnist' for its data: expected images. Use load_data('mnist').",
        ),
        (
            lambda: Run(MLP, SETTINGS, DIGITS.pixels),
            "Run was given a Tensor for its data: expected images. Use load_data('digits').",
        ),
        (
            lambda: Run(MLP, SETTINGS, DIGITS, "trained"),
            "Run was given the text 'trained' for its start: expected a pyvae.model.start.Start. "
            "Leave it out for the recipe's initial parameters.",
        ),
        (
            lambda: trained(MLP),
            f"train was given a Recipe to train: expected a Run. {NEW}",
        ),
        (
            lambda: trained(engine="pytorch"),
            "train was given the text 'pytorch' for its engine: expected an engine. Use "
            "PyTorchEngine().",
        ),
        (
            lambda: trained(engine=PyTorchEngine),
            "train was given the class PyTorchEngine for its engine: expected an engine. Use "
            "PyTorchEngine().",
        ),
        (
            lambda: trained(callbacks=print),
            "train was given a builtin_function_or_method for its callbacks: expected a list of "
            "callbacks or functions. Put it into a list: train(run, engine, [callback]).",
        ),
        (
            lambda: trained(callbacks=["early"]),
            "train was given the text 'early' for a callback: expected a Callback, or a function "
            "that is called after every step",
        ),
        (
            lambda: train_into("nowhere", "conv", PyTorchEngine()),
            f"the text 'conv' is not what can be trained: expected a Run, or a list of them. {NEW}",
        ),
    ],
)
def test_what_is_of_another_type_is_one_line(made, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError) as error:
        made()
    assert str(error.value) == words
    assert not list(tmp_path.iterdir())


def test_callbacks_may_come_from_any_iterable():
    seen = []
    trained(callbacks=(one for one in [lambda now: seen.append(now.step)]))
    assert seen == [1, 2]
