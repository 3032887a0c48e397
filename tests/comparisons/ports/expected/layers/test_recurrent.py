from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from recorded.one_stage import BOUNDS, randn, record_module
from scipy.special import expit
from torch import nn

from comparisons.ports.expected.recompute import recompute
from pyvae.recording.seen.masks_within import DrawnWithin, masks_as_one

PRECISIONS = pytest.mark.parametrize("dtype", BOUNDS, ids=["float64", "float32"])
KINDS = {"lstm": nn.LSTM, "gru": nn.GRU, "rnn": nn.RNN}


@pytest.mark.slow
@PRECISIONS
@pytest.mark.parametrize("layer", KINDS)
@settings(max_examples=8)
@given(data=st.data())
def test_recurrent_layers_return_what_pytorch_records(layer, dtype, data):
    layers, both = data.draw(st.integers(1, 3)), data.draw(st.booleans())
    projected = layer == "lstm" and data.draw(st.booleans())
    batch_first, batched = data.draw(st.booleans()), data.draw(st.booleans())
    own = {"proj_size": 2} if projected else {}
    options = {}
    if layer == "rnn":
        options["nonlinearity"] = own["nonlinearity"] = data.draw(st.sampled_from(["tanh", "relu"]))
    module = KINDS[layer](
        3, 4, num_layers=layers, bias=data.draw(st.booleans()), batch_first=batch_first,
        bidirectional=both, dtype=dtype, **own,
    )  # fmt: skip
    x = randn(*((5, 2, 3) if batched else (5, 3)), dtype=dtype)
    states = []
    if data.draw(st.booleans()):
        batch = ((5 if batch_first else 2),) if batched else ()
        sizes = [2 if projected else 4, 4] if layer == "lstm" else [4]
        states = [randn(layers * (1 + both), *batch, n, dtype=dtype, seed=n) for n in sizes]
    assert record_module(module, layer, x, *states, options=options).residual() <= BOUNDS[dtype]


@PRECISIONS
@pytest.mark.parametrize("states", [True, False])
@pytest.mark.parametrize("bias", [True, False])
def test_cells_return_what_pytorch_records(bias, states, dtype):
    x, h, c = (randn(5, n, dtype=dtype, seed=n) for n in (3, 4, 4))
    cells = [
        (nn.LSTMCell(3, 4, bias, dtype=dtype), "lstm_cell", (h, c)),
        (nn.GRUCell(3, 4, bias, dtype=dtype), "gru_cell", (h,)),
        (nn.RNNCell(3, 4, bias, "relu", dtype=dtype), "rnn_cell", (h,)),
    ]
    for cell, layer, given_states in cells:
        found = record_module(cell, layer, x, *(given_states if states else ()))
        assert found.residual() <= BOUNDS[dtype]


def test_an_lstm_is_its_formulas_in_numpy():
    """Hochreiter & Schmidhuber (1997), as PyTorch's documentation writes it; gates i, f, g, o."""
    module = nn.LSTM(3, 4, dtype=torch.float64)
    x = randn(6, 2, 3)
    found = record_module(module, "lstm", x).recomputed().outputs
    weights = {name: one.detach().numpy() for name, one in module.named_parameters()}
    h = c = np.zeros((2, 4))
    for t in range(6):
        gates = x[t].numpy() @ weights["weight_ih_l0"].T + weights["bias_ih_l0"]
        gates = gates + h @ weights["weight_hh_l0"].T + weights["bias_hh_l0"]
        i, f, g, o = np.split(gates, 4, 1)
        c = expit(f) * c + expit(i) * np.tanh(g)
        h = expit(o) * np.tanh(c)
        np.testing.assert_allclose(found["m.0"][t], h, rtol=0, atol=1e-14)
    np.testing.assert_allclose(found["m.1.0"][0], h, rtol=0, atol=1e-14)
    np.testing.assert_allclose(found["m.1.1"][0], c, rtol=0, atol=1e-14)


def test_a_gru_is_its_formulas_in_numpy():
    """Cho et al. (2014), with the reset gate after the product, as PyTorch has it."""
    module = nn.GRU(3, 4, dtype=torch.float64)
    x = randn(6, 2, 3)
    found = record_module(module, "gru", x).output()
    weights = {name: one.detach().numpy() for name, one in module.named_parameters()}
    h = np.zeros((2, 4))
    for t in range(6):
        into = x[t].numpy() @ weights["weight_ih_l0"].T + weights["bias_ih_l0"]
        over = h @ weights["weight_hh_l0"].T + weights["bias_hh_l0"]
        (r1, z1, n1), (r2, z2, n2) = np.split(into, 3, 1), np.split(over, 3, 1)
        z, n = expit(z1 + z2), np.tanh(n1 + expit(r1 + r2) * n2)
        h = (1 - z) * n + z * h
        np.testing.assert_allclose(found[t], h, rtol=0, atol=1e-14)


@PRECISIONS
@pytest.mark.parametrize("layer", KINDS)
def test_recorded_masks_between_layers_are_used(layer, dtype):
    module = KINDS[layer](3, 4, 3, dropout=0.5, bidirectional=True, dtype=dtype)
    with DrawnWithin(0.5) as within:
        options = {"nonlinearity": "tanh"} if layer == "rnn" else {}
        found = record_module(module, layer, randn(5, 2, 3, dtype=dtype), options=options)
    mask = masks_as_one(layer, found.stage.options, within.drawn)
    assert mask.shape == (2, 5, 2, 8)
    state = torch.get_rng_state()
    masked = replace(found, arrays={**found.arrays, "draw/m": mask})
    assert masked.residual() <= BOUNDS[dtype]
    assert torch.equal(torch.get_rng_state(), state)
    turned = replace(found, arrays={**found.arrays, "draw/m": 1 - mask})
    assert turned.residual() > 0.01


def test_without_its_masks_a_layer_with_dropout_is_not_recomputed():
    x = randn(5, 2, 3)
    module = nn.LSTM(3, 4, 2, dropout=0.5, dtype=torch.float64)
    found = record_module(module, "lstm", x)
    assert recompute(found.stage, found.arrays, 0) is None
    mask = np.ones((2, 5, 2, 4), np.uint8)  # one too many
    assert recompute(found.stage, {**found.arrays, "draw/m": mask}, 0) is None
    assert record_module(module.eval(), "lstm", x).residual() <= 1e-12


@pytest.mark.parametrize("missing", ["weight_ih_l0", "weight_hh_l1", "bias_hh_l0"])
def test_a_layer_without_its_weights_is_not_recomputed(missing):
    recorded = record_module(nn.GRU(3, 4, 2, dtype=torch.float64), "gru", randn(5, 2, 3))
    kept = {role: name for role, name in recorded.stage.parameters.items() if role != missing}
    assert recompute(replace(recorded.stage, parameters=kept), recorded.arrays, 0) is None


@pytest.mark.parametrize("kind", [nn.RNN, nn.RNNCell])
def test_a_plain_rnn_is_not_recomputed_where_its_activation_is_not_declared(kind):
    module = kind(3, 4, nonlinearity="relu", dtype=torch.float64)
    layer, x = ("rnn", randn(5, 2, 3)) if kind is nn.RNN else ("rnn_cell", randn(2, 3))
    recorded = record_module(module, layer, x, options={"nonlinearity": "relu"})
    assert recorded.residual() <= 1e-12
    said = {k: one for k, one in recorded.stage.options.items() if k != "nonlinearity"}
    assert recompute(replace(recorded.stage, options=said), recorded.arrays, 0) is None
