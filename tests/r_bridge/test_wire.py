"""What is sent arrives, exact."""

from __future__ import annotations

import socket
import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from r_bridge.wire import ClosedError, Kept, receive, send

scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
arrays = hnp.arrays(
    st.sampled_from([np.float64, np.float32, np.int32, np.uint8, np.bool_]),
    hnp.array_shapes(min_dims=1, max_dims=4, min_side=0, max_side=4),
)
values = st.recursive(
    scalars | arrays | st.text().map(Kept),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


def same(a, b) -> bool:
    if isinstance(a, np.ndarray):
        return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
    if isinstance(a, list):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, dict):
        return list(a) == list(b) and all(same(a[key], b[key]) for key in a)
    return type(a) is type(b) and a == b


def there_and_back(value):
    """What arrives of a value that is sent."""
    left, right = socket.socketpair()
    with left, right:
        right.settimeout(10)  # else a sender that fails is waited for without end
        sender = threading.Thread(target=send, args=(left, value))
        sender.start()
        received = receive(right)
        sender.join()
    return received


@settings(max_examples=100, deadline=None)
@given(values)
def test_values_arrive_as_they_were_sent(value):
    assert same(there_and_back(value), value)


def test_arrays_that_are_not_contiguous_arrive_in_their_order():
    array = np.arange(30.0).reshape(2, 3, 5).transpose(2, 0, 1)[::2]
    left, right = socket.socketpair()
    with left, right:
        send(left, array)
        assert np.array_equal(receive(right), array)


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.int32, np.uint8, np.bool_])
def test_column_major_arrays_arrive_column_major(dtype):
    array = np.asfortranarray(np.arange(30).reshape(2, 3, 5).astype(dtype))
    received = there_and_back(array)
    assert received.shape == (2, 3, 5)
    assert received.dtype == dtype
    assert received.flags.f_contiguous
    assert not received.flags.c_contiguous
    assert np.array_equal(received, array)
    assert received.flags.writeable


def test_row_major_arrays_arrive_row_major():
    received = there_and_back(np.arange(30.0).reshape(2, 3, 5))
    assert received.flags.c_contiguous
    assert np.array_equal(received, np.arange(30.0).reshape(2, 3, 5))


@settings(max_examples=100, deadline=None)
@given(arrays, st.randoms(use_true_random=False))
def test_any_order_of_axes_arrives_as_it_looks(array, random):
    axes = random.sample(range(array.ndim), array.ndim)
    for view in (array.transpose(axes), np.asfortranarray(array), array[::-1]):
        received = there_and_back(view)
        assert received.dtype == view.dtype
        assert received.shape == view.shape
        assert received.tobytes() == view.tobytes()


@pytest.mark.parametrize("shape", [(0,), (0, 3), (2, 0, 5), (3, 4, 0)])
@pytest.mark.parametrize("order", ["C", "F"])
def test_empty_arrays_keep_their_shape(shape, order):
    received = there_and_back([np.empty(shape, np.float32, order=order), np.arange(3.0)])
    assert received[0].shape == shape
    assert received[0].dtype == np.float32
    assert received[1].tolist() == [0, 1, 2]  # what follows is not taken for it


def test_a_number_without_dimensions_keeps_its_shape():
    received = there_and_back(np.array(1.5))
    assert received.shape == ()
    assert received == 1.5


def test_nested_arrays_of_both_orders_arrive_each_in_its_place():
    rows = np.arange(30.0).reshape(2, 3, 5)
    value = {
        "a": [np.asfortranarray(rows), {"b": rows + 1, "c": np.empty((0, 2))}],
        "d": {"e": np.asfortranarray(rows.astype(np.float32) + 2)},
        "f": [[rows[0] > 3]],
    }
    received = there_and_back(value)
    assert same(received, value)
    assert received["a"][0].flags.f_contiguous
    assert received["a"][1]["b"].flags.c_contiguous
    assert received["d"]["e"].flags.f_contiguous


def test_a_large_array_arrives_in_many_pieces():
    array = np.random.default_rng(1).standard_normal((1000, 1000))
    left, right = socket.socketpair()
    with left, right:
        sender = threading.Thread(target=send, args=(left, array))
        sender.start()
        received = receive(right)
        sender.join()
    assert np.array_equal(received, array)


@pytest.mark.parametrize("cut", [0, 5, 14])
def test_a_closed_connection_is_named_as_such(cut):
    left, right = socket.socketpair()
    with right:
        other, sink = socket.socketpair()
        with other, sink:
            send(other, {"a": 1})
            frame = sink.recv(1000)
        left.sendall(frame[:cut])
        left.close()
        with pytest.raises(ClosedError):
            receive(right)


def test_silence_is_a_time_out():
    left, right = socket.socketpair()
    with left, right:
        right.settimeout(0.05)
        with pytest.raises(TimeoutError):
            receive(right)
