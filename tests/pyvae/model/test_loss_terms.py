"""Terms of the losses, against scipy's and PyTorch's distributions."""

from __future__ import annotations

import hypothesis
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from scipy import integrate, special, stats
from torch.distributions import Categorical, Normal, kl_divergence

from pyvae.model import loss_terms as terms
from pyvae.model.loss_terms import (
    bernoulli_reconstruction,
    cross_entropy,
    expected_prior,
    gaussian_reconstruction,
    half_mu_squared,
    kl,
    kl_categorical,
    kl_gaussians,
    squared_error,
)

modest = hypothesis.settings(max_examples=60)
pytestmark = pytest.mark.filterwarnings("error")
means = st.floats(-20, 20)
log_variances = st.floats(-12, 5)
logits = st.lists(st.floats(-30, 30), min_size=2, max_size=12)


def tensor(*values):
    """One row, float64."""
    return torch.tensor([values], dtype=torch.float64)


def normal(mu, log_var):
    return Normal(mu, (log_var / 2).exp())


@pytest.fixture
def rng():
    return np.random.default_rng(5)


@pytest.fixture
def images(rng):
    """x and pixels of five images."""
    return [torch.from_numpy(rng.uniform(*ends, (5, 784))) for ends in ((0, 1), (0.02, 0.98))]


@pytest.fixture
def gaussians(rng):
    """mu and log_var, twice, of five images."""
    return [torch.from_numpy(rng.normal(size=(5, 4))) for _ in range(4)]


@pytest.fixture
def pi(rng):
    """Probabilities of ten classes for five images."""
    return torch.from_numpy(rng.dirichlet(np.full(10, 0.3), 5))


def test_reconstruction_is_the_bernoulli_log_likelihood(images):
    x, pixels = images
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
    x, pixel = tensor(x), tensor(pixel)
    best = bernoulli_reconstruction(x, x)
    assert bernoulli_reconstruction(pixel, x) >= best - 1e-12


@pytest.mark.parametrize("variance", [0.05, 1.0, 3.0])
def test_a_gaussian_reconstruction_is_scipys_log_density(rng, variance):
    x, mean = rng.normal(size=(2, 7, 2))
    expected = -stats.norm.logpdf(x, mean, np.sqrt(variance)).sum()
    found = gaussian_reconstruction(torch.from_numpy(mean), torch.from_numpy(x), variance)
    assert found.item() == pytest.approx(expected, rel=1e-13)


def test_a_squared_error_is_a_mean_over_all_pixels_of_all_images(images):
    x, pixels = images
    expected = np.mean((x.numpy() - pixels.numpy()) ** 2)
    assert squared_error(pixels, x).item() == pytest.approx(expected, rel=1e-13)


def test_kl_is_that_of_torch_distributions(gaussians):
    mu, log_var, *_ = gaussians
    expected = kl_divergence(normal(mu, log_var), Normal(0.0, 1.0)).sum()
    assert kl(mu, log_var).item() == pytest.approx(expected.item(), rel=1e-13)


@pytest.mark.parametrize(("mu", "log_var"), [(0.0, 0.0), (1.5, -2.0), (-0.3, 1.2)])
def test_kl_is_the_integral_of_its_definition(mu, log_var):
    posterior, prior = stats.norm(mu, np.exp(log_var / 2)), stats.norm()
    expected, _ = integrate.quad(
        lambda z: posterior.pdf(z) * (posterior.logpdf(z) - prior.logpdf(z)), -25, 25, points=[mu]
    )
    assert kl(tensor(mu), tensor(log_var)).item() == pytest.approx(expected, abs=1e-8)


@modest
@given(means, st.floats(-20, 5))
def test_kl_is_not_negative(mu, log_var):
    assert kl(tensor(mu), tensor(log_var)) >= -1e-14


def test_emae_keeps_only_the_prior_density_at_the_mean(gaussians):
    mu, log_var, *_ = gaussians
    expected = (stats.norm.logpdf(0) - stats.norm.logpdf(mu.numpy())).sum()
    assert half_mu_squared(mu, log_var).item() == pytest.approx(expected, rel=1e-13)


def test_the_expected_prior_is_the_cross_entropy_of_posterior_and_prior(gaussians):
    """KL = cross entropy - entropy; log 2 pi / 2 for each dimension is left out of both."""
    mu, log_var, *_ = gaussians
    entropy = stats.norm.entropy(mu.numpy(), np.exp(log_var.numpy() / 2)).sum()
    constant = mu.numel() * np.log(2 * np.pi) / 2
    expected = kl(mu, log_var).item() + entropy - constant
    assert expected_prior(mu, log_var).item() == pytest.approx(expected, rel=1e-13)
    draws = stats.norm.rvs(
        mu.numpy(), np.exp(log_var.numpy() / 2), (20_000, *mu.shape), random_state=1
    )
    sampled = -stats.norm.logpdf(draws).sum((1, 2)) - constant
    error = sampled.std() / np.sqrt(len(sampled))
    assert sampled.mean() == pytest.approx(expected_prior(mu, log_var).item(), abs=5 * error)


