"""Another optimiser, or parameters that it has not got, are told from all parameters together."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from stand_ins.narrow import NARROW_CONV

from comparisons.diagnosis.optimiser import other_optimiser
from comparisons.diagnosis.place import Place
from comparisons.expected.layers import Layers
from pyvae.engines.pytorch import PyTorchEngine
from pyvae.model.run import Run
from pyvae.model.stages import quantities
from pyvae.training.loop import train

NAMES = ("python", "r")
PARAMETERS = NARROW_CONV.parameter_names(5)
QUANTITIES = {q.key: q for q in quantities(NARROW_CONV.stages, PARAMETERS)}
RATE = NARROW_CONV.learning_rate


@pytest.fixture(scope="module")
def steps(digits):
    """Settings, and what PyTorch's stages returned in two steps. Read only."""
    settings = NARROW_CONV.settings(batch_size=4, latent_dim=5, steps=2, dtype="float64")
    seen: list[dict] = [{}, {}]
    run = Run(NARROW_CONV, settings, digits)
    train(run, PyTorchEngine("cpu"), probe=lambda step: seen[step - 1])
    return settings, seen


def found(steps, change, side=0, known=True):
    """What is found where one side's parameters and moments were changed in the first step:
    change(gradient, start, step) returns first and second moment and parameter."""
    settings, seen = steps

    def place(step, after):
        both = [seen[step - 1], dict(seen[step - 1])]
        for name in PARAMETERS:
            g, start = (both[1][f"{kind}/{name}"] for kind in ("gradient", "start"))
            results = change(name, g, start, step)
            if results is not None:
                keys = (f"moment1/{name}", f"moment2/{name}", f"parameter/{name}")
                both[1] |= dict(zip(keys, results, strict=True))
        pair = (both[1], both[0]) if side == 0 else (both[0], both[1])
        off = [f"moment1/{n}" for n in PARAMETERS]
        key = next(key for key in off if not np.array_equal(pair[0][key], pair[1][key]))
        layers = Layers(NARROW_CONV, settings, step)
        return Place(QUANTITIES[key], pair, NAMES, layers, following=after)

    return other_optimiser(place(1, (lambda: place(2, lambda: None)) if known else lambda: None))


def plain(rate=RATE, momentum=0.0, first=None):
    def change(name, g, start, step):
        ahead = momentum * first[name] if step == 2 and momentum else 0.0
        return 0 * g, 0 * g, start - rate * (g + ahead)

    return change


@pytest.mark.parametrize("side", [0, 1])
def test_plain_descent_is_told_with_its_rate_and_momentum(steps, side):
    name, words = found(steps, plain(), side)
    assert name == NAMES[side]
    assert words == "SGD in place of Adam: the update is the learning rate times the gradient"
    _, words = found(steps, plain(0.05), side)
    assert "the update is 0.05, a learning rate, times the gradient" in words
    first = {n: steps[1][0][f"gradient/{n}"] for n in PARAMETERS}
    _, words = found(steps, plain(momentum=0.9, first=first), side)
    assert words == "SGD with momentum 0.9 in place of Adam"


def test_without_a_second_step_momentum_stays_open(steps):
    _, words = found(steps, plain(), known=False)
    assert words.endswith("with momentum or without: step 2 would tell them apart")


def test_rmsprop_and_adagrad_are_told(steps):
    def change(divide):
        return lambda name, g, start, step: (0 * g, 0 * g, start - RATE * g / divide(g))

    _, words = found(steps, change(lambda g: np.sqrt(0.01 * g**2) + 1e-8))
    assert words == "RMSprop, alpha 0.99, in place of Adam"
    _, words = found(steps, change(lambda g: abs(g) + 1e-10))
    assert words == "Adagrad, in place of Adam"
    assert found(steps, change(lambda g: 3.0 + g**2)) is None


@pytest.mark.parametrize(
    ("without", "words"),
    [
        ("decoder.", r"the parameters decoder.* are not in the optimiser"),
        ("encoder.conv1.", r"the parameters encoder.conv1.* are not in the optimiser"),
        ("encoder.fc2.bias", r"the parameters encoder.fc2.bias are not in the optimiser"),
        ("", "no parameter is updated: the optimiser's step is not taken, or it has no parameters"),
    ],
)
def test_parameters_that_are_not_updated_are_named_together(steps, without, words):
    def change(name, g, start, step):
        return (0 * g, 0 * g, start) if name.startswith(without) else None

    assert found(steps, change) == ("python", words)


@pytest.mark.parametrize("first", [0, 1])
def test_decay_by_the_parameters_number_is_told(steps, first):
    def change(name, g, start, step):
        g = g + 0.01 * (PARAMETERS.index(name) + first)
        return 0.1 * g, 0.001 * g**2, start

    _, words = found(steps, change)
    assert f"0.01 times its number in the list ({first}, {first + 1}, ...)" in words


def test_other_additions_are_not(steps):
    rng = np.random.default_rng(1)

    def change(name, g, start, step):
        g = g + rng.normal()
        return 0.1 * g, 0.001 * g**2, start

    assert found(steps, change) is None
    assert found(steps, lambda name, g, start, step: (0.2 * g, g**2, start)) is None


def test_nothing_is_said_where_something_is_not_known(steps):
    settings, seen = steps
    key = "moment1/encoder.conv1.weight"
    lacking = {k: v for k, v in seen[0].items() if k != "gradient/decoder.fc1.bias"}
    zero = lacking | {key: torch.zeros(()).numpy()}
    place = Place(QUANTITIES[key], (zero, seen[0]), NAMES, Layers(NARROW_CONV, settings, 1))
    assert other_optimiser(place) is None
