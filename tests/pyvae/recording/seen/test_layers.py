"""Modules by PyTorch's names and settings."""

from __future__ import annotations

import inspect

import pytest
import torch
from torch import nn

from pyvae.recording.seen.layers import (
    is_layer,
    layer_name,
    module_options,
    module_roles,
    snake_case,
)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Conv2d", "conv2d"), ("BatchNorm2d", "batch_norm2d"), ("LSTM", "lstm"), ("ReLU", "relu"),
        ("ReLU6", "relu6"), ("LeakyReLU", "leaky_relu"), ("PReLU", "prelu"), ("GELU", "gelu"),
        ("SiLU", "silu"), ("MaxPool2d", "max_pool2d"), ("LayerNorm", "layer_norm"),
        ("AdaptiveAvgPool2d", "adaptive_avg_pool2d"), ("CrossEntropyLoss", "cross_entropy_loss"),
        ("MultiheadAttention", "multihead_attention"), ("BCELoss", "bce_loss"), ("GRU", "gru"),
        ("BCEWithLogitsLoss", "bce_with_logits_loss"), ("MSELoss", "mse_loss"),
        ("NLLLoss", "nll_loss"), ("KLDivLoss", "kl_div_loss"), ("Embedding", "embedding"),
        ("L1Loss", "l1_loss"), ("LogSoftmax", "log_softmax"), ("GroupNorm", "group_norm"),
        ("GRUCell", "gru_cell"), ("CTCLoss", "ctc_loss"), ("LPPool2d", "lp_pool2d"),
    ],
)  # fmt: skip
def test_names_are_in_snake_case(name, expected):
    assert snake_case(name) == expected


class Derived(nn.Linear):
    """Computes as its base does."""


class Own(nn.Linear):
    def forward(self, x):
        return super().forward(x) + 1


class OwnModule(nn.Module):
    def forward(self, x):
        return x


def test_layers_are_pytorchs_own_that_are_no_containers():
    assert all(map(is_layer, (nn.Linear(1, 1), Derived(1, 1), nn.LSTM(1, 1), nn.Identity(),
                              nn.MultiheadAttention(2, 1), nn.LSTMCell(1, 1))))  # fmt: skip
    containers = (nn.Sequential(), nn.ModuleList(), nn.ModuleDict(), nn.ParameterList())
    within = (nn.TransformerEncoderLayer(2, 1), nn.Transformer(2, 1, 1, 1, 4))
    assert not any(map(is_layer, (*containers, *within, Own(1, 1), OwnModule())))
    assert layer_name(Derived(1, 1)) == "linear"
    assert layer_name(OwnModule()) == "own_module"


LAYERS = [
    nn.Linear(2, 3, bias=False), nn.Conv2d(2, 4, (3, 5), padding="same", groups=2),
    nn.ConvTranspose1d(1, 1, 2, output_padding=0), nn.BatchNorm1d(3, eps=1e-3, affine=False),
    nn.LayerNorm((2, 3), elementwise_affine=False), nn.GroupNorm(2, 4), nn.Embedding(5, 2, 0),
    nn.LSTM(2, 3, 2, dropout=0.5, bidirectional=True), nn.GRU(2, 3, bias=False),
    nn.RNN(2, 3, nonlinearity="relu"), nn.MultiheadAttention(4, 2, bias=False, add_bias_kv=True),
    nn.MaxPool2d(2, ceil_mode=True), nn.AvgPool2d(3), nn.AdaptiveAvgPool2d((1, None)),
    nn.Dropout(0.3, inplace=True), nn.GELU("tanh"), nn.Softmax(1), nn.Flatten(2), nn.ELU(0.5),
    nn.Upsample(scale_factor=2, mode="nearest"), nn.CrossEntropyLoss(label_smoothing=0.1),
]  # fmt: skip


@pytest.mark.parametrize("module", LAYERS, ids=lambda one: type(one).__name__)
def test_a_layer_can_be_made_again_from_its_settings(module):
    options = module_options(module)
    assert options.keys().isdisjoint({"inplace", "device", "dtype", "self", "_weight"})
    made = {"padding_mode": options.get("padding_mode")} if "padding_mode" in options else {}
    again = type(module)(**{
        key: tuple(v) if isinstance(v, list) else v for key, v in options.items()
        if key in inspect.signature(type(module)).parameters or isinstance(module, nn.RNNBase)
        if not (isinstance(module, nn.RNNBase) and key == "proj_size" and v == 0)
    } | made)  # fmt: skip
    assert module_options(again) == options
    theirs, ours = ({k: v.shape for k, v in one.state_dict().items()} for one in (module, again))
    assert theirs == ours
    assert str(again) == str(module).replace("inplace=True", "inplace=False")


def test_weights_stand_by_their_roles():
    module = nn.BatchNorm1d(2)
    assert module_roles(module, "a.b") == {name: f"a.b.{name}" for name in module.state_dict()}
    assert module_roles(nn.Linear(1, 1, bias=False), "") == {"weight": "weight"}
    attention = module_roles(nn.MultiheadAttention(2, 1), "x")
    assert attention["out_proj.weight"] == "x.out_proj.weight"
    normed = nn.utils.parametrizations.weight_norm(nn.Linear(2, 2))
    assert not is_layer(normed)  # its weight is computed: that is recorded
    assert torch.is_tensor(normed.weight)


@pytest.mark.parametrize("nonlinearity", ["tanh", "relu"])
def test_a_plain_rnn_says_its_activation(nonlinearity):
    assert module_options(nn.RNN(2, 3, nonlinearity=nonlinearity))["nonlinearity"] == nonlinearity
    assert "nonlinearity" not in module_options(nn.LSTM(2, 3))
