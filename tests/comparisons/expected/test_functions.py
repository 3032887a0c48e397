"""Layers as functions: each against NumPy and scipy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import signal, special

from comparisons.expected.functions import (
    FUNCTIONS,
    batch_statistics,
    gumbel_logits,
    images,
    per_channel,
    reduced_axes,
)
from pyvae.recipes import RECIPES

EITHER = pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
MAPS = (3, 2, 4, 4)  # images, channels, rows, columns


def normal(*shape, seed=1):
    return np.random.default_rng(seed).normal(size=shape)


def applied(name, *arrays, dtype=torch.float64, **options):
    """A function's result for arrays; it has the precision of the first."""
    tensors = [torch.from_numpy(np.asarray(array)) for array in arrays]
    tensors[0] = tensors[0].to(dtype)
    found = FUNCTIONS[name](*tensors, **options)
    assert found.dtype == dtype
    return found.numpy()


def test_every_layer_that_a_recipe_declares_is_there():
    declared = {stage.layer for recipe in RECIPES.values() for stage in recipe.stages}
    terms = {stage.layer for recipe in RECIPES.values() for stage in recipe.stages if stage.is_term}
    assert declared - terms - {"input"} <= set(FUNCTIONS)


ELEMENTWISE = {
    "log": np.log,
    "relu": lambda x: np.maximum(x, 0),
    "sigmoid": special.expit,
    "softplus": lambda x: np.logaddexp(0, x),
}


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_elementwise_layers_are_numpys(name):
    x = abs(normal(4, 5)) if name == "log" else 5 * normal(4, 5)
    np.testing.assert_allclose(applied(name, x), ELEMENTWISE[name](x), rtol=1e-12, atol=1e-15)


def test_a_leaky_relu_has_its_slope_below_zero():
    x = np.array([[-2.0, -0.5, 0.0, 0.25, 1.0, 3.0]])
    assert applied("leaky_relu", x, slope=0.1).tolist() == [[-0.2, -0.05, 0.0, 0.25, 1.0, 3.0]]


@pytest.mark.parametrize(("name", "options"), [("relu", {}), ("leaky_relu", {"slope": 0.1})])
def test_a_kink_has_the_slope_from_below(name, options):
    """As PyTorch's own layers have it, and R's."""
    x = torch.tensor([-1.0, 0.0, 1.0], requires_grad=True)
    FUNCTIONS[name](x, **options).sum().backward()
    below = options.get("slope", 0.0)
    torch.testing.assert_close(x.grad, torch.tensor([below, below, 1.0]))


def test_a_softmax_is_over_classes():
    x = normal(5, 4)
    np.testing.assert_allclose(applied("softmax", x), special.softmax(x, axis=1), rtol=1e-13)


def test_two_inputs_are_joined_feature_by_feature_or_multiplied():
    a, b = normal(3, 2), normal(3, 4, seed=2)
    assert np.array_equal(applied("concat", a, b), np.hstack([a, b]))
    assert np.array_equal(applied("multiply", a, b[:, :2]), a * b[:, :2])


def test_halves_are_the_features_in_front_and_behind():
    x = normal(3, 6)
    assert np.array_equal(applied("first_half", x), x[:, :3])
    assert np.array_equal(applied("second_half", x), x[:, 3:])


@pytest.mark.parametrize("rows", [1, 2])
@pytest.mark.parametrize(("channels", "side"), [(1, 5), (3, 2), (4, 1)])
def test_flattening_and_unflattening_undo_each_other(rows, channels, side):
    x = normal(rows, channels, side, side)
    flat = applied("flatten", x)
    assert flat.shape == (rows, channels * side**2)
    assert np.array_equal(applied("unflatten", flat, channels=channels), x)
    assert np.array_equal(images(torch.from_numpy(x), channels).numpy(), x)


def test_a_max_pool_takes_the_largest_of_two_by_two():
    x = normal(*MAPS)
    expected = x.reshape(3, 2, 2, 2, 2, 2).max(axis=(3, 5))
    assert np.array_equal(applied("max_pool2d", x), expected)


def test_a_linear_layer_is_a_product_and_a_bias():
    x, w, b = normal(5, 3), normal(4, 3, seed=2), normal(4, seed=3)
    np.testing.assert_allclose(applied("linear", x, w, b), x @ w.T + b, rtol=1e-12)


def correlated(x, w, stride, padding):
    """A convolution as the field has it, by scipy: kernels are not flipped."""
    x = np.pad(x, [(0, 0), (0, 0), (padding, padding), (padding, padding)])
    maps = [
        [signal.correlate(image, kernels, "valid")[0] for kernels in w]  # channels are added up
        for image in x
    ]
    return np.array(maps)[:, :, ::stride, ::stride]


