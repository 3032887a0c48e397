"""A recurrent layer of PyTorch that starts from Keras' one, and the other way round."""

from __future__ import annotations

import numpy as np
import pytest

from pyvae.recording.given.recurrent import as_pytorch_names, recurrent_start

CELLS = [
    "a.b.lstm_cell.kernel", "a.b.lstm_cell.bias", "g.gru_cell.recurrent_kernel",
    "g.gru_cell.bias[0]", "g.gru_cell.bias[1]",
    "w.forward_simple_rnn.simple_rnn_cell.kernel", "w.backward_simple_rnn.simple_rnn_cell.kernel",
    "forward_gru.gru_cell.kernel",
]  # fmt: skip


def test_names():
    assert as_pytorch_names([*CELLS, "dense.kernel", "x.weight_ih_l0"]) == dict(
        zip(
            CELLS,
            (
                "a.b.weight_ih_l0", "a.b.bias_ih_l0", "g.weight_hh_l0", "g.bias_ih_l0",
                "g.bias_hh_l0", "w.weight_ih_l0", "w.weight_ih_l0_reverse",
                "forward_gru.weight_ih_l0",  # the whole of a layer that is called so
            ),
            strict=True,
        )
    )  # fmt: skip


def start(name, own, theirs, shape=None, named=lambda name, among: name):
    """What a parameter starts with.

    Arguments:
        name: The parameter.
        own: The program's own names.
        theirs: The other's numbers, by name.
        shape: Its shape.
        named: What the other calls a name, of those that it has.
    """
    return recurrent_start(name, shape or (), own, theirs, theirs.get, named)


LSTM = ["r.lstm_cell.kernel", "r.lstm_cell.recurrent_kernel", "r.lstm_cell.bias"]
TORCH = [f"r.{role}_l0" for role in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")]


def test_one_bias_is_two_of_which_the_second_is_zero():
    theirs = {name: np.array([at], np.float32) for at, name in enumerate(LSTM, 1)}
    found = [start(name, TORCH, theirs, (1,)) for name in TORCH]
    assert [float(one[0]) for one in found] == [1, 2, 3, 0]
    assert found[3].dtype == np.float32


def test_a_layer_of_another_name_has_a_second_bias_of_zeros():
    def named(name, among):
        other = name.replace("e.", "r.")
        return other if other in among else name

    theirs = {name: np.array([at]) for at, name in enumerate(LSTM, 1)}
    own = [name.replace("r.", "e.") for name in TORCH]
    found = [start(name, own, theirs, (1,), named) for name in own]
    assert [int(one[0]) for one in found] == [1, 2, 3, 0]


def test_two_biases_are_one_that_is_their_sum():
    theirs = {name: np.array([at]) for at, name in enumerate(TORCH, 1)}
    assert [int(start(name, LSTM, theirs)[0]) for name in LSTM] == [1, 2, 3 + 4]


def test_a_gru_has_two_biases_in_both():
    keras = [f"r.gru_cell.{n}" for n in ("kernel", "recurrent_kernel", "bias[0]", "bias[1]")]
    for own, others in ((keras, TORCH), (TORCH, keras)):
        theirs = {name: np.array([at]) for at, name in enumerate(others)}
        assert [int(start(name, own, theirs)[0]) for name in own] == [0, 1, 2, 3]


def test_gates_of_a_gru_that_pytorch_has_not_come_in_its_order():
    keras = {
        "r.gru_cell.kernel": np.array([[1, 2, 3], [4, 5, 6]]),
        "r.gru_cell.recurrent_kernel": np.array([[1, 2, 3]]),
        "r.gru_cell.bias": np.array([1, 2, 3]),
    }
    shapes = [(3, 2), (3, 1), (3,), (3,)]
    found = [start(name, TORCH, keras, shape) for name, shape in zip(TORCH, shapes, strict=True)]
    expected = [[2, 5], [1, 4], [3, 6]], [[2], [1], [3]], [2, 1, 3], [0, 0, 0]
    assert [one.tolist() for one in found] == [*expected]
    torch = dict(zip(TORCH, found, strict=True))
    for name, value in keras.items():
        assert start(name, [*keras], torch, value.shape).tolist() == value.tolist()


@pytest.mark.parametrize("name", ["r.weight_ih_l0", "other.weight"])
def test_what_is_not_there_is_not_known(name):
    assert start(name, [name], {"dense.kernel": np.zeros(1)}) is None
    assert start(name, [name], {"s.lstm_cell.kernel": np.zeros(1)}) is None
