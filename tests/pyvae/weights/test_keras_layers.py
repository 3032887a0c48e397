"""Keras' layers, computed here as Keras documents them, against PyTorch's modules with the
converted weights."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from pyvae.weights.keras_layers import KerasLayer, UnknownLayerError, as_pytorch

RNG = np.random.default_rng(3)


def draw(*shape):
    return RNG.normal(size=shape)


def into(module, layer):
    """The module, with the layer's weights."""
    state = {one.name: torch.from_numpy(one.value.copy()) for one in as_pytorch(layer)}
    module.double().load_state_dict(state)
    return module


def layer(hint="", backward=False, **variables):
    return KerasLayer("layer", hint, variables, backward)


def close(found, wanted):
    np.testing.assert_allclose(found.detach().numpy(), wanted, rtol=0, atol=1e-12)


def windows(x, size):
    """(n, h, w, size, size, c): what a convolution of Keras sees, channels last."""
    return np.lib.stride_tricks.sliding_window_view(x, (size, size), (1, 2)).transpose(
        0, 1, 2, 4, 5, 3
    )


def channels_last(module, x):
    return module(torch.from_numpy(x).permute(0, 3, 1, 2)).permute(0, 2, 3, 1)


def test_dense():
    kernel, bias, x = draw(3, 2), draw(2), draw(5, 3)
    close(into(nn.Linear(3, 2), layer(kernel=kernel, bias=bias))(torch.from_numpy(x)),
          x @ kernel + bias)  # fmt: skip


def test_convolution():
    kernel, bias, x = draw(3, 3, 4, 2), draw(2), draw(5, 6, 7, 4)
    wanted = np.einsum("nhwklc,klco->nhwo", windows(x, 3), kernel) + bias
    close(channels_last(into(nn.Conv2d(4, 2, 3), layer(kernel=kernel, bias=bias)), x), wanted)


def test_convolutions_of_one_and_three_axes():
    kernel, x = draw(2, 4, 3), draw(5, 6, 4)
    wanted = sum(x[:, k : k + 5] @ kernel[k] for k in range(2))
    module = into(nn.Conv1d(4, 3, 2, bias=False), layer(kernel=kernel))
    close(module(torch.from_numpy(x).permute(0, 2, 1)).permute(0, 2, 1), wanted)
    kernel, x = draw(1, 2, 1, 4, 3), draw(5, 2, 3, 2, 4)
    wanted = sum(x[:, :, k : k + 2] @ kernel[0, k, 0] for k in range(2))
    module = into(nn.Conv3d(4, 3, (1, 2, 1), bias=False), layer(kernel=kernel))
    close(module(torch.from_numpy(x).permute(0, 4, 1, 2, 3)).permute(0, 2, 3, 4, 1), wanted)


def test_transposed_convolution():
    kernel, bias, x = draw(3, 3, 2, 4), draw(2), draw(5, 3, 4, 4)  # (h, w, out, in)
    wanted = np.zeros((5, 7, 9, 2)) + bias
    for i in range(3):
        for j in range(4):
            wanted[:, 2 * i : 2 * i + 3, 2 * j : 2 * j + 3] += np.einsum(
                "nc,kloc->nklo", x[:, i, j], kernel
            )
    module = into(
        nn.ConvTranspose2d(4, 2, 3, stride=2), layer("conv2d_transpose", kernel=kernel, bias=bias)
    )
    close(channels_last(module, x), wanted)


@pytest.mark.parametrize(
    ("hint", "name"), [("depthwise_conv2d", "kernel"), ("", "kernel"), ("", "depthwise_kernel")]
)
def test_depthwise_convolution_told_by_name_or_by_its_bias(hint, name):
    kernel, bias, x = draw(3, 3, 4, 2), draw(8), draw(5, 6, 7, 4)
    wanted = np.einsum("nhwklc,klcm->nhwcm", windows(x, 3), kernel).reshape(5, 4, 5, 8) + bias
    module = into(nn.Conv2d(4, 8, 3, groups=4), layer(hint, **{name: kernel, "bias": bias}))
    close(channels_last(module, x), wanted)


