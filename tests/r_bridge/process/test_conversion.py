"""Values between NumPy and R, through a real R process."""

from __future__ import annotations

import numpy as np
import pytest

from r_bridge.errors import RError
from r_bridge.process.client import RProcess

pytestmark = pytest.mark.r


@pytest.fixture(scope="module")
def r():
    with RProcess() as process:
        process.evaluate("same <- function(x) x; NULL")
        process.evaluate(
            "element <- function(x, i) do.call(`[`, c(list(x), as.list(as.integer(i)))); NULL"
        )
        process.evaluate("about <- function(x) c(typeof(x), paste(dim(x), collapse = ' ')); NULL")
        yield process


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.int32, np.uint8, np.bool_])
@pytest.mark.parametrize("shape", [(7,), (2, 3), (2, 3, 5), (3, 2, 4, 5)])
def test_arrays_come_back_exact_and_in_order(r, dtype, shape):
    array = np.random.default_rng(1).integers(0, 2 if dtype == np.bool_ else 200, shape)
    array = array.astype(dtype)
    back = r.call("same", x=array)
    assert back.shape == shape
    assert np.array_equal(back, array)


def test_doubles_come_back_to_the_last_bit(r):
    array = np.random.default_rng(2).standard_normal((250, 784)) * 10.0 ** np.linspace(
        -300, 300, 784
    )
    array[0, :3] = [np.nan, np.inf, -0.0]
    assert r.call("same", x=array).tobytes() == array.tobytes()


def test_an_element_has_the_same_index_plus_one_in_r(r):
    array = np.arange(30.0).reshape(2, 3, 5)
    for index in np.ndindex(array.shape):
        one_based = np.array(index, dtype=np.int32) + 1
        assert r.call("element", x=array, i=one_based) == array[index]


def test_a_slice_and_a_transposed_array_arrive_as_they_look(r):
    array = np.arange(60.0).reshape(3, 4, 5)
    for view in (array[:, 1:3, ::2], array.transpose(2, 0, 1), np.asfortranarray(array)):
        assert np.array_equal(r.call("same", x=view), view)


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (np.zeros((2, 3)), ["double", "2 3"]),
        (np.zeros((2, 3), np.float32), ["double", "2 3"]),
        (np.zeros((2, 3), np.bool_), ["logical", "2 3"]),
        (np.zeros((2, 3), np.int32), ["integer", "2 3"]),
        (True, ["logical", ""]),
        (3, ["integer", ""]),
        (3.5, ["double", ""]),
        ("a", ["character", ""]),
        ({"a": 1}, ["list", ""]),
        (None, ["NULL", ""]),
    ],
)
def test_each_kind_becomes_what_r_users_expect(r, value, kind):
    assert r.call("about", x=value) == kind


def test_named_lists_and_text_come_back(r):
    value = {"a": np.array([1.5]), "b": {"c": ["x", "ü'\"\\"]}, "d": None}
    back = r.call("same", x={"a": np.array([1.5]), "b": {"c": "ü'\"\\"}, "d": None})
    assert list(back) == list(value)
    assert back["b"]["c"] == ["ü'\"\\"]
    assert back["d"] is None


def test_what_python_cannot_hold_is_refused_and_r_lives_on(r):
    with pytest.raises(RError, match="no Python value"):
        r.call("same", x=r.call("globalenv", keep="environment"))
    assert r.call("same", x=1.5) == 1.5


def test_an_array_type_that_r_lacks_is_refused_and_r_lives_on(r):
    with pytest.raises(RError, match="int64"):
        r.call("same", x=np.zeros(3, np.int64))
    assert r.call("same", x=1.5) == 1.5


def test_garbage_collection_in_r_does_not_touch_what_came_back(r):
    back = r.call("same", x=np.arange(1e5))
    r.evaluate("for (i in 1:20) { y <- runif(1e6) }; gc(); NULL")
    assert np.array_equal(back, np.arange(1e5))


@pytest.mark.slow
def test_many_small_vectors_come_back_and_r_lives_on(r):
    """rpy2's memoryview() takes a reference from None at each call, which ends Python 3.11
    after some thousand."""
    for _ in range(20):
        back = r.evaluate("as.list(rep(1.5, 2000))")
        assert len(back) == 2000
        assert {vector.tobytes() for vector in back} == {np.array([1.5]).tobytes()}
    assert r.evaluate("1 + 1") == 2


@pytest.mark.parametrize(
    ("code", "dtype", "shape"),
    [
        ("numeric(0)", np.float64, (0,)),
        ("integer(0)", np.int32, (0,)),
        ("logical(0)", np.bool_, (0,)),
        ("matrix(0, 0, 3)", np.float64, (0, 3)),
        ("matrix(0L, 2, 0)", np.int32, (2, 0)),
        ("array(TRUE, c(2, 0, 5))", np.bool_, (2, 0, 5)),
    ],
)
def test_what_is_empty_comes_back_empty(r, code, dtype, shape):
    back = r.evaluate(code)
    assert (back.dtype, back.shape) == (dtype, shape)


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("c(1L, -2L, .Machine$integer.max)", np.array([1, -2, 2**31 - 1], np.int32)),
        ("7L", np.array([7], np.int32)),
        ("1:3000", np.arange(1, 3001, dtype=np.int32)),  # compact in R
        ("c(TRUE, FALSE, TRUE)", np.array([True, False, True])),
        ("FALSE", np.array([False])),
        ("1.5", np.array([1.5])),
        ("seq(0, 1, length.out = 5)", np.arange(5) / 4),
        ("matrix(1:6, 2)", np.array([[1, 3, 5], [2, 4, 6]], np.int32)),
        (
            "matrix(c(TRUE, FALSE, FALSE, TRUE, TRUE, TRUE), 2)",
            np.array([[1, 0, 1], [0, 1, 1]]) > 0,
        ),
        ("aperm(array(as.double(1:6), 1:3))", np.arange(1.0, 7).reshape(3, 2, 1)),
    ],
)
def test_vectors_that_r_makes_come_back_with_type_and_shape(r, code, expected):
    back = r.evaluate(code)
    assert back.dtype == expected.dtype
    assert back.shape == expected.shape
    assert np.array_equal(back, expected)


def test_lists_hold_any_mixture_of_vectors(r):
    back = r.evaluate("list(a = list(1L, TRUE, 'x', NULL), b = list(c = numeric(0), d = 1:2 / 2))")
    assert list(back) == ["a", "b"]
    integer, logical, text, nothing = back["a"]
    assert (integer.dtype, integer.tolist()) == (np.int32, [1])
    assert (logical.dtype, logical.tolist()) == (np.bool_, [True])
    assert (text, nothing) == (["x"], None)
    assert back["b"]["c"].shape == (0,)
    assert back["b"]["d"].tolist() == [0.5, 1]


@pytest.mark.parametrize("dtype", [np.float64, np.int32, np.bool_])
@pytest.mark.parametrize("shape", [(0,), (0, 3), (2, 0)])
def test_empty_arrays_come_back_as_they_went(r, dtype, shape):
    back = r.call("same", x=np.empty(shape, dtype))
    assert (back.dtype, back.shape) == (dtype, shape)
