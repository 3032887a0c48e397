import numpy as np
import pytest
import torch
import torch.nn.functional as F

from pyvae.recording.keras.channels import before, channels_first, in_kept_order, returned
from pyvae.recording.seen.values import Call, Kept, Value

LAST = [0, 2, 3, 1]


def value(array, call):
    found = Value(torch.tensor(array), np.asarray(array), call)
    call.outputs = [("", found)]
    return found


def last(seed):
    """A value whose channels are last, made by a permutation of one that has them first."""
    first = np.random.default_rng(seed).normal(size=(2, 3, 4, 5))
    source = value(first, Call("a", "conv2d"))
    turn = Call("a.permute", "permute", [source], {}, {"dims": LAST})
    return first, value(first.transpose(LAST), turn)


def computed(layer, options, *given, array):
    call = Call("b", layer, list(given), {}, options)
    value(array, call)
    return call


FUNCTIONS = {
    "relu": ({}, lambda x, y: np.maximum(x, 0), 1),
    "add": ({}, lambda x, y: x + y, 2),
    "cat": ({"dim": -1}, lambda x, y: np.concatenate([x, y], -1), 2),
    "mean": ({"dim": [1, 2], "keepdim": False}, lambda x, y: x.mean((1, 2)), 1),
    "softmax": ({"dim": -1}, lambda x, y: torch.tensor(x).softmax(-1).numpy(), 1),
    "pad": ({"pad": [0, 0, 1, 2, 3, 4]},
            lambda x, y: F.pad(torch.tensor(x), (0, 0, 1, 2, 3, 4)).numpy(), 1),
}  # fmt: skip
SAID = {"cat": {"dim": 1}, "mean": {"dim": [2, 3], "keepdim": False}, "softmax": {"dim": 1},
        "pad": {"pad": [1, 2, 3, 4]}}  # fmt: skip


@pytest.mark.parametrize("layer", FUNCTIONS)
def test_a_function_is_taken_through_the_permutation(layer):
    options, function, count = FUNCTIONS[layer]
    (a, x), (b, y) = last(1), last(2)
    call = computed(layer, options, *[x, y][:count], array=function(x.array, y.array))
    found = channels_first([call], "b")
    assert call.options == SAID.get(layer, options)
    assert [one.array is given for one, given in zip(call.inputs, (a, b), strict=False)]
    assert np.array_equal(call.inputs[0].array, a)
    if layer == "mean":
        assert found == [call]
        assert np.allclose(returned(call).array, a.mean((2, 3)))
    else:
        assert [one.layer for one in found] == [layer, "permute"]
        assert np.array_equal(returned(call).array.transpose(LAST), returned(found[1]).array)


@pytest.mark.parametrize("given", ["a matrix product", "another order", "a parameter"])
def test_what_mixes_orders_stays(given):
    _, x = last(1)
    other = value(np.zeros((2, 4, 5, 3)), Call("c", "input"))
    inputs = {"a matrix product": [x], "another order": [x, other], "a parameter": [x, "p"]}[given]
    layer = "matmul" if given == "a matrix product" else "add"
    call = computed(layer, {}, *inputs, array=np.zeros((2, 4, 5, 3)))
    assert channels_first([call], "b") == [call]
    assert call.inputs == inputs


def test_a_permutation_undone_is_none():
    first, x = last(1)
    back = Call("b.permute", "permute", [x], {}, {"dims": [0, 3, 1, 2]})
    assert before(value(first, back)).array is x.call.inputs[0].array
    assert back.made_by == "other"
    other = Call("b.permute", "permute", [x], {}, {"dims": LAST})
    stays = value(first, other)
    assert before(stays) is stays


def kernel():
    """A kernel as the trace keeps it, and what brings it into the order of Keras."""
    kept = np.random.default_rng(3).normal(size=(4, 5))
    turn = Call("a.kernel.permute", "permute", [Kept("a.kernel")], {}, {"dims": [1, 0]})
    return kept, turn, value(kept.T, turn)


def test_a_penalty_is_of_the_kernel_as_the_trace_keeps_it():
    kept, turn, x = kernel()
    square = computed("square", {}, x, array=x.array**2)
    total = computed("sum", {}, returned(square), array=np.asarray((kept**2).sum()))
    assert in_kept_order([turn, square, total], [turn]) == [square, total]
    assert square.inputs == ["a.kernel"]
    assert np.array_equal(returned(square).array, kept**2)
    assert total.inputs == [returned(square)]


def test_what_takes_a_kernel_as_keras_keeps_it_stays():
    _, turn, x = kernel()
    square = computed("square", {}, x, array=x.array**2)
    product = computed("matmul", {}, x, returned(square), array=x.array @ x.array.T)
    found = in_kept_order([turn, square, product], [turn])
    assert [one.layer for one in found] == ["permute", "square", "permute", "matmul"]
    assert np.array_equal(product.inputs[1].array, x.array**2)
    rows = computed("sum", {"dim": [0]}, x, array=x.array.sum(0))
    assert in_kept_order([turn, rows], [turn]) == [rows]
    assert rows.options == {"dim": [1]}
    assert rows.inputs == ["a.kernel"]
