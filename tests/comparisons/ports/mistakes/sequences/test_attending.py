"""Attention put together from its parts returns what PyTorch's own returns."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from examples.example import called
from examples.function import Function
from torch import Tensor, nn

from comparisons.ports.expected.call import NotRecomputableError
from comparisons.ports.mistakes.sequences.attending import attention_of


def randn(*shape: int, seed: int = 1) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, dtype=torch.float64, generator=generator)


def assert_same(found, right) -> None:
    found, right = ([one] if isinstance(one, Tensor) else one for one in (found, right))
    for x, y in zip(found, right, strict=True):
        torch.testing.assert_close(x, y, rtol=0, atol=1e-13)


CAUSAL = torch.ones(5, 5, dtype=torch.bool).triu(1)
PADDING = torch.arange(5) >= torch.tensor([[5], [3], [4], [5]])


@pytest.mark.parametrize("dropout", [0.0, 0.4])
@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize(
    "masks",
    [
        {}, {"attn_mask": CAUSAL}, {"key_padding_mask": PADDING}, {"attn_mask": randn(5, 5)},
        {"attn_mask": CAUSAL, "key_padding_mask": PADDING}, {"attn_mask": randn(8, 5, 5)},
    ],
    ids=lambda masks: " and ".join(masks) or "none",
)  # fmt: skip
def test_a_module_is_its_parts(masks, first, dropout):
    layer = nn.MultiheadAttention(6, 2, dropout, batch_first=first, dtype=torch.float64)
    shape = (4, 5, 6) if first else (5, 4, 6)
    call = called(layer, tuple(randn(*shape, seed=n) for n in range(3)), masks)
    assert_same(attention_of(call)(), call())


def test_a_module_with_weights_of_their_own_is_its_parts():
    layer = nn.MultiheadAttention(6, 2, kdim=3, vdim=4, batch_first=True, dtype=torch.float64)
    call = called(layer, (randn(4, 5, 6), randn(4, 7, 3), randn(4, 7, 4)))
    assert_same(attention_of(call)(), call())


@pytest.mark.parametrize("options", [{}, {"is_causal": True}, {"scale": 0.3}, {"dropout_p": 0.4}])
@pytest.mark.parametrize("mask", [None, ~CAUSAL, randn(5, 5), randn(2, 3, 5, 5)])
def test_a_function_is_its_parts(options, mask):
    if mask is not None and "is_causal" in options:
        return  # PyTorch takes one of the two
    layer = Function(F.scaled_dot_product_attention, **options)
    inputs = [randn(2, 3, 5, 4, seed=n) for n in range(3)]
    call = called(layer, (*inputs, *([] if mask is None else [mask])))
    assert_same(attention_of(call)(), call())


@pytest.mark.parametrize("options", [{"add_bias_kv": True}, {"add_zero_attn": True}])
def test_with_further_keys_it_is_not_taken_apart(options):
    layer = nn.MultiheadAttention(6, 2, batch_first=True, dtype=torch.float64, **options)
    call = called(layer, (randn(4, 5, 6),) * 3)
    with pytest.raises(NotRecomputableError):
        attention_of(call)