def test_kl_of_two_gaussians_is_that_of_torch_distributions(gaussians):
    mu1, log_var1, mu2, log_var2 = gaussians
    expected = kl_divergence(normal(mu1, log_var1), normal(mu2, log_var2)).sum()
    assert kl_gaussians(*gaussians).item() == pytest.approx(expected.item(), rel=1e-13)


def test_kl_of_a_gaussian_from_the_standard_one_is_kl(gaussians):
    mu, log_var, *_ = gaussians
    zero = torch.zeros_like(mu)
    found = kl_gaussians(mu, log_var, zero, zero)
    torch.testing.assert_close(found, kl(mu, log_var), rtol=1e-14, atol=0)


@modest
@given(means, log_variances, means, log_variances)
def test_kl_of_two_gaussians_is_zero_where_they_are_equal_and_not_negative(mu1, v1, mu2, v2):
    one, other = (tensor(mu1), tensor(v1)), (tensor(mu2), tensor(v2))
    assert kl_gaussians(*one, *one).abs() <= 1e-14
    found = kl_gaussians(*one, *other)
    assert found >= -1e-10 * (1 + abs(v1) + abs(v2))
    if abs(mu1 - mu2) > 1e-3:
        assert found > 0


def test_kl_of_classes_is_that_of_torch_distributions(pi):
    expected = kl_divergence(Categorical(pi), Categorical(torch.full_like(pi, 0.1))).sum()
    assert kl_categorical(pi).item() == pytest.approx(expected.item(), rel=1e-12)


@modest
@given(logits)
def test_kl_of_classes_is_between_zero_and_the_logarithm_of_their_number(values):
    pi = torch.softmax(tensor(*values), 1)
    found = kl_categorical(pi).item()
    assert -1e-12 <= found <= np.log(len(values)) + 1e-12
    uniform = torch.full_like(pi, 1 / len(values))
    assert kl_categorical(uniform).item() == pytest.approx(0, abs=1e-12)


def test_kl_of_a_certain_class_is_a_number():
    pi = tensor(1.0, 0.0, 0.0).requires_grad_()
    found = kl_categorical(pi)
    found.backward()
    assert found.item() == pytest.approx(np.log(3), rel=1e-14)
    assert torch.isfinite(pi.grad).all()


def test_the_articles_cross_entropy_takes_probabilities_for_logits(pi):
    labels = torch.tensor([3, 0, 9, 9, 1])
    expected = F.cross_entropy(pi, labels, reduction="sum")
    found = cross_entropy(pi, F.one_hot(labels, 10).double())
    torch.testing.assert_close(found, expected, rtol=1e-14, atol=0)


@modest
@given(logits, st.data())
def test_the_articles_cross_entropy_has_the_bound_that_it_says(values, data):
    pi = torch.softmax(tensor(*values), 1)
    classes = len(values)
    label = data.draw(st.integers(0, classes - 1))
    labels = torch.eye(classes, dtype=torch.float64)[[label]]
    bound = -np.log(np.e / (np.e + classes - 1))
    assert cross_entropy(pi, labels).item() >= bound - 1e-12
    assert cross_entropy(labels, labels).item() == pytest.approx(bound, rel=1e-12)
    if classes == 10:
        assert bound == pytest.approx(1.46, abs=5e-3)  # as the docstring has it


def test_a_gpus_likelihood_is_the_same_and_refuses_nothing():
    """It is NaN where the other raises an error: on a GPU that would end the process."""
    generator = torch.Generator().manual_seed(1)
    x = torch.rand((5, 784), generator=generator, dtype=torch.float64)
    logits = torch.randn((5, 784), generator=generator, dtype=torch.float64) * 20
    pixels = [torch.sigmoid(logits).requires_grad_() for _ in range(2)]
    values = [bernoulli_reconstruction(pixels[0], x), terms._without_refusal(pixels[1], x)]
    assert torch.equal(*values)
    for value in values:
        value.backward()
    assert torch.equal(pixels[0].grad, pixels[1].grad)
    spoilt = pixels[0].detach().clone()
    spoilt[3, 7] = float("nan")
    assert terms._without_refusal(spoilt, x).isnan()


class OnGpu(torch.Tensor):
    """What says that it is on a GPU."""

    is_cuda = True


def test_on_a_gpu_nothing_is_refused():
    pixels = torch.tensor([[0.3, 0.6], [0.9, 0.2]], dtype=torch.float64)
    x = torch.tensor([[0.0, 1.0], [0.5, 0.2]], dtype=torch.float64)
    found = bernoulli_reconstruction(pixels.as_subclass(OnGpu), x)
    assert found.item() == bernoulli_reconstruction(pixels, x).item()
    pixels[1, 0] = float("nan")
    assert bernoulli_reconstruction(pixels.as_subclass(OnGpu), x).isnan()
    with pytest.raises(RuntimeError):
        bernoulli_reconstruction(pixels, x)
