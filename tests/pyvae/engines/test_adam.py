"""Adam in R torch's order of operations."""

from __future__ import annotations

import copy
import math

import hypothesis
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pyvae.engines.adam import ADAMS, Adam, RTorchAdam, in_order_of
from pyvae.engines.pytorch import PyTorchEngine
from pyvae.model.draws import Draws

modest = hypothesis.settings(max_examples=25)
every_dtype = pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
SHAPES = ((3, 1, 3, 3), (7, 13), (5,), (), (101,))


def made(dtype, scale=0.4, seed=1):
    """Parameters of several shapes, |theta| < scale."""
    rng = np.random.default_rng(seed)
    return [torch.tensor(rng.uniform(-scale, scale, shape), dtype=dtype) for shape in SHAPES]


def gradients_of(step, dtype):
    """Of magnitudes from 1e-6 to 1e3."""
    rng = np.random.default_rng([7, step])
    return [
        torch.tensor(rng.normal(size=shape) * 10.0 ** rng.uniform(-6, 3, shape), dtype=dtype)
        for shape in SHAPES
    ]


def run(adam, parameters, gradients, **options):
    """Steps with given gradients; returns the optimiser and copies of the parameters after each."""
    leaves = [parameter.clone().requires_grad_() for parameter in parameters]
    optimizer = adam(leaves, **options)
    after = []
    for step in gradients:
        for leaf, gradient in zip(leaves, step, strict=True):
            leaf.grad = gradient.clone()
        optimizer.step()
        after.append([leaf.detach().clone() for leaf in leaves])
    return optimizer, after


def moments(optimizer, name):
    return torch.cat([state[name].flatten() for state in optimizer.state.values()])


def flat(tensors):
    return torch.cat([tensor.flatten() for tensor in tensors])


@pytest.mark.parametrize(
    ("lr", "betas", "eps"), [(1e-3, (0.9, 0.999), 1e-8), (0.02, (0.5, 0.9), 1e-3)]
)
def test_it_is_the_papers_algorithm(lr, betas, eps):
    """Kingma & Ba's algorithm 1 as it is printed, in numpy."""
    parameters = made(torch.float64)
    gradients = [gradients_of(step, torch.float64) for step in range(20)]
    _, after = run(RTorchAdam, parameters, gradients, lr=lr, betas=betas, eps=eps)
    theta = [parameter.numpy().copy() for parameter in parameters]
    m, v = ([np.zeros_like(value) for value in theta] for _ in range(2))
    for t, step in enumerate(gradients, start=1):
        for i, gradient in enumerate(step):
            g = gradient.numpy()
            m[i] = betas[0] * m[i] + (1 - betas[0]) * g
            v[i] = betas[1] * v[i] + (1 - betas[1]) * g**2
            m_hat, v_hat = m[i] / (1 - betas[0] ** t), v[i] / (1 - betas[1] ** t)
            theta[i] = theta[i] - lr * m_hat / (np.sqrt(v_hat) + eps)
            np.testing.assert_allclose(after[t - 1][i].numpy(), theta[i], rtol=0, atol=1e-15)


@every_dtype
def test_the_first_step_is_pytorchs_to_the_bit(dtype):
    gradients = [gradients_of(0, dtype)]
    ours, mine = run(RTorchAdam, made(dtype), gradients)
    theirs, expected = run(torch.optim.Adam, made(dtype), gradients)
    assert torch.equal(flat(mine[0]), flat(expected[0]))
    for name in ("step", "exp_avg", "exp_avg_sq"):
        assert torch.equal(moments(ours, name), moments(theirs, name))


@every_dtype
def test_later_steps_are_pytorchs_up_to_rounding(dtype):
    gradients = [gradients_of(step, dtype) for step in range(50)]
    _, mine = run(RTorchAdam, made(dtype), gradients)
    _, expected = run(torch.optim.Adam, made(dtype), gradients)
    # of each step: the rounding of theta, and of a quotient that moves it by 1e-3 or so
    each = 0.5 * torch.finfo(dtype).eps
    for step, (one, other) in enumerate(zip(mine, expected, strict=True), start=1):
        assert (flat(one) - flat(other)).abs().max() < step * each


