"""Against PyTorch's, and finite differences."""

from __future__ import annotations

import hypothesis
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from pyvae.model.kernels import binary_cross_entropy
from pyvae.model.kernels.binary_cross_entropy import summed_binary_cross_entropy
from pyvae.model.kernels.choice import fast_kernels
from pyvae.model.loss_terms import bernoulli_reconstruction

modest = hypothesis.settings(max_examples=60)
probabilities = st.one_of(st.sampled_from([0.0, 1.0, 1e-45, 2**-24, 1 - 2**-24]), st.floats(0, 1))


def pytorchs(pixels, x):
    return F.binary_cross_entropy(pixels, x, reduction="sum")


@modest
@given(
    st.lists(st.tuples(probabilities, probabilities), max_size=40),
    st.sampled_from([torch.float32, torch.float64]),
    st.integers(1, 9),
)
def test_it_is_pytorchs(pairs, dtype, block):
    pixels, x = torch.tensor(pairs, dtype=dtype).reshape(-1, 2).T
    pixels.requires_grad_()
    with pytest.MonkeyPatch.context() as patch:  # as if there were many blocks
        patch.setattr(binary_cross_entropy, "BLOCK", block)
        ours = summed_binary_cross_entropy(pixels, x)
    theirs = pytorchs(pixels, x)
    torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-6)
    gradients = [torch.autograd.grad(3 * value, pixels)[0] for value in (ours, theirs)]
    assert torch.equal(*gradients)


def test_images_of_several_blocks():
    generator = torch.Generator().manual_seed(2)
    pixels = torch.rand((500, 784), generator=generator)
    x = torch.rand((784, 500), generator=generator).T  # in another order in memory
    exact = pytorchs(pixels.double(), x.double())
    assert pixels.numel() > 2 * binary_cross_entropy.BLOCK
    assert abs(summed_binary_cross_entropy(pixels, x) / exact - 1) < 1e-6


def test_finite_differences_agree():
    generator = torch.Generator().manual_seed(4)
    pixels, x = torch.rand((2, 3, 4), generator=generator, dtype=torch.float64)
    pixels.requires_grad_()
    assert torch.autograd.gradcheck(lambda p: summed_binary_cross_entropy(p, x), pixels)
    assert torch.autograd.gradgradcheck(lambda p: summed_binary_cross_entropy(p, x), pixels)


@pytest.mark.parametrize("value", [-1e-7, 1.0000001, float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("which", ["input", "target"])
@pytest.mark.parametrize("place", [0, 39])
def test_what_is_no_probability_is_refused_in_pytorchs_words(value, which, place):
    values = {"input": torch.full((5, 8), 0.5), "target": torch.zeros(5, 8)}
    values[which].view(-1)[place] = value
    with pytest.raises(RuntimeError, match=f"all elements of {which} should be between 0 and 1"):
        summed_binary_cross_entropy(*values.values())


def test_the_loss_takes_it_where_it_is_wanted(monkeypatch):
    calls = []

    def called(pixels, x):
        calls.append(len(x))
        return summed_binary_cross_entropy(pixels, x)

    monkeypatch.setattr("pyvae.model.loss_terms.summed_binary_cross_entropy", called)
    pixels, x = torch.full((2, 784), 0.25), torch.zeros(2, 784)
    assert bernoulli_reconstruction(pixels, x) == pytorchs(pixels, x)
    assert not calls
    with fast_kernels(True):
        bernoulli_reconstruction(pixels, x)
        assert calls == [2]
        bernoulli_reconstruction(pixels, x.requires_grad_()).backward()  # PyTorch's has one
    assert calls == [2]
    assert x.grad.abs().min() > 0
