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


@settings(max_examples=100, deadline=None)
@given(values)
def test_values_arrive_as_they_were_sent(value):
    left, right = socket.socketpair()
    with left, right:
        sender = threading.Thread(target=send, args=(left, value))
        sender.start()
        received = receive(right)
        sender.join()
    assert same(received, value)


def test_arrays_that_are_not_contiguous_arrive_in_their_order():
    array = np.arange(30.0).reshape(2, 3, 5).transpose(2, 0, 1)[::2]
    left, right = socket.socketpair()
    with left, right:
        send(left, array)
        assert np.array_equal(receive(right), array)


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