@every_dtype
def test_the_second_step_is_rounded_otherwise_than_pytorchs(dtype):
    """Else there would be no need for this optimiser. 37 % of a network's elements differ."""
    rng = np.random.default_rng(3)
    theta = [torch.tensor(rng.uniform(-0.1, 0.1, 100_000), dtype=dtype)]
    gradients = [[torch.tensor(rng.normal(size=100_000), dtype=dtype)] for _ in range(2)]
    ours, _ = run(RTorchAdam, theta, gradients)
    theirs, _ = run(torch.optim.Adam, theta, gradients)
    differ = moments(ours, "exp_avg") != moments(theirs, "exp_avg")
    assert 0.2 < differ.double().mean() < 0.6
    assert torch.equal(moments(ours, "exp_avg_sq"), moments(theirs, "exp_avg_sq"))


@pytest.mark.parametrize("step", [2, 1270, 2582, 36_314])
def test_the_second_moments_correction_is_rs_square_root(step):
    """Without a gradient every operation is rounded once in float64, so numpy gives the same bits.
    In all these steps but the first x ** 0.5 is another number than sqrt(x). The tensor's root is
    LibTorch's: one in a hundred of MKL's is not the nearest number."""
    rng = np.random.default_rng(4)
    theta, m, v = rng.normal(size=(3, 1001)) ** np.array([[1], [1], [2]])
    leaf = torch.tensor(theta, requires_grad=True)
    optimizer = RTorchAdam([leaf])
    optimizer.state[leaf] = {
        "step": torch.tensor(step - 1.0),
        "exp_avg": torch.tensor(m),
        "exp_avg_sq": torch.tensor(v),
    }
    leaf.grad = torch.zeros_like(leaf)
    optimizer.step()
    m, v = m * 0.9, v * 0.999
    root = torch.tensor(v).sqrt().numpy()
    denominator = root / math.sqrt(1 - 0.999**step) + 1e-8
    expected = theta + -1e-3 / (1 - 0.9**step) * m / denominator
    assert np.array_equal(leaf.detach().numpy(), expected)


@modest
@given(st.integers(-20, 20), st.integers(0, 1000))
def test_without_epsilon_the_gradients_scale_has_no_say(exponent, seed):
    """Powers of two go through every operation without rounding."""
    gradients = [gradients_of(seed + step, torch.float64) for step in range(3)]
    scaled = [[g * 2.0**exponent for g in step] for step in gradients]
    _, once = run(RTorchAdam, made(torch.float64), gradients, eps=0.0)
    _, again = run(RTorchAdam, made(torch.float64), scaled, eps=0.0)
    assert torch.equal(flat(once[-1]), flat(again[-1]))


@modest
@given(st.integers(0, 1000))
def test_it_is_odd(seed):
    gradients = [gradients_of(seed + step, torch.float32) for step in range(3)]
    minus = [[-gradient for gradient in step] for step in gradients]
    _, once = run(RTorchAdam, made(torch.float32), gradients)
    _, again = run(RTorchAdam, [-theta for theta in made(torch.float32)], minus)
    assert torch.equal(flat(once[-1]), -flat(again[-1]))


def test_parameters_without_a_gradient_are_left_alone():
    with_gradient, without = (torch.ones(3, requires_grad=True) for _ in range(2))
    optimizer = RTorchAdam([without, with_gradient])
    with_gradient.grad = torch.ones(3)
    optimizer.step()
    assert torch.equal(without, torch.ones(3))
    assert not torch.equal(with_gradient, torch.ones(3))
    assert without not in optimizer.state
    assert optimizer.state[with_gradient].keys() == {"step", "exp_avg", "exp_avg_sq"}


