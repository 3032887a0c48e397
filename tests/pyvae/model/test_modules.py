"""Shared modules: against those of `torch.nn`, and by their distributions."""

from __future__ import annotations

import hypothesis
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from torch import nn

from pyvae.model.draws import Draws, Gumbel
from pyvae.model.modules import (
    BatchNorm,
    Concat,
    Dropout,
    FirstHalf,
    GumbelSoftmax,
    Log,
    Multiply,
    Reparameterise,
    SecondHalf,
    Unflatten,
)

modest = hypothesis.settings(max_examples=40)
PI = (0.5, 0.3, 0.15, 0.05)


def uniform(*shape, seed=1):
    return torch.from_numpy(np.random.default_rng(seed).uniform(0, 1, shape))


def gumbel(rows, classes, seed=1):
    drawn = Draws(seed).step(0, rows, {"gumbel": Gumbel((classes,))})
    return torch.from_numpy(drawn["gumbel"])


@pytest.fixture(autouse=True)
def _global_generator():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        yield


def test_native_dropout_zeroes_or_scales():
    x = torch.ones(1000)
    dropped = Dropout(0.25)(x)
    assert set(dropped.tolist()) == {0.0, (1 / 0.75 * x[0]).item()}
    assert torch.equal(Dropout(0.25).eval()(x), x)


def test_given_masks_are_used_in_evaluation_mode_too():
    keep = torch.tensor([True, False, True])
    dropped = Dropout(0.5).eval()(torch.tensor([1.0, 2.0, 3.0]), keep)
    assert dropped.tolist() == [2.0, 0.0, 6.0]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_given_mask_scales_in_the_precision_of_the_images(dtype):
    x, keep = uniform(4, 6).to(dtype), uniform(4, 6, seed=2) > 0.3
    dropped = Dropout(0.3)(x, keep)
    assert dropped.dtype == dtype
    expected = np.where(keep, x.double().numpy() / 0.7, 0)
    np.testing.assert_allclose(dropped, expected, rtol=4 * torch.finfo(dtype).eps)


def test_a_sample_is_the_mean_and_noise_of_the_standard_deviation():
    mu, log_var, noise = (uniform(4, 3, seed=seed) - 0.5 for seed in (1, 2, 3))
    sigma = np.sqrt(np.exp(log_var.numpy()))
    found = Reparameterise()(mu, log_var, noise)
    np.testing.assert_allclose(found, mu.numpy() + sigma * noise.numpy(), rtol=1e-14)


def test_samples_without_noise_are_normal():
    mu, log_var = torch.full((20_000, 1), 2.0), torch.full((20_000, 1), np.log(9.0))
    z = Reparameterise()(mu, log_var)
    assert stats.kstest(z[:, 0].numpy(), stats.norm(2, 3).cdf).pvalue > 1e-4


