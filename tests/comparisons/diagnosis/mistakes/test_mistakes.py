"""The right value comes first, and every suspected mistake would be told from it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import assume, given
from hypothesis import settings as given_settings
from hypothesis import strategies as st
from mistakes.told_apart import assert_told_apart, off, one_with
from stand_ins.narrow import NARROW_CONV

from comparisons.diagnosis import mistakes as alternatives
from comparisons.expected.layers import Layers, float64
from pyvae.engines.pytorch import PyTorchEngine
from pyvae.model.draws import Draws
from pyvae.model.stages import LOSS_STAGES

pytestmark = pytest.mark.slow

CONV = NARROW_CONV
BATCH, LATENT = 6, 3
STAGES = {stage.name: stage for stage in CONV.stages}
PARAMETERS = CONV.parameter_names(LATENT)
HALF = "1/p where 1/(1 - p) belongs"  # the same where p is 1/2, and no mistake there

both_objectives = pytest.mark.parametrize("objective", ["vae", "emae"])
two_steps = pytest.mark.parametrize("step", [1, 3])


@pytest.fixture(scope="module")
def run(digits):
    """What PyTorch's engine saw in three steps, by objective. One thread: that two wait for
    each other takes longer than what they do."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    seen = {}
    for objective in CONV.objectives:
        settings = CONV.settings(
            objective=objective, batch_size=BATCH, latent_dim=LATENT, dtype="float64"
        )
        engine = PyTorchEngine("cpu")
        engine.start(CONV, settings, CONV.initial_parameters(settings.seed, LATENT))
        probes = [{}, {}, {}]
        for k, probe in enumerate(probes):
            x = digits.batch(np.arange(BATCH * k, BATCH * (k + 1)), torch.float64)
            engine.step(x, Draws(settings.seed).step(k, BATCH, CONV.draws(LATENT)), probe)
        seen[objective] = settings, probes

    def of_step(step, objective="vae"):
        """The step's layers, its probe and the probe before it."""
        settings, probes = seen[objective]
        before = probes[step - 2] if step > 1 else None
        return Layers(CONV, settings, step), probes[step - 1], before

    yield of_step
    torch.set_num_threads(threads)


@both_objectives
@two_steps
@pytest.mark.parametrize("name", [name for name in STAGES if name != "input"])
def test_the_right_result_comes_first(run, name, step, objective):
    layers, probe, _ = run(step, objective)
    words, value = next(alternatives.forward(layers, layers.stages[name], probe))
    assert words == ""
    assert off(value, probe[f"forward/{name}"]) <= 1e-13


def test_nothing_is_known_of_the_input(run):
    layers, probe, _ = run(1)
    assert list(alternatives.forward(layers, STAGES["input"], probe)) == []


@both_objectives
@two_steps
@pytest.mark.parametrize("name", [n for n in STAGES if n not in ("input", "reconstruction")])
def test_every_mistaken_result_is_another(run, name, step, objective):
    layers, probe, _ = run(step, objective)
    suspects = list(alternatives.forward(layers, layers.stages[name], probe))
    if name == "encoder.dropout2":  # p is 1/2: then it is no mistake
        assert HALF not in [words for words, _ in suspects]
    assert len(suspects) > 1
    assert_told_apart(suspects)


@both_objectives
def test_every_mistaken_reconstruction_is_another(run, objective):
    """Where a probability is exactly 0 or 1: else no logarithm would have to be held."""
    layers, probe, _ = run(1, objective)
    x, q = probe["forward/input"], probe["forward/decoder.sigmoid"].copy()
    assert x[0].max() > 0
    q[0, x[0].argmax()] = 0.0
    q[1, x[1].argmin()] = 1.0
    probe = probe | {"forward/decoder.sigmoid": q}
    suspects = list(alternatives.forward(layers, STAGES["reconstruction"], probe))
    expected = F.binary_cross_entropy(float64(q), float64(x), reduction="sum")
    assert off(suspects[0][1], expected) <= 1e-14
    assert_told_apart(suspects)


