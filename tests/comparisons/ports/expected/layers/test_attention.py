from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from recorded.one_stage import BOUNDS, randn, record_function, record_module
from scipy.special import softmax
from torch import nn
from torch.nn import functional as F

from comparisons.ports.expected.recompute import recompute
from pyvae.recording.seen.masks_within import DrawnWithin, masks_as_one

PRECISIONS = pytest.mark.parametrize("dtype", BOUNDS, ids=["float64", "float32"])


@PRECISIONS
@settings(max_examples=30)
@given(data=st.data())
def test_multihead_attention_returns_what_pytorch_records(dtype, data):
    batch_first, batched = data.draw(st.booleans()), data.draw(st.booleans())
    sizes = data.draw(st.sampled_from([{}, {"kdim": 4, "vdim": 3}]))
    module = nn.MultiheadAttention(
        6,
        2,
        bias=data.draw(st.booleans()),
        add_bias_kv=data.draw(st.booleans()),
        add_zero_attn=data.draw(st.booleans()),
        batch_first=batch_first,
        dtype=dtype,
        **sizes,
    )

    def sequence(length: int, size: int, seed: int) -> torch.Tensor:
        shape = [length, size]
        if batched:
            shape.insert(0 if batch_first else 1, 3)
        return randn(*shape, dtype=dtype, seed=seed)

    q = sequence(5, 6, 1)
    k, v = sequence(4, sizes.get("kdim", 6), 2), sequence(4, sizes.get("vdim", 6), 3)
    options = {
        "need_weights": data.draw(st.booleans()),
        "average_attn_weights": data.draw(st.booleans()),
    }
    masks, roles = {}, {}
    if data.draw(st.booleans()):
        hidden = torch.zeros((3, 4) if batched else (4,), dtype=torch.bool)
        hidden[..., -1] = True
        masks["key_padding_mask"] = hidden
    if data.draw(st.booleans()):
        masks["attn_mask"] = randn(5, 4, dtype=dtype, seed=9)
    found = record_module(module, "multihead_attention", q, k, v, options=options,
                          **options, **masks)  # fmt: skip
    arrays = dict(found.arrays)
    for name, mask in masks.items():
        arrays[f"forward/{name}"], roles[name] = mask.numpy(), name
    stage = replace(found.stage, parameters={**found.stage.parameters, **roles})
    assert replace(found, stage=stage, arrays=arrays).residual() <= BOUNDS[dtype]


def test_multihead_attention_is_its_formula_in_numpy():
    """Vaswani et al. (2017), equation 1."""
    module = nn.MultiheadAttention(6, 2, batch_first=True, dtype=torch.float64)
    nn.init.normal_(module.in_proj_bias)
    x = randn(1, 5, 6)
    found = record_module(module, "multihead_attention", x, x, x).recomputed().outputs
    w, b = module.in_proj_weight.detach().numpy(), module.in_proj_bias.detach().numpy()
    q, k, v = np.split(x[0].numpy() @ w.T + b, 3, 1)
    heads, weights = [], []
    for at in (slice(0, 3), slice(3, 6)):
        weights.append(softmax(q[:, at] @ k[:, at].T / np.sqrt(3), 1))
        heads.append(weights[-1] @ v[:, at])
    out = module.out_proj
    y = np.hstack(heads) @ out.weight.detach().numpy().T + out.bias.detach().numpy()
    np.testing.assert_allclose(found["m.0"][0], y, rtol=0, atol=1e-14)
    np.testing.assert_allclose(found["m.1"][0], np.mean(weights, 0), rtol=0, atol=1e-14)


def with_mask_by_place(shape, batch=3, length=4):
    module = nn.MultiheadAttention(6, 2, batch_first=True, dtype=torch.float64)
    x = randn(batch, length, 6)
    mask = torch.zeros(shape, dtype=torch.bool)
    mask[..., -1] = True
    name = "attn_mask" if shape == (length, length) else "key_padding_mask"
    found = record_module(module, "multihead_attention", x, x, x, **{name: mask})
    stage = replace(found.stage, inputs=(*found.stage.inputs, "mask"))
    return replace(found, stage=stage, arrays={**found.arrays, "forward/mask": mask.numpy()})


