"""In every recipe the right value comes first, and every suspected mistake is told from it."""

from __future__ import annotations

import pytest
import torch
from mistakes.told_apart import assert_told_apart, off, one_with
from stand_ins.narrow import NARROW

from comparisons.diagnosis import mistakes as alternatives
from comparisons.expected.layers import Layers, float64
from pyvae.data.images import load_toy
from pyvae.engines.pytorch import PyTorchEngine
from pyvae.model.run import Run
from pyvae.recipes import RECIPES
from pyvae.trace.trace import Trace
from pyvae.training.loop import train

SLOW = ("clustering", "clustering-semi-supervised")
NUMBER = r"([-\d.e]+)"
NAMES = [name for name in RECIPES if name != "conv"]
every_recipe = pytest.mark.parametrize(
    "name", [pytest.param(n, marks=[pytest.mark.slow] if n in SLOW else []) for n in NAMES]
)
two_steps = pytest.mark.parametrize("step", [1, 3])


@pytest.fixture(scope="module")
def seen(digits):
    """Layers and probe of a step of a recipe, trained by PyTorch's engine."""
    runs: dict = {}

    def of_step(name, step):
        recipe = NARROW[name]
        if name not in runs:
            hyper = {"labels": 10} if name.endswith("supervised") else {}
            settings = recipe.settings(
                batch_size=6, latent_dim=3, steps=3, dtype="float64", hyper=hyper
            )
            data = load_toy() if recipe.features == 2 else digits
            engine, probes = PyTorchEngine("cpu"), {}
            trace = Trace.of_run(Run(recipe, settings, data), engine)
            train(
                Run(recipe, settings, data), engine, trace=trace,
                probe=lambda k: probes.setdefault(k, {}),
            )  # fmt: skip
            runs[name] = settings, probes
        settings, probes = runs[name]
        return Layers(recipe, settings, step), probes[step]

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield of_step
    torch.set_num_threads(threads)


def same_as_right(suspects):
    """Without the mistakes that make no difference in these runs: no pixel is saturated."""
    return [one for one in suspects if one[0] != "the logarithms are not held at -100"]


@every_recipe
@two_steps
def test_the_right_result_comes_first_and_every_mistaken_one_is_another(seen, name, step):
    layers, probe = seen(name, step)
    for stage in layers.stages.values():
        suspects = same_as_right(alternatives.forward(layers, stage, probe))
        if stage.layer == "input":
            assert suspects == []
            continue
        assert off(suspects[0][1], probe[f"forward/{stage.name}"]) <= 1e-12, stage.name
        assert len(suspects) > 1
        assert_told_apart(suspects)


@every_recipe
@two_steps
def test_the_right_running_statistic_comes_first(seen, name, step):
    layers, probe = seen(name, step)
    recipe, settings = layers.recipe, layers.settings
    for buffer in recipe.buffer_names(settings.latent_dim, **settings.hyper):
        found = float64(probe[f"buffer/{buffer}"])
        suspects = list(alternatives.running(layers, buffer, probe, found))
        assert off(suspects[0][1], found) <= 1e-12, buffer
        assert_told_apart(suspects)


@every_recipe
@two_steps
def test_the_right_gradients_are_pytorchs(seen, name, step):
    layers, probe = seen(name, step)
    for quantity in layers.recipe.quantities(layers.settings):
        if quantity.passing != "backward":
            continue
        is_stage = quantity.name in layers.stages
        right = alternatives.right_gradient if is_stage else alternatives.parameter_gradient
        parts = right(layers, quantity.name, probe)
        assert set(parts) == set(quantity.computed_by)
        found = torch.stack(list(parts.values())).sum(0)
        scale = max(float(part.abs().sum()) for part in parts.values())  # biases cancel
        difference = (found - float64(probe[quantity.key])).abs().max()
        assert float(difference) <= 1e-12 * scale, quantity.key


@every_recipe
@two_steps
def test_every_mistaken_backward_pass_gives_another_gradient(seen, name, step):
    layers, probe = seen(name, step)
    for taker in layers.stages.values():
        for given in taker.inputs if not taker.is_term else ():
            if f"gradient/{given}" not in probe:
                continue
            part = alternatives.right_gradient(layers, given, probe)[taker.name]
            suspects = [
                (words, value.reshape(part.shape))
                for words, value in alternatives.backward(layers, taker, given, probe)
            ]
            assert_told_apart([("", part), *suspects])


# Mistakes with a constant, which is fitted to what was found


@pytest.mark.parametrize("slope", [0.01, 0.1, 0.5])
def test_another_slope_is_found(seen, slope):
    layers, probe = seen("clustering-toy", 3)
    stage = layers.stages["px_z.lrelu1"]
    (x,) = layers.inputs(stage, probe)
    wrong = torch.where(x > 0, x, slope * x)
    value, constant = one_with(
        alternatives.fitted(layers, stage, probe, wrong), f"slope {NUMBER} where it is 0.2$"
    )
    assert off(value, wrong) <= 1e-12
    assert constant == pytest.approx(slope, rel=1e-5)


@pytest.mark.parametrize("temperature", [0.1, 0.67, 1.0, 5.0])
def test_another_temperature_is_found(seen, temperature):
    layers, probe = seen("clustering-toy", 1)
    stage = layers.stages["gumbel_softmax"]
    (pi,) = layers.inputs(stage, probe)
    wrong = torch.softmax((torch.log(pi) + layers.draws["gumbel"]) / temperature, 1)
    suspects = alternatives.fitted(layers, stage, probe, wrong)
    value, constant = one_with(suspects, f"temperature {NUMBER} where it is 0.5$")
    assert off(value, wrong) <= 1e-9
    assert constant == pytest.approx(temperature, rel=1e-5)


@pytest.mark.parametrize("eps", [1e-3, 1e-6, 0.1])
def test_another_epsilon_is_found(seen, eps):
    layers, probe = seen("mlp", 3)
    stage = layers.stages["encoder.bn1"]
    (x,), (w, b) = layers.inputs(stage, probe), layers.weights(stage, probe)
    wrong = (x - x.mean(0)) / (x.var(0, correction=0) + eps).sqrt() * w + b
    suspects = alternatives.fitted(layers, stage, probe, wrong)
    value, constant = one_with(suspects, f"epsilon = {NUMBER} where it is 1e-05$")
    assert off(value, wrong) <= 1e-9
    assert constant == pytest.approx(eps, rel=1e-3)


@pytest.mark.parametrize("momentum", [0.01, 0.3, 0.99])
@pytest.mark.parametrize(
    "name", ["mlp", pytest.param("clustering-semi-supervised", marks=pytest.mark.slow)]
)
def test_another_momentum_is_found(seen, name, momentum):
    """Of modules that are gone through once, and twice."""
    layers, probe = seen(name, 3)
    for kind in ("mean", "var"):
        buffer = ("encoder.bn1" if name == "mlp" else "qy_x.bn1") + f".running_{kind}"
        wrong = layers.running(buffer, probe, momentum)
        suspects = alternatives.running(layers, buffer, probe, wrong)
        value, constant = one_with(suspects, f"momentum {NUMBER} where it is 0.1$")
        assert off(value, wrong) <= 1e-9
        assert constant == pytest.approx(momentum, rel=1e-4)
