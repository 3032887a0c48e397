"""What was done to all gradients between backward and the optimiser is told from all of them."""

from __future__ import annotations

import numpy as np
import pytest
from stand_ins.narrow import NARROW_CONV

from comparisons.diagnosis.between import changed_in_place
from comparisons.diagnosis.place import Place
from comparisons.expected.layers import Layers
from pyvae.engines.pytorch import PyTorchEngine
from pyvae.model.run import Run
from pyvae.model.stages import quantities
from pyvae.training.loop import train

NAMES = ("python", "r")
PARAMETERS = NARROW_CONV.parameter_names(5)
KEY = "gradient/decoder.conv2.weight"
QUANTITY = {q.key: q for q in quantities(NARROW_CONV.stages, PARAMETERS)}[KEY]


@pytest.fixture(scope="module")
def step(digits):
    settings = NARROW_CONV.settings(batch_size=4, latent_dim=5, steps=1, dtype="float64")
    seen: dict = {}
    train(Run(NARROW_CONV, settings, digits), PyTorchEngine("cpu"), probe=lambda step: seen)
    return settings, seen


def said(step, change, names=tuple(PARAMETERS)):
    settings, right = step
    keys = [f"gradient/{name}" for name in names]
    norm = float(np.sqrt(sum((right[f"gradient/{n}"] ** 2).sum() for n in PARAMETERS)))
    wrong = right | {key: np.asarray(change(right[key], key, norm)) for key in keys}
    layers = Layers(NARROW_CONV, settings, 1)
    return changed_in_place(Place(QUANTITY, (right, wrong), NAMES, layers), 1)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda g, key, norm: g * 0.5 / norm,
         "the gradients of all 18 parameters are scaled by one factor, so that their norm is 0.5: "
         "clipping, after their backward passes"),
        (lambda g, key, norm: g * 3.25, "scaled by one factor, 3.25, after their backward passes"),
        (lambda g, key, norm: g.clip(-0.25, 0.25),
         "gradients held between -0.25 and 0.25: clipping by value"),
        (lambda g, key, norm: 2 * g / np.linalg.norm(g),
         "each parameter's gradient is scaled so that its norm is 2: clipping"),
        (lambda g, key, norm: g + np.random.default_rng(len(key)).normal(size=g.shape),
         "the gradients of all 18 parameters are not those that the layers' backward passes give"),
    ],
)  # fmt: skip
def test_what_was_done_to_all_gradients_is_told(step, change, words):
    assert words in said(step, change)


def test_weight_decay_in_place_is_told(step):
    _, right = step
    words = said(step, lambda g, key, norm: g + 0.01 * right[key.replace("gradient", "start")])
    assert words == "weight decay 0.01 added to the gradients, after their backward passes"


def test_of_one_layer_or_some_nothing_is_said(step):
    """Their backward passes may be wrong."""
    assert said(step, lambda g, key, norm: g) is None
    assert said(step, lambda g, key, norm: 2 * g, ("decoder.conv2.weight",)) is None
    assert said(step, lambda g, key, norm: 2 * g, tuple(PARAMETERS[5:])) is None
