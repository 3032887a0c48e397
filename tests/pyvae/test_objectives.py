from __future__ import annotations

import hypothesis
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import integrate, special, stats
from torch.distributions import Normal, kl_divergence

from pyvae.objectives import OBJECTIVES, bernoulli_reconstruction, half_mu_squared, kl
from pyvae.recipes import RECIPES

modest = hypothesis.settings(max_examples=60, deadline=None)
every_objective = pytest.mark.parametrize("objective", OBJECTIVES.values(), ids=list(OBJECTIVES))
pytestmark = pytest.mark.filterwarnings("error")


@pytest.fixture
def batch():
    """x, pixels, mu, log_var of five images."""
    rng = np.random.default_rng(5)
    arrays = (
        rng.uniform(0, 1, (5, 784)),
        rng.uniform(0.02, 0.98, (5, 784)),
        rng.normal(size=(5, 4)),
        rng.normal(size=(5, 4)),
    )
    return [torch.from_numpy(array) for array in arrays]


def test_reconstruction_is_the_bernoulli_log_likelihood(batch):
    x, pixels, *_ = batch
    x[0] = x[0].round()
    t, p = x.numpy(), pixels.numpy()
    expected = -(special.xlogy(t, p) + special.xlog1py(1 - t, -p)).sum()
    assert bernoulli_reconstruction(pixels, x).item() == pytest.approx(expected, rel=1e-13)


@pytest.mark.parametrize(
    ("x", "pixel", "nats"), [(1, 0, 100), (0, 1, 100), (0.5, 0, 50), (0, 0, 0), (1, 1, 0)]
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_logarithms_are_held_at_minus_100(x, pixel, nats, dtype):
    pixels = torch.full((1, 3), pixel, dtype=dtype)
    assert bernoulli_reconstruction(pixels, torch.full_like(pixels, x)).item() == 3 * nats


@modest
@given(st.floats(0, 1), st.floats(0, 1))
def test_no_pixel_reconstructs_an_image_better_than_its_own_value(x, pixel):
    x, pixel = (torch.tensor([[value]], dtype=torch.float64) for value in (x, pixel))
    best = bernoulli_reconstruction(x, x)
    assert bernoulli_reconstruction(pixel, x) >= best - 1e-12


def test_kl_is_that_of_torch_distributions(batch):
    *_, mu, log_var = batch
    expected = kl_divergence(Normal(mu, (log_var / 2).exp()), Normal(0.0, 1.0)).sum()
    assert kl(mu, log_var).item() == pytest.approx(expected.item(), rel=1e-13)


@pytest.mark.parametrize(("mu", "log_var"), [(0.0, 0.0), (1.5, -2.0), (-0.3, 1.2)])
def test_kl_is_the_integral_of_its_definition(mu, log_var):
    posterior, prior = stats.norm(mu, np.exp(log_var / 2)), stats.norm()
    expected, _ = integrate.quad(
        lambda z: posterior.pdf(z) * (posterior.logpdf(z) - prior.logpdf(z)), -25, 25, points=[mu]
    )
    found = kl(*(torch.tensor([[value]], dtype=torch.float64) for value in (mu, log_var)))
    assert found.item() == pytest.approx(expected, abs=1e-8)


@modest
@given(st.floats(-20, 20), st.floats(-20, 5))
def test_kl_is_not_negative(mu, log_var):
    assert kl(*(torch.tensor([[value]], dtype=torch.float64) for value in (mu, log_var))) >= -1e-14


def test_emae_keeps_only_the_prior_density_at_the_mean(batch):
    *_, mu, log_var = batch
    expected = (stats.norm.logpdf(0) - stats.norm.logpdf(mu.numpy())).sum()
    assert half_mu_squared(mu, log_var).item() == pytest.approx(expected, rel=1e-13)


def test_emae_does_not_look_at_the_variance(batch):
    x, pixels, mu, log_var = batch
    total = OBJECTIVES["emae"](x, pixels, mu, log_var).total
    assert torch.equal(OBJECTIVES["emae"](x, pixels, mu, log_var + 3).total, total)
    assert not torch.equal(OBJECTIVES["vae"](x, pixels, mu, log_var + 3).total, total)


@every_objective
def test_total_is_reconstruction_plus_regulariser_with_weights_1(objective, batch):
    x, pixels, mu, log_var = batch
    losses = objective(*batch)
    assert losses.reconstruction == bernoulli_reconstruction(pixels, x)
    assert losses.regulariser == objective.regulariser(mu, log_var)
    assert losses.total == losses.reconstruction + losses.regulariser
    assert all(loss.shape == () for loss in losses)


@every_objective
def test_losses_are_sums_over_images(objective, batch):
    whole = torch.stack(objective(*batch))
    parts = [
        torch.stack(objective(*(tensor[chosen] for tensor in batch)))
        for chosen in (slice(0, 1), slice(1, 3), slice(3, 5))
    ]
    torch.testing.assert_close(sum(parts), whole, rtol=1e-13, atol=0)


@every_objective
def test_gradients_are_those_of_finite_differences(objective, batch):
    x, pixels, mu, log_var = (tensor[:2, :6].clone() for tensor in batch)
    for tensor in (pixels, mu, log_var):
        tensor.requires_grad_()
    assert torch.autograd.gradcheck(
        lambda *inputs: objective(x, *inputs).total, (pixels, mu, log_var)
    )


def test_the_registry_knows_objectives_by_their_names():
    assert [objective.name for objective in OBJECTIVES.values()] == list(OBJECTIVES)
    assert {name for recipe in RECIPES.values() for name in recipe.objectives} <= set(OBJECTIVES)
