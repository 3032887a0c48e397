import numpy as np
import pytest
import torch
from recorded.one_stage import BOUNDS, randn, record_function, record_module
from torch import nn
from torch.nn import functional as F

PRECISIONS = pytest.mark.parametrize("dtype", BOUNDS, ids=["float64", "float32"])
SHAPES = {"batch_norm1d": (6, 4), "batch_norm2d": (3, 4, 5, 2), "batch_norm3d": (2, 4, 3, 2, 2)}
CLASSES = {"batch_norm1d": nn.BatchNorm1d, "batch_norm2d": nn.BatchNorm2d,
           "batch_norm3d": nn.BatchNorm3d}  # fmt: skip


def used(module: nn.Module, x: torch.Tensor) -> nn.Module:
    """A module whose running statistics have seen batches."""
    with torch.no_grad():
        for i in range(3):
            module(x * (i + 1) + i)
    return module


@PRECISIONS
@pytest.mark.parametrize("layer", SHAPES)
@pytest.mark.parametrize("momentum", [0.1, 0.3, None])
@pytest.mark.parametrize("training", [True, False])
def test_batch_norm_and_its_buffers(layer, momentum, training, dtype):
    x = randn(*SHAPES[layer], dtype=dtype)
    module = CLASSES[layer](4, eps=1e-3, momentum=momentum, dtype=dtype)
    nn.init.uniform_(module.weight)
    found = record_module(used(module, x).train(training), layer, x)
    assert found.residual() <= BOUNDS[dtype]
    changed = {"m.running_mean", "m.running_var", "m.num_batches_tracked"} if training else set()
    assert found.buffers.keys() == found.recomputed().buffers.keys() == changed


def test_a_running_variance_may_be_the_biased_one():
    """As Keras' is."""
    x = randn(6, 4, dtype=torch.float64)
    module = nn.BatchNorm1d(4, momentum=0.3, dtype=torch.float64)
    biased = 0.7 * module.running_var + 0.3 * x.var(0, correction=0)
    stage = record_module(module, "batch_norm1d", x)
    stage.stage.options["unbiased_running_var"] = False
    assert torch.allclose(stage.recomputed().buffers["m.running_var"], biased)


@PRECISIONS
@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("tracks", [True, False])
@pytest.mark.parametrize("training", [True, False])
def test_instance_norm_and_its_buffers(affine, tracks, training, dtype):
    x = randn(3, 4, 5, 2, dtype=dtype)
    module = nn.InstanceNorm2d(4, affine=affine, track_running_stats=tracks, dtype=dtype)
    found = record_module(used(module, x).train(training), "instance_norm2d", x)
    assert found.residual() <= BOUNDS[dtype]


def test_batch_norm_without_running_statistics_takes_the_batch_s_own():
    module = nn.BatchNorm1d(4, track_running_stats=False, affine=False, dtype=torch.float64)
    assert record_module(module.eval(), "batch_norm1d", randn(5, 4)).residual() <= 1e-12


def test_batch_norm_is_the_formula_in_numpy():
    module = nn.BatchNorm2d(3, eps=0.01, momentum=0.2, dtype=torch.float64)
    nn.init.uniform_(module.weight)
    nn.init.uniform_(module.bias)
    x = randn(4, 3, 5, 6)
    recorded = record_module(module, "batch_norm2d", x)
    data = x.numpy()
    mean, variance = data.mean((0, 2, 3)), data.var((0, 2, 3))
    each = (slice(None), None, None)
    w, b = (one.detach().numpy()[each] for one in (module.weight, module.bias))
    y = (data - mean[each]) / np.sqrt(variance[each] + 0.01) * w + b
    np.testing.assert_allclose(recorded.output(), y, rtol=0, atol=1e-13)
    buffers = recorded.recomputed().buffers
    unbiased = variance * 120 / 119
    np.testing.assert_allclose(buffers["m.running_mean"], 0.2 * mean, rtol=1e-13)
    np.testing.assert_allclose(buffers["m.running_var"], 0.8 + 0.2 * unbiased, rtol=1e-13)


@PRECISIONS
def test_the_function_takes_its_mode_as_an_option(dtype):
    x, mean, variance = (randn(*s, dtype=dtype) for s in ((5, 3), (3,), (3,)))
    for training in (True, False):
        found = record_function(
            lambda x, m, v, mode=training: F.batch_norm(
                x, m.detach().clone(), v.detach().clone(), training=mode
            ),
            "batch_norm",
            x,
            mean,
            variance.exp(),
            training=training,
        )
        assert found.residual() <= BOUNDS[dtype]


@PRECISIONS
@pytest.mark.parametrize(
    ("module", "layer"),
    [
        (nn.LayerNorm(6), "layer_norm"),
        (nn.LayerNorm((4, 6), eps=1e-2, bias=False), "layer_norm"),
        (nn.LayerNorm(6, elementwise_affine=False), "layer_norm"),
        (nn.RMSNorm(6), "rms_norm"),
        (nn.RMSNorm((4, 6), eps=1e-3), "rms_norm"),
        (nn.GroupNorm(2, 4, eps=1e-2), "group_norm"),
        (nn.GroupNorm(4, 4, affine=False), "group_norm"),
        (nn.LocalResponseNorm(3, alpha=0.1), "local_response_norm"),
    ],
    ids=str,
)
def test_other_normalisation(module, layer, dtype):
    assert (
        record_module(module.to(dtype), layer, randn(3, 4, 6, dtype=dtype)).residual()
        <= (BOUNDS[dtype])
    )


def test_rms_norm_s_own_eps_is_that_of_the_program_s_numbers():
    x = 1e-3 * randn(2, 6, dtype=torch.float32)  # of the size at which it matters
    module = nn.RMSNorm(6)
    assert record_module(module, "rms_norm", x).residual() <= 1e-6
    x = x.double()
    scale = np.sqrt((x.numpy() ** 2).mean(1, keepdims=True) + np.finfo(float).eps)
    found = record_module(module.double(), "rms_norm", x).output()
    np.testing.assert_allclose(found, x.numpy() / scale, rtol=1e-13)


def test_normalised_vectors():
    x = randn(3, 5)
    found = record_function(lambda x: F.normalize(x, 1, 0), "normalize", x, p=1, dim=0)
    assert found.residual() <= 1e-12
    np.testing.assert_allclose(found.output(), x.numpy() / np.abs(x.numpy()).sum(0), rtol=1e-13)
