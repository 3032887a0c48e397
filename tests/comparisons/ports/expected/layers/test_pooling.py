import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.lib.stride_tricks import sliding_window_view
from recorded.one_stage import BOUNDS, randn, record_function, record_module
from torch import nn
from torch.nn import functional as F

PRECISIONS = pytest.mark.parametrize("dtype", BOUNDS, ids=["float64", "float32"])
MAX = {1: nn.MaxPool1d, 2: nn.MaxPool2d, 3: nn.MaxPool3d}
AVERAGE = {1: nn.AvgPool1d, 2: nn.AvgPool2d, 3: nn.AvgPool3d}


@PRECISIONS
@settings(max_examples=20)
@given(data=st.data())
def test_max_pools(dtype, data):
    axes, kernel = data.draw(st.integers(1, 3)), data.draw(st.integers(1, 3))
    module = MAX[axes](
        kernel,
        data.draw(st.none() | st.integers(1, 3)),
        data.draw(st.integers(0, kernel // 2)),
        data.draw(st.integers(1, 2)),
        ceil_mode=data.draw(st.booleans()),
    )
    x = randn(2, 3, *(6 + i for i in range(axes)), dtype=dtype)
    assert record_module(module, f"max_pool{axes}d", x).residual() <= BOUNDS[dtype]


@PRECISIONS
@settings(max_examples=20)
@given(data=st.data())
def test_average_pools(dtype, data):
    axes, kernel = data.draw(st.integers(1, 3)), data.draw(st.integers(1, 3))
    module = AVERAGE[axes](
        kernel,
        data.draw(st.none() | st.integers(1, 3)),
        data.draw(st.integers(0, kernel // 2)),
        data.draw(st.booleans()),
        data.draw(st.booleans()),
        *([data.draw(st.none() | st.just(3))] if axes > 1 else []),
    )
    x = randn(2, 3, *(6 + i for i in range(axes)), dtype=dtype)
    assert record_module(module, f"avg_pool{axes}d", x).residual() <= BOUNDS[dtype]


def test_pools_are_windows_in_numpy():
    x = randn(2, 3, 7, 8)
    windows = sliding_window_view(x.numpy(), (3, 2), (2, 3))[:, :, ::2, ::2]
    largest = record_module(nn.MaxPool2d((3, 2), 2), "max_pool2d", x).output()
    np.testing.assert_array_equal(largest, windows.max((-1, -2)))
    mean = record_module(nn.AvgPool2d((3, 2), 2), "avg_pool2d", x).output()
    np.testing.assert_allclose(mean, windows.mean((-1, -2)), rtol=0, atol=1e-15)


def test_where_the_largest_were_is_told_in_the_language_s_base():
    x = randn(1, 1, 4, 4)
    recorded = record_function(
        lambda x: F.max_pool2d(x, 2, return_indices=True), "max_pool2d", x,
        kernel_size=2, return_indices=True,
    )  # fmt: skip
    indices = recorded.arrays["forward/m.1"]
    np.testing.assert_array_equal(recorded.recomputed().outputs["m.1"], indices)
    np.testing.assert_array_equal(recorded.recomputed(1).outputs["m.1"], indices + 1)


ADAPTIVE = {
    "adaptive_avg_pool": (nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d),
    "adaptive_max_pool": (nn.AdaptiveMaxPool1d, nn.AdaptiveMaxPool2d, nn.AdaptiveMaxPool3d),
}


@PRECISIONS
@pytest.mark.parametrize("axes", [1, 2, 3])
@pytest.mark.parametrize("name", ADAPTIVE)
def test_adaptive_pools(name, axes, dtype):
    x = randn(2, 3, *(5 + i for i in range(axes)), dtype=dtype)
    for size in (1, 3, (2, None, 4)[:axes]):
        if size == (2,):
            size = 2
        module = ADAPTIVE[name][axes - 1](size)
        assert record_module(module, f"{name}{axes}d", x).residual() <= BOUNDS[dtype]


@PRECISIONS
@pytest.mark.parametrize(
    ("module", "layer"),
    [
        (nn.Upsample(scale_factor=2), "upsample"),
        (nn.Upsample((7, 9), mode="bilinear", align_corners=True), "upsample"),
        (nn.Upsample(scale_factor=(2.0, 1.5), mode="bicubic"), "upsample"),
        (nn.LPPool2d(2, 2), "lp_pool2d"),
        (nn.ZeroPad2d((1, 2, 0, 1)), "zero_pad2d"),
        (nn.ConstantPad2d(1, 0.5), "constant_pad2d"),
        (nn.ReflectionPad2d(1), "reflection_pad2d"),
        (nn.ReplicationPad2d((1, 0, 2, 1)), "replication_pad2d"),
        (nn.CircularPad2d(2), "circular_pad2d"),
        (nn.PixelShuffle(2), "pixel_shuffle"),
        (nn.PixelUnshuffle(2), "pixel_unshuffle"),
        (nn.Unfold((2, 1), padding=1), "unfold"),
    ],
    ids=str,
)
def test_layers_that_change_the_number_of_pixels(module, layer, dtype):
    x = randn(2, 4, 4, 6, dtype=dtype).abs()
    assert record_module(module, layer, x).residual() <= BOUNDS[dtype]


def test_the_pad_function():
    x = randn(2, 3, 4)
    found = record_function(
        lambda x: F.pad(x, (1, 2), value=0.25), "pad", x, pad=[1, 2], mode="constant", value=0.25
    )
    assert found.residual() <= 1e-12
    np.testing.assert_array_equal(
        found.output(), np.pad(x.numpy(), ((0, 0), (0, 0), (1, 2)), constant_values=0.25)
    )


def test_ties_are_broken_as_pytorch_does():
    x = torch.ones(1, 1, 4, 4, dtype=torch.float64)
    assert record_module(nn.MaxPool2d(2), "max_pool2d", x).residual() == 0


@pytest.mark.parametrize("mode", ["nearest", "area"])
def test_corners_are_no_matter_where_nothing_is_interpolated(mode):
    x = randn(1, 2, 3, 3)
    found = record_function(
        lambda x: F.interpolate(x, scale_factor=2, mode=mode), "interpolate", x,
        scale_factor=2, mode=mode, align_corners=False,
    )  # fmt: skip
    assert found.residual() <= 1e-12


@PRECISIONS
@pytest.mark.parametrize(
    ("module", "layer"),
    [
        (nn.UpsamplingNearest2d(scale_factor=2), "upsampling_nearest2d"),
        (nn.UpsamplingBilinear2d((5, 7)), "upsampling_bilinear2d"),
        (nn.ChannelShuffle(2), "channel_shuffle"),
    ],
    ids=str,
)
def test_other_layers_of_pixels(module, layer, dtype):
    x = randn(2, 4, 3, 3, dtype=dtype)
    assert record_module(module, layer, x).residual() <= BOUNDS[dtype]


def test_patches_are_folded():
    x = randn(2, 8, 9)
    assert record_module(nn.Fold((4, 4), 2), "fold", x).residual() <= 1e-12


def test_sampled_grids():
    theta, x = randn(2, 2, 3), randn(2, 3, 5, 5, seed=2)
    found = record_function(
        lambda t: F.affine_grid(t, (2, 3, 4, 4), align_corners=True), "affine_grid", theta,
        size=[2, 3, 4, 4], align_corners=True,
    )  # fmt: skip
    assert found.residual() <= 1e-12
    grid = torch.tensor(found.output())
    found = record_function(
        lambda x, g: F.grid_sample(x, g, padding_mode="border", align_corners=False),
        "grid_sample", x, grid, padding_mode="border", align_corners=False,
    )  # fmt: skip
    assert found.residual() <= 1e-12