@both_objectives
@two_steps
@pytest.mark.parametrize("name", [name for name in STAGES if name not in LOSS_STAGES])
def test_the_right_gradient_is_pytorchs(run, name, step, objective):
    layers, probe, _ = run(step, objective)
    parts = alternatives.right_gradient(layers, name, probe)
    takers = {stage.name for stage in CONV.stages if name in stage.inputs}
    assert set(parts) == takers - ({"reconstruction"} if name == "input" else set())
    assert off(sum(parts.values()), probe[f"gradient/{name}"]) <= 1e-13


def test_the_parts_of_a_gradient_are_the_takers_own(run):
    """Of the posterior's, by hand: dz and the KL's derivatives."""
    layers, probe, _ = run(1)
    mu, log_var, dz = (
        float64(probe[key])
        for key in ("forward/encoder.fc2", "forward/encoder.fc3", "gradient/reparameterise")
    )
    noise = float64(Draws(layers.settings.seed).step(0, BATCH, CONV.draws(LATENT))["noise"])
    of_mu = alternatives.right_gradient(layers, "encoder.fc2", probe)
    of_log_var = alternatives.right_gradient(layers, "encoder.fc3", probe)
    assert off(of_mu["reparameterise"], dz) <= 1e-14
    assert off(of_mu["regulariser"], mu) <= 1e-14
    expected = dz * noise * torch.exp(log_var / 2) / 2
    assert off(of_log_var["reparameterise"], expected) <= 1e-14
    assert off(of_log_var["regulariser"], (torch.exp(log_var) - 1) / 2) <= 1e-13
    layers, probe, _ = run(1, "emae")
    assert not alternatives.right_gradient(layers, "encoder.fc3", probe)["regulariser"].any()


def test_a_saturated_pixel_has_pytorchs_gradient(run):
    """Which holds q (1 - q) above 1e-12."""
    layers, probe, _ = run(1)
    x, q = probe["forward/input"], probe["forward/decoder.sigmoid"].copy()
    q[0, ::2], q[1, ::2], q[2, ::2] = 0.0, 1.0, 1e-13
    probe = probe | {"forward/decoder.sigmoid": q}
    pixels = float64(q).requires_grad_()
    F.binary_cross_entropy(pixels, float64(x), reduction="sum").backward()
    parts = alternatives.right_gradient(layers, "decoder.sigmoid", probe)
    assert off(parts["reconstruction"], pixels.grad) <= 1e-14


PAIRS = [
    (taker, name)
    for taker in CONV.stages
    for name in taker.inputs
    if taker.layer in ("relu", "sigmoid", "dropout", "max_pool2d", "conv2d")
]


@both_objectives
@two_steps
@pytest.mark.parametrize(("taker", "name"), PAIRS, ids=lambda x: getattr(x, "name", x))
def test_every_mistaken_backward_pass_gives_another_gradient(run, taker, name, step, objective):
    layers, probe, _ = run(step, objective)
    right = float64(probe[f"gradient/{name}"])
    suspects = [
        (words, value.reshape(right.shape))
        for words, value in alternatives.backward(layers, taker, name, probe)
    ]
    assert len(suspects) > 1
    assert_told_apart([("", right), *suspects])


def before_of(before, order, name, probe):
    if before is None:
        return torch.zeros_like(float64(probe[f"start/{name}"]))
    return float64(before[f"moment{order}/{name}"])


@both_objectives
@two_steps
@pytest.mark.parametrize("order", [1, 2])
def test_the_right_moment_comes_first_and_every_mistaken_one_is_another(
    run, order, step, objective
):
    layers, probe, before = run(step, objective)
    for name in PARAMETERS:
        moment = before_of(before, order, name, probe)
        suspects = list(alternatives.moment(layers, order, name, probe, moment))
        assert off(suspects[0][1], probe[f"moment{order}/{name}"]) <= 1e-15
        assert len(suspects) >= 4
        assert_told_apart(suspects, (f"beta{order} = ", "weight decay"))


@both_objectives
@two_steps
def test_the_right_update_comes_first_and_every_mistaken_one_is_another(run, step, objective):
    layers, probe, _ = run(step, objective)
    for name in PARAMETERS:
        suspects = list(alternatives.update(layers, name, probe))
        start = float64(probe[f"start/{name}"])
        assert off(start - suspects[0][1], probe[f"parameter/{name}"]) <= 1e-15
        counted = "the step counted from 0 in the bias correction"
        assert (counted in [words for words, _ in suspects]) == (step > 1)
        assert_told_apart(suspects, ("learning rate", "decoupled weight decay", "epsilon = "))


