import numpy as np
import pytest
import torch
from recorded.one_stage import randn, record_function

from comparisons.ports.expected.recompute import recompute
from pyvae.trace.program import ProgramStage

ROWS = torch.tensor([2, 0, 2])
X = randn(3, 4, 5)


@pytest.mark.parametrize(
    ("function", "index"),
    [
        (lambda x: x[1], [1]),
        (lambda x: x[-1], [-1.0]),
        (lambda x: x[:, 1:4:2], [":", "1:4:2"]),
        (lambda x: x[..., -2:], ["...", "-2:"]),
        (lambda x: x[None, :, 0], [None, ":", 0]),
        (lambda x: x[:, [0, 3]], [":", [0, 3]]),
    ],
    ids=["a row", "the last row", "every second", "the end", "a new axis", "places of a list"],
)
def test_pieces_by_places(function, index):
    assert record_function(function, "index", X, index=index).residual() == 0


@pytest.mark.parametrize("base", [0, 1])
def test_pieces_by_tensors_in_the_language_s_base(base):
    found = record_function(lambda x, i: x[1:, i - base], "index", X, ROWS + base,
                            index=["1:", "tensor"])  # fmt: skip
    assert found.residual(base) == 0
    two = record_function(
        lambda x, i, j: x[i - base, :, j - base], "index", X, ROWS + base, ROWS + base + 1,
        index=["tensor", ":", "tensor"],
    )  # fmt: skip
    assert two.residual(base) == 0
    gathered = record_function(
        lambda x, i: x.gather(1, i - base), "gather", X, ROWS.reshape(3, 1, 1) + base, dim=1
    )
    assert gathered.residual(base) == 0
    selected = record_function(
        lambda x, i: x.index_select(2, i - base), "index_select", X, ROWS + base, dim=2
    )
    assert selected.residual(base) == 0
    hot = record_function(
        lambda i: torch.nn.functional.one_hot(i - base, 4), "one_hot", ROWS + base, num_classes=4
    )
    assert hot.residual(base) == 0


@pytest.mark.parametrize("kind", [torch.bool, torch.uint8])
def test_masks_are_no_indices(kind):
    mask = (X > 0).to(kind)
    found = record_function(lambda x, m: x[m.bool()], "index", X, mask, index=["tensor"])
    assert found.residual(1) == 0
    found = record_function(lambda x, m: x.masked_select(m.bool()), "masked_select", X, mask)
    assert found.residual(1) == 0


@pytest.mark.parametrize(
    ("index", "tensors"),
    [
        (["tensor", "tensor"], (0, 1)),
        (["tensor", ":", "tensor"], (0, 2)),
        (["...", "tensor", "tensor"], (1, 2)),
        (["tensor", 1, "tensor"], (0, 2)),
        ([None, "tensor", [0, -1], ":2"], (0, 1)),
        ([[True, False, True], "tensor"], (0, 1)),
    ],
    ids=["two", "apart", "last", "a number between", "a new axis", "a mask"],
)
def test_rows_and_columns_are_taken_each_with_each_in_r(index, tensors):
    """Held against NumPy, one axis after the other."""
    rows = {0: [2, 0, 2], 1: [3, 0, 1], 2: [1, 4]}
    said = dict(zip(tensors, (one for one in index if one not in (None, "...", ":", ":2", 1)),
                    strict=True))  # fmt: skip
    taken = [rows[axis] if said[axis] == "tensor" else said[axis] for axis in tensors]
    expected = X.numpy()
    for axis, places in zip(tensors, taken, strict=True):
        places = np.flatnonzero(places) if isinstance(places[0], bool) else places
        expected = expected.take(places, axis)
    expected = expected[:, 1] if 1 in index else expected
    expected = expected[None, :, :, :2] if None in index else expected
    inputs = [rows[axis] for axis in tensors if said[axis] == "tensor"]
    arrays = {f"forward/i{at}": np.array(one) + 1 for at, one in enumerate(inputs)}
    stage = ProgramStage("m", "index", ("x", *(f"i{at}" for at in range(len(inputs)))),
                         {"index": index, "outer": True})  # fmt: skip
    found = recompute(stage, {"forward/x": X.numpy(), **arrays}, 1)
    assert np.array_equal(found.outputs["m"].numpy(), expected)


def test_pieces_that_are_put_in():
    def put(x, value):
        x = x.clone()
        x[1, 2:] = value
        return x

    value = randn(2, 5, seed=2)
    found = record_function(put, "index_put", X, value, index=[1, "2:"])
    assert found.residual() == 0
    found = record_function(lambda x: put(x, 0.1), "index_put", X, index=[1, "2:"], value=0.1)
    assert found.residual() == 0


@pytest.mark.parametrize("accumulate", [True, False])
def test_pieces_that_are_added(accumulate):
    def put(x, rows, value):
        return x.index_put((rows,), value, accumulate=accumulate)

    options = {"index": ["tensor"]} | ({"accumulate": True} if accumulate else {})
    value = randn(3, 4, 5, seed=2)
    assert record_function(put, "index_put", X, ROWS, value, **options).residual() == 0


def test_other_pieces():
    found = record_function(lambda x: x.select(1, 2), "select", X, dim=1, index=2)
    assert found.residual() == 0
    found = record_function(lambda x: x[:, 1:3], "slice", X, dim=1, start=1, end=3)
    assert found.residual() == 0
    found = record_function(lambda x: x.narrow(2, 1, 3), "narrow", X, dim=2, start=1, length=3)
    assert found.residual() == 0


@pytest.mark.parametrize(
    ("index", "tensors"),
    [(["?"], 0), (["tensor"], 0), ([0], 1), (["1:2:3:4"], 0), (["a:"], 0), ([9], 0), ([True], 0)],
)
def test_places_that_say_nothing_are_not_guessed(index, tensors):
    arrays = {"forward/x": X.numpy(), "forward/i": np.array([0])}
    stage = ProgramStage("m", "index", ("x", *["i"] * tensors), {"index": index})
    found = recompute(stage, arrays, 0)
    assert found is None or index == [True]  # which PyTorch takes: it adds an axis


@pytest.mark.parametrize("base", [0, 1])
def test_values_that_are_put_by_indices(base):
    index, source = torch.tensor([[0, 2], [1, 0]]), randn(2, 2, seed=2)
    x = randn(3, 4)
    calls = {
        "scatter": lambda x, i, s: x.scatter(0, i - base, s),
        "scatter_add": lambda x, i, s: x.scatter_add(0, i - base, s),
    }
    for layer, function in calls.items():
        assert record_function(function, layer, x, index + base, source, dim=0).residual(base) == 0
    found = record_function(
        lambda x, i: x.scatter(0, i - base, 0.5), "scatter", x, index + base, dim=0, value=0.5
    )
    assert found.residual(base) == 0
    rows = torch.tensor([2, 2])
    found = record_function(
        lambda x, i, s: x.index_add(0, i - base, s, alpha=2), "index_add", x, rows + base,
        randn(2, 4), dim=0, alpha=2,
    )  # fmt: skip
    assert found.residual(base) <= 1e-12
    copied = record_function(
        lambda x, i, s: x.index_copy(0, i - base, s), "index_copy", x, rows[:1] + base,
        randn(1, 4), dim=0,
    )  # fmt: skip
    assert copied.residual(base) == 0
    filled = record_function(
        lambda x, i: x.index_fill(1, i - base, 0.5), "index_fill", x, rows + base, dim=1, value=0.5
    )
    assert filled.residual(base) == 0
    taken = record_function(lambda x, i: x.take(i - base), "take", x, rows + base)
    assert taken.residual(base) == 0