def test_gradients_are_not_changed():
    leaf = torch.ones(3, requires_grad=True)
    leaf.grad = torch.tensor([1.0, -2.0, 3.0])
    RTorchAdam([leaf]).step()
    assert leaf.grad.tolist() == [1, -2, 3]


def test_groups_have_step_sizes_of_their_own():
    leaves = [torch.zeros(2, requires_grad=True) for _ in range(2)]
    optimizer = RTorchAdam([{"params": leaves[:1], "lr": 0.5}, {"params": leaves[1:]}], lr=0.25)
    for leaf in leaves:
        leaf.grad = torch.ones(2)
    optimizer.step()  # the first step goes by lr against the gradient's sign
    for leaf, expected in zip(leaves, (-0.5, -0.25), strict=True):
        torch.testing.assert_close(leaf.detach(), torch.full((2,), expected))


def test_a_closure_is_evaluated_with_gradients_and_its_loss_comes_back():
    leaf = torch.full((2,), 3.0, requires_grad=True)
    optimizer = RTorchAdam([leaf], lr=0.1)

    def closure():
        optimizer.zero_grad()
        loss = (leaf**2).sum()
        loss.backward()
        return loss

    with torch.no_grad():
        assert optimizer.step(closure) == 18
    torch.testing.assert_close(leaf.detach(), torch.full((2,), 2.9))
    assert optimizer.step() is None


def test_it_goes_on_from_its_state_dict():
    gradients = [gradients_of(step, torch.float64) for step in range(4)]
    _, whole = run(RTorchAdam, made(torch.float64), gradients)
    first, half = run(RTorchAdam, made(torch.float64), gradients[:2])
    leaves = [parameter.clone().requires_grad_() for parameter in half[-1]]
    second = RTorchAdam(leaves)
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    for step in gradients[2:]:
        for leaf, gradient in zip(leaves, step, strict=True):
            leaf.grad = gradient
        second.step()
    assert torch.equal(flat(leaves), flat(whole[-1]))


@pytest.mark.parametrize("adam", ADAMS)
@every_dtype
def test_an_engine_goes_on_from_a_state_to_the_bit(conv, settings, digits, adam, dtype):
    wanted = settings(dtype=str(dtype).removeprefix("torch."))
    draws, spec = Draws(1, wanted.dtype), conv.draws(wanted.latent_dim)
    x = digits.batch(np.arange(4), dtype)

    def started(seed):
        engine = PyTorchEngine("cpu", adam)
        engine.start(conv, wanted, conv.initial_parameters(seed, wanted.latent_dim))
        return engine

    whole, fresh = started(1), started(2)
    for step in range(2):
        whole.step(x, draws.step(step, 4, spec))
    state = whole.state()
    assert state["step"] == 2
    assert state["moment1/encoder.fc1.weight"].any()
    fresh.restore(state)
    for step in (2, 3):
        given_draws = draws.step(step, 4, spec)
        assert torch.equal(whole.step(x, given_draws), fresh.step(x, given_draws))
    ends = whole.state(), fresh.state()
    assert all(ends[0][key].tobytes() == ends[1][key].tobytes() for key in ends[0])


def test_each_adam_has_a_name():
    assert list(ADAMS.items()) == [("torch", Adam), ("r-torch", RTorchAdam)]


@every_dtype
def test_pytorchs_order_is_torch_optims_to_the_bit(dtype):
    gradients = [gradients_of(step, dtype) for step in range(20)]
    options = {"lr": 0.01, "betas": (0.8, 0.99), "eps": 1e-6}
    for chosen in ({}, options):
        ours, mine = run(Adam, made(dtype), gradients, **chosen)
        theirs, expected = run(torch.optim.Adam, made(dtype), gradients, **chosen)
        for one, other in zip(mine, expected, strict=True):
            assert torch.equal(flat(one), flat(other))
        for name in ("step", "exp_avg", "exp_avg_sq"):
            assert torch.equal(moments(ours, name), moments(theirs, name))