@pytest.mark.parametrize("options", [{}, {"stride": 2, "padding": 1}, {"padding": 2}])
def test_a_convolution_is_scipys(options):
    x, w, b = normal(*MAPS), normal(5, 2, 3, 3, seed=2), normal(5, seed=3)
    expected = correlated(x, w, options.get("stride", 1), options.get("padding", 0))
    expected += b[:, None, None]
    for given in (x, x.reshape(3, -1)):  # maps, or rows of pixels
        np.testing.assert_allclose(applied("conv2d", given, w, b, **options), expected, atol=1e-12)


@pytest.mark.parametrize("options", [{}, {"stride": 2, "padding": 1}, {"padding": 2}])
def test_a_transposed_convolution_is_the_transposed_of_the_convolution(options):
    """sum conv(x) y = sum x conv_transpose(y) for any x and y."""
    y, w, b = normal(3, 2, 3, 3), normal(2, 5, 3, 3, seed=2), normal(5, seed=3)
    found = applied("conv_transpose2d", y, w, b, **options)
    assert np.array_equal(applied("conv_transpose2d", y.reshape(3, -1), w, b, **options), found)
    x = normal(*found.shape, seed=4)
    convolved = correlated(x, w, options.get("stride", 1), options.get("padding", 0))
    plain = found - b[:, None, None]
    assert (convolved * y).sum() == pytest.approx((x * plain).sum(), rel=1e-12)


def test_the_options_of_convolutions_are_one_and_none_where_they_are_not_given():
    x, b = normal(*MAPS), np.zeros(2)
    w = normal(2, 2, 3, 3, seed=2)
    assert applied("conv2d", x, w, b).shape == (3, 2, 2, 2)
    assert applied("conv_transpose2d", x, w, b).shape == (3, 2, 6, 6)


@EITHER
@pytest.mark.parametrize("p", [0.25, 0.5])
def test_dropout_scales_what_is_kept(p, dtype):
    x, keep = normal(4, 6), normal(4, 6, seed=2) > 0
    expected = np.where(keep, x / (1 - p), 0)
    rtol = 1e-14 if dtype == torch.float64 else 1e-6
    np.testing.assert_allclose(applied("dropout", x, keep, dtype=dtype, p=p), expected, rtol)


def test_a_sample_is_mu_and_noise_of_the_standard_deviation():
    mu, log_var, noise = (normal(4, 3, seed=seed) for seed in (1, 2, 3))
    expected = mu + np.sqrt(np.exp(log_var)) * noise
    np.testing.assert_allclose(applied("reparameterise", mu, log_var, noise), expected, rtol=1e-13)


def test_a_gumbel_softmax_is_its_formula():
    pi, noise = special.softmax(normal(5, 4), axis=1), normal(5, 4, seed=2)
    logits = np.log(pi) + noise
    found = gumbel_logits(torch.from_numpy(pi), torch.from_numpy(noise)).numpy()
    np.testing.assert_allclose(found, logits, rtol=1e-13, atol=1e-14)
    found = applied("gumbel_softmax", pi, noise, temperature=0.7)
    np.testing.assert_allclose(found, special.softmax(logits / 0.7, axis=1), rtol=1e-12)


def test_a_class_that_is_impossible_has_a_logit_all_the_same():
    """The logarithm of the article's 1e-20."""
    found = gumbel_logits(torch.tensor([[0.0]], dtype=torch.float64), torch.tensor([[2.0]]))
    assert found.item() == pytest.approx(2 - 20 * np.log(10), rel=1e-14)


@pytest.mark.parametrize("shape", [(6, 5), (4, 5, 3, 2)])
def test_batch_norm_is_its_formula(shape):
    x, w, b = 3 * normal(*shape) + 1, normal(5, seed=2), normal(5, seed=3)
    x[:, 0] *= 1e-3  # a variance that is not large beside eps
    axes = (0, 2, 3)[: len(shape) - 1]
    column = (1, 5) + (1,) * (len(shape) - 2)
    mean, variance = x.mean(axes), x.var(axes)
    expected = (x - mean.reshape(column)) / np.sqrt(variance.reshape(column) + 1e-3)
    expected = expected * w.reshape(column) + b.reshape(column)
    for options in ({}, {"momentum": 0.5}):  # running statistics are no part of the result
        found = applied("batch_norm", x, w, b, eps=1e-3, **options)
        np.testing.assert_allclose(found, expected, rtol=1e-11, atol=1e-13)
    found = batch_statistics(torch.from_numpy(x))
    np.testing.assert_allclose(found[0], mean, rtol=1e-11)
    np.testing.assert_allclose(found[1], variance, rtol=1e-11)
    assert found[2] == x.size / 5
    assert isinstance(found[2], int)
    assert reduced_axes(torch.from_numpy(x)) == axes
    assert per_channel(torch.from_numpy(mean), torch.from_numpy(x)).shape == column
