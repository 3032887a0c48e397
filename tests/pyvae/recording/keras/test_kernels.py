import numpy as np
import pytest
import torch
import torch.nn.functional as F

from pyvae.recording.keras.kernels import GATES_OF_GRU, Kernel
from pyvae.recording.seen.values import Kept
from pyvae.weights.keras_layers import KerasLayer, as_pytorch

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


GRU = {
    "kernel": Kernel((5, 12), (1, 0), gates=GATES_OF_GRU),
    "recurrent_kernel": Kernel((4, 12), (1, 0), gates=GATES_OF_GRU),
    "bias": Kernel((2, 12), (0, 1), gates=GATES_OF_GRU, apart=True),
}


def made(call, given):
    """What a call returns."""
    if call.layer == "stack":
        return [np.stack(given)]
    if call.layer == "permute":
        return [given[0].transpose(call.options["dims"])]
    if call.layer == "chunk":
        return np.split(given[0], call.options["chunks"], call.options["dim"])
    assert call.layer == "cat"
    return [np.concatenate(given, call.options["dim"])]


@pytest.mark.parametrize("name", GRU)
def test_gates_come_into_pytorchs_order_and_back(name):
    kernel = GRU[name]
    keras = np.random.default_rng(1).normal(size=kernel.shape)
    assert np.array_equal(kernel.undo(kernel.apply(keras)), keras)
    known = dict(zip(kernel.names("k"), kernel.kept("k", keras).values(), strict=True))
    assert {n: one.shape for n, one in known.items()} == kernel.shapes("k")
    calls = kernel.calls(Kept("k"), keras)
    for call in calls:  # what a trace says of a use in Keras' order
        given = [known[one] if isinstance(one, str) else one.array for one in call.inputs]
        for (_, value), expected in zip(call.outputs, made(call, given), strict=True):
            assert np.array_equal(value.array, expected)
    assert calls[-1].outputs[0][1].array is keras


def test_a_gru_is_kept_as_its_weights_are_converted():
    """By `pyvae weights`, which has them from files."""
    random = np.random.default_rng(1)
    variables = {name: random.normal(size=kernel.shape) for name, kernel in GRU.items()}
    found = [one.value for one in as_pytorch(KerasLayer("gru", "gru", variables))]
    kept = [v for name, one in variables.items() for v in GRU[name].kept(name, one).values()]
    for one, other in zip(found, kept, strict=True):
        assert np.array_equal(one, other)


def test_a_counter_of_a_variable_that_is_apart_is_of_each_part():
    counter = np.array(3.0)
    assert GRU["bias"].kept("b", counter) == {"b[0]": counter, "b[1]": counter}
