"""Functions by ATen's names."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from pyvae.recording.seen.functions import known_function

SAME = {
    "add": (torch.add, Tensor.add, Tensor.add_, Tensor.__add__, Tensor.__iadd__, Tensor.__radd__),
    "sub": (torch.sub, torch.subtract, Tensor.__sub__, Tensor.__rsub__, Tensor.__isub__),
    "mul": (torch.mul, torch.multiply, Tensor.mul_, Tensor.__mul__),
    "div": (torch.div, torch.true_divide, Tensor.__truediv__, Tensor.__rdiv__),
    "pow": (torch.pow, Tensor.__pow__, Tensor.__rpow__),
    "matmul": (torch.matmul, Tensor.__matmul__),
    "neg": (torch.neg, Tensor.__neg__, Tensor.negative),
    "relu": (torch.relu, torch.relu_, F.relu, Tensor.relu_),
    "sigmoid": (torch.sigmoid, Tensor.sigmoid),
    "index": (Tensor.__getitem__,),
    "index_put": (Tensor.__setitem__, Tensor.index_put_, Tensor.index_put, torch.index_put),
    "cat": (torch.cat, torch.concat),
    "to": (Tensor.float, Tensor.to, Tensor.double, Tensor.cpu),
    "feature_dropout": (F.dropout2d, torch.feature_dropout),
    "max_pool2d": (F.max_pool2d, torch.max_pool2d),
    "cross_entropy_loss": (F.cross_entropy,),
    "t": (Tensor.t, Tensor.T.__get__),
    "detach": (Tensor.detach, Tensor.data.__get__),
    "bitwise_not": (Tensor.__invert__,),
    "gt": (torch.gt, Tensor.__gt__, Tensor.greater),
}
IN_PLACE = {
    Tensor.add_, Tensor.__iadd__, Tensor.__isub__, Tensor.mul_, torch.relu_, Tensor.relu_,
    Tensor.__setitem__, Tensor.index_put_,
}  # fmt: skip
DRAWS = {
    "randn": (torch.randn, torch.randn_like), "rand": (torch.rand, torch.rand_like),
    "normal": (torch.normal, Tensor.normal_), "uniform": (Tensor.uniform_,),
    "bernoulli": (torch.bernoulli, Tensor.bernoulli_), "randperm": (torch.randperm,),
    "randint": (torch.randint, torch.randint_like), "multinomial": (torch.multinomial,),
}  # fmt: skip
NOT_RECORDED = (
    torch.zeros, torch.ones_like, torch.arange, torch.tensor, Tensor.backward,
    Tensor.requires_grad_, Tensor.shape.__get__, Tensor.grad.__get__, Tensor.register_hook,
)  # fmt: skip


@pytest.mark.parametrize("layer", SAME)
def test_what_does_the_same_has_the_same_name(layer):
    for function in SAME[layer]:
        found = known_function(function)
        assert (found.layer, found.draw) == (layer, "")
        assert found.in_place == (function in IN_PLACE), function


@pytest.mark.parametrize("distribution", DRAWS)
def test_draws_say_their_distribution(distribution):
    for function in DRAWS[distribution]:
        found = known_function(function)
        assert (found.layer, found.draw) == ("draw", distribution)
        assert found.in_place == function.__name__.endswith("_")


def test_constants_and_what_computes_nothing_are_not_recorded():
    assert [known_function(one) for one in NOT_RECORDED] == [None] * len(NOT_RECORDED)


def test_a_tensor_that_indexes_a_list_is_no_function_of_the_model():
    assert known_function(torch.Tensor.__index__) is None
    assert known_function(torch.Tensor.__getitem__).layer == "index"
