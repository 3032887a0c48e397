import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from recorded.one_stage import BOUNDS, randn, record_function
from scipy.special import logsumexp

PRECISIONS = pytest.mark.parametrize("dtype", BOUNDS, ids=["float64", "float32"])
NUMPY = {
    "sum": np.sum, "mean": np.mean, "amax": np.max, "amin": np.min, "logsumexp": logsumexp,
}  # fmt: skip


@PRECISIONS
@pytest.mark.parametrize("layer", NUMPY)
@settings(max_examples=10)
@given(dim=st.sampled_from([0, -1, [0, 2], [1], [0, 1, 2]]), keepdim=st.booleans())
def test_reductions_over_axes(layer, dtype, dim, keepdim):
    x = randn(3, 4, 5, dtype=dtype)
    found = record_function(
        lambda x: getattr(torch, layer)(x, dim, keepdim), layer, x, dim=dim, keepdim=keepdim
    )
    assert found.residual() <= BOUNDS[dtype]
    axes = tuple(dim) if isinstance(dim, list) else dim
    by_hand = NUMPY[layer](x.double().numpy(), axis=axes, keepdims=keepdim)
    np.testing.assert_allclose(found.output(), by_hand, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("layer", ["sum", "mean", "prod", "var", "std", "max", "min", "norm"])
def test_reductions_of_everything(layer):
    x = randn(3, 4)
    assert record_function(getattr(torch, layer), layer, x).residual() <= 1e-12


def test_the_mean_of_whole_numbers_is_real():
    x = torch.tensor([1, 2])
    found = record_function(lambda x: x.double().mean(), "mean", x)
    assert found.residual() == 0


@PRECISIONS
@pytest.mark.parametrize("layer", ["var", "std"])
@pytest.mark.parametrize("options", [{}, {"correction": 0}, {"unbiased": False}, {"dim": [0, 1]}])
def test_variances(layer, options, dtype):
    x = randn(3, 4, 5, dtype=dtype)
    options = {"dim": 1, "keepdim": True, **options}
    found = record_function(lambda x: getattr(torch, layer)(x, **options), layer, x, **options)
    assert found.residual() <= BOUNDS[dtype]
    less = options.get("correction", int(options.get("unbiased", True)))
    axes = tuple(options["dim"]) if isinstance(options["dim"], list) else options["dim"]
    by_hand = getattr(np, layer)(x.double().numpy(), axis=axes, ddof=less, keepdims=True)
    np.testing.assert_allclose(found.output(), by_hand, rtol=1e-12)


@pytest.mark.parametrize("base", [0, 1])
@pytest.mark.parametrize("layer", ["max", "min", "sort", "median"])
def test_places_are_told_in_the_language_s_base(layer, base):
    """But those of a median, which R's torch, too, counts from 0."""
    x = randn(3, 4)
    recorded = record_function(lambda x: getattr(torch, layer)(x, dim=1), layer, x, dim=1)
    assert recorded.stage.outputs == ("m.0", "m.1")
    found = recorded.recomputed(base).outputs
    np.testing.assert_array_equal(found["m.0"], recorded.arrays["forward/m.0"])
    shift = 0 if layer == "median" else base
    np.testing.assert_array_equal(found["m.1"], recorded.arrays["forward/m.1"] + shift)
    assert recorded.residual() == 0


def test_other_reductions():
    x = randn(3, 4)
    assert record_function(lambda x: x.argmax(1), "argmax", x, dim=1).residual() == 0
    assert record_function(lambda x: x.topk(2), "topk", x, k=2).residual() == 0
    assert record_function(lambda x: x.cumsum(1), "cumsum", x, dim=1).residual() <= 1e-12
    assert record_function(lambda x: x.prod(0), "prod", x, dim=0).residual() <= 1e-12
    found = record_function(lambda x: x.norm(1, 1), "norm", x, p=1, dim=1)
    assert found.residual() <= 1e-12
    np.testing.assert_allclose(found.output(), np.abs(x.numpy()).sum(1), rtol=1e-14)
    for layer in ("all", "any"):
        function = getattr(torch, layer)
        assert record_function(function, layer, x > 0).residual() == 0
        found = record_function(lambda x, f=function: f(x, 1), layer, x > 0, dim=1)
        assert found.residual() == 0
    y = randn(3, 4, seed=2)
    assert record_function(torch.max, "max", x, y).residual() == 0


@pytest.mark.parametrize("layer", ["var_mean", "std_mean"])
def test_moments_together(layer):
    x = randn(3, 4)
    found = record_function(lambda x: getattr(torch, layer)(x, dim=1), layer, x, dim=1)
    assert found.residual() <= 1e-12
    np.testing.assert_allclose(found.recomputed().outputs["m.1"], x.numpy().mean(1), atol=1e-15)


def test_medians_and_orders():
    x = randn(3, 5)
    assert record_function(torch.median, "median", x).residual() == 0
    assert record_function(lambda x: x.median(1), "median", x, dim=1).residual() == 0
    found = record_function(lambda x: x.argsort(1, True), "argsort", x, dim=1, descending=True)
    assert found.residual() == 0
    np.testing.assert_array_equal(found.output(1), found.output() + 1)
    assert record_function(torch.trace, "trace", x).residual() <= 1e-12
