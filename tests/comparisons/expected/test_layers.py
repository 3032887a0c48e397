"""The layers that comparisons compute by themselves are those that PyTorch's engine ran."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import settings as given_settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from comparisons.expected.layers import Layers, float64
from pyvae.engines.pytorch import PyTorchEngine
from pyvae.model.draws import Draws
from pyvae.recipes import get_recipe

CONV = get_recipe("conv")
BATCH, LATENT = 6, 3
LAYERS = [stage for stage in CONV.stages if stage.layer != "input" and not stage.is_term]
STAGES = {stage.name: stage for stage in CONV.stages}
TAKERS = {
    name: [stage for stage in CONV.stages if name in stage.inputs and not stage.is_term]
    for name in STAGES
}
# the loss's view of the images is not differentiated; the other three are told their gradient
# by a term of the loss as well
TAKEN_BY_LAYERS = [
    name
    for name, takers in TAKERS.items()
    if takers and name not in ("encoder.fc2", "encoder.fc3", "decoder.sigmoid")
]


@pytest.fixture(scope="module")
def run(digits):
    """Settings of three steps, and what PyTorch's engine saw in them. One thread: that two wait
    for each other takes longer than what they do."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    settings = CONV.settings(batch_size=BATCH, latent_dim=LATENT, dtype="float64")
    engine = PyTorchEngine("cpu")
    engine.start(CONV, settings, CONV.initial_parameters(settings.seed, LATENT))
    probes = [{}, {}, {}]
    for k, probe in enumerate(probes):
        x = digits.batch(np.arange(BATCH * k, BATCH * (k + 1)), torch.float64)
        engine.step(x, Draws(settings.seed).step(k, BATCH, CONV.draws(LATENT)), probe)
    yield settings, probes
    torch.set_num_threads(threads)


def close(found, expected, rtol=1e-14):
    """Equal relative to the largest magnitude; how axes are grouped is not asked."""
    expected = float64(expected)
    assert expected.abs().max() > 0  # else everything would be close enough
    difference = (found.reshape(expected.shape) - expected).abs().max()
    return float(difference) <= rtol * float(expected.abs().max())


def of_step(run, step):
    settings, probes = run
    return Layers(CONV, settings, step), probes[step - 1]


@pytest.mark.parametrize("step", [1, 3])
@pytest.mark.parametrize("stage", LAYERS, ids=lambda stage: stage.name)
def test_a_layer_returns_what_pytorch_returned(run, stage, step):
    layers, probe = of_step(run, step)
    found = layers.apply(stage, layers.inputs(stage, probe), layers.weights(stage, probe))
    assert close(found, probe[f"forward/{stage.name}"])


@pytest.mark.parametrize("stage", [s for s in LAYERS if s.draw], ids=lambda stage: stage.name)
def test_a_layer_takes_the_draw_that_it_is_given(run, stage):
    """Step 3's draw gives step 3's result, whatever step the layers are of."""
    (layers, _), (_, probe) = of_step(run, 1), of_step(run, 3)
    inputs = layers.inputs(stage, probe)
    assert not close(layers.apply(stage, inputs), probe[f"forward/{stage.name}"])
    found = layers.apply(stage, inputs, draw=layers.draws_of(3)[stage.draw])
    assert close(found, probe[f"forward/{stage.name}"])


@pytest.mark.parametrize("step", [1, 3])
@pytest.mark.parametrize("name", TAKEN_BY_LAYERS)
def test_the_takers_backward_passes_add_up_to_pytorchs_gradient(run, name, step):
    layers, probe = of_step(run, step)
    parts = [
        layers.backward(taker, probe, float64(probe[f"gradient/{taker.name}"]))[name]
        for taker in TAKERS[name]
    ]
    assert close(sum(parts), probe[f"gradient/{name}"])


def test_all_but_one_of_these_gradients_have_one_taker():
    several = [name for name in TAKEN_BY_LAYERS if len(TAKERS[name]) > 1]
    assert several == ["encoder.dropout2"]


@pytest.mark.parametrize("step", [1, 3])
@pytest.mark.parametrize("name", CONV.parameter_names(LATENT))
def test_backward_passes_give_pytorchs_gradients_of_parameters(run, name, step):
    layers, probe = of_step(run, step)
    stage = STAGES[name.rpartition(".")[0]]
    found = layers.backward(stage, probe, float64(probe[f"gradient/{stage.name}"]))
    assert found[name].shape == probe[f"gradient/{name}"].shape
    assert close(found[name], probe[f"gradient/{name}"])


@pytest.mark.parametrize("rows", [torch.tensor([4, 1]), torch.tensor([5]), slice(2, 5)], ids=str)
@pytest.mark.parametrize("stage", LAYERS, ids=lambda stage: stage.name)
def test_some_images_alone_give_their_part_of_all_images(run, stage, rows):
    layers, probe = of_step(run, 2)
    gradient = float64(probe[f"gradient/{stage.name}"])
    alone = torch.zeros_like(gradient)
    alone[rows] = gradient[rows]
    everything = layers.backward(stage, probe, gradient)
    theirs = layers.backward(stage, probe, alone)
    some = layers.backward(stage, probe, gradient[rows], rows)
    assert some.keys() == everything.keys()
    for name, value in some.items():
        assert close(value, everything[name][rows] if name in STAGES else theirs[name])


@pytest.mark.parametrize("step", [1, 3])
@given_settings(max_examples=60)
@given(
    gradients=hnp.arrays(np.float64, (3, 8), elements=st.floats(-1e3, 1e3)),
    power=st.integers(-12, 3),
    rate=st.floats(1e-6, 1.0),
)
def test_adam_subtracts_what_pytorchs_does(step, gradients, power, rate):
    parameter = torch.zeros(8, dtype=torch.float64)
    adam = torch.optim.Adam([parameter], lr=rate)
    for gradient in gradients[:step] * 10.0**power:
        parameter.zero_()  # so that the parameter after the step is the change, to the last bit
        parameter.grad = torch.from_numpy(gradient)
        adam.step()
    kept = adam.state[parameter]
    settings = CONV.settings(learning_rate=rate)
    found = Layers(CONV, settings, step).adam_update(kept["exp_avg"], kept["exp_avg_sq"])
    np.testing.assert_allclose(found.numpy(), -parameter.numpy(), rtol=1e-13, atol=1e-300)


@pytest.mark.parametrize("step", [1, 3])
def test_adams_update_leads_from_the_start_to_pytorchs_parameter(run, step):
    layers, probe = of_step(run, step)
    for name in CONV.parameter_names(LATENT):
        moments = (float64(probe[f"{kind}/{name}"]) for kind in ("moment1", "moment2"))
        start, after = (probe[f"{kind}/{name}"] for kind in ("start", "parameter"))
        assert not np.array_equal(start, after)
        assert close(float64(start) - layers.adam_update(*moments), after, rtol=1e-15)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("step", [1, 2, 7])
@given_settings(max_examples=5)
@given(seed=st.integers(0, 2**63 - 1))
def test_draws_are_those_of_the_run(step, dtype, seed):
    settings = CONV.settings(batch_size=2, latent_dim=LATENT, dtype=dtype, seed=seed)
    expected = Draws(seed, dtype).step(step - 1, 2, CONV.draws(LATENT))
    for found in (Layers(CONV, settings, step).draws, Layers(CONV, settings, 1).draws_of(step)):
        assert found.keys() == expected.keys()
        for name, value in expected.items():
            assert found[name].numpy().dtype == value.dtype
            np.testing.assert_array_equal(found[name].numpy(), value)