@every_dtype
def test_fused_it_is_torch_optims_up_to_rounding(dtype):
    """After 20 steps, with the same moments; the first step already has other last bits."""
    gradients = [gradients_of(step, dtype) for step in range(20)]
    ours, mine = run(Adam, made(dtype), gradients, fused=True)
    theirs, expected = run(torch.optim.Adam, made(dtype), gradients)
    close = 40 * torch.finfo(dtype).eps
    for one, other in zip(mine, expected, strict=True):
        torch.testing.assert_close(flat(one), flat(other), rtol=close, atol=close)
    for name in ("step", "exp_avg", "exp_avg_sq"):
        one, other = moments(ours, name), moments(theirs, name)
        torch.testing.assert_close(one, other, rtol=close, atol=close)


@every_dtype
def test_fused_it_passes_on_what_is_not_finite(dtype):
    for value in (float("nan"), float("inf")):
        ends = []
        for kind, options in ((Adam, {"fused": True}), (torch.optim.Adam, {})):
            parameter = torch.ones(37, dtype=dtype, requires_grad=True)
            parameter.grad = torch.arange(37, dtype=dtype)
            parameter.grad[[0, 36]] = value
            kind([parameter], **options).step()
            ends.append(parameter.detach().isfinite())
        assert torch.equal(*ends)
        assert int(ends[0].sum()) == 35


def test_fused_it_goes_on_from_moments_in_another_order_in_memory():
    """A checkpoint's are contiguous, parameters with the channels last are not."""
    ends = {}
    for fused in (True, False):
        generator = torch.Generator().manual_seed(5)
        shape = (4, 3, 2, 2)
        theta, gradient, moment1, moment2 = torch.rand((4, *shape), generator=generator)
        parameter = theta.to(memory_format=torch.channels_last).requires_grad_()
        assert parameter.stride() != moment1.stride()
        adam = Adam([parameter], fused=fused)
        adam.state[parameter] = {
            "step": torch.tensor(3.0), "exp_avg": moment1.clone(), "exp_avg_sq": moment2.clone()
        }  # fmt: skip
        parameter.grad = gradient
        adam.step()
        ends[fused] = [parameter.detach(), *adam.state[parameter].values()]
    for one, other in zip(ends[True], ends[False], strict=True):
        torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-7)


def test_a_tensor_is_brought_into_a_parameters_order_if_it_is_in_another():
    parameter = torch.rand(4, 3, 2, 2).to(memory_format=torch.channels_last)
    value = torch.rand(4, 3, 2, 2, dtype=torch.float64)
    ordered = in_order_of(parameter.requires_grad_(), value)
    assert ordered.stride() == parameter.stride()
    assert ordered.dtype == torch.float64
    assert not ordered.requires_grad
    assert torch.equal(ordered, value)
    assert in_order_of(parameter, ordered) is ordered
    for other in (torch.tensor(1.0), torch.rand(3)):  # a count of steps, say
        assert in_order_of(parameter, other) is other


def test_pytorchs_order_leaves_parameters_without_a_gradient_alone():
    parameters = [torch.ones(3, requires_grad=True), torch.ones(2, requires_grad=True)]
    adam = Adam(parameters)
    adam.step()
    assert not adam.state
    parameters[1].grad = torch.ones(2)
    adam.step()
    assert list(adam.state) == parameters[1:]
    assert torch.equal(parameters[0].detach(), torch.ones(3))
    adam.zero_grad()
    assert parameters[1].grad is None


@pytest.mark.slow
def test_pytorchs_compiler_is_not_imported(warm, tmp_path):
    """It takes seconds, in every process that trains."""
    code = """
import sys, torch
from pyvae.engines.adam import Adam
sys.modules.pop("torch._dynamo", None)  # of the process that was forked
parameter = torch.ones(3, requires_grad=True)
parameter.grad = torch.ones(3)
Adam([parameter]).step()
sys.exit("torch._dynamo" in sys.modules)
"""
    assert warm.run("-c", code, folder=tmp_path).returncode == 0