@pytest.mark.parametrize("shape", [(6, 5), (2, 5), (4, 5, 3, 2), (1, 5, 2, 2)])
@pytest.mark.parametrize(("momentum", "eps"), [(0.1, 1e-5), (0.3, 1e-2)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_batch_norm_is_torchs_in_both_modes_with_its_running_statistics(
    shape, momentum, eps, dtype
):
    theirs = (nn.BatchNorm1d if len(shape) == 2 else nn.BatchNorm2d)(
        5, momentum=momentum, eps=eps, dtype=dtype
    )
    ours = BatchNorm(5, momentum, eps).to(dtype)
    weights = {"weight": uniform(5, seed=7).to(dtype), "bias": uniform(5, seed=8).to(dtype)}
    for module in (ours, theirs):
        module.load_state_dict(module.state_dict() | weights)
    for step in range(3):
        x = uniform(*shape, seed=step).to(dtype)
        results = []
        for module in (ours, theirs):
            leaf = x.clone().requires_grad_()
            y = module.train()(leaf)
            (y**3).sum().backward()
            results.append((y, leaf.grad, module.weight.grad, module.bias.grad))
        for one, other in zip(*results, strict=True):
            assert torch.equal(one, other)
        assert torch.equal(ours.running_mean, theirs.running_mean)
        assert torch.equal(ours.running_var, theirs.running_var)
        assert torch.equal(ours.eval()(x), theirs.eval()(x))
    kept = {name: value.clone() for name, value in ours.state_dict().items()}
    ours(uniform(*shape, seed=9).to(dtype))  # evaluation mode
    assert all(torch.equal(value, kept[name]) for name, value in ours.state_dict().items())
    assert set(kept) == set(theirs.state_dict()) - {"num_batches_tracked"}


def test_batch_norm_is_its_formula():
    x = uniform(7, 3, 2, 4).numpy() * [[[[3.0]], [[1.0]], [[0.1]]]]
    module = BatchNorm(3).double()
    y = module(torch.from_numpy(x)).detach().numpy()
    mean, variance = x.mean((0, 2, 3)), x.var((0, 2, 3))
    expected = (x - mean[:, None, None]) / np.sqrt(variance + 1e-5)[:, None, None]
    np.testing.assert_allclose(y, expected, atol=1e-12)
    np.testing.assert_allclose(module.running_mean, 0.1 * mean, rtol=1e-12)
    unbiased = x.var((0, 2, 3), ddof=1)
    np.testing.assert_allclose(module.running_var, 0.9 + 0.1 * unbiased, rtol=1e-12)


@pytest.mark.parametrize("shape", [(6, 5), (4, 5, 3, 2)])
@pytest.mark.parametrize(("momentum", "eps"), [(0.1, 1e-5), (0.3, 1e-2)])
def test_batch_norm_over_processes_is_that_of_the_whole_batch(monkeypatch, shape, momentum, eps):
    """Each of two has half of the images, and the sums of both."""
    whole, *halves = (BatchNorm(5, momentum, eps).double() for _ in range(3))
    for module in (whole, *halves):
        weights = {"weight": uniform(5, seed=7), "bias": uniform(5, seed=8)}
        module.load_state_dict(module.state_dict() | weights)
    x = uniform(*shape)
    expected, parts = whole(x).chunk(2), x.chunk(2)

    def sums(part):
        """The three that are taken, in their order: values, their sum, their squares' sum."""
        axes = [0, *range(2, part.ndim)]
        mean = x.mean(axes, keepdim=True)
        yield from (part.new_tensor(part.numel() / 5), part.sum(axes))
        yield ((part - mean) ** 2).sum(axes)

    monkeypatch.setattr("pyvae.model.modules.is_shared", lambda: True)
    for module, part, other, half in zip(halves, parts, parts[::-1], expected, strict=True):
        others = sums(other)
        monkeypatch.setattr(
            "pyvae.model.modules.summed", lambda value, others=others: value + next(others)
        )
        torch.testing.assert_close(module(part), half, rtol=1e-12, atol=1e-14)
        for name in ("running_mean", "running_var"):
            ours, theirs = getattr(module, name), getattr(whole, name)
            torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=0)
        evaluated = [one.eval()(part) for one in (module, whole)]  # without any sum
        torch.testing.assert_close(*evaluated, rtol=1e-12, atol=1e-14)


@modest
@given(st.floats(0.05, 20), st.integers(0, 1000))
def test_a_gumbel_softmax_is_a_distribution(temperature, seed):
    pi = torch.softmax(4 * uniform(5, 4, seed=seed), 1)
    y = GumbelSoftmax(temperature)(pi, gumbel(5, 4, seed))
    assert (y >= 0).all()
    torch.testing.assert_close(y.sum(1), torch.ones(5, dtype=torch.float64))


def test_a_gumbel_softmax_with_given_noise_is_its_formula_in_both_modes():
    pi, noise = torch.softmax(4 * uniform(5, 4), 1), gumbel(5, 4)
    exponent = np.exp((np.log(pi.numpy()) + noise.numpy()) / 0.7)
    expected = exponent / exponent.sum(1, keepdims=True)
    module = GumbelSoftmax(0.7)
    for mode in (True, False):
        np.testing.assert_allclose(module.train(mode)(pi, noise), expected, rtol=1e-12)


def test_a_gumbel_softmax_tends_to_one_hot_and_to_uniform():
    pi, noise = torch.tensor([PI] * 200, dtype=torch.float64), gumbel(200, 4)
    cold, hot = GumbelSoftmax(1e-6)(pi, noise), GumbelSoftmax(1e6)(pi, noise)
    assert torch.equal(cold.round(), nn.functional.one_hot(cold.argmax(1), 4).double())
    assert (cold.max(1).values > 1 - 1e-9).double().mean() > 0.99
    assert torch.equal(cold.argmax(1), (pi.log() + noise).argmax(1))
    torch.testing.assert_close(hot, torch.full_like(hot, 0.25), atol=1e-4, rtol=0)


@pytest.mark.parametrize("given_noise", [True, False])
def test_a_gumbel_softmax_picks_classes_as_often_as_they_are_probable(given_noise):
    pi = torch.tensor([PI] * 20_000, dtype=torch.float64)
    y = GumbelSoftmax(0.5).train()(pi, gumbel(20_000, 4) if given_noise else None)
    counts = np.bincount(y.argmax(1).numpy(), minlength=4)
    assert stats.chisquare(counts, 20_000 * np.array(PI)).pvalue > 1e-4


def test_a_gumbel_softmax_without_noise_is_the_probabilities_in_evaluation_mode():
    pi = torch.softmax(uniform(5, 4), 1)
    assert torch.equal(GumbelSoftmax(0.5).eval()(pi), pi)


@pytest.mark.parametrize("module", [GumbelSoftmax(0.5), Dropout(0.5)])
def test_what_is_not_given_is_drawn_where_the_images_are(module):
    assert module.train()(torch.ones((2, 3), device="meta")).is_meta


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_gumbel_softmax_of_a_certain_class_is_a_number_and_has_gradients(dtype):
    pi = torch.tensor([[1.0, 0.0, 0.0]], dtype=dtype, requires_grad=True)
    y = GumbelSoftmax(0.5)(pi, gumbel(1, 3).to(dtype))
    y[0, 0].backward()
    assert torch.isfinite(y).all()
    assert torch.isfinite(pi.grad).all()


def test_gradients_of_a_gumbel_softmax_are_those_of_finite_differences():
    pi = torch.softmax(uniform(3, 4), 1).requires_grad_()
    noise = gumbel(3, 4)
    assert torch.autograd.gradcheck(lambda pi: GumbelSoftmax(0.5)(pi, noise), [pi])


def test_halves_are_the_two_halves_side_by_side():
    x = uniform(5, 8)
    halves = FirstHalf()(x), SecondHalf()(x)
    assert [half.shape for half in halves] == [(5, 4), (5, 4)]
    assert torch.equal(Concat()(*halves), x)
    assert torch.equal(halves[0], x[:, :4])


@pytest.mark.parametrize(("channels", "side"), [(1, 1), (3, 2), (64, 7)])
def test_unflattening_undoes_flattening(channels, side):
    maps = uniform(2, channels, side, side)
    assert torch.equal(Unflatten(channels)(nn.Flatten()(maps)), maps)


def test_logarithm_product_and_concatenation_are_numpys():
    a, b = uniform(4, 3), uniform(4, 3, seed=2)
    np.testing.assert_allclose(Log()(a), np.log(a.numpy()), rtol=1e-14)
    assert np.array_equal(Multiply()(a, b), a.numpy() * b.numpy())
    assert np.array_equal(Concat()(a, b[:, :1]), np.concatenate([a, b[:, :1]], axis=1))
