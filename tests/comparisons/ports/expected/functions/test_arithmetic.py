import operator

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from recorded.one_stage import BOUNDS, randn, record_function
from scipy import special

from comparisons.ports.expected.recompute import recompute
from pyvae.trace.program import ProgramStage

PRECISIONS = pytest.mark.parametrize("dtype", BOUNDS, ids=["float64", "float32"])
NUMPY = {
    "exp": np.exp, "exp2": np.exp2, "expm1": np.expm1, "log": np.log, "log2": np.log2,
    "log10": np.log10, "log1p": np.log1p, "sqrt": np.sqrt, "rsqrt": lambda x: x**-0.5,
    "reciprocal": lambda x: 1 / x, "sin": np.sin, "cos": np.cos, "tan": np.tan, "asin": np.arcsin,
    "acos": np.arccos, "atan": np.arctan, "sinh": np.sinh, "cosh": np.cosh, "asinh": np.arcsinh,
    "atanh": np.arctanh, "erf": special.erf, "erfc": special.erfc, "erfinv": special.erfinv,
    "lgamma": special.gammaln, "digamma": special.digamma, "logit": special.logit,
    "neg": np.negative, "abs": np.abs, "sign": np.sign, "square": np.square, "floor": np.floor,
    "ceil": np.ceil, "round": np.round, "trunc": np.trunc, "sigmoid": special.expit,
    "tanh": np.tanh,
}  # fmt: skip


@PRECISIONS
@pytest.mark.parametrize("layer", NUMPY)
def test_functions_of_one_tensor(layer, dtype):
    x = 0.05 + 0.9 * torch.sigmoid(randn(20, dtype=dtype))
    found = record_function(getattr(torch, layer), layer, x)
    assert found.residual() <= BOUNDS[dtype]
    np.testing.assert_allclose(found.output(), NUMPY[layer](x.double().numpy()), rtol=1e-11)


BINARY = {
    "add": lambda a, b: a + b, "sub": lambda a, b: a - b, "mul": lambda a, b: a * b,
    "div": lambda a, b: a / b, "pow": lambda a, b: a**b, "maximum": np.maximum,
    "minimum": np.minimum, "remainder": np.mod,
    "eq": np.equal, "ne": np.not_equal, "lt": np.less, "le": np.less_equal, "gt": np.greater,
    "ge": np.greater_equal, "atan2": np.arctan2,
}  # fmt: skip
SHAPES = st.sampled_from([((3, 4), (3, 4)), ((3, 1), (4,)), ((2, 3, 4), (3, 1)), ((), (2,))])


@pytest.mark.parametrize("layer", BINARY)
@settings(max_examples=10)
@given(shapes=SHAPES)
def test_functions_of_two_tensors_of_any_shapes(layer, shapes):
    a, b = (randn(*shape, seed=n).exp() for n, shape in enumerate(shapes))
    found = record_function(getattr(torch, layer), layer, a, b)
    assert found.residual() <= 1e-12
    np.testing.assert_allclose(found.output(), BINARY[layer](a.numpy(), b.numpy()), rtol=1e-12)


@PRECISIONS
@pytest.mark.parametrize("layer", ["add", "sub", "mul", "div", "pow", "gt"])
@pytest.mark.parametrize("first", [True, False])
def test_a_number_may_stand_on_either_side(first, layer, dtype):
    x = randn(5, dtype=dtype).exp()
    compute = getattr(operator, {"div": "truediv"}.get(layer, layer))
    option = {"self" if first else "other": 1.7}
    found = record_function(
        (lambda x: compute(1.7, x)) if first else (lambda x: compute(x, 1.7)), layer, x, **option
    )
    assert found.residual() <= BOUNDS[dtype]


@pytest.mark.parametrize("layer", ["maximum", "minimum"])
def test_a_number_is_not_rounded_to_float32(layer):
    x = randn(5)
    stage = ProgramStage("m", layer, ("x",), {"other": 0.1})
    found = recompute(stage, {"forward/x": x.numpy()}, 0).outputs["m"]
    np.testing.assert_array_equal(found, BINARY[layer](x.numpy(), 0.1))


def test_added_with_a_factor():
    a, b = randn(4), randn(4, seed=2)
    found = record_function(lambda a, b: torch.add(a, b, alpha=0.3), "add", a, b, alpha=0.3)
    np.testing.assert_allclose(found.output(), a.numpy() + 0.3 * b.numpy(), rtol=1e-15)
    assert found.residual() <= 1e-15
    found = record_function(lambda a, b: torch.rsub(a, b, alpha=2), "rsub", a, b, alpha=2)
    np.testing.assert_allclose(found.output(), b.numpy() - 2 * a.numpy(), rtol=1e-15)


def test_quotients_are_rounded_as_declared():
    a, b = torch.tensor([7.0, -7.0]).double(), torch.tensor([2.0, 2.0]).double()
    for mode in ("floor", "trunc"):
        found = record_function(
            lambda a, b, mode=mode: torch.div(a, b, rounding_mode=mode), "div", a, b,
            rounding_mode=mode,
        )  # fmt: skip
        assert found.residual() == 0


def test_quotients_of_whole_numbers_are_real():
    arrays = {"forward/a": np.array([1, 2]), "forward/b": np.array([3, 7])}
    found = recompute(ProgramStage("m", "div", ("a", "b")), arrays, 0).outputs["m"]
    np.testing.assert_array_equal(found, [1 / 3, 2 / 7])
    stage = ProgramStage("m", "mul", ("a",), {"other": 0.1})
    np.testing.assert_array_equal(recompute(stage, arrays, 0).outputs["m"], [0.1, 0.2])


