from dataclasses import replace

import numpy as np
import pytest
import torch
from recorded.one_stage import BOUNDS, randn, record_function, record_module
from scipy import special
from torch import nn
from torch.nn import functional as F

from comparisons.ports.expected.recompute import recompute
from pyvae.trace.program import ProgramStage

PRECISIONS = pytest.mark.parametrize("dtype", BOUNDS, ids=["float64", "float32"])
MODULES = [
    (nn.ReLU(), "relu"),
    (nn.ReLU6(), "relu6"),
    (nn.LeakyReLU(0.2), "leaky_relu"),
    (nn.ELU(0.7), "elu"),
    (nn.CELU(0.7), "celu"),
    (nn.SELU(), "selu"),
    (nn.GELU(), "gelu"),
    (nn.GELU("tanh"), "gelu"),
    (nn.SiLU(), "silu"),
    (nn.Mish(), "mish"),
    (nn.Tanh(), "tanh"),
    (nn.Sigmoid(), "sigmoid"),
    (nn.LogSigmoid(), "log_sigmoid"),
    (nn.Softplus(2, 3), "softplus"),
    (nn.Softsign(), "softsign"),
    (nn.Hardtanh(-0.5, 0.7), "hardtanh"),
    (nn.Hardsigmoid(), "hardsigmoid"),
    (nn.Hardswish(), "hardswish"),
    (nn.Hardshrink(0.4), "hardshrink"),
    (nn.Softshrink(0.4), "softshrink"),
    (nn.Tanhshrink(), "tanhshrink"),
    (nn.Threshold(0.1, 3.0), "threshold"),
    (nn.PReLU(4), "prelu"),
    (nn.RReLU().eval(), "rrelu"),
    (nn.GLU(1), "glu"),
    (nn.Softmax(1), "softmax"),
    (nn.LogSoftmax(-1), "log_softmax"),
    (nn.Softmin(0), "softmin"),
    (nn.Softmax2d(), "softmax2d"),
    (nn.Identity(), "identity"),
]


@PRECISIONS
@pytest.mark.parametrize(("module", "layer"), MODULES, ids=[str(module) for module, _ in MODULES])
def test_activations_return_what_pytorch_records(module, layer, dtype):
    x = 3 * randn(2, 4, 5, 3, dtype=dtype)
    assert record_module(module.to(dtype), layer, x).residual() <= BOUNDS[dtype]


FORMULAS = [
    (nn.LeakyReLU(0.2), "leaky_relu", lambda x: np.maximum(x, 0) + 0.2 * np.minimum(x, 0)),
    (nn.ELU(0.7), "elu", lambda x: np.where(x > 0, x, 0.7 * np.expm1(x))),
    (nn.GELU(), "gelu", lambda x: x * special.ndtr(x)),
    (nn.GELU("tanh"), "gelu",
     lambda x: 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))),
    (nn.SiLU(), "silu", lambda x: x * special.expit(x)),
    (nn.Softplus(), "softplus", lambda x: np.logaddexp(0, x)),
    (nn.Softmax(1), "softmax", lambda x: special.softmax(x, 1)),
    (nn.LogSoftmax(1), "log_softmax", lambda x: special.log_softmax(x, 1)),
    (nn.Hardswish(), "hardswish", lambda x: x * np.clip(x + 3, 0, 6) / 6),
]  # fmt: skip


@pytest.mark.parametrize(
    ("module", "layer", "formula"), FORMULAS, ids=[str(f[0]) for f in FORMULAS]
)
def test_activations_are_their_formulas_in_numpy(module, layer, formula):
    x = 3 * randn(6, 5)
    found = record_module(module, layer, x).output()
    np.testing.assert_allclose(found, formula(x.numpy()), rtol=1e-12, atol=1e-14)


@PRECISIONS
@pytest.mark.parametrize("p", [0.2, 0.5])
@pytest.mark.parametrize(
    ("kind", "layer"),
    [(nn.Dropout, "dropout"), (nn.Dropout1d, "dropout1d"), (nn.Dropout2d, "dropout2d")],
)
def test_dropout_with_its_mask(kind, layer, p, dtype):
    x = randn(4, 6, 5, 5, dtype=dtype) if kind is not nn.Dropout1d else randn(4, 6, 5, dtype=dtype)
    torch.manual_seed(7)
    recorded = record_module(kind(p), layer, x)
    kept = (recorded.arrays["forward/m"] != 0).astype(np.uint8)
    assert 0 < kept.mean() < 1
    recorded = replace(recorded, arrays={**recorded.arrays, "draw/m": kept})
    assert recorded.residual() <= BOUNDS[dtype]


@PRECISIONS
def test_alpha_dropout_with_its_mask(dtype):
    x = randn(5, 8, dtype=dtype)
    torch.manual_seed(7)
    recorded = record_module(nn.AlphaDropout(0.3), "alpha_dropout", x)
    y = recorded.arrays["forward/m"]
    values, counts = np.unique(y, return_counts=True)
    dropped = values[counts.argmax()]  # all that are dropped have the same value
    assert counts.max() > 5
    mask = (y != dropped).astype(np.uint8)
    recorded = replace(recorded, arrays={**recorded.arrays, "draw/m": mask})
    assert recorded.residual() <= BOUNDS[dtype]


def test_dropout_does_nothing_where_it_is_switched_off():
    x = randn(3, 4)
    assert record_module(nn.Dropout(0.5).eval(), "dropout", x).residual() == 0
    assert record_module(nn.Dropout(0.0), "dropout", x).residual() == 0
    off = record_function(lambda x: F.dropout(x, 0.5, False), "dropout", x, p=0.5, train=False)
    assert off.residual() == 0


def test_dropout_of_everything_is_zero():
    stage = ProgramStage("d", "dropout", ("x",), {"p": 1.0})
    arrays = {"forward/x": np.ones(3), "draw/d": np.zeros(3, np.uint8)}
    np.testing.assert_array_equal(recompute(stage, arrays, 0).outputs["d"], np.zeros(3))


@pytest.mark.parametrize("module", [nn.Dropout(0.5), nn.AlphaDropout(0.5), nn.RReLU()])
def test_what_was_drawn_and_not_recorded_is_not_recomputed(module):
    layer = {"Dropout": "dropout", "AlphaDropout": "alpha_dropout", "RReLU": "rrelu"}
    recorded = record_module(module, layer[type(module).__name__], randn(3, 4))
    assert recompute(recorded.stage, recorded.arrays, 0) is None


@pytest.mark.filterwarnings("ignore:Implicit dimension")
@pytest.mark.parametrize("shape", [(5,), (3, 5), (2, 3, 5), (2, 3, 5, 2)])
def test_softmax_without_an_axis_takes_pytorch_s(shape):
    module = nn.Softmax()
    assert record_module(module, "softmax", randn(*shape)).residual() <= 1e-12
