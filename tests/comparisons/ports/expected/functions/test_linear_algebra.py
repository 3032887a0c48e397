"""What is solved and decomposed, held against numpy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from recorded.one_stage import BOUNDS, randn, record_function
from scipy.linalg import solve_triangular

SIZE = 4


def positive(dtype):
    x = randn(SIZE, SIZE, dtype=dtype)
    return x @ x.T + SIZE * torch.eye(SIZE, dtype=dtype)


def lower(dtype):
    return torch.linalg.cholesky(positive(dtype)).detach()


def upper(dtype):
    return lower(dtype).T.contiguous()


def right(dtype):
    return randn(SIZE, 2, seed=2, dtype=dtype)


def rows(dtype):
    return randn(2, SIZE, seed=2, dtype=dtype)


FUNCTIONS = {  # PyTorch's, what is given to it, its options, and the same in numpy
    "linalg_cholesky": (torch.linalg.cholesky, (positive,), {}, np.linalg.cholesky),
    "cholesky": (torch.linalg.cholesky, (positive,), {}, np.linalg.cholesky),
    "cholesky_solve": (
        torch.cholesky_solve, (right, lower), {}, lambda b, c: np.linalg.solve(c @ c.T, b)
    ),
    "cholesky_inverse": (
        torch.cholesky_inverse, (lower,), {}, lambda c: np.linalg.inv(c @ c.T)
    ),
    "linalg_solve": (torch.linalg.solve, (positive, right), {}, np.linalg.solve),
    "linalg_solve_triangular": (
        torch.linalg.solve_triangular, (lower, right), {"upper": False},
        lambda c, b: solve_triangular(c, b, lower=True),
    ),
    "linalg_cholesky, upper": (
        torch.linalg.cholesky, (positive,), {"upper": True}, lambda x: np.linalg.cholesky(x).T
    ),
    "cholesky_solve, upper": (
        torch.cholesky_solve, (right, upper), {"upper": True},
        lambda b, c: np.linalg.solve(c.T @ c, b),
    ),
    "cholesky_inverse, upper": (
        torch.cholesky_inverse, (upper,), {"upper": True}, lambda c: np.linalg.inv(c.T @ c)
    ),
    "linalg_solve, from the right": (
        torch.linalg.solve, (positive, rows), {"left": False},
        lambda a, b: b @ np.linalg.inv(a),
    ),
    "linalg_solve_triangular, from the right": (
        torch.linalg.solve_triangular, (upper, rows), {"upper": True, "left": False},
        lambda c, b: b @ np.linalg.inv(c),
    ),
    "linalg_solve_triangular, ones on the diagonal": (
        torch.linalg.solve_triangular, (lower, right), {"upper": False, "unitriangular": True},
        lambda c, b: solve_triangular(c, b, lower=True, unit_diagonal=True),
    ),
    "linalg_inv": (torch.linalg.inv, (positive,), {}, np.linalg.inv),
    "inverse": (torch.inverse, (positive,), {}, np.linalg.inv),
    "linalg_det": (torch.linalg.det, (positive,), {}, np.linalg.det),
    "det": (torch.det, (positive,), {}, np.linalg.det),
    "logdet": (torch.logdet, (positive,), {}, lambda x: np.linalg.slogdet(x)[1]),
    "slogdet": (torch.slogdet, (positive,), {}, lambda x: np.linalg.slogdet(x)[0]),
    "linalg_slogdet": (torch.linalg.slogdet, (positive,), {}, lambda x: np.linalg.slogdet(x)[0]),
}  # fmt: skip


@pytest.mark.parametrize("dtype", BOUNDS, ids=["float64", "float32"])
@pytest.mark.parametrize("case", FUNCTIONS)
def test_linear_algebra(case, dtype):
    function, makers, options, known = FUNCTIONS[case]
    layer = case.partition(",")[0]
    given = [make(dtype) for make in makers]
    found = record_function(lambda *x: function(*x, **options), layer, *given, **options)
    assert found.residual() <= 10 * BOUNDS[dtype]
    wanted = known(*(x.double().numpy() for x in given))
    np.testing.assert_allclose(found.output(), wanted, rtol=1e-11)