def test_a_value_that_is_used_twice_gets_both_gradients():
    x = randn(4).numpy()
    stage = ProgramStage("m", "mul", ("x", "x"))
    arrays = {"forward/x": x, "gradient/m": np.ones(4)}
    np.testing.assert_allclose(recompute(stage, arrays, 0).gradients["x"], 2 * x, rtol=1e-15)


@PRECISIONS
@pytest.mark.parametrize(
    ("layer", "shapes", "equation"),
    [
        ("matmul", ((3, 4), (4, 5)), "ij,jk->ik"),
        ("matmul", ((2, 3, 4), (4,)), "bij,j->bi"),
        ("matmul", ((2, 1, 3, 4), (5, 4, 2)), "abij,bjk->abik"),
        ("mm", ((3, 4), (4, 5)), "ij,jk->ik"),
        ("bmm", ((2, 3, 4), (2, 4, 5)), "bij,bjk->bik"),
        ("mv", ((3, 4), (4,)), "ij,j->i"),
        ("dot", ((4,), (4,)), "i,i->"),
        ("outer", ((3,), (4,)), "i,j->ij"),
    ],
)
def test_products(layer, shapes, equation, dtype):
    a, b = (randn(*shape, dtype=dtype, seed=n) for n, shape in enumerate(shapes))
    found = record_function(getattr(torch, layer), layer, a, b)
    assert found.residual() <= BOUNDS[dtype]
    a, b = a.double().numpy(), b.double().numpy()
    if layer == "matmul" and a.ndim == 4:
        a = np.broadcast_to(a, (2, 5, 3, 4))
    np.testing.assert_allclose(found.output(), np.einsum(equation, a, b), rtol=1e-12, atol=1e-14)


@PRECISIONS
def test_products_that_are_added(dtype):
    a, b, c = (randn(3, 3, dtype=dtype, seed=n) for n in range(3))
    found = record_function(
        lambda a, b, c: torch.addmm(a, b, c, beta=0.5, alpha=2), "addmm", a, b, c, beta=0.5, alpha=2
    )
    assert found.residual() <= BOUNDS[dtype]
    by_hand = 0.5 * a.double() + 2 * (b.double() @ c.double())
    np.testing.assert_allclose(found.output(), by_hand, rtol=0, atol=1e-13)
    for layer in ("addcmul", "addcdiv"):
        found = record_function(
            lambda a, b, c, layer=layer: getattr(torch, layer)(a, b, c, value=0.3), layer, a, b, c,
            value=0.3,
        )  # fmt: skip
        assert found.residual() <= BOUNDS[dtype]
    found = record_function(lambda a, b: torch.lerp(a, b, 0.3), "lerp", a, b, weight=0.3)
    assert found.residual() <= BOUNDS[dtype]


@PRECISIONS
def test_einsum(dtype):
    a, b = randn(3, 4, dtype=dtype), randn(5, 4, dtype=dtype, seed=2)
    found = record_function(
        lambda a, b: torch.einsum("ij,kj->ik", a, b), "einsum", a, b, equation="ij,kj->ik"
    )
    assert found.residual() <= BOUNDS[dtype]


@PRECISIONS
@pytest.mark.parametrize("bounds", [{"min": -0.3}, {"max": 0.4}, {"min": -0.3, "max": 0.4}])
def test_clamped(bounds, dtype):
    x = randn(8, dtype=dtype)
    found = record_function(lambda x: torch.clamp(x, **bounds), "clamp", x, **bounds)
    assert found.residual() <= BOUNDS[dtype]


@PRECISIONS
def test_chosen_by_a_mask(dtype):
    x, y = randn(3, 4, dtype=dtype), randn(3, 4, dtype=dtype, seed=2)
    mask = randn(3, 4, seed=3) > 0
    assert record_function(torch.where, "where", mask, x, y).residual() == 0
    found = record_function(lambda m, x: torch.where(m, x, 0.1), "where", mask, x, other=0.1)
    assert found.residual() <= BOUNDS[dtype]
    found = record_function(
        lambda x, m: x.masked_fill(m, float("-inf")), "masked_fill", x, mask, value=float("-inf")
    )
    assert found.residual() == 0


@PRECISIONS
@pytest.mark.parametrize(
    ("layer", "function", "options"),
    [
        ("logaddexp", torch.logaddexp, {}),
        ("hypot", torch.hypot, {}),
        ("fmod", torch.fmod, {}),
        ("fmax", torch.fmax, {}),
        ("inner", torch.inner, {}),
        ("cross", lambda a, b: torch.linalg.cross(a, b, dim=0), {"dim": 0}),
        ("cdist", lambda a, b: torch.cdist(a, b, 1.0), {"p": 1.0}),
        ("tensordot", lambda a, b: torch.tensordot(a, b, 1), {"dims": 1}),
        ("tensordot", lambda a, b: torch.tensordot(a, b, [[0], [1]]), {"dims": [[0], [1]]}),
    ],
)
def test_other_functions_of_two_tensors(layer, function, options, dtype):
    a, b = randn(3, 3, dtype=dtype), randn(3, 3, dtype=dtype, seed=2).exp()
    assert record_function(function, layer, a, b, **options).residual() <= BOUNDS[dtype]