def test_masks_that_come_by_place_are_told_apart_by_shape():
    assert with_mask_by_place((3, 4)).residual() <= 1e-12
    assert with_mask_by_place((4, 4)).residual() <= 1e-12


def test_masks_that_cannot_be_told_apart_are_not_guessed():
    found = with_mask_by_place((4, 4), batch=4)
    assert recompute(found.stage, found.arrays, 0) is None


def test_without_its_mask_attention_with_dropout_is_not_recomputed():
    x = randn(3, 4, 6)
    module = nn.MultiheadAttention(6, 2, dropout=0.5, dtype=torch.float64)
    found = record_module(module, "multihead_attention", x, x, x)
    assert recompute(found.stage, found.arrays, 0) is None
    assert record_module(module.eval(), "multihead_attention", x, x, x).residual() <= 1e-12


@PRECISIONS
@pytest.mark.parametrize("need_weights", [False, True])
def test_the_recorded_mask_of_attention_is_used(need_weights, dtype):
    x = randn(3, 4, 6, dtype=dtype)
    module = nn.MultiheadAttention(6, 2, dropout=0.5, dtype=dtype)
    options = {"need_weights": need_weights}
    with DrawnWithin(0.5) as within:
        found = record_module(
            module, "multihead_attention", x, x, x, options=options, need_weights=need_weights
        )
    mask = masks_as_one("multihead_attention", found.stage.options, within.drawn)
    assert mask.shape == (4, 2, 3, 3)
    assert replace(found, arrays={**found.arrays, "draw/m": mask}).residual() <= BOUNDS[dtype]
    turned = replace(found, arrays={**found.arrays, "draw/m": 1 - mask})
    assert turned.residual() > 0.01


@PRECISIONS
def test_the_recorded_mask_of_scaled_dot_product_attention_is_used(dtype):
    q, k, v = (randn(2, 3, 5, 4, dtype=dtype, seed=n) for n in range(3))
    with DrawnWithin(0.25) as within:
        found = record_function(
            lambda *x: F.scaled_dot_product_attention(*x, dropout_p=0.25),
            "scaled_dot_product_attention", q, k, v, dropout_p=0.25,
        )  # fmt: skip
    assert recompute(found.stage, found.arrays, 0) is None
    mask = within.drawn[0].numpy()
    masked = replace(found, arrays={**found.arrays, "draw/m": mask})
    assert masked.residual() <= BOUNDS[dtype]
    scores = softmax(q.double().numpy() @ k.double().numpy().swapaxes(-1, -2) / 2, -1)
    expected = (scores * mask / 0.75) @ v.double().numpy()
    np.testing.assert_allclose(masked.output(), expected, atol=1e-13)


@PRECISIONS
@pytest.mark.parametrize("options", [{}, {"is_causal": True}, {"scale": 0.3}])
@pytest.mark.parametrize("masked", [False, True])
def test_scaled_dot_product_attention(masked, options, dtype):
    if masked and options:
        return
    q, k, v = (randn(2, 3, 5, 4, dtype=dtype, seed=n) for n in range(3))
    mask = [randn(5, 5, dtype=dtype, seed=8)] if masked else []
    found = record_function(
        lambda *x: F.scaled_dot_product_attention(*x, **options),
        "scaled_dot_product_attention", q, k, v, *mask, **options,
    )  # fmt: skip
    assert found.residual() <= BOUNDS[dtype]
    if not masked and not options:
        scores = softmax(q.double().numpy() @ k.double().numpy().swapaxes(-1, -2) / 2, -1)
        np.testing.assert_allclose(found.output(), scores @ v.double().numpy(), atol=1e-13)