# Mistakes with a constant, which is fitted to what was found


NUMBER = r"([-\d.e]+)"
names = st.sampled_from(PARAMETERS)


@two_steps
@pytest.mark.parametrize("order", [1, 2])
@given_settings(max_examples=20)
@given(name=names, beta=st.floats(0.01, 0.99))
def test_another_beta_is_found(run, order, step, name, beta):
    assume(abs(beta - (0.9, 0.999)[order - 1]) > 1e-3)  # the right one is no mistake
    layers, probe, before = run(step)
    moment = before_of(before, order, name, probe)
    power = float64(probe[f"gradient/{name}"]) ** order
    wrong = beta * moment + (1 - beta) * power
    suspects = alternatives.moment(
        layers, order, name, probe | {f"moment{order}/{name}": wrong.numpy()}, moment
    )
    value, constant = one_with(
        suspects, rf"beta{order} = {NUMBER} where it is {(0.9, 0.999)[order - 1]}$"
    )
    assert off(value, wrong) <= 1e-12
    assert constant == pytest.approx(beta, rel=1e-5)


@two_steps
@given_settings(max_examples=20)
@given(name=names, power=st.floats(-5, 0), negative=st.booleans())
def test_weight_decay_is_found(run, step, name, power, negative):
    layers, probe, before = run(step)
    moment = before_of(before, 1, name, probe)
    decay = -(10**power) if negative else 10**power
    g, theta = (float64(probe[f"{kind}/{name}"]) for kind in ("gradient", "start"))
    wrong = 0.9 * moment + (1 - 0.9) * (g + decay * theta)
    suspects = alternatives.moment(
        layers, 1, name, probe | {f"moment1/{name}": wrong.numpy()}, moment
    )
    value, constant = one_with(suspects, f"weight decay {NUMBER} added to the gradient$")
    assert off(value, wrong) <= 1e-12
    assert constant == pytest.approx(decay, rel=1e-3)


def updated(probe, name, change):
    return probe | {f"parameter/{name}": probe[f"start/{name}"] - change.numpy()}


@two_steps
@given_settings(max_examples=20)
@given(name=names, factor=st.floats(0.1, 10), decay=st.floats(1e-3, 0.5))
def test_another_learning_rate_and_decoupled_weight_decay_are_found(run, step, name, factor, decay):
    layers, probe, _ = run(step)
    right = next(alternatives.update(layers, name, probe))[1]
    suspects = alternatives.update(layers, name, updated(probe, name, factor * right))
    value, constant = one_with(suspects, f"learning rate {NUMBER} where it is 0.001$")
    assert off(value, factor * right) <= 1e-11
    assert constant == pytest.approx(1e-3 * factor, rel=1e-5)
    wrong = right + 1e-3 * decay * float64(probe[f"start/{name}"])
    suspects = alternatives.update(layers, name, updated(probe, name, wrong))
    value, constant = one_with(suspects, rf"decoupled weight decay {NUMBER} \(AdamW\)$")
    assert off(value, wrong) <= 1e-11
    assert constant == pytest.approx(decay, rel=1e-3)


@two_steps
@given_settings(max_examples=20)
@given(name=names, power=st.floats(-7, -1))
def test_another_epsilon_is_found(run, step, name, power):
    layers, probe, _ = run(step)
    epsilon = 10**power
    m, v = (float64(probe[f"{kind}/{name}"]) for kind in ("moment1", "moment2"))
    mean, square = m / (1 - 0.9**step), v / (1 - 0.999**step)
    wrong = 1e-3 * mean / (square.sqrt() + epsilon)
    suspects = alternatives.update(layers, name, updated(probe, name, wrong))
    value, constant = one_with(suspects, f"epsilon = {NUMBER} where it is 1e-08$")
    assert off(value, wrong) <= 1e-9
    assert constant == pytest.approx(epsilon, rel=0.006)
