from __future__ import annotations

import numpy as np
import pytest
import torch

from pyvae.draws import Draws
from pyvae.engine import PyTorchEngine, choose_device
from pyvae.errors import UserError
from pyvae.objectives import OBJECTIVES

every_objective = pytest.mark.parametrize("objective", OBJECTIVES)
B = 6


@pytest.fixture
def x(digits):
    return digits.batch(np.arange(B), torch.float64)


@pytest.fixture
def start(conv):
    """A started engine, and the draws of any step for it."""

    def make(settings):
        engine = PyTorchEngine("cpu")
        initial = conv.initial_parameters(settings.seed, settings.latent_dim)
        engine.start(conv, settings, initial)
        draws, spec = Draws(settings.seed, settings.dtype), conv.draws(settings.latent_dim)
        return engine, lambda step: draws.step(step, B, spec)

    return make


def losses_by_hand(x, pixels, mu, log_var, objective):
    """Both terms from their textbook formulas, by autograd's basic operations."""
    reconstruction = -(x * pixels.log() + (1 - x) * (1 - pixels).log()).sum()
    regulariser = (mu**2).sum() / 2
    if objective == "vae":
        regulariser = regulariser + (log_var.exp() - 1 - log_var).sum() / 2
    return torch.stack([reconstruction + regulariser, reconstruction, regulariser])


@every_objective
def test_steps_are_adam_by_numpy_on_autograds_gradients(start, conv, settings, x, objective):
    wanted = settings(objective=objective, learning_rate=3e-3)
    engine, draw = start(wanted)
    moments = dict.fromkeys(engine.parameters(), (0.0, 0.0))
    for step in range(3):
        before = engine.parameters()
        losses = engine.step(x, draw(step))

        network = conv.network(wanted.latent_dim).double()
        network.load_state_dict({name: torch.from_numpy(value) for name, value in before.items()})
        noise = {name: torch.from_numpy(value) for name, value in draw(step).items()}
        by_hand = losses_by_hand(x, *network(x, noise), objective)
        by_hand[0].backward()
        torch.testing.assert_close(losses, by_hand.detach(), rtol=1e-12, atol=0)

        after = engine.parameters()
        for name, parameter in network.named_parameters():
            gradient = parameter.grad.numpy() if parameter.grad is not None else 0
            m, v = moments[name]
            m, v = 0.9 * m + 0.1 * gradient, 0.999 * v + 0.001 * gradient**2
            moments[name] = m, v
            m_hat, v_hat = m / (1 - 0.9 ** (step + 1)), v / (1 - 0.999 ** (step + 1))
            expected = before[name] - 3e-3 * m_hat / (np.sqrt(v_hat) + 1e-8)
            np.testing.assert_allclose(after[name], expected, rtol=0, atol=1e-9, err_msg=name)


def test_a_start_forgets_the_run_before(start, conv, settings, x):
    engine, draw = start(settings())
    first = [engine.step(x, draw(step)) for step in range(2)]
    again = settings()
    engine.start(conv, again, conv.initial_parameters(again.seed, again.latent_dim))
    second = [engine.step(x, draw(step)) for step in range(2)]
    assert torch.equal(torch.stack(first), torch.stack(second))


def test_parameters_are_a_copy(start, settings, x):
    engine, draw = start(settings())
    before = engine.parameters()
    kept = {name: value.copy() for name, value in before.items()}
    engine.step(x, draw(0))
    assert all(np.array_equal(before[name], kept[name]) for name in kept)
    assert not any(np.array_equal(engine.parameters()[name], kept[name]) for name in kept)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_all_numbers_have_the_precision_asked_for(start, settings, x, dtype):
    engine, draw = start(settings(dtype=dtype))
    x = x.to(settings(dtype=dtype).torch_dtype)
    assert {str(value.dtype) for value in engine.parameters().values()} == {dtype}
    assert str(engine.step(x, draw(0)).dtype) == f"torch.{dtype}"
    assert engine.latent_means(x, draw(0)).dtype == dtype
    assert engine.decode(draw(0)["noise"]).dtype == dtype


def test_looking_changes_nothing(start, settings, x):
    engine, draw = start(settings())
    before = engine.parameters()
    state = torch.random.get_rng_state()
    looks = [
        (engine.latent_means(x, draw(1)), engine.latent_means(x, None), engine.decode(noise))
        for noise in [draw(0)["noise"]] * 2
    ]
    for one, again in zip(*looks, strict=True):
        assert np.array_equal(one, again)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert all(np.array_equal(engine.parameters()[name], before[name]) for name in before)


def test_means_and_images_have_the_promised_shapes(start, settings, x):
    engine, draw = start(settings())
    pixels = engine.decode(draw(0)["noise"])
    assert pixels.shape == (B, 784)
    assert pixels.min() >= 0
    assert pixels.max() <= 1
    assert engine.latent_means(x, None).shape == (B, settings().latent_dim)


@every_objective
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_divergence_is_the_users_error(start, settings, x, objective, dtype):
    wanted = settings(objective=objective, dtype=dtype, learning_rate=1e30)
    engine, draw = start(wanted)

    def run():
        for step in range(5):
            engine.step(x.to(wanted.torch_dtype), draw(step))

    with pytest.raises(UserError, match=r"diverged.*--learning-rate"):
        run()


def test_other_failures_are_not_called_divergence(start, settings, x):
    engine, draw = start(settings())
    with pytest.raises(RuntimeError):
        engine.step(x[:, :100], draw(0))


def test_the_environment_names_what_numbers_depend_on(start, settings):
    engine, _ = start(settings())
    assert engine.environment() == {
        "torch": torch.__version__,
        "device": "cpu",
        "threads": str(torch.get_num_threads()),
    }


def test_the_cpu_is_always_there():
    assert choose_device("cpu").type == "cpu"


def test_auto_is_cuda_where_it_is():
    assert choose_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")


def test_absent_cuda_is_the_users_error():
    if torch.cuda.is_available():
        pytest.skip("needs a machine without CUDA")
    with pytest.raises(UserError, match=r"finds no CUDA device.*--device cpu"):
        PyTorchEngine("cuda")


def test_an_unknown_device_is_told_the_nearest_name():
    with pytest.raises(UserError, match="did you mean 'cuda'"):
        choose_device("cuda0")
