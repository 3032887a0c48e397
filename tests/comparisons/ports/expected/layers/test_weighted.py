import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from recorded.one_stage import BOUNDS, randn, record_function, record_module
from scipy.signal import correlate
from torch import nn

from comparisons.ports.expected.recompute import recompute
from pyvae.trace.program import ProgramStage

PRECISIONS = pytest.mark.parametrize("dtype", BOUNDS, ids=["float64", "float32"])


@PRECISIONS
@pytest.mark.parametrize("bias", [True, False])
def test_linear_layers_return_what_pytorch_records(bias, dtype):
    linear = nn.Linear(3, 4, bias=bias, dtype=dtype)
    bilinear = nn.Bilinear(3, 4, 2, bias=bias, dtype=dtype)
    found = record_module(linear, "linear", randn(2, 5, 3, dtype=dtype))
    assert found.residual() <= BOUNDS[dtype]
    assert ("m.bias" in found.recomputed().gradients) == bias
    found = record_module(bilinear, "bilinear", randn(6, 3, dtype=dtype), randn(6, 4, dtype=dtype))
    assert found.residual() <= BOUNDS[dtype]


CONVOLUTIONS = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
TRANSPOSED = {1: nn.ConvTranspose1d, 2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}


@PRECISIONS
@settings(max_examples=25)
@given(data=st.data())
def test_convolutions_return_what_pytorch_records(dtype, data):
    axes = data.draw(st.integers(1, 3))
    kernel = [data.draw(st.integers(1, 3)) for _ in range(axes)]
    dilation = [data.draw(st.integers(1, 2)) for _ in range(axes)]
    each = st.lists(st.integers(0, 2), min_size=axes, max_size=axes)
    padding = data.draw(st.sampled_from(["same", "valid"]) | each)
    stride = 1 if padding == "same" else [data.draw(st.integers(1, 3)) for _ in range(axes)]
    module = CONVOLUTIONS[axes](
        4,
        6,
        kernel,
        stride,
        padding if isinstance(padding, str) else tuple(padding),
        dilation,
        groups=data.draw(st.sampled_from([1, 2])),
        bias=data.draw(st.booleans()),
        padding_mode=data.draw(st.sampled_from(["zeros", "reflect", "replicate", "circular"])),
        dtype=dtype,
    )
    x = randn(2, 4, *(5 + i for i in range(axes)), dtype=dtype)
    assert record_module(module, f"conv{axes}d", x).residual() <= BOUNDS[dtype]


@PRECISIONS
@settings(max_examples=15)
@given(data=st.data())
def test_transposed_convolutions_return_what_pytorch_records(dtype, data):
    axes = data.draw(st.integers(1, 3))
    stride = data.draw(st.integers(1, 3))
    dilation = data.draw(st.integers(1, 2))
    module = TRANSPOSED[axes](
        4,
        6,
        data.draw(st.integers(2, 3)),
        stride,
        data.draw(st.integers(0, 1)),
        data.draw(st.integers(0, max(stride, dilation) - 1)),
        groups=data.draw(st.sampled_from([1, 2])),
        dilation=dilation,
        dtype=dtype,
    )
    x = randn(2, 4, *(3 + i for i in range(axes)), dtype=dtype)
    assert record_module(module, f"conv_transpose{axes}d", x).residual() <= BOUNDS[dtype]


@pytest.mark.parametrize(("stride", "padding", "dilation"), [(1, 0, 1), (2, 1, 1), (1, 2, 3)])
def test_a_convolution_is_the_cross_correlation_of_scipy(stride, padding, dilation):
    module = nn.Conv2d(2, 3, 3, stride, padding, dilation, dtype=torch.float64)
    x = randn(1, 2, 9, 8)
    found = record_module(module, "conv2d", x).output()
    w, b = module.weight.detach().numpy(), module.bias.detach().numpy()
    spread = np.zeros((3, 2, 2 * dilation + 1, 2 * dilation + 1))
    spread[:, :, ::dilation, ::dilation] = w
    padded = np.pad(x.numpy()[0], ((0, 0), (padding, padding), (padding, padding)))
    for channel in range(3):
        by_hand = correlate(padded, spread[channel], "valid")[0, ::stride, ::stride] + b[channel]
        np.testing.assert_allclose(found[0, channel], by_hand, rtol=0, atol=1e-12)


def test_a_function_with_weights_is_computed_as_the_module():
    x, w, b = randn(2, 3, 6), randn(4, 3, 3, seed=2), randn(4, seed=3)
    found = record_function(
        lambda x, w, b: nn.functional.conv1d(x, w, b, padding=1), "conv1d", x, w, b, padding=[1]
    )
    assert found.residual() <= 1e-12


@PRECISIONS
@pytest.mark.parametrize("padding_idx", [None, 0, 3])
@pytest.mark.parametrize("scale_grad_by_freq", [False, True])
def test_an_embedding_returns_what_pytorch_records(dtype, padding_idx, scale_grad_by_freq):
    module = nn.Embedding(6, 3, padding_idx, scale_grad_by_freq=scale_grad_by_freq, dtype=dtype)
    x = torch.tensor([[0, 3, 3], [5, 1, 0]])
    found = record_module(module, "embedding", x)
    assert found.residual() <= BOUNDS[dtype]
    gradient = found.recomputed().gradients["m.weight"]
    rows = {int(i) for i in x.flatten()} - {padding_idx}
    assert {i for i in range(6) if gradient[i].abs().sum() > 0} == rows


@pytest.mark.parametrize("kind", [np.int64, np.int32, np.float64])
def test_an_embedding_counts_as_the_language_does(kind):
    weight = randn(5, 3).numpy()
    x = np.array([[1, 5], [2, 1]], kind)
    stage = ProgramStage("e", "embedding", ("x",), {"padding_idx": 1}, {"weight": "w"})
    arrays = {"forward/x": x, "start/w": weight, "gradient/e": np.ones((2, 2, 3))}
    found = recompute(stage, arrays, 1)
    np.testing.assert_array_equal(found.outputs["e"].numpy(), weight[x.astype(int) - 1])
    np.testing.assert_array_equal(found.gradients["w"].numpy()[:, 0], [0, 1, 0, 0, 1])


def test_an_embedding_is_not_recomputed_where_it_changes_its_weight():
    module = nn.Embedding(6, 3, max_norm=0.5)
    found = record_module(module, "embedding", torch.tensor([1]))
    assert recompute(found.stage, found.arrays, 0) is None


def test_indices_that_are_no_whole_numbers_are_not_recomputed():
    stage = ProgramStage("e", "embedding", ("x",), {}, {"weight": "w"})
    arrays = {"forward/x": np.array([0.5]), "start/w": np.ones((3, 2))}
    assert recompute(stage, arrays, 0) is None


@PRECISIONS
@pytest.mark.parametrize("mode", ["mean", "sum", "max"])
def test_bags_of_embeddings(mode, dtype):
    module = nn.EmbeddingBag(6, 3, mode=mode, padding_idx=2, dtype=dtype)
    x = torch.tensor([[0, 2, 3], [5, 1, 0]])
    assert record_module(module, "embedding_bag", x).residual() <= BOUNDS[dtype]
    flat, offsets = x.flatten(), torch.tensor([0, 1, 4])
    assert record_module(module, "embedding_bag", flat, offsets).residual() <= BOUNDS[dtype]
