import numpy as np
import pytest
import torch
from recorded.one_stage import BOUNDS, randn, record_function, record_module
from torch import nn

from comparisons.ports.expected.recompute import recompute
from pyvae.trace.program import ProgramStage

PRECISIONS = pytest.mark.parametrize("dtype", BOUNDS, ids=["float64", "float32"])
CALLS = [
    ("view", lambda x: x.view(2, -1), {"size": [2, -1]}),
    ("reshape", lambda x: x.reshape(6, 4), {"shape": [6, 4]}),
    ("reshape", lambda x: x.reshape(-1), {"shape": -1}),
    ("flatten", lambda x: x.flatten(), {}),
    ("flatten", lambda x: x.flatten(1), {"start_dim": 1}),
    ("unflatten", lambda x: x.unflatten(2, (2, 2)), {"dim": 2, "sizes": [2, 2]}),
    ("permute", lambda x: x.permute(2, 0, 1), {"dims": [2, 0, 1]}),
    ("transpose", lambda x: x.transpose(0, -1), {"dim0": 0, "dim1": -1}),
    ("movedim", lambda x: x.movedim(0, 2), {"source": 0, "destination": 2}),
    ("unsqueeze", lambda x: x.unsqueeze(1), {"dim": 1}),
    ("repeat", lambda x: x.repeat(2, 1, 3), {"repeats": [2, 1, 3]}),
    ("tile", lambda x: x.tile(2, 1), {"dims": [2, 1]}),
    ("repeat_interleave", lambda x: x.repeat_interleave(2, 1), {"repeats": 2, "dim": 1}),
    ("chunk", lambda x: x.chunk(2, 1), {"chunks": 2, "dim": 1}),
    ("split", lambda x: x.split(2, 1), {"split_size": 2, "dim": 1}),
    ("split", lambda x: x.split([1, 3], 2), {"split_size": [1, 3], "dim": 2}),
    ("unbind", lambda x: x.unbind(1), {"dim": 1}),
    ("flip", lambda x: x.flip(0, 2), {"dims": [0, 2]}),
    ("roll", lambda x: x.roll(1, 2), {"shifts": 1, "dims": 2}),
    ("tril", lambda x: x.tril(-1), {"diagonal": -1}),
    ("triu", lambda x: x.triu(), {}),
    ("clone", lambda x: x.clone(), {}),
    ("contiguous", lambda x: x.transpose(0, 1).contiguous().transpose(0, 1), {}),
]  # fmt: skip


@PRECISIONS
@pytest.mark.parametrize(
    ("layer", "function", "options"), CALLS, ids=[f"{c[0]}-{c[2]}" for c in CALLS]
)
def test_views_and_pieces(layer, function, options, dtype):
    x = randn(2, 3, 4, dtype=dtype)
    assert record_function(function, layer, x, **options).residual() <= BOUNDS[dtype]


def test_axes_of_one_element():
    x = randn(1, 3, 1, 4)
    assert record_function(lambda x: x.squeeze(), "squeeze", x).residual() == 0
    assert record_function(lambda x: x.squeeze(2), "squeeze", x, dim=2).residual() == 0
    assert record_function(lambda x: x.squeeze((0, 2)), "squeeze", x, dim=[0, 2]).residual() == 0
    found = record_function(lambda x: x.expand(5, 3, -1, 4), "expand", x, size=[5, 3, -1, 4])
    assert found.residual() <= 1e-15
    y = randn(5, 3, 2, 4)
    assert record_function(lambda x, y: x.expand_as(y), "expand_as", x, y).residual() <= 1e-15


def test_transposed_matrices():
    x = randn(3, 4)
    assert record_function(torch.t, "t", x).residual() == 0
    assert record_function(lambda x: x.mT, "transpose", x[None]).residual() == 0


@PRECISIONS
@pytest.mark.parametrize("dim", [0, 1, -1])
def test_tensors_put_together(dim, dtype):
    tensors = [randn(2, 3, dtype=dtype, seed=n) for n in range(3)]
    for layer in ("cat", "stack"):
        function = getattr(torch, layer)
        found = record_function(
            lambda *x, function=function: function(x, dim), layer, *tensors, dim=dim
        )
        assert found.residual() == 0


def test_modules_that_lay_out_again():
    x = randn(2, 3, 4)
    assert record_module(nn.Flatten(), "flatten", x).residual() == 0
    assert record_module(nn.Flatten(0, 1), "flatten", x).residual() == 0
    found = record_module(nn.Unflatten(1, (3, 1)), "unflatten", x)
    assert found.residual() == 0


@pytest.mark.parametrize(("shape", "recorded"), [((2, 12), 1), ((24,), 0)])
def test_where_flattening_starts_is_told_by_what_was_recorded(shape, recorded):
    x = randn(2, 3, 4).numpy()
    arrays = {"forward/x": x, "forward/f": x.reshape(shape)}
    found = recompute(ProgramStage("f", "flatten", ("x",)), arrays, 0).outputs["f"]
    assert found.shape == shape


def test_other_types_of_number():
    x = 3 * randn(5)
    found = record_function(lambda x: x.float(), "to", x, dtype="float32")
    assert found.residual() <= 1e-6
    found = record_function(lambda x: x.long(), "to", x)
    np.testing.assert_array_equal(found.output(), np.trunc(x.numpy()))
    stage = ProgramStage("m", "to", ("x",), {"dtype": "complex64"})
    assert recompute(stage, {"forward/x": x.numpy()}, 0) is None


def test_nothing_flows_back_through_detach():
    x = randn(3).numpy()
    arrays = {"forward/x": x, "gradient/m": np.ones(3)}
    found = recompute(ProgramStage("m", "detach", ("x",)), arrays, 0)
    assert not found.gradients
    np.testing.assert_array_equal(found.outputs["m"], x)


@pytest.mark.parametrize(
    ("layer", "function", "options"),
    [
        ("diagonal", lambda x: x.diagonal(1), {"offset": 1}),
        ("diag", lambda x: torch.diag(x[0]), None),
        ("diag_embed", torch.diag_embed, {}),
        ("rot90", lambda x: x.rot90(3, (0, 1)), {"k": 3, "dims": [0, 1]}),
        ("tensor_split", lambda x: x.tensor_split(2, 1), {"indices_or_sections": 2, "dim": 1}),
        ("tensor_split", lambda x: x.tensor_split([1], 0), {"indices_or_sections": [1]}),
    ],
)
def test_diagonals_turns_and_uneven_pieces(layer, function, options):
    x = randn(3, 5)
    if options is None:
        x, function, options = x[0], torch.diag, {}
    assert record_function(function, layer, x, **options).residual() == 0


@pytest.mark.parametrize("layer", ["hstack", "vstack", "dstack", "column_stack"])
def test_stacks(layer):
    function = getattr(torch, layer)
    tensors = [randn(2, 3, seed=n) for n in range(3)]
    assert record_function(lambda *x: function(x), layer, *tensors).residual() == 0


def test_tensors_of_one_shape():
    a, b = randn(3, 1), randn(4, seed=2)
    found = record_function(torch.broadcast_tensors, "broadcast_tensors", a, b)
    assert found.residual() <= 1e-15
