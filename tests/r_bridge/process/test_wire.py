"""What is sent arrives, exact."""

from __future__ import annotations

import re
import socket
import struct
import threading
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from r_bridge.process.wire import ClosedError, FrameError, Kept, frame, receive, send

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


@pytest.mark.slow
@settings(max_examples=100)
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


@pytest.mark.slow
@settings(max_examples=100)
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


def received(data: bytes):
    """What is made of bytes that arrive before the connection is closed."""
    left, right = socket.socketpair()
    with left, right:
        right.settimeout(10)
        sender = threading.Thread(target=left.sendall, args=(data,))
        sender.start()
        sender.join()
        left.close()
        return receive(right)


def headed(head: bytes, rest: bytes = b"") -> bytes:
    return struct.pack(">I", len(head)) + head + rest


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"\xff\xff\xff\xff" + b"x" * 100, "a head of 4294967295 bytes"),
        (b"Warn" + b"ing message" * 10, "a head of 1466004078 bytes"),
        (headed(b"Error: no JSON"), "no JSON"),
        (headed(b"\xff\xfe"), "no JSON"),
        (headed(b"[" * 100_000), "no JSON"),
        (headed(b"{}"), "{} in its head"),
        (headed(b'{"array": 3}'), "in its head"),
        (headed(b'{"kept": ["session"]}'), "in its head"),
        (headed(b'{"list": {"a": 1}}'), "in its head"),
        (headed(b'{"dict": [1]}'), "in its head"),
        (headed(b'{"array": ["|O", [2], "C"]}', bytes(16)), "an array of"),
        (headed(b'{"array": ["<f8", [-1], "C"]}'), "an array of"),
        (headed(b'{"array": ["<f8", [1099511627776, 1099511627776], "C"]}'), "an array of"),
        (headed(b'{"array": ["nothing", [2], "C"]}'), "an array of"),
        (headed(b'{"array": ["<f8", [2], "K"]}', bytes(16)), "an array of"),
        (headed(b'{"array": ["<f8", ["2"], "C"]}', bytes(16)), "an array of"),
        (headed(b'{"array": [7, [2], "C"]}', bytes(16)), "an array of"),
    ],
)
def test_what_is_no_frame_is_named_as_such(data, words):
    """Pointers are never taken from it."""
    with pytest.raises(FrameError, match=re.escape(words)):
        received(data)


@pytest.mark.slow
@settings(max_examples=150)
@given(st.data())
def test_a_frame_with_other_bytes_in_it_is_read_or_refused(data):
    """And nothing else: no other error, nothing waited for that does not come."""
    value = {"a": [np.arange(6.0).reshape(2, 3), "text"], "b": Kept("x")}
    whole = bytearray(b"".join(bytes(part) for part in frame(value)))
    for _ in range(data.draw(st.integers(1, 3))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    with suppress(FrameError, ClosedError, MemoryError):
        received(bytes(whole[: data.draw(st.integers(0, len(whole)))]))


@pytest.mark.parametrize(
    "value", [np.array([object()]), np.ones(2, complex), {1, 2}, [np.datetime64("2024-01-01")]]
)
def test_what_a_frame_cannot_hold_is_refused_before_anything_is_sent(value):
    left, right = socket.socketpair()
    with left, right:
        with pytest.raises(TypeError):
            send(left, {"before": np.ones(3), "value": value})
        send(left, 7)
        assert receive(right) == 7
