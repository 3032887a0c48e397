import numpy as np
import pytest
import torch
import torch.nn.functional as F

from pyvae.recording.keras.kernels import Kernel
from pyvae.recording.seen.values import Kept

KERNELS = {
    "dense": (Kernel((3, 5), (1, 0)), (5, 3)),
    "conv": (Kernel((3, 2, 4, 6), (3, 2, 0, 1)), (6, 4, 3, 2)),
    "depthwise": (Kernel((3, 2, 4, 2), (2, 3, 0, 1), True), (8, 1, 3, 2)),
}


@pytest.mark.parametrize("name", KERNELS)
def test_a_kernel_comes_into_pytorchs_order_and_back(name):
    kernel, shape = KERNELS[name]
    keras = np.random.default_rng(1).normal(size=kernel.shape)
    torch_s = kernel.apply(keras)
    assert torch_s.shape == kernel.torch_shape == shape
    assert np.array_equal(kernel.undo(torch_s), keras)
    counter = np.zeros(())
    assert kernel.apply(counter) is counter
    calls = kernel.calls(Kept("k"), keras)  # what a trace says of a use in Keras' order
    assert [call.layer for call in calls] == ["reshape", "permute"][-len(calls) :]
    value = torch_s.reshape(calls[0].options["shape"]) if kernel.groups else torch_s
    assert np.array_equal(value.transpose(calls[-1].options["dims"]), keras)
    assert calls[-1].outputs[0][1].array is keras


def test_a_depthwise_kernel_is_that_of_a_convolution_in_groups():
    kernel, _ = KERNELS["depthwise"]
    keras = torch.randn(kernel.shape, dtype=torch.float64)
    x = torch.randn(1, 4, 5, 5, dtype=torch.float64)
    found = F.conv2d(x, torch.from_numpy(kernel.apply(keras.numpy())), groups=4)
    for channel in range(4):
        for multiple in range(2):
            one = F.conv2d(x[:, channel : channel + 1], keras[None, None, :, :, channel, multiple])
            assert torch.allclose(found[:, 2 * channel + multiple], one[:, 0])
