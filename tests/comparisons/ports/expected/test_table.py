"""Every name of the table is PyTorch's, and those that no other test calls compute the same."""

import pytest
import torch
from recorded.one_stage import randn, record_function, record_module
from torch import nn
from torch.nn import functional as F

from comparisons.ports.expected.table import LAYERS
from comparisons.ports.matching.results import RESULTS
from pyvae.recording.seen.layers import snake_case

X = randn(3, 4).exp()
Y = randn(3, 4, seed=2)
MASK, OTHER = X > 1, Y > 0
ROWS = torch.tensor([[0, 2, 1, 1]])
A, B, C = (randn(3, 3, seed=n) for n in (4, 5, 6))
BATCH = randn(2, 3, 3, seed=7)
SPECIAL = X.clone()
SPECIAL[0, 0], SPECIAL[1, 1], SPECIAL[2, 2] = float("nan"), float("inf"), float("-inf")

CALLS = {
    "acosh": (torch.acosh, (X + 1.5,)),
    "addmv": (torch.addmv, (X[:, 0], A, C[0])),
    "addr": (torch.addr, (A, B[0], C[0])),
    "addbmm": (torch.addbmm, (A, BATCH, BATCH)),
    "baddbmm": (torch.baddbmm, (BATCH, BATCH, BATCH)),
    "adjoint": (lambda x: x.adjoint(), (Y,)),
    "argmin": (torch.argmin, (Y,)),
    "bitwise_and": (torch.bitwise_and, (MASK, OTHER)),
    "bitwise_or": (torch.bitwise_or, (MASK, OTHER)),
    "bitwise_xor": (torch.bitwise_xor, (MASK, OTHER)),
    "bitwise_not": (torch.bitwise_not, (MASK,)),
    "logical_and": (torch.logical_and, (MASK, OTHER)),
    "logical_or": (torch.logical_or, (MASK, OTHER)),
    "logical_not": (torch.logical_not, (MASK,)),
    "fmin": (torch.fmin, (X, Y)),
    "xlogy": (torch.xlogy, (Y, X)),
    "frac": (torch.frac, (Y,)),
    "sinc": (torch.sinc, (Y,)),
    "positive": (torch.positive, (Y,)),
    "special_entr": (torch.special.entr, (X,)),
    "special_ndtr": (torch.special.ndtr, (Y,)),
    "special_log_ndtr": (torch.special.log_ndtr, (Y,)),
    "logsigmoid": (F.logsigmoid, (Y,)),
    "isnan": (torch.isnan, (SPECIAL,)),
    "isinf": (torch.isinf, (SPECIAL,)),
    "isfinite": (torch.isfinite, (SPECIAL,)),
    "zeros_like": (torch.zeros_like, (Y,)),
    "ones_like": (torch.ones_like, (Y,)),
    "view_as": (lambda x, y: x.view_as(y), (X.T.contiguous(), Y)),
    "type_as": (lambda x, y: x.type_as(y), (ROWS, Y)),
    "row_stack": (lambda *x: torch.vstack(x), (X, Y)),
    "linalg_matmul": (torch.linalg.matmul, (A, B)),
    "ger": (torch.outer, (X[0], Y[0])),
}
WITH_OPTIONS = [
    ("clamp_min", lambda x: x.clamp_min(0.1), {"min": 0.1}),
    ("clamp_max", lambda x: x.clamp_max(0.1), {"max": 0.1}),
    ("cumprod", lambda x: x.cumprod(0), {"dim": 0}),
    ("logcumsumexp", lambda x: x.logcumsumexp(1), {"dim": 1}),
    ("linalg_vector_norm", lambda x: torch.linalg.vector_norm(x, 3, 1), {"ord": 3, "dim": 1}),
    ("swapaxes", lambda x: x.swapaxes(0, 1), {"axis0": 0, "axis1": 1}),
    ("broadcast_to", lambda x: torch.broadcast_to(x, (2, 3, 4)), {"size": [2, 3, 4]}),
    ("floor_divide", lambda x: torch.floor_divide(x.detach(), 0.3), {"other": 0.3}),
]
MODULES = [
    (nn.InstanceNorm1d(3, affine=True), "instance_norm1d", (2, 3, 5)),
    (nn.InstanceNorm3d(3), "instance_norm3d", (2, 3, 2, 2, 2)),
    (nn.LPPool1d(2, 2), "lp_pool1d", (2, 3, 6)),
    (nn.ZeroPad1d((1, 2)), "zero_pad1d", (2, 3, 4)),
    (nn.ZeroPad3d(1), "zero_pad3d", (1, 2, 2, 2, 2)),
    (nn.ConstantPad1d(1, 0.3), "constant_pad1d", (2, 3, 4)),
    (nn.ConstantPad3d(1, 0.3), "constant_pad3d", (1, 2, 2, 2, 2)),
    (nn.ReflectionPad1d(1), "reflection_pad1d", (2, 3, 4)),
    (nn.ReflectionPad3d(1), "reflection_pad3d", (1, 2, 2, 2, 2)),
    (nn.ReplicationPad1d((1, 2)), "replication_pad1d", (2, 3, 4)),
    (nn.ReplicationPad3d(1), "replication_pad3d", (1, 2, 2, 2, 2)),
    (nn.CircularPad1d(1), "circular_pad1d", (2, 3, 4)),
    (nn.CircularPad3d(1), "circular_pad3d", (1, 2, 2, 2, 2)),
]


def names_of_pytorch() -> set[str]:
    classes = {snake_case(name) for name, one in vars(nn).items() if isinstance(one, type)}
    places = (torch, F, torch.Tensor, torch._C._nn)
    return classes.union(*(dir(place) for place in places)) | {
        f"{place}_{name}" for place in ("linalg", "special") for name in dir(getattr(torch, place))
    }


def is_in_aten(name: str) -> bool:
    return bool(torch._C._jit_get_schemas_for_operator(f"aten::{name}"))


def test_every_name_is_one_of_pytorch_s():
    known = names_of_pytorch() | {"kl_div_loss", *RESULTS}  # no names of functions
    assert [name for name in LAYERS if name not in known and not is_in_aten(name)] == []


@pytest.mark.parametrize("layer", CALLS)
def test_functions_compute_what_pytorch_s_do(layer):
    function, inputs = CALLS[layer]
    assert record_function(function, layer, *inputs).residual() <= 1e-12


@pytest.mark.parametrize(("layer", "function", "options"), WITH_OPTIONS)
def test_functions_with_options_compute_what_pytorch_s_do(layer, function, options):
    assert record_function(function, layer, Y, **options).residual() <= 1e-12


@pytest.mark.parametrize(("module", "layer", "shape"), MODULES, ids=[m[1] for m in MODULES])
def test_modules_compute_what_pytorch_s_do(module, layer, shape):
    assert record_module(module.double(), layer, randn(*shape)).residual() <= 1e-12


def test_what_is_not_finite_is_replaced():
    found = record_function(
        lambda x: torch.nan_to_num(x, 0.5, 3.0, -3.0), "nan_to_num", SPECIAL, nan=0.5, posinf=3.0,
        neginf=-3.0,
    )  # fmt: skip
    assert found.residual() == 0


def test_rows_taken_along_an_axis():
    found = record_function(
        lambda x, i: torch.take_along_dim(x, i, 0), "take_along_dim", Y, ROWS, dim=0
    )
    assert found.residual() == 0