def test_separable_convolution_is_two():
    deep, point, bias = draw(3, 3, 4, 2), draw(1, 1, 8, 5), draw(5)
    numbered = KerasLayer("s", "separable_conv2d", {"0": deep, "1": point, "2": bias})
    stored = {one.name: one.value.shape for one in as_pytorch(numbered)}
    assert stored == {
        "depthwise.weight": (8, 1, 3, 3), "pointwise.weight": (5, 8, 1, 1), "pointwise.bias": (5,),
    }  # fmt: skip


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def lstm(x, kernel, recurrent, bias):
    h = c = np.zeros((len(x), len(recurrent)))
    found = []
    for t in range(x.shape[1]):
        i, f, g, o = np.split(x[:, t] @ kernel + h @ recurrent + bias, 4, axis=1)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        h = sigmoid(o) * np.tanh(c)
        found.append(h)
    return np.stack(found, 1)


def gru(x, kernel, recurrent, bias):
    h, found = np.zeros((len(x), len(recurrent))), []
    for t in range(x.shape[1]):
        xz, xr, xh = np.split(x[:, t] @ kernel + bias[0], 3, axis=1)
        hz, hr, hh = np.split(h @ recurrent + bias[1], 3, axis=1)
        z, r = sigmoid(xz + hz), sigmoid(xr + hr)
        h = z * h + (1 - z) * np.tanh(xh + r * hh)
        found.append(h)
    return np.stack(found, 1)


def test_lstm_and_the_half_that_runs_backwards():
    kernel, recurrent, bias, x = draw(3, 16), draw(4, 16), draw(16), draw(5, 6, 3)
    given = {"kernel": kernel, "recurrent_kernel": recurrent, "bias": bias}
    module = into(nn.LSTM(3, 4, batch_first=True), layer(**given))
    close(module(torch.from_numpy(x))[0], lstm(x, kernel, recurrent, bias))
    back = layer(backward=True, **given)
    assert {one.name for one in as_pytorch(back)} == {
        "weight_ih_l0_reverse", "weight_hh_l0_reverse", "bias_ih_l0_reverse", "bias_hh_l0_reverse",
    }  # fmt: skip


def test_gru():
    kernel, recurrent, bias, x = draw(3, 12), draw(4, 12), draw(2, 12), draw(5, 6, 3)
    numbered = KerasLayer("g", "gru cell", {"0": kernel, "1": recurrent, "2": bias})
    module = into(nn.GRU(3, 4, batch_first=True), numbered)
    close(module(torch.from_numpy(x))[0], gru(x, kernel, recurrent, bias))


def test_simple_rnn_and_a_gru_without_bias():
    kernel, recurrent, bias, x = draw(3, 4), draw(4, 4), draw(4), draw(5, 1, 3)
    given = layer(kernel=kernel, recurrent_kernel=recurrent, bias=bias)
    module = into(nn.RNN(3, 4, batch_first=True), given)
    close(module(torch.from_numpy(x))[0], np.tanh(x @ kernel + bias))
    done = [one.done for one in as_pytorch(layer(kernel=draw(3, 12), recurrent_kernel=draw(4, 12)))]
    assert all("reset_after=True is assumed" in one for one in done)


def test_what_is_stored_alike_gets_new_names():
    norm = {str(k): draw(4) for k in range(4)}
    stored = list(as_pytorch(KerasLayer("b", "batch_normalization", norm)))
    assert [one.name for one in stored] == ["weight", "bias", "running_mean", "running_var"]
    assert all(one.value is norm[str(k)] for k, one in enumerate(stored))
    table = draw(7, 3)
    (one,) = as_pytorch(KerasLayer("e", "embedding", {"0": table}))
    assert (one.name, one.value is table, one.done) == ("weight", True, "as it was")
    names = [one.name for one in as_pytorch(KerasLayer("l", "layer_norm", {"0": norm["0"],
             "1": norm["1"]}))]  # fmt: skip
    assert names == ["weight", "bias"]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (layer("multi_head_attention query", kernel=draw(4, 2, 3)), "attention"),
        (layer("batch_normalization", **{"0": draw(4), "1": draw(4)}), "without names"),
        (layer("p_re_lu", alpha=draw(4)), "'alpha' has no counterpart"),
        (layer(kernel=draw(3, 12), recurrent_kernel=draw(4, 12), bias=draw(12)), "reset_after"),
        (layer(kernel=draw(3, 8), recurrent_kernel=draw(4, 8)), "2 gates"),
        (layer(kernel=draw(3, 9), recurrent_kernel=draw(4, 9)), "2.25 gates"),
        (layer(kernel=draw(2, 3, 3, 3, 3, 3)), "6 axes"),
        (layer(kernel=draw(4)), "1 axes"),
    ],
)
def test_what_is_not_known_is_refused(given, said):
    with pytest.raises(UnknownLayerError, match=said):
        list(as_pytorch(given))
